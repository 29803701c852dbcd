"""The results of many audits: several models, seeds and numbers of training steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from privacy.audit_results import AuditResults
from privacy.errors import InputError, shown
from privacy.intervals import Split, auc_difference, mean_interval
from privacy.metrics import FPR_LEVELS, Interval
from privacy.validation import require_mapping

__all__ = ["AggregatedAudits", "ArmSummary", "MeanStd"]


@dataclass(frozen=True)
class MeanStd:
    """Mean of `n` values and their standard deviation; of one value, half the width of its 95 % interval, if known."""

    mean: float
    spread: float
    n: int

    @classmethod
    def of(cls, values: Sequence[float], *, half_width: float = float("nan")) -> "MeanStd":
        """Mean and spread of values, one for each repetition."""
        spread = float(np.std(values, ddof=1)) if len(values) > 1 else half_width
        return cls(float(np.mean(values)), spread, len(values))

    @classmethod
    def of_intervals(cls, intervals: Sequence[Interval]) -> "MeanStd":
        """Mean and spread of values with intervals, one for each repetition."""
        half_width = (intervals[0].high - intervals[0].low) / 2
        return cls.of([interval.value for interval in intervals], half_width=half_width)

    def text(self, digits: int, factor: float = 1.0) -> str:
        """`mean ± spread`, or only the mean; a dash where there is none.

        >>> MeanStd(0.5, 0.25, 3).text(1, 100)
        '50.0 ± 25.0'
        """
        if self.mean != self.mean:
            return "–"
        mean = f"{factor * self.mean:.{digits}f}"
        return mean if self.spread != self.spread else f"{mean} ± {factor * self.spread:.{digits}f}"


@dataclass(frozen=True)
class ArmSummary:
    """The audits of one arm at one number of training steps."""

    arm: str
    """Whose models were audited."""
    train_steps: int | None
    """How long they were trained, from the reports' `info`; `None` where it does not say."""
    n: int
    """How many audits there are."""
    test_accuracy: MeanStd | None
    """Accuracy on test images, from the reports' `info`; `None` where it does not say."""
    auc: Mapping[str, MeanStd]
    """AUC by attack."""
    tpr_at_fpr: Mapping[str, tuple[MeanStd, ...]]
    """Share of members found by attack, at each of `FPR_LEVELS`."""


class AggregatedAudits:
    """What `Summary` is made of: the results of every arm at every number of training steps, combined over reports.

    Raises `InputError` when an arm has no report or the attacks differ.
    """

    def __init__(self, reports: Mapping[str, Sequence[AuditResults]]) -> None:
        require_mapping("reports", reports, "{arm: its reports}")
        for arm, own in reports.items():
            if not isinstance(own, list | tuple) or not all(isinstance(report, AuditResults) for report in own):
                raise InputError(f"reports of {arm!r} are {shown(own)}; expected a list of AuditReport")
            for report in own:
                check_info(arm, report.info)
        if not reports or not all(reports.values()):
            empty = ", ".join(arm for arm, own in reports.items() if not own) or "any arm"
            raise InputError(f"there are no reports of {empty}; expected at least one for each arm")
        self.reports = {arm: list(own) for arm, own in reports.items()}
        everything = [report for own in self.reports.values() for report in own]
        self.attacks, self.titles = list(everything[0].scores), everything[0].titles
        for report in everything:
            if list(report.scores) != self.attacks:
                raise InputError(
                    f"reports of different attacks cannot be combined: {', '.join(report.scores)} and "
                    f"{', '.join(self.attacks)}"
                )
        self.rows = [
            self._row(arm, steps) for arm, own in self.reports.items() for steps in sorted(steps_of(own), key=step_key)
        ]

    def _row(self, arm: str, steps: int | None) -> ArmSummary:
        own = [report for report in self.reports[arm] if report.info.get("train_steps") == steps]
        accuracies = [report.info["test_accuracy"] for report in own if report.info.get("test_accuracy") is not None]
        auc, rates = {}, {}
        for attack in self.attacks:
            results = [report.result(attack) for report in own]
            auc[attack] = MeanStd.of_intervals([r.auc for r in results])
            rates[attack] = tuple(MeanStd.of_intervals([r.tpr(fpr) for r in results]) for fpr in FPR_LEVELS)
        return ArmSummary(arm, steps, len(own), MeanStd.of(accuracies) if accuracies else None, auc, rates)

    def last(self) -> list[ArmSummary]:
        """Each arm's row with the largest number of training steps."""
        return list({row.arm: row for row in self.rows}.values())

    def difference(self, first: str, second: str, attack: str) -> Interval:
        """Mean AUC of one arm minus another's at their largest number of training steps, with its paired 95 % interval.

        Both arms' reports must be in the same order of seeds and score the same records in the same order.
        """
        sides = [self._scores(arm, attack) for arm in (first, second)]
        shapes = [[(len(members), len(others)) for ((members, others), *_) in side] for side in sides]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{first} and {second} cannot be compared: their reports are about {shapes[0]} and {shapes[1]} members "
                "and non-members; expected the same records, seed by seed"
            )
        pairs = zip(self._last_reports(first), self._last_reports(second), strict=True)
        if not all(np.array_equal(one.labels, other.labels) for one, other in pairs):
            raise InputError(
                f"{first} and {second} cannot be compared: the labels of their members differ; expected the same "
                "records in the same order, seed by seed"
            )
        trained = self.reports[first][0].scores[attack].trained
        return auc_difference(sides[0], sides[1], trained=trained)

    def auc(self, arm: str, attack: str) -> Interval:
        """Mean AUC of an arm at its largest number of training steps, with its 95 % interval over the records."""
        self._check_attack(attack)
        return mean_interval([report.result(attack).auc for report in self._last_reports(arm)])

    def spread_in_words(self) -> str:
        """What each ± means."""
        numbers = {row.n for row in self.rows}
        if numbers == {1}:
            return "± half the 95 % interval, one repetition"
        alone = "; where n is 1, half the 95 % interval" if 1 in numbers else ""
        return f"± standard deviation of n repetitions{alone}"

    def answer_cells(self) -> list[list[str]]:
        """The cells of the table of answers, header first: number of audits per arm that report a leak."""
        rows = [["trained on", "members differ on average", "a few are exposed"]]
        for arm in self.reports:
            own = self._last_reports(arm)
            found = [r.verdict.leaks_on_average for r in own], [r.verdict.exposes_a_few for r in own]
            rows.append([arm, *map(yes_or_no, found)])
        return rows

    def auc_cells(self) -> list[list[str]]:
        """The cells of the table of AUCs, header first."""
        rows = [["trained on", "steps", "n", "test accuracy, %", *self.attacks]]
        for row in self.rows:
            accuracy = row.test_accuracy.text(1, 100) if row.test_accuracy else ""
            steps = "" if row.train_steps is None else str(row.train_steps)
            rows.append([row.arm, steps, str(row.n), accuracy, *(row.auc[a].text(3) for a in self.attacks)])
        return rows

    def rate_cells(self, level: int) -> list[list[str]]:
        """The cells of the table of TPRs at `FPR_LEVELS[level]`, in %, header first; each arm's last row."""
        rows = [["trained on", "n", *self.attacks]]
        for row in self.last():
            rows.append([row.arm, str(row.n), *(row.tpr_at_fpr[a][level].text(1, 100) for a in self.attacks)])
        return rows

    def _scores(self, arm: str, attack: str) -> list[Sequence[Split]]:
        """Scores of members and non-members, split by split, in each of the last reports of an arm."""
        reports = self._last_reports(arm)
        self._check_attack(attack)
        return [report.scores[attack].pairs for report in reports]

    def _check_attack(self, attack: str) -> None:
        """Raise `InputError` for an attack that the reports do not have."""
        if attack not in self.attacks:
            raise InputError(f"there is no attack {attack!r}; expected one of {', '.join(self.attacks)}")

    def _last_reports(self, arm: str) -> list[AuditResults]:
        """The reports of an arm at its largest number of training steps."""
        if arm not in self.reports:
            raise InputError(f"there is no arm {arm!r}; expected one of {', '.join(self.reports)}")
        most = max(steps_of(self.reports[arm]), key=step_key)
        return [report for report in self.reports[arm] if report.info.get("train_steps") == most]


def check_info(arm: str, info: Mapping[str, Any]) -> None:
    """Raise `InputError` for a test accuracy outside [0, 1], or a number of steps that is not whole."""
    accuracy, steps = info.get("test_accuracy"), info.get("train_steps")
    if accuracy is not None and (not isinstance(accuracy, int | float) or not 0 <= accuracy <= 1):
        raise InputError(f"a report of {arm!r} has test_accuracy {shown(accuracy)}; expected a share from 0 to 1")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int)):
        raise InputError(f"a report of {arm!r} has train_steps {shown(steps)}; expected a whole number")


def steps_of(reports: Sequence[AuditResults]) -> set[int | None]:
    """The numbers of training steps that reports are about."""
    return {report.info.get("train_steps") for report in reports}


def step_key(steps: int | None) -> int:
    """A number to sort by."""
    return -1 if steps is None else steps


def yes_or_no(found: Sequence[bool | None]) -> str:
    """In how many audits something is so; `None`: not tested."""
    tested = [each for each in found if each is not None]
    if not tested:
        return "not tested"
    if len(found) == 1:
        return "yes" if tested[0] else "no"
    return f"in {sum(tested)} of {len(tested)} audits" + ", others not tested" * (len(tested) < len(found))

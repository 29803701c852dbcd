"""What the results of an audit say overall, with chance taken into account."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from privacy.attack_results import Found, Result
from privacy.slices import WHOLE

__all__ = ["FALSE_ALARMS", "Verdict", "verdict_of"]

FALSE_ALARMS = 0.05  # share of audits where nothing leaks; each of the two questions may use up half of it


@dataclass(frozen=True)
class Verdict:
    """Answers to two questions: do members differ on average, and are a few of them exposed?"""

    average: Result | None
    """The strongest evidence that members differ on average; `None` if nothing was tested."""
    average_p: float
    """Bonferroni-corrected p-value of `average`."""
    few: Result | None
    """The strongest evidence that a few are exposed; `None` if nothing was tested."""
    few_p: float
    """Bonferroni-corrected p-value of `few`."""
    found: Found | None
    """With `few`: how many members were found."""
    reversed: Result | None
    """The result on all records with the lowest AUC, where chance does not explain it."""
    comparisons: tuple[int, int]
    """Number of tests for the first question, and for the second."""

    @property
    def leaks_on_average(self) -> bool | None:
        """Whether some attack distinguishes members from non-members on average; `None` if not tested."""
        return None if self.average is None else self.average_p < FALSE_ALARMS / 2

    @property
    def exposes_a_few(self) -> bool | None:
        """Whether some attack finds more members at few false positives than chance does; `None`: not tested."""
        return None if self.few is None else self.few_p < FALSE_ALARMS / 2

    @property
    def leaks(self) -> bool:
        """Whether members differ on average or a few are exposed."""
        return bool(self.leaks_on_average or self.exposes_a_few)

    def is_reversed(self, result: Result) -> bool:
        """Whether an AUC below one half is too low for chance, whichever attack and slice one looks at."""
        return result.p_reversed is not None and result.p_reversed * self.comparisons[0] < FALSE_ALARMS / 2


def verdict_of(results: Sequence[Result]) -> Verdict:
    """The verdict on all attacks and slices, each question corrected for how often it was asked.

    `results`: of every attack and slice that counts; the order does not matter.
    """
    averages = [(result.p, -result.auc.value, result) for result in results if result.p is not None]
    few = [
        (found.p, -found.members / result.members, result, found)
        for result in results for found in result.found if found.p is not None
    ]  # fmt: skip
    # Tails so thin that they are 0 in float64 are distinguished by what they are about.
    average_p, _, average = min(averages, key=lambda entry: entry[:2], default=(1.0, 0.0, None))
    few_p, _, exposing, found = min(few, key=lambda entry: entry[:2], default=(1.0, 0.0, None, None))
    comparisons = (len(averages), len(few))
    average_p, few_p = (min(1.0, p * max(k, 1)) for p, k in zip((average_p, few_p), comparisons, strict=True))
    lowest = min((r for r in results if r.slice == WHOLE), key=lambda r: r.auc.value, default=None)
    verdict = Verdict(average, average_p, exposing, few_p, found, lowest, comparisons)
    return verdict if lowest is not None and verdict.is_reversed(lowest) else replace(verdict, reversed=None)

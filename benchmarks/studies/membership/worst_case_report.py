"""The worst case in a table and in words: what was tried, what was found, what is not excluded."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.studies.membership.worst_case import WorstCase
from privacy import CanaryReport, Result
from privacy.audit_results import AuditResults
from privacy.metrics import FPR_LEVELS
from privacy.sets.auditing import OTHERS, STARTED
from privacy.slices import WHOLE
from privacy.tables import text_table
from privacy.verdict import FALSE_ALARMS, Verdict, verdict_of

__all__ = ["WORST", "entry_of", "in_words", "worst_case_table", "worst_case_tables", "worst_case_words"]

WORST = "worst case: of the attacks that were tried, the one that finds most (not corrected for that choice)"
PARTS = {STARTED: "set: members it started from", OTHERS: "set: other members"}
CANARY_FPR = 0.01


@dataclass(frozen=True)
class Worst:
    """The attack that finds most members of one kind, and the verdict on all that were tried."""

    what: str
    result: Result
    verdict: Verdict

    @property
    def fpr(self) -> float:
        """The lowest false-positive rate that so many non-members can tell."""
        return next(fpr for fpr in FPR_LEVELS if not math.isnan(self.result.tpr(fpr).value))

    @property
    def found(self) -> str:
        """Members found, with the interval and the attack."""
        return f"{self.result.tpr(self.fpr).text(1, 100, ' %')} by {self.result.attack}"

    def beyond_chance(self, others: int) -> str:
        """What chance does not explain, with `others` such questions asked; "" where it explains everything."""
        verdict = self.verdict
        if verdict.few is not None and verdict.found is not None and verdict.few_p * others < FALSE_ALARMS / 2:
            found = verdict.found
            return (
                f"{verdict.few.attack} finds {found.members:.0f} of {verdict.few.members} at {found.false_positives} "
                f"false positives (chance: {found.chance:.1f})"
            )
        if verdict.average is not None and verdict.average_p * others < FALSE_ALARMS / 2:
            return f"on average alone, AUC {verdict.average.auc} by {verdict.average.attack}"
        return ""


def worst_of(what: str, report: AuditResults, slice_name: str = WHOLE) -> Worst:
    """The attack that finds most members of a slice at the lowest false-positive rate that can be told."""
    results = report.results_on(slice_name)

    def by_rates(result: Result) -> tuple[float, ...]:
        rates = [result.tpr(fpr).value for fpr in FPR_LEVELS]
        return (*(rate for rate in rates if not math.isnan(rate)), result.auc.value)

    return Worst(what, max(results, key=by_rates), verdict_of(results))


def worst_case_table(cases: Sequence[WorstCase]) -> str:
    """Both tables as text."""
    return "\n\n".join([WORST, *map(text_table, worst_case_tables(cases))])


def worst_case_tables(cases: Sequence[WorstCase]) -> list[list[list[str]]]:
    """A row for each arm, member set and kind of attack; and what is found of the canaries. Those with rows alone."""
    worst = [(case, each) for case in cases for each in worst_results(case)]
    found = [
        [named(case, cases), each.what, f"{100 * each.fpr:g} %", each.found, str(each.result.auc)]
        for case, each in worst
    ]
    planted = [(case, case.canaries) for case in cases if case.canaries is not None]
    deltas = {report.epsilon.delta for _, report in planted}
    at_delta = f" (delta {min(deltas):g})" if len(deltas) == 1 else ""
    header = ["arm", "canaries", "planted found at 1 % false positives", "held out found",
              f"epsilon at least{at_delta}", "proven at most"]  # fmt: skip
    canaries = [
        canary_cells(named(case, cases), report, case.proven, name_delta=not at_delta) for case, report in planted
    ]
    tables = [["arm", "attacked", "false positives", "members found", "AUC"], *found], [header, *canaries]
    return [rows for rows in tables if len(rows) > 1]


def canary_cells(arm: str, report: CanaryReport, proven: float | None, *, name_delta: bool) -> list[str]:
    """What is found of the planted canaries at 1 % false positives; the lower bound on epsilon, and what is proven."""
    found = [
        cell for each in report.found if each.fpr == CANARY_FPR
        for cell in (f"{each.found} of {each.planted}, {each.share.text(1, 100, ' %')}",
                     f"{each.held_out_found} of {each.held_out}")
    ]  # fmt: skip
    total = report.planted + report.held_out
    at_most = "no proof" if proven is None else f"{proven:.2f}"
    at_least = f"{report.epsilon.epsilon:.2f}" + (f" (delta {report.epsilon.delta:g})" if name_delta else "")
    return [arm, str(total), *(found or "––"), at_least, at_most]


def worst_results(case: WorstCase) -> list[Worst]:
    """What was attacked, and the attack that finds most of it."""
    found = []
    if case.references is not None:
        kind = "network, with references" if case.arm == "real" else "set, with references"
        found.append(worst_of(kind, case.references))
    if case.set is not None:
        found.append(worst_of("set itself", case.set))
        found += [worst_of(what, case.set, name) for name, what in PARTS.items() if case.set.results_on(name)]
    return found


def named(case: WorstCase, cases: Sequence[WorstCase]) -> str:
    """The arm, and the member set where there are several."""
    return case.arm if len({each.seed for each in cases}) == 1 else f"{case.arm}, member set {case.seed}"


def worst_case_words(cases: Sequence[WorstCase], options: dict[str, Any], attacks: Sequence[str]) -> list[str]:
    """Paragraphs: what was tried, what was found, and what is not excluded; for people who have to decide.

    `attacks`: those that were run on the networks.
    """
    found = [(case, worst) for case in cases for worst in worst_results(case)]
    exposed = [
        f"{named(case, cases)}, {worst.what}: {beyond}"
        for case, worst in found if (beyond := worst.beyond_chance(len(found)))
    ]  # fmt: skip
    shown = [
        f"{named(case, cases)} {case.canaries.epsilon.epsilon:.2f}"
        for case in cases if case.canaries is not None and case.canaries.epsilon.epsilon > 0
    ]  # fmt: skip
    compared = dict.fromkeys(
        attack for case in cases if case.references is not None for attack in case.references.scores
    )
    tried = [
        f"{', '.join(attacks)} on the networks trained on each arm",
        *([f"attacks with {options['references']} references ({', '.join(compared)})"] if compared else []),
        *([f"{options['canaries']} mislabelled canaries"] if options["canaries"] else []),
        *(["the sets themselves"] if options["audit_set"] else []),
    ]
    missing = [
        *([] if options["references"] else ["a few members who stand out only beside reference models (--references)"]),
        *([] if options["canaries"] else ["unusual records, such as mislabelled ones (--canaries)"]),
        *([] if options["audit_set"] else ["what the sets themselves give away (--audit-set)"]),
    ]
    words = [f"Tried: {'; '.join(tried)}."]
    if found:
        words.append(f"Members found beyond chance, all comparisons paid for: {'; '.join(exposed) or 'none'}.")
    if options["canaries"]:
        words.append(f"Lower bounds on epsilon above 0, each with 95 % confidence: {', '.join(shown) or 'none'}.")
        words += too_few_canaries(cases)
    words.append(
        f"Not excluded: {'; '.join([*missing, 'attacks that were not tried'])}. An audit finds leaks; only a proof, as "
        "differential privacy gives, excludes them."
    )
    return words


def too_few_canaries(cases: Sequence[WorstCase]) -> list[str]:
    """How many canaries 1 % false positives need, where fewer are held out."""
    reports = [case.canaries for case in cases if case.canaries is not None]
    unknown = [report for report in reports if all(each.fpr != CANARY_FPR for each in report.found)]
    if not unknown:
        return []
    fewest = min(report.held_out for report in unknown)
    return [
        f"Canaries found at {100 * CANARY_FPR:g} % false positives (–) cannot be told from {fewest} held out; at least "
        f"{1 / CANARY_FPR:g} are needed: use more, such as --canaries {4 / CANARY_FPR:g}."
    ]


def entry_of(case: WorstCase) -> dict[str, Any]:
    """Everything on one arm, ready for JSON."""
    reports = {"references": case.references, "canaries": case.canaries, "set": case.set}
    own = {name: report.to_dict() for name, report in reports.items() if report is not None}
    return {"arm": case.arm, "member_set": case.seed, "proven_epsilon": case.proven, **own}


def in_words(case: WorstCase) -> str:
    """One line on the worst case of an arm."""
    parts = [f"{worst.what}: {worst.found}" for worst in worst_results(case)]
    if case.canaries is not None:
        parts.append(f"canaries: {case.canaries.epsilon}")
    return f"{case.arm}, member set {case.seed}: {'; '.join(parts) or 'nothing to attack'}"

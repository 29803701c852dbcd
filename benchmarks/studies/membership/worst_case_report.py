"""The worst case in a table and in words: what was tried, what was found, what is not excluded."""

from collections.abc import Sequence
from typing import Any

from benchmarks.studies.membership.worst_case import WorstCase
from privacy import Result
from privacy.audit_results import AuditResults
from privacy.slices import WHOLE
from privacy.tables import text_table

__all__ = ["entry_of", "in_words", "worst_case_table", "worst_case_words"]

FPR = 0.001
STARTED, OTHERS = "members that started the set", "other members"


def most_found(report: AuditResults, slice_name: str = WHOLE) -> Result:
    """The attack that finds most members at 0.1 % false positives."""
    return max(report.results_on(slice_name), key=lambda result: (result.tpr(FPR).value, result.auc.value))


def share(result: Result) -> str:
    """Members found at 0.1 % false positives, with the interval and the attack."""
    return f"{result.tpr(FPR).text(1, 100, ' %')} by {result.attack}"


def worst_case_table(cases: Sequence[WorstCase]) -> str:
    """A row for each arm, member set and kind of attack, the worst first among those of an arm."""
    rows = [["arm", "attacked", "members found at 0.1 % false positives", "AUC"]]
    for case in cases:
        for what, result in results_of(case):
            rows.append([named(case, cases), what, share(result), str(result.auc)])
    lines = ["worst case: the attack that finds most, of those tried; mean of the records of one member set"]
    lines += [text_table(rows)] if len(rows) > 1 else []
    canaries = [["arm", "canaries", "planted found at 1 % false positives", "held out found", "epsilon at least"]]
    for case in cases:
        if case.canaries is not None:
            found = next((each for each in case.canaries.found if each.fpr > FPR), None)
            cells = ["-", "-"] if found is None else [
                f"{found.found} of {found.planted}, {found.share.text(1, 100, ' %')}",
                f"{found.held_out_found} of {found.held_out}",
            ]  # fmt: skip
            total = case.canaries.planted + case.canaries.held_out
            canaries.append([named(case, cases), str(total), *cells, f"{case.canaries.epsilon.epsilon:.2f}"])
    return "\n\n".join([*lines, *([text_table(canaries)] if len(canaries) > 1 else [])])


def results_of(case: WorstCase) -> list[tuple[str, Result]]:
    """What was attacked, and the attack that finds most of it."""
    found = []
    if case.references is not None:
        kind = "network, with references" if case.arm == "real" else "set, with references"
        found.append((kind, most_found(case.references)))
    if case.set is not None:
        found.append(("set itself", most_found(case.set)))
        found += [
            (f"set itself, {name}", most_found(case.set, name))
            for name in (STARTED, OTHERS) if case.set.results_on(name)
        ]  # fmt: skip
    return found


def named(case: WorstCase, cases: Sequence[WorstCase]) -> str:
    """The arm, and the member set where there are several."""
    return case.arm if len({each.seed for each in cases}) == 1 else f"{case.arm}, member set {case.seed}"


def worst_case_words(cases: Sequence[WorstCase], options: dict[str, Any]) -> list[str]:
    """What was tried, what was found, and what is not excluded; for people who have to decide."""
    exposed = [
        f"{named(case, cases)} ({what}: {share(result)})"
        for case in cases for what, result in results_of(case) if result.tpr(FPR).low > FPR
    ]  # fmt: skip
    shown = [
        f"{named(case, cases)} {case.canaries.epsilon.epsilon:.2f}"
        for case in cases if case.canaries is not None and case.canaries.epsilon.epsilon > 0
    ]  # fmt: skip
    tried = [
        "five attacks on the networks trained on each arm",
        *([f"attacks with {options['references']} references"] if options["references"] else []),
        *([f"{options['canaries']} mislabelled canaries"] if options["canaries"] else []),
        *(["the sets themselves"] if options["audit_set"] else []),
    ]
    missing = [
        *([] if options["references"] else ["a few members who stand out only beside reference models (--references)"]),
        *([] if options["canaries"] else ["unusual records, such as mislabelled ones (--canaries)"]),
        *([] if options["audit_set"] else ["what the sets themselves give away (--audit-set)"]),
    ]
    words = [f"Tried: {', '.join(tried)}."]
    if cases:
        words.append(
            "Found in the worst case: members beyond what 0.1 % false positives allow, of "
            f"{'; '.join(exposed) or 'no arm'}."
        )
    if options["canaries"]:
        words.append(f"Epsilon shown to be larger than 0, with 95 % confidence: {', '.join(shown) or 'of no arm'}.")
    words.append(
        f"Not excluded: {'; '.join([*missing, 'attacks that were not tried'])}. An audit finds leaks; only a proof, as "
        "differential privacy gives, excludes them."
    )
    return [" ".join(words)]


def entry_of(case: WorstCase) -> dict[str, Any]:
    """Everything on one arm, ready for JSON."""
    reports = {"references": case.references, "canaries": case.canaries, "set": case.set}
    own = {name: report.to_dict() for name, report in reports.items() if report is not None}
    return {"arm": case.arm, "member_set": case.seed, **own}


def in_words(case: WorstCase) -> str:
    """One line on the worst case of an arm."""
    parts = [f"{what}: {share(result)}" for what, result in results_of(case)]
    if case.canaries is not None:
        parts.append(f"canaries: {case.canaries.epsilon}")
    return f"{case.arm}, member set {case.seed}: {'; '.join(parts) or 'nothing to attack'}"

"""What an audit says in sentences: its answers, and what a reader has to know of its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from privacy.intervals import FEWEST_RECORDS, ONE_SPLIT
from privacy.metrics import FPR_LEVELS
from privacy.results import Found, Result
from privacy.slices import WHOLE
from privacy.verdict import FALSE_ALARMS, Verdict

if TYPE_CHECKING:  # a report speaks of itself
    from privacy.report import AuditReport

__all__ = ["answers", "headline", "notes", "slice_notes"]


def headline(report: AuditReport) -> str:
    """One line on what was attacked and how."""
    about = report.about
    return (
        f"{about['members']} members ({100 * about['member_accuracy']:.1f} % answered right), "
        f"{about['non_members']} non-members ({100 * about['non_member_accuracy']:.1f} %), {about['classes']} "
        f"classes; engine {about['engine']}, seed {about['seed']}; splits {about['splits']}; {about['seconds']:.1f} s, "
        f"jobs {about['jobs']}"
    )


def answers(report: AuditReport) -> tuple[str, str, str]:
    """Whether members are told apart on average, whether a few are exposed, and how sure both answers are."""
    verdict = report.verdict
    return average_answer(report, verdict), few_answer(report, verdict), sureness(verdict)


def average_answer(report: AuditReport, verdict: Verdict) -> str:
    """The answer to the first question."""
    best = verdict.average
    if best is None:
        return f"On average: not tested, there are fewer than {FEWEST_RECORDS} records on a side."
    who = f"“{report.titles[best.attack]}”{among(best)}"
    if verdict.reversed is not None and not verdict.leaks_on_average:
        return (
            "On average: members and non-members differ, but the wrong way round: the attack "
            f"“{report.titles[verdict.reversed.attack]}” has an AUC of {verdict.reversed.auc}. Are the two sides "
            "swapped? Or do they differ in something else than membership?"
        )
    if verdict.leaks_on_average:
        return (
            f"On average: members can be told from non-members. The attack {who} ranks a member above a non-member "
            f"in {100 * best.auc.value:.1f} % of all pairs (AUC {best.auc}); guessing does in 50 %."
        )
    return (
        "On average: no attack tells members from non-members better than guessing. What comes closest is the attack "
        f"{who}, with an AUC of {best.auc}."
    )


def few_answer(report: AuditReport, verdict: Verdict) -> str:
    """The answer to the second question."""
    best, found = verdict.few, verdict.found
    if best is None or found is None:
        return f"The exposed few: not tested, there are fewer than {FEWEST_RECORDS} records on a side."
    who = f"“{report.titles[best.attack]}”{among(best)}"
    if verdict.exposes_a_few:
        return f"The exposed few: some members are. The attack {who} finds {found_words(best, found)}."
    return (
        "The exposed few: no attack finds more members than chance does while it calls 1 % of the non-members, or "
        f"fewer, members by mistake. What comes closest is the attack {who}, with {found_words(best, found)}."
    )


def found_words(result: Result, found: Found) -> str:
    """How many members were found, at what price, and how many chance finds."""
    if found.false_positives == 0:
        price = "with no non-member called a member by mistake"
    else:
        price = f"at {found.false_positives} of {result.non_members} non-members called members by mistake"
    members = f"{found.members:.0f} of {result.members} members ({100 * found.members / result.members:.1f} %)"
    chance = f"{found.chance:.0f}" if found.chance >= 10 else f"{found.chance:.1f}"
    return f"{members} {price}, where chance finds {chance}"


def among(result: Result) -> str:
    """Which slice a result is about, if not the whole."""
    return "" if result.slice == WHOLE else f" on the part “{result.slice}”"


def sureness(verdict: Verdict) -> str:
    """What both answers allow for."""
    first, second = verdict.comparisons
    return (
        f"These answers allow for the {first} and {second} figures that were looked at: where nothing leaks, at most "
        f"{100 * FALSE_ALARMS:.0f} % of audits say that something does. Attacks that fail prove nothing about other "
        "attacks."
    )


def notes(report: AuditReport) -> list[str]:
    """What a reader of all figures has to know."""
    found = list(report.about["notes"])
    trained = [result for result in report.results if result.auc.why == ONE_SPLIT]
    if trained:
        found.append(
            "attacks that are trained have no interval here: on a single split the errors of both halves may go "
            "together; splits=3 gives intervals"
        )
    if left_out := report.about["left_out"]:
        named = ", ".join(f"{name} (no {sides})" for name, sides in left_out.items())
        found.append(f"left out, for want of records: {named}")
    return found


def slice_notes(report: AuditReport, slice: str) -> list[str]:
    """What a reader of one slice's figures has to know."""
    own = [result for result in report.results if result.slice == slice]
    members, non_members = own[0].members, own[0].non_members
    found = []
    if slice in report.about["one_sided"]:
        found.append(
            "picked on one side alone: these figures compare different kinds of records, and may show that kind and "
            "not membership; they do not count in the answers above"
        )
    if min(members, non_members) < FEWEST_RECORDS:
        found.append(f"with fewer than {FEWEST_RECORDS} records on a side no interval is honest, and nothing is tested")
    if few := [f"{100 * level:g} %" for level in FPR_LEVELS if non_members * level < 1]:
        found.append(f"with {non_members} non-members an FPR of {' or '.join(few)} cannot be measured")
    reversed_ones = [result.attack for result in own if report.verdict.is_reversed(result)]
    if reversed_ones:
        found.append(
            f"{', '.join(reversed_ones)}: non-members look more like members than members do, beyond chance; the two "
            "sides differ in something else than membership"
        )
    return found

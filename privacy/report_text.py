"""What an audit says in sentences: its answers, and what a reader has to know about its results."""

from privacy.attack_results import Found, Result
from privacy.audit_results import AuditResults
from privacy.intervals import FEWEST_RECORDS, ONE_SPLIT
from privacy.metrics import FPR_LEVELS
from privacy.slices import WHOLE
from privacy.verdict import FALSE_ALARMS, Verdict

__all__ = ["answers", "headline", "notes", "slice_notes"]


def headline(report: AuditResults) -> str:
    """One line on what was attacked and how."""
    about = report.about
    references = f", {about['references']} reference models" if about.get("references") else ""
    accuracies = [about[f"{side}_accuracy"] for side in ("member", "non_member")]
    known = all(accuracy is not None and accuracy == accuracy for accuracy in accuracies)  # not of losses alone
    right, other_right = (f" ({100 * accuracy:.1f} %{words})" if known else "" for accuracy, words in zip(
        accuracies, (" answered right", ""), strict=True))  # fmt: skip
    return (
        f"{about['members']} members{right}, {about['non_members']} non-members{other_right}, {about['classes']} "
        f"classes{references}; engine {about['engine']}, seed {about['seed']}; splits {about['splits']}; "
        f"{about['seconds']:.1f} s, jobs {about['jobs']}"
    )


def answers(report: AuditResults) -> tuple[str, str, str]:
    """Whether members are distinguished on average, whether a few are exposed, and how sure both answers are."""
    verdict = report.verdict
    return average_answer(report, verdict), few_answer(report, verdict), sureness(verdict)


def average_answer(report: AuditResults, verdict: Verdict) -> str:
    """The answer to the first question."""
    best = verdict.average
    if best is None:
        return f"On average: not tested, there are fewer than {FEWEST_RECORDS} members or non-members."
    who = f"“{report.titles[best.attack]}”{among(best)}"
    if verdict.reversed is not None and not verdict.leaks_on_average:
        return (
            "On average: members and non-members differ, but in the wrong direction: the attack "
            f"“{report.titles[verdict.reversed.attack]}” has an AUC of {verdict.reversed.auc}. Are the two sides "
            "swapped? Or do they differ in something other than membership?"
        )
    if verdict.leaks_on_average:
        return (
            f"On average: members can be distinguished from non-members. The attack {who} ranks a member above a "
            f"non-member in {100 * best.auc.value:.1f} % of all pairs (AUC {best.auc}); guessing does in 50 %."
        )
    return (
        "On average: no attack distinguishes members from non-members better than guessing. The strongest attack is "
        f"{who}, with an AUC of {best.auc}."
    )


def few_answer(report: AuditResults, verdict: Verdict) -> str:
    """The answer to the second question."""
    best, found = verdict.few, verdict.found
    if best is None or found is None:
        return f"The exposed few: not tested, there are fewer than {FEWEST_RECORDS} members or non-members."
    who = f"“{report.titles[best.attack]}”{among(best)}"
    if verdict.exposes_a_few:
        return f"The exposed few: some members are. The attack {who} finds {found_words(best, found)}."
    return (
        "The exposed few: no attack finds more members than chance does while it calls 1 % of the non-members, or "
        f"fewer, members by mistake. The strongest attack is {who}, which finds {found_words(best, found)}."
    )


def found_words(result: Result, found: Found) -> str:
    """How many members were found, at how many false positives, and how many chance finds."""
    if found.false_positives == 0:
        price = "with no non-member called a member by mistake"
    else:
        price = f"at {found.false_positives} of {result.non_members} non-members called members by mistake"
    members = f"{found.members:.0f} of {result.members} members ({100 * found.members / result.members:.1f} %)"
    chance = f"{found.chance:.0f}" if found.chance >= 10 else f"{found.chance:.1f}"
    return f"{members} {price}, where chance finds {chance}"


def among(result: Result) -> str:
    """Which slice a result is about, if not all records."""
    return "" if result.slice == WHOLE else f" on the slice “{result.slice}”"


def sureness(verdict: Verdict) -> str:
    """What both answers take into account."""
    first, second = verdict.comparisons
    return (
        f"These answers are corrected for multiple testing ({first} and {second} tests): if there is no leak, at most "
        f"{100 * FALSE_ALARMS:.0f} % of audits report one. Attacks that fail prove nothing about other attacks."
    )


def notes(report: AuditResults) -> list[str]:
    """What a reader has to know about all results."""
    found = list(report.about["notes"])
    trained = [result for result in report.results if result.auc.why == ONE_SPLIT]
    if trained:
        found.append(
            "attacks that are trained have no interval here: on a single split both halves may err in the same "
            "direction; splits=3 gives intervals"
        )
    if left_out := report.about["left_out"]:
        named = ", ".join(f"{name} (no {sides})" for name, sides in left_out.items())
        found.append(f"skipped, because they have no members or no non-members: {named}")
    return found


def slice_notes(report: AuditResults, slice_name: str) -> list[str]:
    """What a reader has to know about one slice's results."""
    own = report.results_on(slice_name)
    members, non_members = own[0].members, own[0].non_members
    found = []
    if slice_name in report.about["one_sided"]:
        found.append(
            "only members or only non-members were selected here, so differences may reflect the selection and not "
            "membership; these results do not count in the answers above"
        )
    if min(members, non_members) < FEWEST_RECORDS:
        found.append(
                f"with fewer than {FEWEST_RECORDS} members or non-members, confidence intervals are unreliable and no "
                "test is made"
            )
    if few := [f"{100 * level:g} %" for level in FPR_LEVELS if non_members * level < 1]:
        found.append(f"with {non_members} non-members an FPR of {' or '.join(few)} cannot be estimated")
    reversed_ones = [result.attack for result in own if report.verdict.is_reversed(result)]
    if reversed_ones:
        found.append(
            f"{', '.join(reversed_ones)}: non-members look more like members than members do, beyond chance; the two "
            "sides differ in something other than membership"
        )
    return found

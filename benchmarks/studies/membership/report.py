"""What the membership-inference benchmark leaves behind: results as JSON, tables with their reading, plots, a page."""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness.cost import took
from benchmarks.harness.paper_results import MEMBERSHIP, MEMBERSHIP_ATTACKS
from benchmarks.studies.membership.worst_case import WorstCase
from benchmarks.studies.membership.worst_case_report import (
    WORST,
    entry_of,
    worst_case_table,
    worst_case_tables,
    worst_case_words,
)
from distill import SyntheticSet
from privacy import AuditReport, Interval, Summary, auc_ceiling
from privacy.tables import text_table

__all__ = ["reported"]

def reported(
    folder: Path,
    options: dict[str, Any],
    reports: dict[str, list[AuditReport]],
    worst: list[WorstCase],
    cost: Mapping[str, Any],
) -> tuple[dict[str, Any], str]:
    """Draw the plots and write report.html; returns the results by name and the table."""
    summary = Summary(reports)
    differences = arm_differences(summary, options, folder)
    partial = [name for name in reports if "," in name]
    found = [above_guessing(summary, name, comparisons=len(partial) * len(summary.attacks)) for name in partial]
    headline = worst_case_words(worst, options, summary.attacks)
    paragraphs = [protocol(options), *reading(reports, options), *found, *told_apart(differences)]
    above = [*headline, *([WORST.capitalize() + ".", *worst_case_tables(worst)] if worst else [])]
    title = f"Membership-inference audit: {options['dataset']}"
    summary.to_html(folder / "report.html", title=title, notes=paragraphs, above=above)
    summary.plot_auc(folder / "auc.png")
    if len(options["train_steps"]) > 1:
        summary.plot_curves(folder / "curves.png")
    texts = [textwrap.fill(paragraph, 110) for paragraph in paragraphs]
    figures = {
        **summary.to_dict(),
        "differences_from_subset": {
            arm: {attack: vars(interval) for attack, interval in own.items()} for arm, own in differences.items()
        },
        "worst_case": [entry_of(case) for case in worst],
        "audits": {name: [report.to_dict() for report in own] for name, own in reports.items()},
    }
    first = [*(textwrap.fill(paragraph, 110) for paragraph in headline), *([worst_case_table(worst)] if worst else [])]
    return figures, "\n\n".join([texts[0], *first, str(summary) + published(options), *texts[1:], took(cost)])


def protocol(options: dict[str, Any]) -> str:
    """How the results came about."""
    augmented = "with" if options["train"]["augment"] else "without"
    private = [arm for arm in options["arms"] if "epsilon" in options.get(arm, {})]
    budgets = "; ".join(f"{arm} {options[arm]['epsilon']:g} at delta {options[arm]['delta']:g}" for arm in private)
    proven = (
        f" Proven epsilon, for one member replaced by a blank one: {budgets}; images of these arms are mapped to "
        "[-1, 1]."
    )
    return (
        f"{options['dataset']}, preset {options['preset']}: {options['members']} members and as many non-members, both "
        f"from the training set; member sets {', '.join(map(str, options['seeds']))}, disjoint. Every model is the "
        f"same network trained by the same recipe {augmented} augmentation, on all members (real) or on "
        f"{options['images_per_class']} images per class made from them. The attacker sees logits, label and training "
        f"loss. Attacks by engine {options['engine']}. Accuracy on the test images."
        + (proven if private else "")
    )


def reading(reports: dict[str, list[AuditReport]], options: dict[str, Any]) -> list[str]:
    """What the counts alone imply."""
    made = {name: options[name] for name in reports if isinstance(options.get(name), dict)}
    private = [name for name, own in made.items() if "epsilon" in own]
    noise = [name for name, own in made.items() if name not in private and own.get("init") == "noise"]
    sizes = {own[0].info["training_images"] for name, own in reports.items() if name not in (*private, *noise)}
    few = sorted(size for size in sizes if size < options["members"])
    paragraphs = [
        f"Ceiling: {n} of {options['members']} members are in the subset, or were the start of the distilled images. "
        "Were these distinguished without error, and the others not at all, the AUC over all members would be "
        f"{auc_ceiling(n, options['members']):.3f}: an AUC near 0.5 there is arithmetic, not privacy. Look at the "
        "initial members by themselves; and at the others, which a subset never saw, but a distillation did."
        for n in few
    ]
    if noise:
        paragraphs.append(f"{', '.join(noise)} started from noise: no member is an initial one.")
    if private:
        paragraphs.append(f"{', '.join(private)} started from no member's image: no member is an initial one.")
    return paragraphs


def above_guessing(summary: Summary, name: str, *, comparisons: int) -> str:
    """Which attacks find the members of one part of an arm; `comparisons`: how many attacks on parts are looked at."""
    intervals = {attack: summary.auc(name, attack) for attack in summary.attacks}
    found = [f"{attack} {i}" for attack, i in intervals.items() if i.stretched(comparisons).low > 0.5]
    return (
        f"{name}: distinguished from non-members beyond the 95 % interval, widened for {comparisons} comparisons, by "
        f"{', '.join(found) or 'no attack'}."
    )


def arm_differences(
    summary: Summary, options: dict[str, Any], folder: Path
) -> dict[str, dict[str, Interval]]:
    """AUC of each distilled arm minus the subset's, over all members and over the initial ones, by attack.

    The initial members can be compared where both sets were started from the same images.
    """
    differences = {}
    for arm in options["arms"]:
        if arm in ("real", "subset") or "subset" not in summary.reports:
            continue
        pairs = [(arm, "subset")]
        if initial_members(folder, arm, options["seeds"]) == initial_members(folder, "subset", options["seeds"]):
            pairs.append((f"{arm}, initial members", "subset, initial members"))
        for name, other in pairs:
            if name in summary.reports:
                differences[name] = {attack: summary.difference(name, other, attack) for attack in summary.attacks}
    return differences


def initial_members(folder: Path, arm: str, seeds: list[int]) -> list[list[int]]:
    """Positions of the members that an arm's sets were started from, for each member set."""
    paths = [folder / arm / f"members-{seed}" / "synthetic.safetensors" for seed in seeds]
    return [sorted(SyntheticSet.load(path).made_by.get("started_from", [])) for path in paths]


def told_apart(differences: dict[str, dict[str, Interval]]) -> list[str]:
    """Whether each arm's AUCs differ from the subset's beyond their intervals, widened for their number."""
    paragraphs = []
    comparisons = sum(len(intervals) for intervals in differences.values())
    for name, intervals in differences.items():
        wider = {attack: interval.stretched(comparisons) for attack, interval in intervals.items()}
        lower = [attack for attack, interval in wider.items() if interval.high < 0]
        higher = [attack for attack, interval in wider.items() if interval.low > 0]
        all_of_them = ", ".join(
            f"{attack} {interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"
            for attack, interval in intervals.items()
        )
        verdicts = [f"lower for {', '.join(lower)}"] * bool(lower) + [f"higher for {', '.join(higher)}"] * bool(higher)
        verdict = " and ".join(verdicts) or "neither lower nor higher for any attack: the two are not distinguished"
        paragraphs.append(
            f"{name}, AUC minus that of the random subset (paired 95 % interval for each attack): "
            f"{all_of_them}. Beyond the interval, widened for {comparisons} comparisons, it is {verdict}."
        )
    return paragraphs


def published(options: dict[str, Any]) -> str:
    """The paper's results for this data set and sizes, if it has them; its budget was another one."""
    same_sizes = (options["members"], options["images_per_class"]) == (10_000, 50)
    figures = MEMBERSHIP.get(options["dataset"], {}) if same_sizes else {}
    rows = [["published", "test accuracy, %", *MEMBERSHIP_ATTACKS]]
    rows += [[arm, *map(str, row)] for arm, row in figures.items() if arm in options["arms"]]
    if len(rows) == 1:
        return ""
    return "\n\npublished (500 000 distillation steps, width 128, five member sets)\n" + text_table(rows)

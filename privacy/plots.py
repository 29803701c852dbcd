"""Pictures of audits; figures without pyplot, so that no display is needed and nothing is global."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from privacy.aggregation import AggregatedAudits
from privacy.audit_results import AuditResults
from privacy.errors import InputError
from privacy.files import PICTURES, write_atomically

__all__ = ["COLOURS", "auc_figure", "curves_figure", "roc_figure", "roc_panel", "save_figure"]

COLOURS = {"threshold": "tab:gray", "lr": "tab:blue", "mlp": "tab:orange", "rf": "tab:red", "knn": "tab:green"}


def roc_figure(report: AuditResults, slice_name: str) -> Figure:
    """ROC curves of all attacks on a slice: linear axes at the left, logarithmic ones at the right."""
    figure = Figure(figsize=(10, 4.8))
    margins = {"left": 0.065, "right": 0.985, "bottom": 0.105, "top": 0.93, "wspace": 0.27}  # of any curves
    for axes, logarithmic in zip(figure.subplots(1, 2, gridspec_kw=margins), (False, True), strict=True):
        draw_roc(axes, report, slice_name, logarithmic=logarithmic)
    return figure


def roc_panel(report: AuditResults, slice_name: str, *, logarithmic: bool) -> Figure:
    """One half of `roc_figure`, for narrow pages."""
    figure = Figure(figsize=(5, 4.6))
    margins = {"left": 0.185, "right": 0.97, "bottom": 0.11, "top": 0.93}
    draw_roc(figure.subplots(gridspec_kw=margins), report, slice_name, logarithmic=logarithmic)
    return figure


def draw_roc(axes: Axes, report: AuditResults, slice_name: str, *, logarithmic: bool) -> None:
    """ROC curves of all attacks on a slice, on linear axes with a legend or on logarithmic ones."""
    lowest = min(1.0, 1 / report.strongest(slice_name).non_members)
    for attack in report.scores:
        roc, auc = report.roc(attack, slice_name), report.result(attack, slice_name).auc
        label = literal(f"{report.titles[attack]}: {auc.value:.3f}")
        axes.plot(roc.fpr, roc.tpr, label=label, color=COLOURS.get(attack), linewidth=1.4)
    line = np.geomspace(lowest / 2, 1, 100)
    axes.plot(line, line, color="black", linestyle=":", linewidth=1, label="guessing: 0.500")
    axes.set_xlabel("false positive rate (non-members called members)")
    axes.set_ylabel("true positive rate (members found)")
    axes.grid(alpha=0.3)
    if logarithmic:
        axes.set(xscale="log", yscale="log", xlim=(min(lowest, 0.5), 1), ylim=(min(lowest, 0.5), 1.1))
        axes.set_title("the most exposed records")
    else:
        axes.legend(title="AUC", frameon=False, loc="lower right")
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_title("the average record")


def literal(text: str) -> str:
    """A text that matplotlib draws unchanged: without formulas, and not left out of the legend."""
    return text.replace("$", r"\$").lstrip("_") or "?"


def save_figure(figure: Figure, path: str | Path) -> Path:
    """Write a figure atomically; raises `InputError` unless the name ends in one of `PICTURES`."""
    if Path(path).suffix.lower() not in PICTURES:
        raise InputError(f"cannot draw {path}; expected a name that ends in {', '.join(PICTURES)}")
    return write_atomically(path, lambda file: figure.savefig(file, dpi=150))


def auc_figure(summary: AggregatedAudits) -> Figure:
    """AUC of every attack on every arm, at its largest number of training steps, as points with their spread."""
    rows = summary.last()
    figure = Figure(figsize=(6.4, 1.6 + 0.75 * len(rows)), layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(rows))[::-1]
    for i, attack in enumerate(summary.attacks):
        values = [row.auc[attack] for row in rows]
        offset = 0.13 * ((len(summary.attacks) - 1) / 2 - i)
        axes.errorbar(
            [value.mean for value in values], places + offset, xerr=[np.nan_to_num(value.spread) for value in values],
            fmt="o", markersize=5, capsize=2, label=literal(summary.titles[attack]), color=COLOURS.get(attack),
        )
    axes.axvline(0.5, color="black", linestyle=":", linewidth=1)
    axes.set_yticks(places, [literal(row.arm) for row in rows])
    axes.set_xlabel("AUC (0.5: guessing, 1: every member found)")
    lowest = min(value.mean - np.nan_to_num(value.spread) for row in rows for value in row.auc.values())
    axes.set_xlim(min(0.45, lowest - 0.02), 1.01)  # no AUC is above 1
    axes.grid(alpha=0.3, axis="x")
    figure.legend(frameon=False, loc="outside lower center", ncols=3)
    return figure


def curves_figure(summary: AggregatedAudits) -> Figure:
    """Test accuracy, and AUC of the strongest attack, against training steps, a line for each arm."""
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    by_arm = {arm: [r for r in summary.rows if r.arm == arm and r.train_steps is not None] for arm in summary.reports}
    # Arms that were audited only at the end are not curves.
    for arm, rows in ({arm: rows for arm, rows in by_arm.items() if len(rows) > 1} or by_arm).items():
        steps = [row.train_steps for row in rows]
        strongest = [max(row.auc.values(), key=lambda value: value.mean) for row in rows]
        accuracies = [(row.train_steps, row.test_accuracy) for row in rows if row.test_accuracy]
        line = right.errorbar(
            steps, [value.mean for value in strongest], yerr=[np.nan_to_num(value.spread) for value in strongest],
            marker="o", markersize=4, capsize=2, label=literal(arm),
        )
        left.errorbar(
            [step for step, _ in accuracies], [100 * value.mean for _, value in accuracies],
            yerr=[100 * np.nan_to_num(value.spread) for _, value in accuracies],
            marker="o", markersize=4, capsize=2, color=line.lines[0].get_color(),
        )
    right.axhline(0.5, color="black", linestyle=":", linewidth=1)
    left.set(xlabel="training steps", ylabel="test accuracy, %", xscale="log")
    right.set(xlabel="training steps", ylabel="AUC of the strongest attack", xscale="log")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    right.legend(frameon=False)
    return figure

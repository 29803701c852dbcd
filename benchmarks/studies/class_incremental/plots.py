"""Plots of the class-incremental benchmark."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.harness.methods import COLOURS
from benchmarks.harness.plots import save
from distill import SyntheticSet

__all__ = ["plot_accuracy", "plot_krr"]


def plot_accuracy(
    path: Path, title: str, summary: dict[str, dict[str, Any]], published: dict[str, float]
) -> None:
    """Accuracy against classes seen, one line a method, a band of one standard deviation; the paper's final marks."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for method, own in summary.items():
        classes = [point["classes_seen"] for point in own["curve"]]
        means = [point["mean"] for point in own["curve"]]
        axes.plot(classes, means, marker="o", markersize=4, label=method, color=COLOURS.get(method))
        if own["curve"][0]["n"] > 1:
            low = [point["mean"] - point["std"] for point in own["curve"]]
            high = [point["mean"] + point["std"] for point in own["curve"]]
            axes.fill_between(classes, low, high, alpha=0.2, color=COLOURS.get(method), linewidth=0)
    for (name, value), marker in zip(published.items(), "*X", strict=False):
        colour = COLOURS.get(name.lower(), "tab:green")
        axes.scatter(classes[-1], value, marker=marker, s=90, color=colour, edgecolors="black", linewidths=0.6,
                     label=f"{name}, paper (final)", zorder=3)
    axes.set_xlabel("classes seen")
    axes.set_ylabel("accuracy over classes seen")
    axes.set_title(title)
    axes.set_xticks(classes)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    lowest, highest = axes.get_ylim()
    if lowest < highest / 2:  # from 0, unless the lines would only crowd at the top
        axes.set_ylim(0, highest)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    save(figure, path)


def plot_krr(path: Path, folder: Path, options: dict[str, Any]) -> None:
    """KRR accuracy on images that were not distilled, of the same classes: one line a distillation, and their mean."""
    histories = [
        part["history"]
        for seed in options["seeds"]
        for step in range(options["steps"])
        for part in parts_of(SyntheticSet.load(folder / "frepo" / f"order-{seed}" / f"experience-{step}.safetensors"))
    ]
    histories = [history for history in histories if history and "krr_accuracy" in history[0]]
    if not histories:
        return
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    steps = [entry["step"] for entry in histories[0]]
    lines = [[entry["krr_accuracy"] for entry in history] for history in histories]
    for line in lines:
        axes.plot(steps, line, color="tab:gray", alpha=0.4, linewidth=1)
    axes.plot(steps, [sum(values) / len(values) for values in zip(*lines, strict=True)], color="tab:red", marker="o",
              label=f"mean of {len(lines)} distillations")
    axes.set_xlabel("distillation step")
    axes.set_ylabel("KRR accuracy, images not distilled")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    save(figure, path)


def parts_of(synthetic: SyntheticSet) -> list[dict[str, Any]]:
    """How each part of a set was made."""
    return synthetic.made_by.get("parts", [synthetic.made_by])

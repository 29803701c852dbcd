"""What the benchmark of private methods tells: its table, and accuracy against epsilon."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmarks.harness.methods import COLOURS
from benchmarks.harness.plots import accuracy_axis, draw
from benchmarks.harness.results import Records, mean_and_spread, percent, summarized, tested_on
from benchmarks.studies.private.options import PRIVATE, SGD
from privacy.tables import text_table

__all__ = ["describe", "reported"]

Summary = Mapping[str, Mapping[str, Mapping[str, Any]]]
COLOURS_OF_SGD = dict(zip(SGD, ("black", "tab:gray"), strict=True))


def describe(record: Mapping[str, Any]) -> str:
    """One line on one method, budget and seed."""
    accuracy = 100 * sum(record["accuracy"]) / len(record["accuracy"])
    return (
        f"{record['method']} with epsilon {record['asked']}, seed {record['order']}: accuracy {accuracy:.1f} %, "
        f"epsilon proven {record['epsilon']:.3g}"
    )


def reported(folder: Path, options: dict[str, Any], records: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Draw the plot; returns the results by name and the table."""
    summary = summarize(records)
    draw(folder / "epsilon.png", title_of(options), (7.5, 5), lambda axes: fill(axes, summary, options["delta"]))
    return {"summary": summary, "points": records}, format_table(options, summary)


def summarize(records: Records) -> dict[str, dict[str, dict[str, Any]]]:
    """For each method and budget, as text: mean and standard deviation over seeds and networks; seconds a seed."""
    return summarized(records, "method", "asked", point_of)


def point_of(records: Records) -> dict[str, Any]:
    """Of one method and budget: accuracy, the highest epsilon, and seconds a seed."""
    values = [value for record in records for value in record["accuracy"]]
    mean, spread = mean_and_spread(values)
    return {
        "mean": mean, "std": spread, "n": len(values),
        "epsilon": max(record["epsilon"] for record in records),
        "seconds": sum(sum(record["seconds"].values()) for record in records) / len(records),
    }  # fmt: skip


def title_of(options: Mapping[str, Any]) -> str:
    """What was measured, in a line."""
    steps = f"{options['steps']} class-incremental steps" if options["steps"] > 1 else "all classes at once"
    return f"{options['dataset']}, {options['images_per_class']} images per class in a set, {steps}"


def format_table(options: Mapping[str, Any], summary: Summary) -> str:
    """Accuracy of each method at each budget, and what the rows are."""
    budgets = options["epsilon"]
    rows = [["epsilon", *budgets, "seconds"]]
    for method, points in summary.items():
        cells = [percent(points[asked]) if asked in points else "-" for asked in budgets]
        seconds = max(point["seconds"] for point in points.values())
        rows.append([method, *cells, f"{seconds:.0f}"])
    about = [
        f"{title_of(options)}, preset {options['preset']}, delta {options['delta']:g}.",
        f"Accuracy in % over all classes on {tested_on(options)}, after the last step; mean ± standard deviation over",
        f"seeds {options['seeds']}, and {options['networks']} networks for each set. Seconds: the longest of a row.",
        "",
    ]
    return "\n".join([*about, text_table(rows), "", *notes(options, summary)])


def notes(options: Mapping[str, Any], summary: Summary) -> list[str]:
    """What has to be known of the rows that are there."""
    lines = []
    if {*SGD} & summary.keys():
        lines.append("dp-sgd trains one network on the records for each seed; it leaves no set.")
    if options["steps"] > 1:
        lines.append("Steps hold disjoint records: epsilon is that of a step, and of the whole stream.")
    if "dp-sgd-joint" in summary:
        lines.append("dp-sgd-joint has the records of all steps at once, which no stream allows.")
    if "inf" in options["epsilon"]:
        lines.append("inf: no noise; private-frepo is plain FRePo there, dp-sgd clips all the same.")
    return lines


def fill(axes: Axes, summary: Summary, delta: float) -> None:
    """A line for each method over the budgets, in logarithms; what has no noise stands to the right of them."""
    finite = sorted({float(asked) for points in summary.values() for asked in points if asked != "inf"})
    end = 2 * finite[-1] if finite else 1.0
    for method, points in summary.items():
        places = sorted((end if asked == "inf" else float(asked), asked) for asked in points)
        colour = COLOURS_OF_SGD.get(method) or COLOURS.get(method)
        axes.errorbar(
            [place for place, _ in places], [points[asked]["mean"] for _, asked in places],
            yerr=[0 if math.isnan(points[asked]["std"]) else points[asked]["std"] for _, asked in places],
            label=method if method in PRIVATE else f"{method} (no set)", color=colour, marker="o", capsize=2,
            linestyle="-" if method in PRIVATE else "--",
        )  # fmt: skip
    axes.set_xscale("log")
    ended = any("inf" in points for points in summary.values())
    ticks = {**{place: f"{place:g}" for place in finite}, **({end: "∞"} if ended else {})}
    axes.set_xticks(list(ticks), list(ticks.values()))
    axes.minorticks_off()
    axes.set_xlabel(f"epsilon at delta {delta:g}")
    accuracy_axis(axes, "y", name="accuracy over all classes")
    axes.legend(frameon=False)

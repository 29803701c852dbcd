"""Plots of the speed benchmark: how time and memory grow, and where the time of a step goes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.harness.methods import COLOURS
from benchmarks.harness.paper_results import TABLE_8, TABLE_9, TABLE_10, TABLE_11
from benchmarks.harness.plots import save

__all__ = ["plot_growth", "plot_parts"]

TITLES = {"frepo": "FRePo", "plain": "FRePo, plain", "dm": "DM", "dsa": "DSA"}
PAPER = {"frepo": "FRePo", "dm": "DM", "dsa": "DSA"}
TABLES = {"width": (TABLE_8, TABLE_9), "images": (TABLE_10, TABLE_11)}
PART_TITLES = {"real": "real features", "meta": "meta-gradient", "pool": "pool training", "rest": "rest"}
PART_COLOURS = {"real": "tab:blue", "meta": "tab:red", "pool": "tab:green", "rest": "tab:gray"}


def plot_growth(path: Path, records: Sequence[dict[str, Any]], growth: Mapping[str, Any]) -> None:
    """Seconds and memory against width and number of images: ours solid, the paper's dashed, exponents in legends."""
    figure = Figure(figsize=(15, 9), layout="constrained")
    grid = figure.subplots(2, 2)
    for column, (study, label) in enumerate((("width", "width"), ("images", "distilled images"))):
        rows = [record for record in records if record["study"] == study and "seconds" in record]
        for row, (what, unit) in enumerate((("seconds", "seconds per step"), ("peak_memory_mib", "peak memory, MiB"))):
            axes = grid[row][column]
            axes.set(xscale="log", yscale="log", xlabel=label, ylabel=unit)
            axes.grid(alpha=0.3)
            draw(axes, rows, study, growth[study], what)
    figure.suptitle("A step, measured here (solid) and published, on an RTX 6000 (dashed); growth exponents in legends")
    save(figure, path, dpi=130)


def draw(
    axes: Axes, rows: Sequence[dict[str, Any]], study: str, growth: Mapping[str, Any], what: str
) -> None:
    """One pair of axes."""
    table, unit = TABLES[study][what != "seconds"], 1e-3 if what == "seconds" else 1e3 / 1.048576
    for method in dict.fromkeys(row["what"] for row in rows):
        own = [row for row in rows if row["what"] == method]
        values = [row["seconds"]["median"] if what == "seconds" else row[what] for row in own]
        colour = COLOURS.get(method, "black")
        name = TITLES[method] + exponent(growth.get(method, {}).get(what))
        axes.plot([row[study] for row in own], values, marker="o", color=colour, label=name)
        if method in PAPER:
            published = [table[size][PAPER[method]] * unit for size in table]
            name = f"{TITLES[method]}, paper" + exponent(growth.get(f"{method} (paper)", {}).get(what))
            axes.plot(list(table), published, linestyle="--", marker=".", alpha=0.7, color=colour, label=name)
    if rows:
        ticks = sorted({row[study] for row in rows})
        axes.set_xticks(ticks, [str(tick) for tick in ticks])
        axes.xaxis.minorticks_off()
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def exponent(value: float | None) -> str:
    """For a legend."""
    return "" if value is None else f" (^{value:.2f})"


def plot_parts(path: Path, records: Sequence[dict[str, Any]]) -> None:
    """Where the time of a step goes, as shares of it, by width and by number of distilled images."""
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    for axes, (study, label) in zip(
        figure.subplots(1, 2), (("width", "width"), ("images", "distilled images")), strict=True
    ):
        rows = [record for record in records if record["study"] == study]
        bottom = [0.0] * len(rows)
        for part, title in PART_TITLES.items():
            values = [share_of_step(row, part) for row in rows]
            places = range(len(rows))
            axes.bar(places, values, bottom=bottom, color=PART_COLOURS[part], label=title)
            bottom = [low + value for low, value in zip(bottom, values, strict=True)]
        axes.set_xticks(range(len(rows)), [str(row[study]) for row in rows])
        axes.set(xlabel=label, ylabel="share of a FRePo step", ylim=(0, 1))
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    save(figure, path, dpi=130)


def share_of_step(record: Mapping[str, Any], part: str) -> float:
    """What a part takes of the time of all of them, the rest included."""
    parts = {name: value["seconds"]["median"] for name, value in record["parts"].items()}
    whole = max(record["seconds"]["median"], sum(parts.values()))
    return (whole - sum(parts.values()) if part == "rest" else parts[part]) / whole

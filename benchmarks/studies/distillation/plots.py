"""Plots of the distillation benchmark: accuracy by method, by network, against an option, and along the way."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmarks.harness.methods import COLOURS
from benchmarks.harness.plots import accuracy_axis, draw

__all__ = ["SECONDS_PLOT", "plot_columns", "plot_curves", "plot_rows", "plot_seconds", "plot_sweep"]

SECONDS_PLOT = "accuracy-against-seconds.png"


def spread(cell: Mapping[str, Any]) -> float:
    """Its standard deviation, or 0 for a single value."""
    return cell["std"] if cell["n"] > 1 else 0.0


def plot_rows(
    path: Path, cells: Sequence[dict[str, Any]], title: str, measured: str, paper: Mapping[str, float]
) -> None:
    """A point for each row, network and KRR; the paper's figures as stars."""
    published = {name.lower(): value / 100 for name, value in paper.items()}

    def fill(axes: Axes) -> None:
        for place, cell in enumerate(cells):
            colour = COLOURS.get(cell["method"], "black")
            axes.errorbar(cell["mean"], place, xerr=spread(cell), marker="o", color=colour, capsize=3)
            axes.scatter(cell["krr_mean"], place, marker="|", s=120, color=colour)
            if cell["row"] in published:
                axes.scatter(published[cell["row"]], place, marker="*", s=90, facecolors="none", edgecolors=colour)
        axes.scatter([], [], marker="o", color="black", label="network, ± standard deviation")
        axes.scatter([], [], marker="|", s=120, color="black", label="KRR")
        if published.keys() & {cell["row"] for cell in cells}:
            axes.scatter([], [], marker="*", s=90, facecolors="none", edgecolors="black",
                         label="network, paper (its own budget)")
        axes.set_yticks(range(len(cells)), [cell["row"] for cell in cells])
        axes.set_ylim(len(cells) - 0.5, -0.5)
        accuracy_axis(axes, "x", name=measured)
        axes.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.18 - 0.1 / len(cells)), ncols=3)

    draw(path, title, (7.5, 1.8 + 0.45 * len(cells)), fill)


def plot_columns(path: Path, cells: Sequence[dict[str, Any]], title: str, measured: str) -> None:
    """A line for each network trained, a point for each row's set."""
    columns = list(dict.fromkeys(cell["column"] for cell in cells))
    rows = list(dict.fromkeys(cell["row"] for cell in cells))

    def fill(axes: Axes) -> None:
        for number, row in enumerate(rows):
            own = [cell for cell in cells if cell["row"] == row]
            places = [columns.index(cell["column"]) + 0.5 * (number + 0.5) / len(rows) - 0.25 for cell in own]
            colour = COLOURS.get(row)
            axes.errorbar([cell["mean"] for cell in own], places, xerr=[spread(cell) for cell in own], fmt="o",
                          capsize=2, color=colour, label=row)
        axes.set_yticks(range(len(columns)), columns)
        axes.set_ylim(len(columns) - 0.5, -0.5)
        accuracy_axis(axes, "x", name=measured)
        axes.legend(frameon=False)

    draw(path, f"{title}: networks trained on each set", (7.5, 1.4 + 0.4 * len(columns)), fill)


def plot_sweep(
    path: Path,
    cells: Sequence[dict[str, Any]],
    option: str,
    value_of: Mapping[str, str | None],
    values: Sequence[str],
    title: str,
    measured: str,
) -> None:
    """Accuracy against the values of an option; rows that do not have it as level lines."""
    numbers = [as_number(value) for value in values]
    numeric = all(number is not None for number in numbers)
    places = {value: number if numeric and number is not None else float(i)
              for i, (value, number) in enumerate(zip(values, numbers, strict=True))}

    def fill(axes: Axes) -> None:
        swept = [cell for cell in cells if value_of[cell["row"]] is not None]
        swept.sort(key=lambda cell: places[value_of[cell["row"]] or ""])
        x = [places[value_of[cell["row"]] or ""] for cell in swept]
        colour = COLOURS.get(swept[0]["method"], "black")
        style: dict[str, Any] = {"marker": "o", "capsize": 3, "linestyle": "-" if numeric else "none"}
        axes.errorbar(x, [c["mean"] for c in swept], yerr=[spread(c) for c in swept], label="network", color=colour,
                      **style)
        axes.errorbar(x, [c["krr_mean"] for c in swept],
                      yerr=[c["krr_std"] if c["n"] > 1 else 0 for c in swept], label="KRR", color=colour, alpha=0.45,
                      **style)
        for cell in cells:
            if value_of[cell["row"]] is None:
                colour = COLOURS.get(cell["method"], "black")
                axes.axhline(cell["mean"], color=colour, linestyle="--", label=cell["row"])
        if numeric and min(x) > 0 and max(x) / min(x) >= 10:
            axes.set_xscale("log")
        axes.set_xticks([places[value] for value in values], list(values), minor=False)
        axes.minorticks_off()
        axes.set_xlabel(option)
        accuracy_axis(axes, "y", name=measured)
        axes.legend(frameon=False)

    draw(path, title, (6.5, 4.2), fill)


def plot_curves(path: Path, histories: Mapping[str, list[list[dict[str, float]]]], title: str) -> None:
    """KRR accuracy of the pool's models along the distillations that recorded it, mean over seeds."""
    recorded = {name: own for name, own in histories.items() if all("krr_accuracy" in h[0] for h in own)}
    if not recorded:
        return

    def fill(axes: Axes) -> None:
        for name, own in recorded.items():
            steps = [entry["step"] for entry in own[0]]
            means = [sum(entry["krr_accuracy"] for entry in at) / len(at) for at in zip(*own, strict=True)]
            axes.plot(steps, means, marker="o", markersize=3, label=name)
        axes.set_xlabel("distillation step")
        accuracy_axis(axes, "y", name="KRR accuracy, models of the pool")
        axes.legend(frameon=False)

    draw(path, title, (6.5, 4.2), fill)


def plot_seconds(
    path: Path, along: Sequence[Mapping[str, Any]], rows: Sequence[Mapping[str, Any]], title: str, measured: str
) -> None:
    """Accuracy of networks against seconds of distilling, with bands of the standard deviation (Figure 3a and b).

    - `along`: cells of the methods that learn images, at several moments. `rows`: cells of all; those that learn none
      are level lines, with a point after the seconds that they take.
    """
    own_colours = {cell["row"] for cell in rows if cell["row"] == cell["method"]}

    def fill(axes: Axes) -> None:
        for row in dict.fromkeys(cell["row"] for cell in along):
            cells = sorted((cell for cell in along if cell["row"] == row), key=lambda cell: cell["seconds"])
            seconds, means = [cell["seconds"] for cell in cells], [cell["mean"] for cell in cells]
            (line,) = axes.plot(seconds, means, marker="o", markersize=4, label=row,
                                color=COLOURS.get(row) if row in own_colours else None)  # fmt: skip
            low, high = ([cell["mean"] + sign * spread(cell) for cell in cells] for sign in (-1, 1))
            axes.fill_between(seconds, low, high, color=line.get_color(), alpha=0.15, linewidth=0)
        axes.set_xscale("log")
        left, right = axes.get_xlim()
        for cell in rows:
            if cell["row"] not in {other["row"] for other in along}:
                colour = COLOURS.get(cell["method"], "black")
                axes.axhline(cell["mean"], color=colour, linestyle="--", linewidth=1, label=cell["row"])
                at = min(max(cell["distil_seconds"], left), right)
                axes.errorbar(at, cell["mean"], yerr=spread(cell), marker="o", markersize=4, capsize=3, color=colour)
        axes.set_xlim(left, right)
        axes.set_xlabel("seconds of distilling")
        accuracy_axis(axes, "y", name=measured)
        axes.legend(frameon=False)

    draw(path, title, (6.5, 4.2), fill)


def as_number(text: str) -> float | None:
    """The number that `text` is, if it is one."""
    try:
        return float(text)
    except ValueError:
        return None

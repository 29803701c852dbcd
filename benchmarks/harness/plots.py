"""How plots of all benchmarks are drawn: one pair of axes with a title, accuracies in percent, written whole."""

from collections.abc import Callable
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from distill.files import write_atomically

__all__ = ["accuracy_axis", "draw", "save"]


def save(figure: Figure, path: Path, *, dpi: int = 150) -> None:
    """Write a figure atomically."""
    write_atomically(path, lambda file: figure.savefig(file, dpi=dpi))


def draw(path: Path, title: str, size: tuple[float, float], fill: Callable[[Axes], None]) -> None:
    """Write one pair of axes with a title; `fill` draws in it."""
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    fill(axes)
    axes.set_title(title)
    save(figure, path)


def accuracy_axis(axes: Axes, which: str, *, name: str) -> None:
    """Percent, a name and a grid on the axis "x" or "y"."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_formatter(PercentFormatter(1.0))
    axis.set_label_text(name)
    axes.grid(alpha=0.3, axis="x" if which == "x" else "both")

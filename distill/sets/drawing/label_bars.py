"""Images beside their learned labels, as bars over class names."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from distill.sets.class_grids import draw_pixels
from distill.sets.drawing.shared import check_sets, save_figure, short_name
from distill.sets.synthetic import PICTURES, SyntheticSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["label_cases", "plot_labels"]

CASES = ("high confidence,\nlarge margin", "high confidence,\nsmall margin", "low confidence,\nsmall margin")
BARS = 5  # the top classes, where there are more than ALL_BARS
ALL_BARS = 10


def plot_labels(synthetic: SyntheticSet, path: str | Path, *, examples: int = 3) -> Path:
    """Draw images beside their learned labels, as bars over class names, in three cases (the paper's Figure 4d).

    Rows: high confidence and large margin; high confidence and small margin; low confidence and small margin. Each
    has `examples` columns, or fewer in a small set. Bars are of the five largest values, or of all in a problem of
    up to ten classes; the bar of the image's own class is darker. Values are as learned: no probabilities.

    How examples are picked, the same ones each time: confidence is a label's largest value, margin its distance to
    the second largest. First come the labels of the largest margin. The more confident half of the others, by
    confidence, gives the second row: those of the smallest margin. Of the rest, the least confident give the third.
    No image is drawn twice; ties are broken by the order of the set. Where all labels are equally confident (never
    learned, say), or there is one image, there are no cases, and the picture does not name any.

    Raises `InputError` for an empty set, `examples` below 1, or a name that is no picture's.
    """
    from matplotlib.figure import Figure  # no pyplot: no global state, no display needed

    check_sets(path, PICTURES, [synthetic], examples=examples)
    rows = label_cases(synthetic.soft_labels, examples)
    soft_labels = synthetic.soft_labels.detach().float().cpu()
    bars = synthetic.num_classes if synthetic.num_classes <= ALL_BARS else BARS
    shown = {index: _largest(soft_labels[index], bars) for row in rows for index in row}
    longest = max(len(short_name(synthetic.classes[i])) for order in shown.values() for i in order)
    columns = max(len(row) for row in rows)
    size = (0.6 + (3.0 + 0.065 * longest) * columns, (0.5 + max(0.19 * bars, 0.95)) * len(rows) + 0.5)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), 2 * columns, squeeze=False, width_ratios=[1, 1.15] * columns)
    for axes in grid.flat:
        axes.set_axis_off()
    values = torch.cat([soft_labels[index][order] for index, order in shown.items()])
    limits = (min(0.0, 1.03 * float(values.min())), 1.03 * max(float(values.max()), 1e-6))
    pixels = synthetic.pixels()
    alike = max(_spans(synthetic.soft_labels)) == 0
    for row, (case, positions) in enumerate(zip(CASES, rows, strict=False)):
        place: dict[str, Any] = {"transform": grid[row, 0].transAxes, "ha": "right", "va": "center", "rotation": 90}
        grid[row, 0].text(-0.08, 0.5, "" if alike else case, fontsize=9, multialignment="center", **place)
        for column, index in enumerate(positions):
            own = int(synthetic.class_ids[index])
            draw_pixels(grid[row, 2 * column], pixels[index])
            grid[row, 2 * column].set_title(short_name(synthetic.classes[own]), fontsize=9, parse_math=False)
            _draw_bars(grid[row, 2 * column + 1], soft_labels[index], shown[index], synthetic.classes, own, limits)
    note = "all labels are equally confident" if alike and len(soft_labels) > 1 else "soft label, not a probability"
    figure.supxlabel(f"{note}; dark: the class\nthe image was made for".replace("\n", " " if columns > 1 else "\n"),
                     fontsize=9)
    return save_figure(figure, path)


def label_cases(soft_labels: torch.Tensor, examples: int) -> list[list[int]]:
    """Positions of the images of each case that `plot_labels` draws, at most `examples` each; no empty case."""
    confidence, margin = _confidence_and_margin(soft_labels)
    left = list(range(len(soft_labels)))

    def take(candidates: list[int], count: int) -> list[int]:
        taken = candidates[:count]
        for i in taken:
            left.remove(i)
        return taken

    share = max(1, min(examples, len(left) // len(CASES)))
    wide = take(sorted(left, key=lambda i: -margin[i]), share)
    confident = sorted(left, key=lambda i: -confidence[i])[: max(share, len(left) // 2)]
    narrow = take(sorted(confident, key=lambda i: (margin[i], -confidence[i])), share)
    low = take(sorted(left, key=lambda i: (confidence[i], margin[i])), share)
    return [row for row in (wide, narrow, low) if row]


def _confidence_and_margin(soft_labels: torch.Tensor) -> tuple[list[float], list[float]]:
    """Of each label its largest value, and the distance to the second largest (0 where there is one class)."""
    top = soft_labels.detach().double().cpu().topk(min(2, soft_labels.shape[1])).values
    # Rounded, so that labels that were never learned are equal, whatever the last bit says.
    return [round(x, 6) for x in top[:, 0].tolist()], [round(x, 6) for x in (top[:, 0] - top[:, -1]).tolist()]


def _spans(soft_labels: torch.Tensor) -> list[float]:
    """How far apart confidences and margins lie."""
    return [max(values) - min(values) for values in _confidence_and_margin(soft_labels)]


def _largest(label: torch.Tensor, count: int) -> list[int]:
    """Class ids of the largest values, the largest first, of equal ones the lower id."""
    return sorted(range(len(label)), key=lambda i: (-float(label[i]), i))[:count]


def _draw_bars(
    axes: "Axes", label: torch.Tensor, order: list[int], classes: Sequence[str], own: int, limits: tuple[float, float]
) -> None:
    """Horizontal bars of the values at `order`, the first on top, beside their class names."""
    axes.set_axis_on()
    axes.barh(range(len(order)), label[order].tolist(), color=["#1f4e79" if i == own else "#9cc3e6" for i in order])
    axes.set_yticks(range(len(order)), [short_name(classes[i]) for i in order], fontsize=8, parse_math=False)
    axes.invert_yaxis()
    axes.set_xlim(*limits)
    axes.axvline(0, color="black", linewidth=0.8)
    axes.locator_params(axis="x", nbins=4)
    axes.tick_params(axis="x", labelsize=7)
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)

"""Grids of images: before and after distilling, and how they change on the way."""

from collections.abc import Sequence
from pathlib import Path

import torch

from distill.runtime.checks import require_a
from distill.sets.class_grids import draw_pixels_at, image_grid
from distill.sets.drawing.shared import (
    check_sets,
    evenly_spread,
    name_row,
    name_width,
    of_different_classes,
    positions_of,
    present_classes,
    save_figure,
    short_name,
)
from distill.sets.synthetic import PICTURES, SyntheticSet

__all__ = ["plot_before_after", "plot_evolution"]


def plot_before_after(
    before: SyntheticSet,
    after: SyntheticSet,
    path: str | Path,
    *,
    images_per_class: int = 5,
    max_classes: int = 10,
) -> Path:
    """Draw two grids side by side, one row per class with its name: the images at the start and as distilled.

    Image `i` of `before` is where image `i` of `after` started, so both have the same class ids. Of more than
    `max_classes` classes, some are drawn, evenly spread.

    Raises `InputError` when the sets do not belong together, are empty, or the name is no picture's.
    """
    from matplotlib.figure import Figure

    check_sets(path, PICTURES, [before, after], images_per_class=images_per_class, max_classes=max_classes)
    shown = [positions_of(before, c)[:images_per_class] for c in evenly_spread(present_classes(before), max_classes)]
    names = [short_name(before.classes[int(before.class_ids[row[0]])]) for row in shown]
    columns = max(len(row) for row in shown)
    size = (name_width(names) + 0.64 * (2 * columns + 0.4), 0.64 * len(shown) + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    axes = image_grid(figure, len(shown), 2 * columns + 0.4)
    for first, title, synthetic in ((0, "before", before), (columns + 0.4, "after", after)):
        pixels = synthetic.pixels()
        axes.text(first + columns / 2, -0.1, title, fontsize=10, ha="center", va="bottom")
        for row, positions in enumerate(shown):
            for column, position in enumerate(positions):
                draw_pixels_at(axes, pixels[position], row, first + column)
    for row, name in enumerate(names):
        name_row(axes, row, name)
    return save_figure(figure, path)


def plot_evolution(
    sets: Sequence[SyntheticSet], steps: Sequence[int], path: str | Path, *, images: int = 10
) -> Path:
    """Draw a film strip: a row for each image with its class, a column for each recorded step, written above.

    `sets[i]` is the set after `steps[i]` steps; all hold the same images in the same order. Of more images,
    `images` are drawn, of as many classes as there are, evenly spread.

    Raises `InputError` when sets and steps do not match or belong together, or the name is no picture's.
    """
    from matplotlib.figure import Figure

    require_a("steps", steps, list, tuple, range)
    check_sets(path, PICTURES, sets, steps=steps, images=images)
    shown = of_different_classes(sets[0], images)
    names = [short_name(sets[0].classes[int(sets[0].class_ids[position])]) for position in shown]
    figure = Figure(figsize=(name_width(names) + 0.72 * len(sets), 0.72 * len(shown) + 0.6), layout="constrained")
    axes = image_grid(figure, len(shown), len(sets))
    columns = [synthetic.subset(torch.tensor(shown)).pixels() for synthetic in sets]
    for column, step in enumerate(steps):
        axes.text(column + 0.5, -0.1, f"{step:,}".replace(",", " "), fontsize=9, ha="center", va="bottom")
    for row, name in enumerate(names):
        name_row(axes, row, name)
        for column, pixels in enumerate(columns):
            draw_pixels_at(axes, pixels[row], row, column)
    figure.suptitle("steps", fontsize=9)
    return save_figure(figure, path)

"""Grids of labelled pixels, each image with the name of its class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from distill.files import write_atomically

__all__ = ["draw_pixels", "plot_classes", "plot_gallery"]


def plot_classes(
    pixels: torch.Tensor,
    class_ids: torch.Tensor,
    classes: Sequence[str],
    path: str | Path,
    *,
    images_per_class: int,
    max_classes: int,
) -> Path:
    """Draw uint8 `pixels` `(n, height, width, channels)` in one row a class, its name beside it.

    Of more than `max_classes` classes with images, that many are drawn, evenly spread.
    """
    from matplotlib.figure import Figure  # no pyplot: no global state, no display needed

    present = torch.unique(class_ids).tolist()
    if len(present) > max_classes:
        present = [present[i * len(present) // max_classes] for i in range(max_classes)]
    columns = min(images_per_class, max((int((class_ids == c).sum()) for c in present), default=1))
    figure = Figure(figsize=(1.6 + 0.6 * columns, 0.62 * max(len(present), 1) + 0.1), layout="constrained")
    grid = figure.subplots(max(len(present), 1), columns, squeeze=False)
    for row, class_id in enumerate(present):
        own = pixels[class_ids == class_id]
        for column in range(columns):
            axes = grid[row, column]
            axes.set_axis_off()
            if column < len(own):
                draw_pixels(axes, own[column])
        name = classes[class_id].replace("_", " ")
        place: dict[str, Any] = {"transform": grid[row, 0].transAxes, "ha": "right", "va": "center"}
        grid[row, 0].text(-0.15, 0.5, name, fontsize=9, parse_math=False, **place)
    return write_atomically(path, lambda file: figure.savefig(file, dpi=120))


def plot_gallery(
    pixels: torch.Tensor, class_ids: torch.Tensor, classes: Sequence[str], path: str | Path, *, most: int
) -> Path:
    """Draw at most `most` images side by side, ten in a row, each under the name of its class."""
    from matplotlib.figure import Figure

    count = min(len(pixels), most)
    columns = min(count, 10)
    rows = -(-count // columns)
    figure = Figure(figsize=(0.95 * columns, 1.05 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.set_axis_off()
    for i, axes in zip(range(count), grid, strict=False):
        position = i * len(pixels) // count
        name = classes[int(class_ids[position])].replace("_", " ")
        draw_pixels(axes, pixels[position])
        axes.set_title(name if len(name) <= 14 else f"{name[:13]}…", fontsize=7, pad=2, parse_math=False)
    return write_atomically(path, lambda file: figure.savefig(file, dpi=120))


def draw_pixels(axes: Any, pixels: torch.Tensor) -> None:
    """Draw one uint8 image `(height, width, channels)`."""
    image = pixels.squeeze(-1).numpy()
    axes.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255)

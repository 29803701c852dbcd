"""Grids of labelled pixels, each image with the name of its class."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from distill.files import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_pixels", "draw_pixels_at", "image_grid", "plot_classes", "plot_gallery"]

SPACE = 0.08  # between two images of a grid, as a share of the distance of their centres


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
    rows = max(len(present), 1)
    figure = Figure(figsize=(1.6 + 0.6 * columns, 0.62 * rows + 0.1), layout="constrained")
    axes = image_grid(figure, rows, columns)
    for row, class_id in enumerate(present):
        for column, own in enumerate(pixels[class_ids == class_id][:columns]):
            draw_pixels_at(axes, own, row, column)
        name = classes[class_id].replace("_", " ")
        axes.text(-0.15, row + 0.5, name, fontsize=9, parse_math=False, ha="right", va="center")
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


def image_grid(figure: "Figure", rows: int, columns: float) -> "Axes":
    """Axes for images in rows and columns, one unit each: many times as fast to draw as axes for each image."""
    axes = figure.subplots()
    axes.set_axis_off()
    axes.set(xlim=(0, columns), ylim=(rows, 0))
    return axes


def draw_pixels_at(axes: "Axes", pixels: torch.Tensor, row: float, column: float) -> None:
    """Draw one uint8 image `(height, width, channels)` in its place of an `image_grid`."""
    height, width = pixels.shape[:2]
    half = 0.5 * (1 - SPACE) / max(height, width)
    x, y = column + 0.5, row + 0.5
    draw_pixels(axes, pixels, extent=(x - half * width, x + half * width, y + half * height, y - half * height))


def draw_pixels(axes: "Axes", pixels: torch.Tensor, **place: Any) -> None:
    """Draw one uint8 image `(height, width, channels)`; `place`: further arguments of `imshow`."""
    image = pixels.squeeze(-1).numpy()
    axes.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255, **place)

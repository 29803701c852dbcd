"""The evaluation augmentation: one operation per batch, its parameters per image; differentiable in the images."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["OPERATIONS", "augment"]

JITTER = 0.25  # brightness, saturation and contrast change by up to this much
ZOOM = 1.25  # zoomed by 1/1.25 to 1.25
TRANSLATE = 0.125  # of the side
ROTATE = math.radians(15)
CUTOUT = 4  # a quarter of the side


def uniform(low: float, high: float, images: Tensor, generator: torch.Generator) -> Tensor:
    """One number per image in [low, high), drawn on the CPU, of shape `(n, 1, 1, 1)`."""
    drawn = torch.rand(len(images), 1, 1, 1, generator=generator) * (high - low) + low
    return drawn.to(images)


def jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, then saturation, then contrast."""
    spread = (images.flatten(1).std(1) if images[0].numel() > 1 else images.new_ones(len(images))).view(-1, 1, 1, 1)
    images = images + uniform(-JITTER, JITTER, images, generator) * spread
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * uniform(1 - JITTER, 1 + JITTER, images, generator)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * uniform(1 - JITTER, 1 + JITTER, images, generator)


def warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Resample at affine coordinates `matrix` `(n, 2, 3)`, or `(1, 2, 3)` for all; what lies outside is 0."""
    grid = F.affine_grid(matrix, [len(matrix), *images.shape[1:]], align_corners=False)
    return F.grid_sample(images, grid.expand(len(images), -1, -1, -1), align_corners=False)


def affine(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Matrices `[[a, b, 0], [c, d, 0]]` from numbers of shape `(n, 1, 1, 1)`."""
    zero = torch.zeros_like(a)
    return torch.cat([a, b, zero, c, d, zero], dim=1).view(-1, 2, 3)


def rotation(angle: Tensor, ratio: float) -> Tensor:
    """Matrices that rotate by `angle` `(n, 1, 1, 1)` in radians; `ratio`: height over width of the images."""
    # Coordinates run from -1 to 1 along either side.
    return affine(angle.cos(), -angle.sin() * ratio, angle.sin() / ratio, angle.cos())


def shifted(images: Tensor, shift_y: Tensor, shift_x: Tensor) -> Tensor:
    """Move by whole pixels, up and left by int64 `(n, 1)`, or `(1, 1)` for all; what moves in is 0."""
    n, _, height, width = images.shape
    y = torch.arange(height, device=images.device) + shift_y
    x = torch.arange(width, device=images.device) + shift_x
    inside = (((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]).unsqueeze(1)
    rows = torch.arange(n, device=images.device)[:, None, None]
    moved = images[rows, :, y.clamp(0, height - 1)[:, :, None], x.clamp(0, width - 1)[:, None, :]]
    return moved.permute(0, 3, 1, 2) * inside


def without_box(images: Tensor, centre: tuple[Tensor, Tensor], sides: tuple[int, int]) -> Tensor:
    """Set a box of `sides` (height, width) around `centre` (y, x: each `(n, 1, 1, 1)`, or one for all) to 0."""
    y = torch.arange(images.shape[2], device=images.device).view(1, 1, -1, 1)
    x = torch.arange(images.shape[3], device=images.device).view(1, 1, 1, -1)
    half_y, half_x = sides[0] / 2, sides[1] / 2
    inside_y = (y >= centre[0] - half_y) & (y < centre[0] + half_y)
    inside_x = (x >= centre[1] - half_x) & (x < centre[1] + half_x)
    return images * ~(inside_y & inside_x)


def zoom(images: Tensor, generator: torch.Generator) -> Tensor:
    """Zoom in or out, height and width each on their own."""
    bound = math.log(ZOOM)
    x, y = (uniform(-bound, bound, images, generator).exp() for _ in range(2))
    return warp(images, affine(x, torch.zeros_like(x), torch.zeros_like(x), y))


def translate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Shift by whole pixels; what moves in is 0."""
    height, width = images.shape[2:]
    shift_y = (uniform(-TRANSLATE, TRANSLATE, images, generator) * height).round().long().view(-1, 1)
    shift_x = (uniform(-TRANSLATE, TRANSLATE, images, generator) * width).round().long().view(-1, 1)
    return shifted(images, shift_y, shift_x)


def rotate(images: Tensor, generator: torch.Generator) -> Tensor:
    """Rotate by up to 15 degrees either way."""
    angle = uniform(-ROTATE, ROTATE, images, generator)
    return warp(images, rotation(angle, images.shape[2] / images.shape[3]))


def cutout(images: Tensor, generator: torch.Generator) -> Tensor:
    """Set a square of a quarter of the side, anywhere, to 0."""
    height, width = images.shape[2:]
    centre_y = uniform(0, height, images, generator).floor()
    centre_x = uniform(0, width, images, generator).floor()
    return without_box(images, (centre_y, centre_x), (max(height // CUTOUT, 1), max(width // CUTOUT, 1)))


def flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Mirror each image left to right, or not."""
    return torch.where(uniform(0, 1, images, generator) < 0.5, images.flip(3), images)


OPERATIONS = (jitter, zoom, translate, rotate, cutout)


def augment(images: Tensor, generator: torch.Generator) -> Tensor:
    """One operation drawn for the batch, its parameters for each image; RGB images may also be mirrored.

    Takes and returns floats of shape `(n, channels, height, width)`. The operations are those of the paper's
    evaluation: colour jitter 0.25, zoom 0.8 to 1.25, translation 0.125, rotation 15 degrees, cutout a quarter of
    the side, horizontal flip for RGB only. Jitter works on preprocessed images, so its brightness step is measured
    in standard deviations of the image.
    """
    operations = (*OPERATIONS, flip) if images.shape[1] == 3 else OPERATIONS
    chosen = int(torch.randint(len(operations), (1,), generator=generator))
    return operations[chosen](images, generator)

"""Augmentation: operations drawn with their parameters, then applied to whatever images they are given.

An operation takes a `Draw`, draws its parameters and returns an `Augmentation`, a function from images `(n, channels,
height, width)` to images of that shape, differentiable in them. The function draws nothing, so that it does the same
each time. There are two menus of operations: `EVALUATION`, with which networks are trained and measured, and `SIAMESE`,
which DM and DSA apply alike to real and to distilled images.
"""

import math
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["EVALUATION", "SIAMESE", "Augmentation", "Draw", "augment", "draw_augmentation", "flip"]

Augmentation = Callable[[Tensor], Tensor]


class Draw:
    """Draws the parameters of an operation on the CPU, for `count` images or, with 1, alike for all.

    - `shape`: (height, width) of the images.
    """

    def __init__(self, generator: torch.Generator, shape: tuple[int, int], count: int) -> None:
        self.generator, self.shape, self.count = generator, shape, count

    def uniform(self, low: float, high: float) -> Tensor:
        """Numbers in [low, high), of shape `(count, 1, 1, 1)`."""
        return torch.rand(self.count, 1, 1, 1, generator=self.generator) * (high - low) + low

    def whole(self, low: int, high: int) -> Tensor:
        """Whole numbers from low to high, both included, of shape `(count, 1, 1, 1)`."""
        return torch.randint(low, high + 1, (self.count, 1, 1, 1), generator=self.generator)


Operation = Callable[[Draw], Augmentation]


def draw_augmentation(
    operations: Sequence[Operation],
    generator: torch.Generator,
    shape: tuple[int, int],
    *,
    mirror: bool,
    count: int = 1,
    several: int = 1,
) -> Augmentation:
    """One of the `operations` with its parameters, as a function from images `(n, channels, *shape)` to images.

    - `mirror`: flipping is one of the operations.
    - `count`: with 1 all images get the same parameters; with `n` each its own.
    - `several`: so many different operations, one after the other; all of them where there are no more.

    >>> generator = torch.Generator().manual_seed(0)
    >>> apply = draw_augmentation(SIAMESE, generator, (8, 8), mirror=False)
    >>> images = torch.ones(2, 3, 8, 8)
    >>> apply(images).shape, torch.equal(apply(images), apply(images))
    (torch.Size([2, 3, 8, 8]), True)
    """
    left = [*operations, flip] if mirror else [*operations]
    drawn: list[Augmentation] = []
    while left and len(drawn) < several:
        chosen = left.pop(int(torch.randint(len(left), (1,), generator=generator)))
        drawn.append(chosen(Draw(generator, shape, count)))
    return lambda images: reduce(lambda changed, apply: apply(changed), drawn, images)


def augment(images: Tensor, generator: torch.Generator, several: int = 1) -> Tensor:
    """One operation of `EVALUATION` drawn for the batch, its parameters for each image; RGB images may be mirrored.

    Takes and returns floats of shape `(n, channels, height, width)`. `several`: so many different operations.
    """
    height, width = images.shape[2:]
    mirror = images.shape[1] == 3
    apply = draw_augmentation(
        EVALUATION, generator, (height, width), mirror=mirror, count=len(images), several=several
    )
    return apply(images)


# -- the evaluation of the paper ---------------------------------------------------------------------------------------

# Colour jitter 0.25, zoom 0.8 to 1.25, translation by 0.125 of the side, rotation by 15 degrees, cutout of a quarter of
# the side, and a horizontal flip for RGB alone. Jitter works on preprocessed images, so its brightness is measured in
# standard deviations of the image.
JITTER = 0.25
ZOOM = 1.25
TRANSLATE = 0.125
ROTATE = math.radians(15)
CUTOUT = 4


def jitter(draw: Draw) -> Augmentation:
    """Brightness, then saturation, then contrast."""
    brightness = draw.uniform(-JITTER, JITTER)
    saturation, contrast = draw.uniform(1 - JITTER, 1 + JITTER), draw.uniform(1 - JITTER, 1 + JITTER)

    return lambda images: coloured(images, brightness.to(images) * spread(images), saturation, contrast)


def zoom(draw: Draw) -> Augmentation:
    """Zoom in or out, height and width each on their own."""
    bound = math.log(ZOOM)
    x, y = draw.uniform(-bound, bound), draw.uniform(-bound, bound)
    return lambda images: warp(images, scaling(x.to(images).exp(), y.to(images).exp()))


def translate(draw: Draw) -> Augmentation:
    """Shift by whole pixels; what moves in is 0."""
    y, x = draw.uniform(-TRANSLATE, TRANSLATE), draw.uniform(-TRANSLATE, TRANSLATE)
    height, width = draw.shape

    def apply(images: Tensor) -> Tensor:
        shift_y, shift_x = y.to(images) * height, x.to(images) * width
        return shifted(images, shift_y.round().long().view(-1, 1), shift_x.round().long().view(-1, 1))

    return apply


def rotate(draw: Draw) -> Augmentation:
    """Rotate by up to 15 degrees either way."""
    angle, ratio = draw.uniform(-ROTATE, ROTATE), draw.shape[0] / draw.shape[1]
    return lambda images: warp(images, rotation(angle.to(images), ratio))


def cutout(draw: Draw) -> Augmentation:
    """Set a square of a quarter of the side, anywhere, to 0."""
    height, width = draw.shape
    sides = max(height // CUTOUT, 1), max(width // CUTOUT, 1)
    y, x = draw.uniform(0, height), draw.uniform(0, width)
    return lambda images: without_box(images, (y.to(images).floor(), x.to(images).floor()), sides)


def flip(draw: Draw) -> Augmentation:
    """Mirror left to right, or not."""
    mirrored = draw.uniform(0, 1) < 0.5
    return lambda images: torch.where(mirrored.to(images.device), images.flip(3), images)


EVALUATION: tuple[Operation, ...] = (jitter, zoom, translate, rotate, cutout)

# -- differentiable siamese augmentation -------------------------------------------------------------------------------

# Source: Zhao & Bilen 2021, *Dataset Condensation with Differentiable Siamese Augmentation* (ICML), with the ratios and
# the strategy "color_crop_cutout_flip_scale_rotate" of the released code, one operation drawn at a time. Flipping, part
# of it there for any data, is left out where mirror images are no images of the class. Brightness is added as
# published, in units of the preprocessed images. Images that are not square are rotated without being sheared.
BRIGHTNESS = 1.0  # added: up to half of this either way
SATURATION = 2.0  # the distance from grey is multiplied by 0 to this
CONTRAST = 0.5  # the distance from the mean is multiplied by this to 1 more
CROP = 0.125  # shifted by up to this part of the side
BOX = 0.5  # of the side
SCALE = 1.2  # zoomed by 1/1.2 to 1.2


def color(draw: Draw) -> Augmentation:
    """Brightness, then saturation, then contrast."""
    brightness = draw.uniform(-BRIGHTNESS / 2, BRIGHTNESS / 2)
    saturation, contrast = draw.uniform(0, SATURATION), draw.uniform(CONTRAST, CONTRAST + 1)
    return lambda images: coloured(images, brightness.to(images), saturation, contrast)


def crop(draw: Draw) -> Augmentation:
    """Shift by whole pixels; what moves in is 0."""
    most_y, most_x = (math.floor(side * CROP + 0.5) for side in draw.shape)
    y, x = draw.whole(-most_y, most_y).view(-1, 1), draw.whole(-most_x, most_x).view(-1, 1)
    return lambda images: shifted(images, y.to(images.device), x.to(images.device))


def large_cutout(draw: Draw) -> Augmentation:
    """Set a box of half the side, centred anywhere, to 0."""
    height, width = (math.floor(side * BOX + 0.5) for side in draw.shape)
    y, x = draw.whole(0, draw.shape[0] - height % 2), draw.whole(0, draw.shape[1] - width % 2)
    return lambda images: without_box(images, (y.to(images.device), x.to(images.device)), (height, width))


def scale(draw: Draw) -> Augmentation:
    """Zoom in or out, height and width each on their own."""
    matrix = scaling(draw.uniform(1 / SCALE, SCALE), draw.uniform(1 / SCALE, SCALE))
    return lambda images: warp(images, matrix.to(images))


SIAMESE: tuple[Operation, ...] = (color, crop, large_cutout, scale, rotate)

# -- what the operations do to images ----------------------------------------------------------------------------------


def spread(images: Tensor) -> Tensor:
    """Standard deviation of each image, `(n, 1, 1, 1)`; 1 for images of a single number.

    As `Tensor.std`, but on a CPU in a tenth of its time.
    """
    numbers = images[0].numel()
    if numbers == 1:
        return images.new_ones(len(images), 1, 1, 1)
    centred = (images - images.mean((1, 2, 3), keepdim=True)).flatten(1)
    return torch.linalg.vector_norm(centred, dim=1).view(-1, 1, 1, 1) / math.sqrt(numbers - 1)


def coloured(images: Tensor, brightness: Tensor, saturation: Tensor, contrast: Tensor) -> Tensor:
    """Add `brightness`, then multiply the distance from grey, then that from the mean of the image."""
    images = images + brightness
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * saturation.to(images)
    mean = images.mean((1, 2, 3), keepdim=True)
    return mean + (images - mean) * contrast.to(images)


def warp(images: Tensor, matrix: Tensor) -> Tensor:
    """Resample at affine coordinates `matrix` `(n, 2, 3)`, or `(1, 2, 3)` for all; what lies outside is 0."""
    grid = F.affine_grid(matrix, [len(matrix), *images.shape[1:]], align_corners=False)
    return F.grid_sample(images, grid.expand(len(images), -1, -1, -1), align_corners=False)


def affine(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Matrices `[[a, b, 0], [c, d, 0]]` from numbers of shape `(n, 1, 1, 1)`."""
    zero = torch.zeros_like(a)
    return torch.cat([a, b, zero, c, d, zero], dim=1).view(-1, 2, 3)


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Matrices that read images `x` and `y` `(n, 1, 1, 1)` times as far from their centre."""
    return affine(x, torch.zeros_like(x), torch.zeros_like(x), y)


def rotation(angle: Tensor, ratio: float) -> Tensor:
    """Matrices that rotate by `angle` `(n, 1, 1, 1)` in radians; `ratio`: height over width of the images."""
    # Coordinates run from -1 to 1 along either side.
    return affine(angle.cos(), -angle.sin() * ratio, angle.sin() / ratio, angle.cos())


def shifted(images: Tensor, shift_y: Tensor, shift_x: Tensor) -> Tensor:
    """Move by whole pixels, up and left by int64 `(n, 1)`, or `(1, 1)` for all; what moves in is 0."""
    n, channels, height, width = images.shape
    y = torch.arange(height, device=images.device) + shift_y
    x = torch.arange(width, device=images.device) + shift_x
    inside = (((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]).unsqueeze(1)
    pixels = y.clamp(0, height - 1)[:, :, None] * width + x.clamp(0, width - 1)[:, None, :]
    moved = images.flatten(2).gather(2, pixels.flatten(1)[:, None, :].expand(n, channels, -1))
    return moved.view(images.shape) * inside


def without_box(images: Tensor, centre: tuple[Tensor, Tensor], sides: tuple[int, int]) -> Tensor:
    """Set a box of `sides` (height, width) around `centre` (y, x: each `(n, 1, 1, 1)`, or one for all) to 0."""
    y = torch.arange(images.shape[2], device=images.device).view(1, 1, -1, 1)
    x = torch.arange(images.shape[3], device=images.device).view(1, 1, 1, -1)
    half_y, half_x = sides[0] / 2, sides[1] / 2
    inside_y = (y >= centre[0] - half_y) & (y < centre[0] + half_y)
    inside_x = (x >= centre[1] - half_x) & (x < centre[1] + half_x)
    return images * ~(inside_y & inside_x)

"""Differentiable siamese augmentation: drawn once, then applied alike to real and to distilled images."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from distill.training.augment import affine, rotation, shifted, warp, without_box

__all__ = ["SIAMESE_OPERATIONS", "Augmentation", "draw_augmentation"]

Augmentation = Callable[[Tensor], Tensor]

BRIGHTNESS = 1.0  # added: up to half of this either way
SATURATION = 2.0  # the distance from grey is multiplied by 0 to this
CONTRAST = 0.5  # the distance from the mean is multiplied by this to 1 more
CROP = 0.125  # shifted by up to this part of the side
CUTOUT = 0.5  # of the side
SCALE = 1.2  # zoomed by 1/1.2 to 1.2
ROTATE = math.radians(15)


class Draw:
    """Draws the parameters of an operation, for one image or one for all; `shape`: (height, width) of the images."""

    def __init__(self, generator: torch.Generator, shape: tuple[int, int], count: int) -> None:
        self.generator, self.shape, self.count = generator, shape, count

    def uniform(self, low: float, high: float) -> Tensor:
        """Numbers in [low, high), of shape `(count, 1, 1, 1)`."""
        return torch.rand(self.count, 1, 1, 1, generator=self.generator) * (high - low) + low

    def whole(self, low: int, high: int) -> Tensor:
        """Whole numbers from low to high, both included, of shape `(count, 1, 1, 1)`."""
        return torch.randint(low, high + 1, (self.count, 1, 1, 1), generator=self.generator)


def color(draw: Draw) -> Augmentation:
    """Brightness, then saturation, then contrast."""
    brightness = draw.uniform(-BRIGHTNESS / 2, BRIGHTNESS / 2)
    saturation = draw.uniform(0, SATURATION)
    contrast = draw.uniform(CONTRAST, CONTRAST + 1)

    def apply(images: Tensor) -> Tensor:
        images = images + brightness.to(images)
        grey = images.mean(1, keepdim=True)
        images = grey + (images - grey) * saturation.to(images)
        mean = images.mean((1, 2, 3), keepdim=True)
        return mean + (images - mean) * contrast.to(images)

    return apply


def crop(draw: Draw) -> Augmentation:
    """Shift by whole pixels; what moves in is 0."""
    most_y, most_x = (math.floor(side * CROP + 0.5) for side in draw.shape)
    shift_y, shift_x = draw.whole(-most_y, most_y).view(-1, 1), draw.whole(-most_x, most_x).view(-1, 1)
    return lambda images: shifted(images, shift_y.to(images.device), shift_x.to(images.device))


def cutout(draw: Draw) -> Augmentation:
    """Set a box of half the side, centred anywhere, to 0."""
    height, width = (math.floor(side * CUTOUT + 0.5) for side in draw.shape)
    centre_y = draw.whole(0, draw.shape[0] - height % 2)
    centre_x = draw.whole(0, draw.shape[1] - width % 2)
    return lambda images: without_box(
        images, (centre_y.to(images.device), centre_x.to(images.device)), (height, width)
    )


def scale(draw: Draw) -> Augmentation:
    """Zoom in or out, height and width each on their own."""
    x, y = draw.uniform(1 / SCALE, SCALE), draw.uniform(1 / SCALE, SCALE)
    matrix = affine(x, torch.zeros_like(x), torch.zeros_like(x), y)
    return lambda images: warp(images, matrix.to(images))


def rotate(draw: Draw) -> Augmentation:
    """Rotate by up to 15 degrees either way."""
    matrix = rotation(draw.uniform(-ROTATE, ROTATE), draw.shape[0] / draw.shape[1])
    return lambda images: warp(images, matrix.to(images))


def flip(draw: Draw) -> Augmentation:
    """Mirror left to right, or not."""
    mirrored = draw.uniform(0, 1) < 0.5
    return lambda images: torch.where(mirrored.to(images.device), images.flip(3), images)


SIAMESE_OPERATIONS = (color, crop, cutout, scale, rotate)


def draw_augmentation(
    generator: torch.Generator, shape: tuple[int, int], *, mirror: bool, count: int = 1
) -> Augmentation:
    """One operation with its parameters, as a function from images `(n, channels, *shape)` to images of that shape.

    With `count=1` all images get the same parameters, real and distilled alike; with `count=n` each its own.
    `mirror`: flipping is one of the operations. The function draws nothing, so that it does the same each time.

    Source: Zhao & Bilen 2021, *Dataset Condensation with Differentiable Siamese Augmentation* (ICML), with the ratios
    and the strategy "color_crop_cutout_flip_scale_rotate" of the released code, one operation drawn at a time.
    Flipping, part of it there for any data, is here left out where mirror images are no images of the class.
    Brightness is added as published, in units of the preprocessed images. Images that are not square are rotated
    without being sheared.
    """
    operations = (*SIAMESE_OPERATIONS, flip) if mirror else SIAMESE_OPERATIONS
    chosen = int(torch.randint(len(operations), (1,), generator=generator))
    return operations[chosen](Draw(generator, shape, count))

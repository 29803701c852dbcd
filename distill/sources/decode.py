"""One image file, or one array, to uint8 pixels of a wanted mode and size."""

from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from distill.errors import InputError

__all__ = ["EXTENSIONS", "GREY", "Fit", "Mode", "decode", "resize_arrays", "unreadable"]

EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"})
WIDE_GREY = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
GREY = WIDE_GREY | {"1", "L", "LA"}

Mode = Literal["L", "RGB"]
Fit = Literal["crop", "squash"]


def decode(file: Path, mode: Mode, *, resolution: int | None = None, fit: Fit = "crop") -> np.ndarray:
    """Pixels as uint8, `(height, width)` for mode "L" or `(height, width, 3)` for "RGB".

    - `resolution`: wanted height and width; `None`: the file's own.
    - `fit`: what becomes of an image that is not square: "crop" takes the largest square in its middle, "squash"
      changes its proportions.

    Transparent pixels are laid over white, 16 bits are rounded to 8, of an animation the first frame counts, and
    EXIF orientation is not applied. Raises `InputError` that names the file when it cannot be read.
    """
    try:
        with Image.open(file) as image:
            plain = _to_8_bits(image).convert(mode)
            return np.asarray(plain if resolution is None else _resize(plain, resolution, fit))
    except Exception as error:  # damaged bytes raise whatever they lead to: OSError, SyntaxError, struct.error, ...
        raise unreadable(file, error) from error


def resize_arrays(images: np.ndarray, resolution: int, *, fit: Fit = "crop") -> np.ndarray:
    """uint8 images `(n, height, width, channels)` of 1 or 3 channels to `(n, resolution, resolution, channels)`."""
    if images.shape[1:3] == (resolution, resolution):
        return images
    channels = images.shape[3]
    resized = np.empty((len(images), resolution, resolution, channels), np.uint8)
    for image, into in zip(images, resized, strict=True):
        picture = Image.fromarray(image[..., 0] if channels == 1 else image)
        into[...] = np.asarray(_resize(picture, resolution, fit)).reshape(into.shape)
    return resized


def unreadable(file: Path, error: Exception) -> InputError:
    """The error to raise for an image file that cannot be read."""
    return InputError(f"cannot read the image {file} ({error or type(error).__name__}); mend or remove it")


def _resize(image: Image.Image, resolution: int, fit: Fit) -> Image.Image:
    """Means over areas when it shrinks (like the released FRePo code and ImageNet64), bilinear when it grows."""
    if fit == "crop":
        width, height = image.size
        side = min(width, height)
        left, upper = (width - side) // 2, (height - side) // 2
        image = image.crop((left, upper, left + side, upper + side))
    if image.size == (resolution, resolution):
        return image
    shrinks = min(image.size) >= resolution
    return image.resize(
        (resolution, resolution), Image.Resampling.BOX if shrinks else Image.Resampling.BILINEAR
    )


def _to_8_bits(image: Image.Image) -> Image.Image:
    """The image with 8 bits a channel and no alpha."""
    if image.mode == "F":
        raise ValueError("its pixels are floats of unknown range; wanted 8 or 16 bits")
    if image.mode in WIDE_GREY:  # Pillow's own conversion clips at 255
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"its pixels run from {values.min()} to {values.max()}; wanted 8 or 16 bits")
        return Image.fromarray(((values * 255 + 32767) // 65535).astype(np.uint8))
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA"))
    return image

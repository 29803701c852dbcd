"""Image files and arrays to uint8 pixels of a given mode and size."""

from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from PIL import Image, ImageFile

from distill.errors import InputError

__all__ = [
    "GREY",
    "WIDE_GREY",
    "DecodeSettings",
    "Fit",
    "Mode",
    "decode",
    "image_endings",
    "is_image",
    "raw_modes",
    "resize_arrays",
    "scaled",
    "unreadable",
]  # fmt: skip

WIDE_GREY = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
GREY = WIDE_GREY | {"1", "L", "LA"}
NO_IMAGES = frozenset({"MPEG", "EPS"})  # films, and pages that need a PostScript interpreter
FULL_16_BITS = 65535

Mode = Literal["L", "RGB"]
Fit = Literal["crop", "squash"]


class DecodeSettings(NamedTuple):
    """How all images of a set are decoded: to which mode, and which value of grey images above 8 bits becomes 255."""

    mode: Mode = "RGB"
    white: int = FULL_16_BITS


@lru_cache(maxsize=1)
def image_endings() -> frozenset[str]:
    """The file name extensions (".png", ...) that Pillow reads here, without films and PostScript."""
    Image.init()
    stubs = {
        name for name, (factory, _) in Image.OPEN.items()
        if isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile)
    }  # fmt: skip
    readable = set(Image.OPEN) - stubs - NO_IMAGES
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in readable)


def is_image(file: Path) -> bool:
    """Whether `file` is a file, or a link to one, with the extension of an image."""
    return file.suffix.lower() in image_endings() and file.is_file()


def decode(
    file: Path,
    mode: Mode,
    *,
    resolution: int | None = None,
    fit: Fit = "crop",
    white: int = FULL_16_BITS,
) -> np.ndarray:
    """Pixels as uint8, `(height, width)` for mode "L" or `(height, width, 3)` for "RGB".

    - `resolution`: height and width of the result; `None`: those of the file.
    - `fit`: how an image that is not square is made square: "crop" takes the largest central square, "squash" changes
      its proportions.
    - `white`: the value that becomes 255 in grey images of more than 8 bits; 255 or more.

    Transparent pixels are composed over white; of 16-bit colours the upper 8 bits are taken, of an animation the first
    frame. EXIF orientation is not applied, except by Pillow to TIFF files.

    Raises `InputError` that names the file when it cannot be read.
    """
    try:
        with Image.open(file) as image:
            plain = _to_8_bits(image, white).convert(mode)
            return np.asarray(plain if resolution is None else _resize(plain, resolution, fit))
    except Exception as error:  # damaged bytes raise whatever they lead to: OSError, SyntaxError, struct.error, ...
        raise unreadable(file, error) from error


def scaled(values: np.ndarray, white: int) -> np.ndarray:
    """Integers from 0 to `white` as uint8 from 0 to 255, rounded."""
    return ((values * 255 + white // 2) // white).astype(np.uint8)


def raw_modes(image: Image.Image) -> list[str]:
    """The raw modes of the pixels in the file of an image that is not loaded yet, such as "RGB;16B"."""
    raw = [args if isinstance(args, str) else args[0] for *_, args in getattr(image, "tile", []) if args]
    return [one for one in raw if isinstance(one, str)]


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
    return InputError(f"cannot read the image {file} ({error or type(error).__name__}); repair or remove it")


def _resize(image: Image.Image, resolution: int, fit: Fit) -> Image.Image:
    """Area means to shrink (like the released FRePo code and ImageNet64), bilinear interpolation to enlarge."""
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


def _scale_transparency(image: Image.Image) -> None:
    """Scale the transparent colour as Pillow scales the pixels of a .png of 2, 4 or 16 bits, which leaves it as is."""
    raw, transparent = raw_modes(image), image.info.get("transparency")
    if isinstance(transparent, int) and (steps := {"L;2": 3, "L;4": 15}.get(raw[0] if raw else "")):
        image.info["transparency"] = transparent * 255 // steps
    elif isinstance(transparent, tuple) and any(";16" in mode for mode in raw):
        image.info["transparency"] = tuple(value >> 8 for value in transparent)


def _to_8_bits(image: Image.Image, white: int) -> Image.Image:
    """The image with 8 bits per channel and no alpha."""
    if image.mode == "F":
        raise ValueError(
            "its pixels are floats of unknown range; save it with 8 or 16 bits, or the set as an .npz of floats in "
            "[0, 1]"
        )
    if image.mode in WIDE_GREY:  # Pillow's own conversion clips at 255
        values = np.asarray(image).astype(np.int64)
        transparent = values == image.info.get("transparency", -1)
        values[transparent] = white
        if values.min() < 0 or values.max() > white:
            raise ValueError(f"its pixels run from {values.min()} to {values.max()}; expected 0 to {white}")
        return Image.fromarray(scaled(values, white))
    _scale_transparency(image)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        background = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(background, image.convert("RGBA"))
    return image

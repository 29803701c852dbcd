"""Scans the image files of a set: whether they are grey, of one size, and of how many bits."""

import struct
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from distill.data.bit_depth import FEW, HALF, MOST, Values, middle
from distill.data.decode import FULL_16_BITS, GREY, WIDE_GREY, DecodeSettings, raw_modes, scaled, unreadable
from distill.errors import InputError, InputWarning

__all__ = ["scan_images"]

ORIENTATION = 0x0112  # the EXIF tag
PAGES = frozenset({"TIFF", "GIF", "WEBP", "PNG", "AVIF"})  # formats that hold several images


class _Seen:
    """What the files read so far have been found to hold."""

    def __init__(self) -> None:
        self.grey = True
        self.size: tuple[int, int] | None = None
        self.deep = 0  # grey images of more than 8 bits
        self.values = Values()  # of those
        self.deep_colours = 0
        self.upper = np.zeros(256, np.int64)  # how often each value of the upper 8 bits of deep colours occurs
        self.paged: list[Path] = []
        self.turned: list[Path] = []
        self.turned_by_pillow: list[Path] = []

    def add(self, image: Image.Image, file: Path) -> None:
        if image.format in PAGES and getattr(image, "n_frames", 1) > 1:
            self.paged.append(file)
            image.seek(0)
        if _asks_to_be_turned(image, file):
            (self.turned_by_pillow if image.format == "TIFF" else self.turned).append(file)
        self.grey = self.grey and image.mode in GREY
        if image.mode in WIDE_GREY:
            values = np.asarray(image)
            self.deep += 1
            self.values.add(values[values != image.info.get("transparency", -1)])  # those become white
        elif _has_16_bit_colours(image):
            self.deep_colours += 1
            self.upper += np.bincount(np.asarray(image.convert("RGB")).reshape(-1), minlength=256)


def scan_images(files: Sequence[Path], *, one_size: bool, name: str) -> DecodeSettings:
    """Mode "L" when all images are grey, "RGB" otherwise; and the value of deep grey images that becomes 255.

    That value is 2^b - 1 for the fewest bits b, at least 8, that hold every pixel of every deep grey image: 4095 for
    cameras of 12 bits. Reads headers, and pixels only of images of more than 8 bits per channel.

    - `one_size`: check that all have the same size. `name`: of the set, for messages.

    Warns where deep images are scaled, where a file holds several images, of which the first is taken, and where files
    have an orientation tag.

    Raises `InputError` when sizes differ, an image cannot be read or holds negative values, too few values of deep grey
    images would remain (`distill.data.bit_depth`), or less than half of the 256 levels of 16-bit colours would.
    """
    seen = _Seen()
    for file in files:
        try:
            with Image.open(file) as image:
                seen.add(image, file)
                size = image.size
        except Exception as error:  # damaged bytes raise whatever they lead to: OSError, SyntaxError, struct.error, ...
            raise unreadable(file, error) from error
        seen.size = seen.size or size
        if one_size and size != seen.size:
            raise InputError(
                f"images differ in size: {files[0]} is {seen.size[0]}x{seen.size[1]}, {file} is {size[0]}x{size[1]} "
                "(width x height); give the size to resize them to (resolution=..., --resolution on the command line)"
            )
    if seen.paged:
        _say(
            f"{len(seen.paged)} files of {name} hold several images or frames ({seen.paged[0].name}, ...), of which "
            "the first is taken; save the others as separate files to include them"
        )
    if seen.turned:
        _say(
            f"{len(seen.turned)} files of {name} have an EXIF orientation tag ({seen.turned[0].name}), which is "
            "not applied; rotate their pixels with PIL.ImageOps.exif_transpose where it matters"
        )
    if seen.turned_by_pillow:
        _say(
            f"{len(seen.turned_by_pillow)} TIFF files of {name} have an orientation tag "
            f"({seen.turned_by_pillow[0].name}), which Pillow applies when it reads them; remove the tag to prevent it"
        )
    _check_deep_colours(seen, name)
    return DecodeSettings("L" if seen.grey else "RGB", _white_of(seen, name))


def _white_of(seen: _Seen, name: str) -> int:
    """The value that becomes 255 in deep grey images."""
    if not seen.deep:
        return FULL_16_BITS
    held, often = seen.values.all()
    low, high = seen.values.low, seen.values.high
    which = f"{seen.deep} grey images of {name} have more than 8 bits"
    if low < 0:
        raise InputError(
            f"{which} and run from {low} to {high}; expected values from 0: shift them, or save them with 8 bits"
        )
    bits = max(high.bit_length(), 8)
    white = 2**bits - 1
    left = len(np.unique(scaled(held, white)))
    count = f"{len(held)}{' or more' if seen.values.shift else ''} different values"
    if left < FEW and len(held) >= 2 * left:
        raise InputError(
            f"{which} and hold {count} of {low} to {high}, but scaling [0, {white}] to 8 bits keeps only {left}; "
            "fix outlier pixels far above the others, shift values that start far above 0, or save the images with 8 "
            "bits, scaled as you need"
        )
    inner = held[middle(often)] if len(held) else held
    most = len(np.unique(scaled(inner, white)))
    crowded = f" ({MOST:.0%} of the pixels in {most} alone)" if most < FEW and len(inner) >= 2 * most else ""
    _say(
        f"{which} and hold values of {low} to {high}, which fit in {bits} bits: all are scaled alike, {white} to white "
        f"(255), which leaves {left} of {count}{crowded}; save them with 8 bits for another scale"
    )
    return white


def _check_deep_colours(seen: _Seen, name: str) -> None:
    if not seen.deep_colours:
        return
    left = int(np.count_nonzero(seen.upper))
    # Single bright pixels do not count: all other values may still be dark and have lost as much.
    most = int(np.searchsorted(seen.upper.cumsum(), MOST * seen.upper.sum()))
    highest = int(np.flatnonzero(seen.upper)[-1])
    which = f"{seen.deep_colours} colour images of {name} have 16 bits per channel"
    if highest < HALF or (most < HALF and left < FEW):
        used = left if highest >= HALF else highest + 1
        raise InputError(
            f"{which} and use {used} of the 256 values of the upper 8 bits, all that can be read of them; save them "
            "with 8 bits per channel, scaled as you need"
        )
    inner = int(np.count_nonzero(seen.upper[middle(seen.upper)]))
    crowded = f" ({MOST:.0%} of the pixels in {inner} alone)" if inner < min(FEW, left) else ""
    _say(f"{which}; the upper 8 are read, which leaves {left} of 256 values{crowded}")


def _asks_to_be_turned(image: Image.Image, file: Path) -> bool:
    """Whether EXIF or XMP data of any format name an orientation."""
    with warnings.catch_warnings():  # damaged metadata make Pillow warn or raise anything; the pixels are unaffected
        warnings.simplefilter("ignore")
        try:
            # Not PngImageFile.getexif: without such data it decodes all pixels to look for some behind them.
            exif = Image.Image.getexif(image)
            if image.format == "PNG" and not exif:
                exif.load(_exif_of_png(file))
            return exif.get(ORIENTATION, 1) not in (0, 1)
        except Exception:
            return False


def _exif_of_png(file: Path) -> bytes:
    """EXIF data from anywhere in the file, also after the pixels, found by the headers of its chunks."""
    with file.open("rb") as opened:
        opened.seek(8)  # the signature
        while len(head := opened.read(8)) == 8:
            size, kind = struct.unpack(">I4s", head)
            if kind == b"eXIf":
                return opened.read(size)
            opened.seek(size + 4, 1)  # content and checksum
    return b""


def _has_16_bit_colours(image: Image.Image) -> bool:
    """Whether Pillow, which has no such mode, drops the lower half of 16-bit channels."""
    return image.mode in ("RGB", "RGBA", "LA", "CMYK") and any(";16" in mode for mode in raw_modes(image))


def _say(text: str) -> None:
    warnings.warn(text, InputWarning, stacklevel=2)

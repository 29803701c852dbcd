"""A first look at all image files of a set: whether they are grey, of one size, and how deep they are."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from distill.errors import InputError, InputWarning
from distill.sources.decode import FULL_16_BITS, GREY, WIDE_GREY, Look, raw_modes, unreadable

__all__ = ["look_at"]

HALF_OF_8_BITS = 128  # colours of 16 bits whose upper 8 bits stay below have lost half of what 8 bits can tell
CAMERAS = frozenset({"JPEG", "MPO"})  # formats of photographs, which say how the camera was held
ORIENTATION = 0x0112  # the EXIF tag
PAGES = frozenset({"TIFF", "GIF", "WEBP", "PNG", "AVIF"})  # formats that hold several images


class _Seen:
    """What was found in the files so far."""

    def __init__(self) -> None:
        self.grey = True
        self.size: tuple[int, int] | None = None
        self.deep: list[tuple[int, int]] = []  # lowest and highest value of each deep grey image
        self.deep_colours = 0
        self.brightest = 0  # of the upper 8 bits of deep colours
        self.paged: list[Path] = []
        self.turned: list[Path] = []

    def add(self, image: Image.Image, file: Path) -> None:
        if image.format in PAGES and getattr(image, "n_frames", 1) > 1:
            self.paged.append(file)
            image.seek(0)
        if image.format in CAMERAS and image.getexif().get(ORIENTATION, 1) not in (0, 1):
            self.turned.append(file)
        self.grey = self.grey and image.mode in GREY
        if image.mode in WIDE_GREY:
            values = np.asarray(image)
            values = values[values != image.info.get("transparency", -1)]  # those become white
            self.deep.append((int(values.min(initial=FULL_16_BITS)), int(values.max(initial=0))))
        elif _has_16_bit_colours(image):
            self.deep_colours += 1
            self.brightest = max(self.brightest, int(np.asarray(image.convert("RGB")).max()))


def look_at(files: Sequence[Path], *, one_size: bool, name: str) -> Look:
    """Mode "L" when all images are grey, "RGB" otherwise; and the value of deep grey images that becomes 255.

    That value is 2^b - 1 for the fewest bits b, at least 8, that hold every pixel of every deep grey image: 4095 for
    cameras of 12 bits. Reads headers, and the pixels of images of more than 8 bits a channel alone.

    - `one_size`: check that all have the same size. `name`: of the set, for messages.

    Warns where deep images are scaled, where only the first of several images in a file is taken, and where files ask
    to be turned. Raises `InputError` when sizes differ, an image cannot be read or holds negative values, or more would
    be lost of 16-bit colours than half of what 8 bits can tell.
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
            "the first is taken; save the others as files of their own to have them too"
        )
    if seen.turned:
        _say(
            f"{len(seen.turned)} files of {name} ask to be turned (EXIF orientation; {seen.turned[0].name}), which "
            "is not done; turn their pixels with PIL.ImageOps.exif_transpose where it matters"
        )
    _check_deep_colours(seen, name)
    return Look("L" if seen.grey else "RGB", _white_of(seen, name))


def _white_of(seen: _Seen, name: str) -> int:
    """The value that becomes 255 in deep grey images."""
    if not seen.deep:
        return FULL_16_BITS
    low, high = min(low for low, _ in seen.deep), max(high for _, high in seen.deep)
    if low < 0:
        raise InputError(
            f"{len(seen.deep)} grey images of {name} have more than 8 bits and run from {low} to {high}; wanted values "
            "from 0: shift them, or save them with 8 bits"
        )
    bits = max(high.bit_length(), 8)
    white = 2**bits - 1
    _say(
        f"{len(seen.deep)} grey images of {name} have more than 8 bits and hold values of {low} to {high}, which fit "
        f"in {bits} bits: all are scaled alike, {white} to white (255); save them with 8 bits for another scale"
    )
    return white


def _check_deep_colours(seen: _Seen, name: str) -> None:
    if not seen.deep_colours:
        return
    if seen.brightest < HALF_OF_8_BITS:
        raise InputError(
            f"{seen.deep_colours} colour images of {name} have 16 bits a channel and use {seen.brightest + 1} of the "
            "256 values of the upper 8 bits, all that can be read of them; save them with 8 bits a channel, scaled as "
            "wanted"
        )
    _say(f"{seen.deep_colours} colour images of {name} have 16 bits a channel; the upper 8 are read")


def _has_16_bit_colours(image: Image.Image) -> bool:
    """Whether Pillow, which has no such mode, drops the lower half of 16-bit channels."""
    return image.mode in ("RGB", "RGBA", "LA", "CMYK") and any(";16" in mode for mode in raw_modes(image))


def _say(text: str) -> None:
    warnings.warn(text, InputWarning, stacklevel=2)

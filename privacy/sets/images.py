"""Images with their classes, as callers give them: checked, and in one layout."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from privacy.errors import InputError
from privacy.validation import as_array, finite_floats

__all__ = ["LabelledImages", "check_classes", "check_scales", "checked_images_of_set", "checked_pair"]

MOST_CHANNELS = 4
SAME_SCALE = 20.0  # how many times larger than another the spread of one side's pixels may be


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Images and their classes."""

    images: np.ndarray
    """Images `(n, H, W, channels)` float32; integers 0 to 255 that were given are divided by 255."""
    labels: np.ndarray
    """Classes `(n,)` int64."""
    soft: np.ndarray | None = None
    """Soft labels `(n, C)` float64, where these were given."""

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, positions: np.ndarray) -> "LabelledImages":
        """Some of the images, with their classes."""
        return LabelledImages(self.images[positions], self.labels[positions])


def checked_pair(given: Any, name: str) -> LabelledImages:
    """Images and classes from `(images, labels)`; raises `InputError` for anything else."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InputError(f"{name} must be (images, labels), not {type(given).__name__}")
    return checked_images_of_set(*given, name=name)


def checked_images_of_set(images: Any, labels: Any, *, name: str = "the set") -> LabelledImages:
    """Images and their classes as arrays; raises `InputError` that names what is wrong.

    >>> checked_images_of_set(np.zeros((2, 8, 8), np.uint8), [[0.9, 0.1], [0.2, 0.8]]).labels.tolist()
    [0, 1]
    """
    pixels = as_array(images, f"{name}: images", ndim=4)
    if pixels.ndim == 3:
        pixels = pixels[..., None]
    if pixels.ndim != 4 or 0 in pixels.shape or pixels.shape[3] > MOST_CHANNELS:
        hint = ""
        if pixels.ndim == 4 and pixels.shape[1] <= MOST_CHANNELS:
            hint = "; for PyTorch's order, (n, channels, H, W), give .permute(0, 2, 3, 1)"
        raise InputError(
            f"{name}: images have shape {as_array(images, name, ndim=4).shape}; expected (n, H, W) or (n, H, W, "
            f"channels), at most {MOST_CHANNELS} channels{hint}"
        )
    if pixels.dtype.kind in "iu" and (pixels.min() < 0 or pixels.max() > 255):
        raise InputError(f"{name}: images are integers from {pixels.min()} to {pixels.max()}; expected 0 to 255")
    exact = finite_floats(pixels, f"{name}: images") / (255 if pixels.dtype.kind in "iu" else 1)
    classes, soft = checked_labels(labels, name, len(pixels))
    return LabelledImages(exact.astype(np.float32), classes, soft)


def checked_labels(labels: Any, name: str, size: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Classes `(n,)`, and soft labels `(n, C)` where these were given."""
    array = as_array(labels, f"{name}: labels", ndim=2)
    if array.ndim == 2 and array.shape[0] == size and array.shape[1] > 1:
        soft = finite_floats(array, f"{name}: labels")
        return soft.argmax(1), soft
    if array.shape != (size,) or array.dtype.kind not in "iu" or array.min() < 0:
        raise InputError(
            f"{name}: labels are {array.dtype} of shape {array.shape}; expected ({size},), one integer, 0 or more, for "
            f"each image, or soft labels ({size}, C)"
        )
    return array.astype(np.int64), None


def check_scales(sides: dict[str, LabelledImages]) -> None:
    """Raise `InputError` where images have other shapes, or plainly another scale, than the first ones."""
    (first, one), *others = sides.items()
    spread = float(one.images.std())
    for name, side in others:
        if side.images.shape[1:] != one.images.shape[1:]:
            raise InputError(
                f"{name}: images have shape {side.images.shape[1:]}, those of {first} {one.images.shape[1:]}; expected "
                "images of one shape"
            )
        own = float(side.images.std())
        if max(own, spread) > SAME_SCALE * min(own, spread):
            raise InputError(
                f"{name}: images range from {side.images.min():g} to {side.images.max():g}, those of {first} from "
                f"{one.images.min():g} to {one.images.max():g}; expected one scale: undo the preprocessing of the set, "
                "or apply it to the others too"
            )


def check_classes(name: str, images: LabelledImages, records: Sequence[tuple[str, LabelledImages]]) -> None:
    """Raise `InputError` where records have a class of which there is no image."""
    known = set(images.labels.tolist())
    for whose, side in records:
        if missing := sorted(set(side.labels.tolist()) - known):
            raise InputError(
                f"{whose}: labels contain {', '.join(map(str, missing[:5]))}, of which {name} has no image; expected "
                "records of classes that it has: leave the others out"
            )

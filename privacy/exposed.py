"""The members with the highest attack scores, and their images."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from privacy.errors import InputError
from privacy.validation import as_array

__all__ = ["MOST_SHOWN", "Exposed", "as_pixels", "checked_images"]

MOST_SHOWN = 10  # members of each attack whose images a report keeps


@dataclass(frozen=True)
class Exposed:
    """One exposed member."""

    position: int
    """Its position among the members."""
    label: int
    """Its class."""
    loss: float
    """The model's loss on it."""
    score: float
    """The attack's score."""
    false_positives: int
    """How many non-members score as high or higher."""


def checked_images(images: Any, members: int) -> np.ndarray | None:
    """The members' images as an array, one for each; raises `InputError` for anything else."""
    if images is None:
        return None
    array = as_array(images, "images", ndim=4)
    if array.ndim not in (3, 4) or len(array) != members or (array.ndim == 4 and array.shape[3] not in (1, 3)):
        raise InputError(
            f"images have shape {array.shape}; expected one for each of the {members} members, (n, H, W) or (n, H, W, "
            "1 or 3); for PyTorch's order, (n, channels, H, W), give .permute(0, 2, 3, 1)"
        )
    if 0 in array.shape:
        raise InputError(f"images have shape {array.shape}, so no pixels; expected at least one pixel in each")
    lowest, highest, kind = array.min(), array.max(), array.dtype.kind
    if kind == "f" and not (lowest >= -1e-6 and highest <= 1 + 1e-6):
        raise InputError(f"images contain values from {lowest} to {highest}; expected floats from 0 to 1")
    if kind not in "fiub" or (kind in "iu" and not (lowest >= 0 and highest <= 255)):
        raise InputError(f"images are {array.dtype} from {lowest} to {highest}; expected integers 0 to 255, or floats")
    return array


def as_pixels(images: np.ndarray) -> np.ndarray:
    """Images as uint8 `(k, H, W)` or `(k, H, W, 3)`; floats from 0 to 1 and booleans are scaled to 0 to 255.

    >>> as_pixels(np.array([[[0.0, 1.0]]]))
    array([[[  0, 255]]], dtype=uint8)
    """
    if images.ndim == 4 and images.shape[3] == 1:
        images = images[..., 0]
    if images.dtype.kind in "fb":
        return (255 * np.clip(images.astype(np.float64), 0, 1)).round().astype(np.uint8)
    return images.astype(np.uint8)

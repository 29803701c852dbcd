"""The members that an attack finds first, each beside the distilled image nearest to it."""

from dataclasses import dataclass

import numpy as np

__all__ = ["PAIRS", "Pair", "to_uint8"]

PAIRS = 10  # of each attack that a report keeps


@dataclass(frozen=True)
class Pair:
    """A member and an image of the set."""

    position: int
    """The member's position among the members."""
    label: int
    """The member's class."""
    nearest: int
    """Position in the set of the image that is nearest to it under the attack's distance."""
    distance: float
    """Root mean square difference of a pixel between both."""
    score: float
    """The attack's score of the member."""
    false_positives: int
    """How many non-members score as high or higher."""


def to_uint8(images: np.ndarray, low: float, high: float) -> np.ndarray:
    """Images `(k, H, W, channels)` as uint8 `(k, H, W)` or `(k, H, W, 3)`, `low` black and `high` white.

    >>> to_uint8(np.array([[[[-1.0], [1.0]]]]), -1, 1)
    array([[[  0, 255]]], dtype=uint8)
    """
    shades = (255 * np.clip((images.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)).round().astype(np.uint8)
    return shades if images.shape[3] == 3 else shades[..., 0]

"""Whether 8 bits keep enough of finer pixel values."""

import numpy as np

__all__ = ["FEW", "HALF", "levels"]

FEW = 64  # a quarter of what 8 bits can tell: finer images that are left with less are refused
HALF = 128  # and those left with less than this are told


def levels(pixels: np.ndarray) -> int:
    """How many of the 256 values occur in uint8 `pixels`, any number of images."""
    seen = np.zeros(256, bool)
    for image in pixels:
        seen[image] = True
    return int(seen.sum())

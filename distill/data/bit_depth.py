"""Whether 8 bits are enough for finer pixel values."""

import numpy as np

__all__ = ["FEW", "HALF", "Values", "levels", "middle"]

FEW = 64  # a quarter of the 256 levels: finer images that are left with fewer levels are refused
HALF = 128  # those left with fewer than this cause a warning
MOST = 0.99  # of all pixels: the levels of a few outliers say nothing about the others
KEPT = 2**18  # distinct values kept, enough for all of 16 bits


class Values:
    """The distinct values of many images and how often each occurs, collected image by image.

    Where there are too many values, they lose their lowest `shift` bits.
    """

    def __init__(self) -> None:
        self.low, self.high, self.shift = 0, 0, 0
        self._kept = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._new: list[tuple[np.ndarray, np.ndarray]] = []
        self._waiting = 0

    def add(self, values: np.ndarray) -> None:
        """Count the values of an array of integers of any shape."""
        if not values.size:
            return
        different, counts = np.unique(values.astype(np.int64), return_counts=True)
        first = not len(self._kept) and not self._new
        self.low = int(different[0]) if first else min(self.low, int(different[0]))
        self.high = int(different[-1]) if first else max(self.high, int(different[-1]))
        self._new.append((different >> self.shift, counts))
        self._waiting += len(different)
        if self._waiting > KEPT:
            self._merge()

    def all(self) -> tuple[np.ndarray, np.ndarray]:
        """The values in ascending order, and how often each occurs."""
        self._merge()
        return self._kept << self.shift, self._counts

    def _merge(self) -> None:
        self._join(
            np.concatenate([self._kept, *(values for values, _ in self._new)]),
            np.concatenate([self._counts, *(counts for _, counts in self._new)]),
        )
        self._new, self._waiting = [], 0
        while len(self._kept) > KEPT:  # still far finer than 8 bits
            self._join(self._kept >> 1, self._counts)
            self.shift += 1

    def _join(self, values: np.ndarray, counts: np.ndarray) -> None:
        self._kept, places = np.unique(values, return_inverse=True)
        self._counts = np.bincount(places, weights=counts, minlength=len(self._kept)).astype(np.int64)


def middle(counts: np.ndarray) -> slice:
    """The ascending values, with these counts, that hold the central `MOST` of the pixels, as a slice."""
    below, total = counts.cumsum(), counts.sum()
    start = int(np.searchsorted(below, (1 - MOST) / 2 * total, side="right"))
    return slice(start, int(np.searchsorted(below, (1 + MOST) / 2 * total)) + 1)


def levels(pixels: np.ndarray) -> np.ndarray:
    """How often each of the 256 values occurs in uint8 `pixels`, any number of images."""
    counts = np.zeros(256, np.int64)
    for image in pixels:  # bincount makes 64 bits of each value
        counts += np.bincount(image.reshape(-1), minlength=256)
    return counts

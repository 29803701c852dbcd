"""Whether 8 bits keep enough of finer pixel values."""

import numpy as np

__all__ = ["FEW", "HALF", "Values", "levels", "middle"]

FEW = 64  # a quarter of what 8 bits can tell: finer images that are left with less are refused
HALF = 128  # and those left with less than this are told
MOST = 0.99  # of all pixels: a few far outside say nothing of how finely the others are told apart
KEPT = 2**18  # different values kept, enough for all of 16 bits


class Values:
    """The different values of many images and how often each occurs, gathered image by image.

    Where there are too many values, they are kept to fewer bits, without the lowest `shift`.
    """

    def __init__(self) -> None:
        self.low, self.high, self.shift = 0, 0, 0
        self._kept = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._new: list[tuple[np.ndarray, np.ndarray]] = []
        self._waiting = 0

    def add(self, values: np.ndarray) -> None:
        """Any integers, of any shape."""
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
        while len(self._kept) > KEPT:  # far finer still than what 8 bits can tell
            self._join(self._kept >> 1, self._counts)
            self.shift += 1

    def _join(self, values: np.ndarray, counts: np.ndarray) -> None:
        self._kept, places = np.unique(values, return_inverse=True)
        self._counts = np.bincount(places, weights=counts, minlength=len(self._kept)).astype(np.int64)


def middle(counts: np.ndarray) -> slice:
    """Which of ascending values, of which each occurs so often, hold `MOST` of the pixels, without both ends."""
    below, total = counts.cumsum(), counts.sum()
    start = int(np.searchsorted(below, (1 - MOST) / 2 * total, side="right"))
    return slice(start, int(np.searchsorted(below, (1 + MOST) / 2 * total)) + 1)


def levels(pixels: np.ndarray) -> np.ndarray:
    """How often each of the 256 values occurs in uint8 `pixels`, any number of images."""
    counts = np.zeros(256, np.int64)
    for image in pixels:  # bincount makes 64 bits of each value
        counts += np.bincount(image.reshape(-1), minlength=256)
    return counts

"""Whether 8 bits keep enough of finer pixel values."""

import numpy as np

__all__ = ["FEW", "HALF", "Values", "levels"]

FEW = 64  # a quarter of what 8 bits can tell: finer images that are left with less are refused
HALF = 128  # and those left with less than this are told
KEPT = 2**18  # different values kept, enough for all of 16 bits


class Values:
    """The different values of many images, gathered one by one; where they are too many, to fewer bits (`shift`)."""

    def __init__(self) -> None:
        self.low, self.high, self.shift = 0, 0, 0
        self._kept = np.empty(0, np.int64)
        self._new: list[np.ndarray] = []
        self._waiting = 0

    def add(self, values: np.ndarray) -> None:
        """Any integers, of any shape."""
        if not values.size:
            return
        different = np.unique(values).astype(np.int64)
        first = not len(self._kept) and not self._new
        self.low = int(different[0]) if first else min(self.low, int(different[0]))
        self.high = int(different[-1]) if first else max(self.high, int(different[-1]))
        self._new.append(different >> self.shift)
        self._waiting += len(different)
        if self._waiting > KEPT:
            self._merge()

    def all(self) -> np.ndarray:
        """In ascending order, their lowest `shift` bits 0."""
        self._merge()
        return self._kept << self.shift

    def _merge(self) -> None:
        self._kept = np.unique(np.concatenate([self._kept, *self._new]))
        self._new, self._waiting = [], 0
        while len(self._kept) > KEPT:  # far finer still than what 8 bits can tell
            self._kept, self.shift = np.unique(self._kept >> 1), self.shift + 1


def levels(pixels: np.ndarray) -> int:
    """How many of the 256 values occur in uint8 `pixels`, any number of images."""
    seen = np.zeros(256, bool)
    for image in pixels:
        seen[image] = True
    return int(seen.sum())

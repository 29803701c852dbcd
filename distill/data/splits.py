"""The splits of a data set: what every reader returns, and how a set without a test split is divided."""

from typing import Literal, NamedTuple

import numpy as np

__all__ = ["Arrays", "Split", "chosen_for_test"]

Split = Literal["train", "test"]


class Arrays(NamedTuple):
    """One split of a set: uint8 images `(n, height, width, channels)`, integer labels `(n,)`, all class names."""

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]


def chosen_for_test(labels: np.ndarray, fraction: float) -> np.ndarray:
    """Boolean mask `(n,)` of a stratified test split: `fraction` of each class, the same images every time.

    A class with two images or more has at least one in the mask and one outside; a single image stays outside.
    """
    generator = np.random.default_rng(0)
    mask = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        positions = generator.permutation(np.flatnonzero(labels == label))
        count = max(round(fraction * len(positions)), 1) if len(positions) > 1 else 0
        mask[positions[:count]] = True
    return mask

"""The image of a set that is nearest to each record."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from privacy.sets.embeddings import Embedding
from privacy.sets.images import LabelledImages

__all__ = ["Nearest", "nearest"]

ROWS = 1024  # records at a time: bounds the memory of distances to many images


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest image to each record."""

    distance: np.ndarray
    """Euclidean distance of the embeddings, `(n,)` float64."""
    position: np.ndarray
    """Where the nearest image is in the set, `(n,)`."""


def nearest(
    records: LabelledImages, sets: Sequence[LabelledImages], embedding: Embedding
) -> list[tuple[Nearest, Nearest]]:
    """For each set the nearest of all images to each record, and the nearest of those of the record's own class.

    Each record's class must be among those of each set.
    """
    vectors = [embedding(own.images) for own in sets]
    squares = [(own**2).sum(1) for own in vectors]
    found: list[tuple[list[Nearest], list[Nearest]]] = [([], []) for _ in sets]
    for start in range(0, len(records), ROWS):
        rows = slice(start, start + ROWS)
        own = embedding(records.images[rows])
        for answers, images, others, square in zip(found, sets, vectors, squares, strict=True):
            gaps = square - 2 * own @ others.T  # less the record's own square, which changes no order
            answers[0].append(exact(own, others, gaps.argmin(1)))
            gaps[records.labels[rows, None] != images.labels] = np.inf
            answers[1].append(exact(own, others, gaps.argmin(1)))
    return [(joined(of_any), joined(of_class)) for of_any, of_class in found]


def exact(records: np.ndarray, others: np.ndarray, position: np.ndarray) -> Nearest:
    """The distances to the nearest: not from the difference of squares, in which a tiny one would drown."""
    return Nearest(np.linalg.norm(records - others[position], axis=1), position)


def joined(parts: Sequence[Nearest]) -> Nearest:
    """The nearest of all records from those of their parts."""
    return Nearest(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("distance", "position")))

"""The image of a set that is nearest to each record."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from privacy.sets.embeddings import Embedding
from privacy.sets.images import LabelledImages

__all__ = ["Nearest", "nearest", "nearest_of_class"]

ROWS = 1024  # records at a time: bounds the memory of distances to many images


@dataclass(frozen=True, eq=False)
class Nearest:
    """The nearest image to each record."""

    distance: np.ndarray
    """Euclidean distance of the embeddings, `(n,)` float64."""
    position: np.ndarray
    """Where the nearest image is in the set, `(n,)`."""


def nearest(records: LabelledImages, sets: Sequence[LabelledImages], embedding: Embedding) -> list[Nearest]:
    """The nearest image of each set to each record."""
    vectors = [embedding(own.images) for own in sets]
    squares = [(own**2).sum(1) for own in vectors]
    found = [Nearest(np.empty(len(records)), np.empty(len(records), int)) for _ in sets]
    for start in range(0, len(records), ROWS):
        rows = slice(start, start + ROWS)
        own = embedding(records.images[rows])
        for answer, others, square in zip(found, vectors, squares, strict=True):
            gaps = own @ others.T
            gaps *= -2
            gaps += square  # less the record's own square, which changes no order
            position = gaps.argmin(1)
            answer.position[rows] = position
            # Not from the difference of squares, in which a tiny distance would drown.
            answer.distance[rows] = np.linalg.norm(own - others[position], axis=1)
    return found


def nearest_of_class(records: LabelledImages, sets: Sequence[LabelledImages], embedding: Embedding) -> list[Nearest]:
    """The nearest image of each set to each record, of those of the record's class, of which each set must have one."""
    found = [Nearest(np.empty(len(records)), np.empty(len(records), int)) for _ in sets]
    for label in np.unique(records.labels):
        rows, *where = (np.flatnonzero(own.labels == label) for own in (records, *sets))
        parts = [own.at(at) for own, at in zip(sets, where, strict=True)]
        for answer, part, at in zip(found, nearest(records.at(rows), parts, embedding), where, strict=True):
            answer.distance[rows], answer.position[rows] = part.distance, at[part.position]
    return found

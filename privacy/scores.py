"""What an attack says of every record."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from privacy.errors import InputError

__all__ = ["Scores", "gather"]


@dataclass(frozen=True, eq=False)
class Scores:
    """Membership scores of every record, the higher the more like a member; only their order means something.

    An attack that is trained on the records is run several times, each with the records split anew into training and
    scored halves. Its results are means over these splits.

    >>> scores = Scores.of([2.0, 3.0], [0.0, 1.0, 2.5])
    >>> scores.members, scores.non_members
    (array([2., 3.]), array([0. , 1. , 2.5]))
    """

    splits: np.ndarray
    """Scores of each split, `(R, n)` float64, in the order of the records; one split where nothing is trained."""
    is_member: np.ndarray
    """Which records are members, boolean `(n,)`."""
    trained: bool = False
    """Whether the attack was trained on the records."""

    @classmethod
    def of(cls, members: Sequence[float], non_members: Sequence[float], *, trained: bool = False) -> "Scores":
        """The scores of one split from those of both sides, members `(n,)` first, then non-members `(m,)`."""
        values = np.concatenate([members, non_members]).astype(np.float64)
        return cls(values[None], np.arange(len(values)) < len(members), trained)

    @cached_property
    def values(self) -> np.ndarray:
        """Mean over the splits, `(n,)`."""
        return np.mean(self.splits, axis=0)

    @property
    def members(self) -> np.ndarray:
        """Mean scores of the members, in their order."""
        return self.values[self.is_member]

    @property
    def non_members(self) -> np.ndarray:
        """Mean scores of the non-members, in their order."""
        return self.values[~self.is_member]

    @property
    def pairs(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each split the scores of the members and of the non-members."""
        return [(split[self.is_member], split[~self.is_member]) for split in self.splits]

    def at(self, mask: np.ndarray) -> "Scores":
        """The scores of some of the records, picked by a boolean mask `(n,)`."""
        return Scores(self.splits[:, mask], self.is_member[mask], self.trained)


def gather(size: int, results: Sequence[tuple[np.ndarray, np.ndarray]], *, name: str = "an attack") -> np.ndarray:
    """Put the scores that the tasks of an attack gave in their places, `(size,)`.

    `results`: for each task, positions `(k,)` in the records and their scores `(k,)`.

    Raises `InputError` unless every record has exactly one score, which is finite.

    >>> gather(3, [(np.array([2, 0]), np.array([0.5, 0.1])), (np.array([1]), np.array([0.3]))])
    array([0.1, 0.3, 0.5])
    """
    scores, times = np.full(size, np.nan), np.zeros(size, int)
    for positions, values in results:
        values = np.asarray(values)
        if values.shape != np.shape(positions) or values.dtype.kind not in "fiub":
            raise InputError(
                f"the attack {name} gives {values.dtype} scores of shape {values.shape} for {np.size(positions)} "
                "records; expected one number for each, (k,), such as predict_proba(features)[:, 1]"
            )
        scores[positions] = values
        np.add.at(times, positions, 1)
    if (times != 1).any():
        raise InputError(
            f"the attack {name} gives no score for {int((times == 0).sum())} records and more than one for "
            f"{int((times > 1).sum())}; expected one score for every record"
        )
    if not np.isfinite(scores).all():
        raise InputError(
            f"the attack {name} gives {int((~np.isfinite(scores)).sum())} scores that are NaN or infinite; expected "
            "finite numbers"
        )
    return scores

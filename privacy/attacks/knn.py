"""The attack by k nearest neighbours."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import NearestNeighbors

from privacy.attacks.base import INNER_FOLDS, Predict, TrainedAttack

__all__ = ["KNearestNeighbours"]


@dataclass(frozen=True)
class KNearestNeighbours(TrainedAttack):
    """The share of members among the 3, 5 or 7 nearest records."""

    name = "knn"
    title = "k nearest neighbours"
    cost = 3.0
    numbers: ClassVar[tuple[int, ...]] = (3, 5, 7)

    def fit(self, features: np.ndarray, is_member: np.ndarray, *, seed: int) -> Predict:
        """Find the 7 nearest once in every inner fold: the first 3 and 5 of them serve the smaller numbers."""
        correct = np.zeros(len(self.numbers))
        for train, scored in StratifiedKFold(INNER_FOLDS).split(features, is_member):
            votes = self.votes(features[train], is_member[train], features[scored])
            correct += ((votes > 0.5) == is_member[scored, None]).sum(0)
        best = int(correct.argmax())
        return lambda wanted: self.votes(features, is_member, wanted)[:, best]

    def votes(self, features: np.ndarray, is_member: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Share of members among the nearest, `(len(wanted), 3)`: a column for each number of neighbours."""
        most = min(max(self.numbers), len(features))
        found = NearestNeighbors(n_neighbors=most, algorithm="brute").fit(features)
        members = is_member[found.kneighbors(wanted, return_distance=False)]
        return np.column_stack([members[:, :number].mean(1) for number in self.numbers])

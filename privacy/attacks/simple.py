"""The attacks that take little code: threshold, logistic regression, nearest neighbours."""

import warnings
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import NearestNeighbors

from privacy.attacks.base import INNER_FOLDS, Attack, Predict, Task, TrainedAttack
from privacy.records import AttackRecords

__all__ = ["KNearestNeighbours", "LogisticRegressionAttack", "Threshold"]


@dataclass(frozen=True)
class Threshold(Attack):
    """The lower the loss, the more like a member (Yeom et al. 2018). Nothing is learned, every record counts."""

    name = "threshold"
    title = "threshold"
    cost = 0.0

    def tasks(self, records: AttackRecords, *, seed: int) -> list[Task]:
        """One task: how sure the model is, minus the losses or what ranks records as they do."""
        return [partial(unchanged, records.confidence())]


def unchanged(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores of all records, with their positions."""
    return np.arange(len(scores)), scores


@dataclass(frozen=True)
class LogisticRegressionAttack(TrainedAttack):
    """Logistic regression, its penalty chosen from a grid of ten."""

    name = "lr"
    title = "logistic regression"
    cost = 1.0

    def fit(self, features: np.ndarray, is_member: np.ndarray, *, seed: int) -> Predict:
        """Search the grid as TensorFlow Privacy does; nothing is random."""
        search = GridSearchCV(LogisticRegression(), {"C": np.logspace(-4, 2, 10)}, cv=INNER_FOLDS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # 100 iterations, as there
            search.fit(features, is_member)
        return partial(probability, search.best_estimator_)


def probability(model: LogisticRegression, features: np.ndarray) -> np.ndarray:
    """The probability that a model gives each record of being a member, `(k,)`."""
    return model.predict_proba(features)[:, 1]


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

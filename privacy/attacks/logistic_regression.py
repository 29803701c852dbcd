"""The attack by logistic regression."""

import warnings
from dataclasses import dataclass
from functools import partial

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

from privacy.attacks.base import INNER_FOLDS, Predict, TrainedAttack

__all__ = ["LogisticRegressionAttack"]


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

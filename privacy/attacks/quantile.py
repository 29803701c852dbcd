"""The quantile-regression attack: how sure the model is beside what is usual for non-members with such features."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from privacy.attacks.base import Predict, TrainedAttack
from privacy.records import AttackRecords

__all__ = ["QuantileRegression"]

QUANTILES = (0.5, 0.9)
SMALLEST = 0.5  # of the distance between both quantiles, in parts of its median: smaller ones came out so by chance
LEAVES = 8  # of each tree


@dataclass(frozen=True)
class QuantileRegression(TrainedAttack):
    """Quantiles of the model's confidence for non-members, by features of each record (Bertran et al. 2023).

    It takes away how hard a record is without training references: gradient-boosted trees learn the median and the 90 %
    quantile of the confidence from the labels and the further features of half of the non-members, and other records
    are scored by `(confidence - median) / (90 % quantile - median)`. Features say what a record is, such as its pixels
    or an embedding, and must not come from the attacked model.

    Differs from the paper, which trains one network on a population: trees, on a half of the non-members in turn, so
    that no record is scored by what was trained on it; and from both quantiles one score for all false-positive rates.
    """

    name = "quantile"
    title = "quantile regression"
    cost = 2.0
    needs: ClassVar[tuple[str, ...]] = ("features",)

    def learns_from(self, records: AttackRecords) -> np.ndarray:
        """The confidence, labels and further features of each record."""
        extra = [] if records.extra_features is None else [records.extra_features]
        return np.column_stack((records.confidence(), records.labels, *extra))

    def fit(self, features: np.ndarray, is_member: np.ndarray, *, seed: int) -> Predict:
        """Learn both quantiles from the non-members alone."""
        confidence, known = features[~is_member, 0], features[~is_member, 1:]
        options = {"loss": "quantile", "max_leaf_nodes": LEAVES, "early_stopping": False, "random_state": seed}
        middle, upper = (
            HistGradientBoostingRegressor(quantile=quantile, **options).fit(known, confidence) for quantile in QUANTILES
        )
        spreads = upper.predict(known) - middle.predict(known)
        smallest = SMALLEST * float(np.median(np.maximum(spreads, 0))) or 1.0

        def predict(wanted: np.ndarray) -> np.ndarray:
            usual = middle.predict(wanted[:, 1:])
            return (wanted[:, 0] - usual) / np.maximum(upper.predict(wanted[:, 1:]) - usual, smallest)

        return predict

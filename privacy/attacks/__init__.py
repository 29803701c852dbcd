"""The attacks: what they share, five of them, and where they are found by name."""

from privacy.attacks.base import FEWEST, Attack, Predict, Task, TrainedAttack
from privacy.attacks.forest import RandomForest
from privacy.attacks.knn import KNearestNeighbours
from privacy.attacks.logistic_regression import LogisticRegressionAttack
from privacy.attacks.mlp import MultilayerPerceptron
from privacy.attacks.registry import ATTACKS, chosen_attacks
from privacy.attacks.threshold import Threshold

__all__ = [
    "ATTACKS",
    "FEWEST",
    "Attack",
    "KNearestNeighbours",
    "LogisticRegressionAttack",
    "MultilayerPerceptron",
    "Predict",
    "RandomForest",
    "Task",
    "Threshold",
    "TrainedAttack",
    "chosen_attacks",
]

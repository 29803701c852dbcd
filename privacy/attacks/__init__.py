"""The attacks: what they share, one file each, and where they are found by name."""

from privacy.attacks.base import FEWEST, Attack, Predict, Task, TrainedAttack
from privacy.attacks.bavaria import BaVarIA
from privacy.attacks.calibrated import Calibrated
from privacy.attacks.forest import RandomForest
from privacy.attacks.knn import KNearestNeighbours
from privacy.attacks.lira import LiRA
from privacy.attacks.logistic_regression import LogisticRegressionAttack
from privacy.attacks.mlp import MultilayerPerceptron
from privacy.attacks.quantile import QuantileRegression
from privacy.attacks.reference_attack import ReferenceAttack
from privacy.attacks.registry import ATTACKS, chosen_attacks
from privacy.attacks.rmia import RMIA
from privacy.attacks.threshold import Threshold

__all__ = [
    "ATTACKS",
    "FEWEST",
    "RMIA",
    "Attack",
    "BaVarIA",
    "Calibrated",
    "KNearestNeighbours",
    "LiRA",
    "LogisticRegressionAttack",
    "MultilayerPerceptron",
    "Predict",
    "QuantileRegression",
    "RandomForest",
    "ReferenceAttack",
    "Task",
    "Threshold",
    "TrainedAttack",
    "chosen_attacks",
]

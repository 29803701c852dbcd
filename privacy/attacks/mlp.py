"""The multilayer-perceptron attack: the best of a grid of six, found by halving."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from sklearn.model_selection import StratifiedKFold

from privacy.attacks.base import INNER_FOLDS, Predict, TrainedAttack
from privacy.attacks.batched_mlp import Perceptrons

__all__ = ["MultilayerPerceptron"]

LAYERS = ((64,), (32, 32))
DECAYS = (1e-4, 1e-3, 1e-2)
RUNGS = (8, 30)  # epochs after which the best decay of each layout, and then the best layout is kept

Setting = tuple[tuple[int, ...], float]


@dataclass(frozen=True)
class MultilayerPerceptron(TrainedAttack):
    """One hidden layer of 64 or two of 32, three weight decays, Adam: TensorFlow Privacy's grid.

    All six are trained for a few epochs in each inner fold, the better decay of each layout some more, and the better
    of these two from scratch on all records until its loss no longer falls (200 epochs at most), as there. A layout
    may learn faster and overfit sooner, so none is dropped early.
    """

    name = "mlp"
    title = "multilayer perceptron"
    cost = 9.0

    def fit(self, features: np.ndarray, is_member: np.ndarray, *, seed: int) -> Predict:
        """Search by halving, then train the best setting on all records."""
        search = Search(features, is_member, seed=seed)
        first = [search.train(layers, DECAYS, RUNGS[0]) for layers in LAYERS]
        kept = [max(accuracies, key=accuracies.__getitem__) for accuracies in first]
        second = {setting: search.train(setting[0], [setting[1]], RUNGS[1])[setting] for setting in kept}
        layers, decay = max(second, key=second.__getitem__)
        everything = [np.arange(len(features))]
        model = Perceptrons(layers, features, is_member, everything, decays=[decay], seeds=[seed]).train_to_the_end()
        return model.probabilities


class Search:
    """Trains networks on each inner fold, and judges their settings by the records left out."""

    def __init__(self, features: np.ndarray, is_member: np.ndarray, *, seed: int) -> None:
        self.features, self.is_member, self.seed = features, is_member, seed
        self.folds = list(StratifiedKFold(INNER_FOLDS).split(features, is_member))

    def train(self, layers: tuple[int, ...], decays: Sequence[float], epochs: int) -> dict[Setting, float]:
        """Mean accuracy over the inner folds of each setting after `epochs` epochs."""
        pairs = list(product(decays, range(INNER_FOLDS)))
        networks = Perceptrons(
            layers, self.features, self.is_member, [self.folds[fold][0] for _, fold in pairs],
            decays=[decay for decay, _ in pairs], seeds=[self.seed + fold for _, fold in pairs],
        )
        networks.train(epochs)
        accuracies = [networks.accuracy(k, self.folds[fold][1]) for k, (_, fold) in enumerate(pairs)]
        means = np.reshape(accuracies, (len(decays), INNER_FOLDS)).mean(1)
        return {(layers, decay): float(mean) for decay, mean in zip(decays, means, strict=True)}

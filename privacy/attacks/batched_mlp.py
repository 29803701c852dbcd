"""Small perceptrons trained together: scikit-learn's `MLPClassifier`, several at once and without its overhead."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.special import expit, xlogy

__all__ = ["Perceptrons"]

BATCH = 200  # these are scikit-learn's defaults, as TensorFlow Privacy leaves them
RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
TOLERANCE, PATIENCE, MOST_EPOCHS = 1e-4, 10, 200


@dataclass
class Adam:
    """Adam's moments of one array of parameters, `(k, ...)`: the first axis is over networks."""

    parameters: np.ndarray
    first: np.ndarray
    second: np.ndarray

    def step(self, gradient: np.ndarray, rate: np.ndarray, which: slice) -> None:
        """Update the networks `which` in place; their `rate` `(k,)` is corrected for the bias of the moments."""
        first, second = self.first[which], self.second[which]
        first *= BETA1
        first += (1 - BETA1) * gradient
        second *= BETA2
        second += (1 - BETA2) * gradient**2
        self.parameters[which] -= rate[:, None, None] * first / (np.sqrt(second) + EPSILON)


class Perceptrons:
    """ReLU networks with the same hidden `layers` and one logistic output, each trained on its own rows of the data.

    - `features` `(n, d)`, `truth` `(n,)` booleans: of all records. `rows`: the records that each network learns from.
    - `decays`: each network's L2 penalty. `seeds`: for its initial weights and the order of its records.

    Each is what `MLPClassifier(layers, alpha=decay, random_state=seed)` becomes on its rows, up to rounding.
    """

    def __init__(
        self,
        layers: Sequence[int],
        features: np.ndarray,
        truth: np.ndarray,
        rows: Sequence[np.ndarray],
        *,
        decays: Sequence[float],
        seeds: Sequence[int],
    ) -> None:
        self.features, self.truth, self.rows = features, truth.astype(np.float64), [*rows]
        self.decays = np.array(decays)
        self.states = [np.random.RandomState(seed % 2**32) for seed in seeds]
        sizes = (features.shape[1], *layers, 1)
        drawn = [initial_weights(state, sizes) for state in self.states]
        self.weights, self.biases = (
            [moments(np.stack([network[part][i] for network in drawn])) for i in range(len(sizes) - 1)]
            for part in (0, 1)
        )
        self.order = [np.arange(len(own)) for own in self.rows]
        self.steps = np.zeros(len(self.rows), int)
        self.loss: np.ndarray | None = None  # of the last epoch, where it is needed

    def train(self, epochs: int = 1) -> None:
        """Train every network for `epochs` epochs."""
        for _ in range(epochs):
            if self.loss is not None:
                self.loss[:] = 0
            self.order = [order[shuffled(len(order), s)] for order, s in zip(self.order, self.states, strict=True)]
            records = [own[order] for own, order in zip(self.rows, self.order, strict=True)]
            common = min(len(own) for own in records) // BATCH
            together = np.stack([own[: common * BATCH] for own in records])
            for i in range(common):
                self._update(together[:, i * BATCH : (i + 1) * BATCH], slice(None))
            for k, own in enumerate(records):  # the records beyond the batches that all of them fill
                for start in range(common * BATCH, len(own), BATCH):
                    self._update(own[None, start : start + BATCH], slice(k, k + 1))
            if self.loss is not None:
                self.loss /= [len(own) for own in self.rows]

    def train_to_the_end(self) -> "Perceptrons":
        """Train one network until its loss no longer falls, 200 epochs at most."""
        best, waited, self.loss = np.inf, 0, np.zeros(1)
        for _ in range(MOST_EPOCHS):
            self.train()
            waited = waited + 1 if self.loss[0] > best - TOLERANCE else 0
            best = min(best, self.loss[0])
            if waited > PATIENCE:
                break
        return self

    def probabilities(self, features: np.ndarray, network: int = 0) -> np.ndarray:
        """The probability of being true that a network gives for features `(m, d)`: `(m,)`."""
        return self._activations(features[None], slice(network, network + 1))[-1][0, :, 0]

    def accuracy(self, network: int, rows: np.ndarray) -> float:
        """Share of the records in `rows` that a network classifies correctly."""
        return float(((self.probabilities(self.features[rows], network) > 0.5) == self.truth[rows]).mean())

    def _activations(self, given: np.ndarray, which: slice) -> list[np.ndarray]:
        """Input and output of every layer, `(k, m, width)`."""
        activations = [given]
        for i, (weights, biases) in enumerate(zip(self.weights, self.biases, strict=True)):
            linear = activations[-1] @ weights.parameters[which]
            linear += biases.parameters[which]
            last = i == len(self.weights) - 1
            activations.append(expit(linear) if last else np.maximum(linear, 0, out=linear))
        return activations

    def _penalty(self, which: slice) -> np.ndarray:
        """Half the squared norm of the weights, times each network's decay."""
        squares = [np.einsum("kio,kio->k", w.parameters[which], w.parameters[which]) for w in self.weights]
        return 0.5 * self.decays[which] * np.sum(squares, axis=0)

    def _update(self, records: np.ndarray, which: slice) -> None:
        """One step of Adam for the networks `which`, each on its row of `records` `(k, batch)`."""
        truth, size = self.truth[records][..., None], records.shape[1]
        activations = self._activations(self.features[records], which)
        self.steps[which] += 1
        steps = self.steps[which]
        rate = RATE * np.sqrt(1 - BETA2**steps) / (1 - BETA1**steps)
        decays = self.decays[which, None, None]
        if self.loss is not None:
            self.loss[which] += size * log_loss(activations[-1], truth) + self._penalty(which)
        delta = activations[-1] - truth
        gradients = []
        for i in reversed(range(len(self.weights))):
            weights = self.weights[i].parameters[which]
            of_weights = (activations[i].swapaxes(1, 2) @ delta + decays * weights) / size
            gradients.append((of_weights, delta.mean(1)[:, None]))
            if i:
                delta = delta @ weights.swapaxes(1, 2)
                delta *= activations[i] > 0
        for i, (of_weights, of_biases) in enumerate(reversed(gradients)):
            self.weights[i].step(of_weights, rate, which)
            self.biases[i].step(of_biases, rate, which)


def moments(parameters: np.ndarray) -> Adam:
    """Parameters with Adam's moments, which start at 0."""
    return Adam(parameters, np.zeros_like(parameters), np.zeros_like(parameters))


def initial_weights(state: np.random.RandomState, sizes: Sequence[int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Weights `(in, out)` and biases `(1, out)` of all layers, drawn as scikit-learn draws them (Glorot & Bengio)."""
    weights, biases = [], []
    for fan_in, fan_out in pairwise(sizes):
        bound = np.sqrt(6 / (fan_in + fan_out))
        weights.append(state.uniform(-bound, bound, (fan_in, fan_out)))
        biases.append(state.uniform(-bound, bound, (1, fan_out)))
    return weights, biases


def shuffled(size: int, state: np.random.RandomState) -> np.ndarray:
    """The numbers below `size` in a random order."""
    order = np.arange(size)
    state.shuffle(order)
    return order


def log_loss(probabilities: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean cross-entropy of each network, `(k,)`."""
    eps = np.finfo(np.float64).eps
    clipped = np.clip(probabilities, eps, 1 - eps)
    return -(xlogy(truth, clipped) + xlogy(1 - truth, 1 - clipped)).mean((1, 2))

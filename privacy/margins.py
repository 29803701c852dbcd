"""How sure a model is of a label: margins and losses that stay exact however sure it is."""

from typing import Literal

import numpy as np

__all__ = ["OutputKind", "cross_entropy", "excess_margins", "margins", "odds_of_losses"]

OutputKind = Literal["logits", "probabilities", "multi-label", "losses"]
SMALLEST = 1e-300  # stands for a probability of 0, whose logarithm is not finite
LARGEST = float(np.finfo(np.float64).max)


def excess_margins(outputs: np.ndarray, labels: np.ndarray, kind: OutputKind) -> np.ndarray:
    """How far the label's logit is above those of the other classes, 0 where all logits are equal: `(n,)` float64.

    `z_y - log(mean_{j != y} exp z_j)`, of logits `(n, C)` at labels `(n,)`; of probabilities the same with
    `z = log p`. It ranks records as the cross-entropy does, for logits of any size from 1e-30 to 1e300, where the
    cross-entropy in float64 is 0 for every very sure answer and `log C` for every very unsure one.

    >>> excess_margins(np.array([[3.0, 0.0], [1.0, 1.0]]), np.array([0, 1]), "logits").tolist()
    [3.0, 0.0]
    """
    rows, classes = np.arange(len(labels)), outputs.shape[1]
    at_label, others = outputs[rows, labels], outputs.astype(np.float64)
    if kind == "probabilities":
        others[rows, labels] = 0
        rest = others.sum(1)  # not 1 - p, which is 0 for every p that was rounded to 1
        with np.errstate(divide="ignore"):
            margin = np.log(np.maximum(at_label, SMALLEST)) - np.log(rest) + np.log(classes - 1)
        return np.nan_to_num(margin, posinf=LARGEST)
    others[rows, labels] = -np.inf
    highest = others.max(1)
    with np.errstate(over="ignore"):
        relative = np.expm1(np.where(np.isneginf(others), 0, others - highest[:, None])).sum(1) / (classes - 1)
        margin = at_label - highest - np.log1p(relative)
    return np.nan_to_num(margin, posinf=LARGEST, neginf=-np.inf)


def margins(outputs: np.ndarray, labels: np.ndarray, kind: OutputKind) -> np.ndarray:
    """`log(p / (1 - p))` of the label's probability, `z_y - logsumexp_{j != y} z_j`: `(n,)` float64."""
    return excess_margins(outputs, labels, kind) - np.log(outputs.shape[1] - 1)


def cross_entropy(outputs: np.ndarray, labels: np.ndarray, kind: OutputKind) -> np.ndarray:
    """Cross-entropy `(n,)` in nats of outputs `(n, C)` at labels `(n,)`, exact also where it is tiny.

    Of several labels, `(n, C)` zeros and ones, the sum of the binary cross-entropies of all.

    `logaddexp(0, -margin)`. The usual `log(sum exp z) - z_y` is 0 or a rounding error above a margin of about 33.

    >>> cross_entropy(np.array([[100.0, 0.0]]), np.array([0]), "logits")
    array([3.72007598e-44])
    """
    if kind == "multi-label":
        return np.logaddexp(0, np.where(labels == 1, -outputs, outputs)).sum(1)
    return np.logaddexp(0, -margins(outputs, labels, kind))


def odds_of_losses(losses: np.ndarray) -> np.ndarray:
    """`log(p / (1 - p))` of the likelihoods `p = exp(-loss)`, of any shape; infinite for a loss of 0.

    >>> odds_of_losses(np.array([np.log(2), 1e-30])).round(3)
    array([ 0.   , 69.078])
    """
    with np.errstate(divide="ignore"):
        return -losses - np.log(-np.expm1(-losses))

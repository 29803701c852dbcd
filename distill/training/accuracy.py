"""The share of right answers."""

from torch import Tensor

__all__ = ["accuracy"]


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of rows of `logits` `(n, C)` whose largest is at their int label, in [0, 1]."""
    return int((logits.argmax(1) == labels.to(logits.device)).sum()) / len(labels)

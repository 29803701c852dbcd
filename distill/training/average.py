"""Moving averages of tensors that are learned step by step: of distilled images, of the weights of a network."""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["MovingAverage"]

WARM_UP = 9  # one more than the power of an update's number that it has as its weight, while the average warms up


class MovingAverage:
    """Exponential moving average of `tensors`, which change in place, as they are at each `update`.

    Update t (1, 2, ...) makes an average `d * average + (1 - d) * tensor`, `d = min(decay, (t - 1) / (t + 8))`. So the
    average of a short run is about that of its last tenth, without anything of where the tensors started (the
    polynomial-decay averaging of Shamir & Zhang 2013); a `decay` of 0.99 is in force from update 892 on. Tensors that
    are not of floats are copied.

    - `decay`: 0 or more, below 1; 0 follows the tensors.

    >>> weight = torch.zeros(1)
    >>> average = MovingAverage([weight], decay=0.99)
    >>> for step in range(1, 101):
    ...     _ = weight.fill_(step)
    ...     average.update()
    >>> average.values[0]
    tensor([90.1000])
    """

    def __init__(self, tensors: Iterable[Tensor], *, decay: float) -> None:
        self.tensors, self.decay, self.updates = list(tensors), decay, 0
        self.values = [tensor.detach().clone() for tensor in self.tensors]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the tensors as they are now."""
        decay = min(self.decay, self.updates / (self.updates + WARM_UP))
        self.updates += 1
        for value, tensor in zip(self.values, self.tensors, strict=True):
            if value.is_floating_point():
                value.lerp_(tensor, 1 - decay)
            else:
                value.copy_(tensor)

    @torch.no_grad()
    def replace_tensors(self) -> None:
        """Give the tensors the values of their averages."""
        for value, tensor in zip(self.values, self.tensors, strict=True):
            tensor.copy_(value)

    def restore(self, values: Iterable[Tensor], updates: int) -> None:
        """Put back averages as they were after so many updates."""
        self.updates = updates
        for value, kept in zip(self.values, values, strict=True):
            value.copy_(kept)

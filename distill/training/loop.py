"""The one training loop: an update of an optimizer for each loss."""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from distill.training.average import MovingAverage

__all__ = ["train"]


def train(
    losses: Iterable[Tensor],
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler | None = None,
    *,
    average: MovingAverage | None = None,
) -> None:
    """Take one step of the optimizer, and of the `scheduler`, for each of the `losses`.

    - `losses`: computed one after the other, each after the update before it; give a generator expression.
    - `average`: of what the optimizer moves, updated after each step; in the end this has the values of its averages.

    >>> weight = torch.ones(1, requires_grad=True)
    >>> train((weight.square().sum() for _ in range(3)), torch.optim.SGD([weight], lr=0.25))
    >>> weight.item()
    0.125
    """
    for loss in losses:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step()
        if average is not None:
            average.update()
    if average is not None:
        average.replace_tensors()

"""The model pool: networks of different ages, trained on the distilled set as it changes."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from distill.distillers.checkpoint import moments, set_moments, with_prefix, without_prefix
from distill.distillers.state import StepwiseState
from distill.networks import Network
from distill.training.loop import train

__all__ = ["ModelPool", "PoolModel", "PooledState", "squared_error", "updates_due"]


def squared_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Half the squared distance of logits and soft labels `(n, C)`, summed over classes, mean over rows."""
    return 0.5 * (logits - labels).square().sum(1).mean()


def updates_due(rate: float, step: int) -> int:
    """How many updates step number `step` (from 0) makes at `rate` updates a step: whole ones, as soon as they are due.

    >>> [updates_due(1.5, step) for step in range(4)], [updates_due(0.25, step) for step in range(8)]
    ([1, 2, 1, 2], [0, 0, 0, 1, 0, 0, 0, 1])
    """
    return math.floor(rate * (step + 1)) - math.floor(rate * step)


class PoolModel:
    """A network, its optimizer, and its age: how many updates it has had (or counts as having had)."""

    def __init__(self, network: Network, learning_rate: float, age: int) -> None:
        self.network = network
        self.optimizer = torch.optim.Adam(network.parameters(), lr=learning_rate, fused=True)
        self.age = age

    def train_step(self, images: Tensor, labels: Tensor) -> None:
        """One update on a batch: mean squared error on soft labels, BatchNorm in training mode."""
        self.network.train()
        self.network.requires_grad_(True)
        train([squared_error(self.network(images), labels)], self.optimizer)
        self.age += 1
        self.freeze()

    def freeze(self) -> None:
        """Inference mode, without gradients of the weights, which are not needed."""
        self.optimizer.zero_grad()
        self.network.requires_grad_(False)
        self.network.eval()

    def renew(self, generator: torch.Generator) -> None:
        """Redraw the network, as new."""
        self.network.reset_parameters(generator)
        self.optimizer.state.clear()
        self.age = 0


class ModelPool:
    """`size` networks; one is sampled at each step, and redrawn after more than `max_updates` updates.

    With `max_updates=0` none is ever trained, and each is redrawn as soon as it was used: random features.

    At the start, network `i` counts as `max_updates / size * i` updates old, so that they are not all renewed at
    once. `build` makes one network from a generator.
    """

    def __init__(
        self,
        *,
        build: Callable[[torch.Generator], Network],
        size: int,
        max_updates: int,
        learning_rate: float,
        batch_size: int,
        generator: torch.Generator,
    ) -> None:
        self.max_updates, self.batch_size, self.generator = max_updates, batch_size, generator
        self.models = [
            PoolModel(build(generator), learning_rate, age=max_updates * i // size) for i in range(size)
        ]
        for model in self.models:
            model.freeze()

    def __iter__(self) -> Iterator[PoolModel]:
        return iter(self.models)

    def sample(self) -> PoolModel:
        """A model, drawn uniformly."""
        return self.models[int(torch.randint(len(self.models), (1,), generator=self.generator))]

    def train(self, model: PoolModel, images: Tensor, labels: Tensor, *, updates: int = 1) -> None:
        """Train the model on the distilled set, `updates` times: on all of it, or `batch_size` random ones of more."""
        for _ in range(updates if self.max_updates else 0):
            if len(images) > self.batch_size:
                chosen = torch.randperm(len(images), generator=self.generator)[: self.batch_size].to(images.device)
                model.train_step(images[chosen], labels[chosen])
            else:
                model.train_step(images, labels)

    def renew(self, model: PoolModel) -> None:
        """Redraw the model if it has had more than `max_updates` updates, or is to have none."""
        if model.age > self.max_updates or not self.max_updates:
            model.renew(self.generator)

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: every model with its optimizer, and the generator."""
        tensors = {"pool.generator": self.generator.get_state()}
        for i, model in enumerate(self):
            tensors |= with_prefix(f"pool.{i}.network.", model.network.state_dict())
            tensors |= moments(f"pool.{i}.adam", model.optimizer)
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], ages: Sequence[int]) -> None:
        """Restore the pool from `tensors`, of models of these `ages`."""
        self.generator.set_state(tensors["pool.generator"])
        for i, (model, age) in enumerate(zip(self, ages, strict=True)):
            model.network.load_state_dict(without_prefix(f"pool.{i}.network.", tensors))
            set_moments(f"pool.{i}.adam", model.optimizer, tensors)
            model.age = age


class PooledState(StepwiseState):
    """A state with a `pool` of models; a subclass sets it."""

    pool: ModelPool

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: all of the pool as well."""
        return {**super().tensors(), **self.pool.tensors()}

    def metadata(self) -> dict[str, Any]:
        """For a checkpoint: the ages of the pool's models as well."""
        return {**super().metadata(), "ages": [model.age for model in self.pool]}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Restore the state from `tensors` and `metadata`."""
        super().restore(tensors, metadata)
        self.pool.restore(tensors, metadata["ages"])

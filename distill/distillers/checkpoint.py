"""Saves a running distillation from time to time, and resumes it."""

import time
from collections.abc import Mapping
from typing import Any, Protocol

import torch

from distill.distillers.base import Distiller
from distill.distillers.made_from import made_from
from distill.distillers.run import Run
from distill.preprocess import PreprocessedImages
from distill.store import MadeFrom

__all__ = ["Checkpoint", "Resumable", "moments", "set_moments", "with_prefix", "without_prefix"]

SECONDS_BETWEEN = 30.0


class Resumable(Protocol):
    """What a checkpoint can keep: the state of a distillation at one moment. It knows nothing of files."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything random or learned, generators included."""

    def metadata(self) -> dict[str, Any]:
        """What is no tensor; JSON-able."""

    def restore(self, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
        """Restore the state from `tensors` and `metadata`."""


class Checkpoint:
    """The entry of one distillation in the run's store. Does nothing where the run has none.

    It holds images, optimizers, networks and generators, all that the state gives: a distillation that is resumed from
    it ends in the same bits as one that was never stopped.

    - `run`: with the store, and the held-out images the distillation is watched on.
    - `data`: what it distils. An entry of another distiller, other options or data is refused, in words that say which.
    """

    def __init__(self, run: Run, distiller: Distiller, data: PreprocessedImages) -> None:
        self.store, self.name = run.store, f"checkpoint-{distiller.method}-{run.images_per_class}-seed-{run.seed}"
        self.last, self.cost = time.monotonic(), 0.0
        self.made_from = MadeFrom()
        if run.store is not None:
            self.made_from = made_from(
                distiller, data, asked=run.options(), device=run.device, held_out=run.held_out
            )

    def load_into(self, state: Resumable) -> None:
        """Restore `state` from the saved checkpoint, if any; raises `InputError` if it belongs to a different run."""
        entry = None if self.store is None else self.store.load(self.name, self.made_from)
        if entry is not None:
            state.restore(entry.tensors, entry.metadata)

    def save_if_due(self, state: Resumable) -> None:
        """Save when the last time is long enough ago, longer where saving itself takes seconds."""
        if self.store is not None and time.monotonic() - self.last >= SECONDS_BETWEEN * max(1.0, self.cost):
            self.save(state)

    def save(self, state: Resumable) -> None:
        """Save now, atomically."""
        if self.store is not None:
            started = time.monotonic()
            self.store.save(self.name, self.made_from, state.tensors(), state.metadata())
            self.last = time.monotonic()
            self.cost = self.last - started


def with_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same tensors, under longer names."""
    return {prefix + name: value for name, value in tensors.items()}


def without_prefix(prefix: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The inverse of `with_prefix`; other tensors are left out."""
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def moments(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """An optimizer's tensors, under names that say which parameter they belong to."""
    state = optimizer.state_dict()["state"]
    return {f"{prefix}.{index}.{name}": value for index, part in state.items() for name, value in part.items()}


def set_moments(prefix: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Put back what `moments` took; without such tensors the optimizer is as new."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix + "."):
            index, key = name.removeprefix(prefix + ".").split(".")
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    for parameter, moments_of in optimizer.state.items():
        for key, value in moments_of.items():
            if value.shape == parameter.shape:  # in the parameter's memory format, as they were before
                moments_of[key] = torch.empty_like(parameter).copy_(value)

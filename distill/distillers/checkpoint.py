"""Saves a running distillation now and then, and goes on from there."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from distill.errors import InputError
from distill.fingerprint import data_fingerprint, fingerprint
from distill.preprocess import PreprocessedImages
from distill.tensor_files import read_tensors, write_tensors

__all__ = ["Checkpoint", "Resumable", "fingerprint", "moments", "set_moments", "with_prefix", "without_prefix"]

SECONDS_BETWEEN = 30.0
FORMAT = 3  # raised whenever networks or optimizers name their tensors anew, or fingerprints are taken otherwise


class Resumable(Protocol):
    """What a checkpoint can keep: the state of a distillation at one moment. It knows nothing of files."""

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything random or learned, generators included."""

    def metadata(self) -> dict[str, Any]:
        """What is no tensor; JSON-able."""

    def restore(self, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
        """Become what gave these `tensors` and `metadata`."""


class Checkpoint:
    """The checkpoint file of one distillation. Without a path, does nothing.

    The file holds images, optimizers, networks and generators, all that the state gives: a distillation that goes on
    from it ends in the same bits as one that was never stopped.

    - `belongs_to`: the distillation's method and options; `data`: what it distils; `held_out`: what it is watched on. A
      file of others is refused, in words that say which.
    """

    def __init__(
        self,
        path: str | Path | None,
        *,
        belongs_to: dict[str, Any],
        data: PreprocessedImages,
        held_out: PreprocessedImages | None,
    ) -> None:
        self.path = None if path is None else Path(path)
        self.last, self.cost = time.monotonic(), 0.0
        self.identity: dict[str, Any] = {}
        if path is not None:
            identity = {
                "format": FORMAT,
                "options": belongs_to,
                "data": data_fingerprint(data),
                "held_out": None if held_out is None else fingerprint(held_out),
            }
            self.identity = json.loads(json.dumps(identity))  # as it will be when it is read from the file

    def load_into(self, state: Resumable) -> None:
        """Bring `state` to where the file left off, if there is one; raises `InputError` if it is another's."""
        if self.path is None or not self.path.exists():
            return
        tensors, metadata = read_tensors(self.path)
        if differing := differences(metadata.get("identity"), self.identity):
            raise InputError(
                f"{self.path} is the checkpoint of a distillation with other options or data ({differing}); resume "
                "with those it was started with, or remove it to start anew"
            )
        state.restore(tensors, metadata)

    def save_if_due(self, state: Resumable) -> None:
        """Save when the last time is long enough ago, longer where saving itself takes seconds."""
        if self.path is not None and time.monotonic() - self.last >= SECONDS_BETWEEN * max(1.0, self.cost):
            self.save(state)

    def save(self, state: Resumable) -> None:
        """Save now, whole or not at all."""
        if self.path is not None:
            started = time.monotonic()
            write_tensors(self.path, state.tensors(), {"identity": self.identity, **state.metadata()})
            self.last = time.monotonic()
            self.cost = self.last - started


def differences(found: Any, wanted: dict[str, Any]) -> str:
    """What tells the distillation that a file was saved by from the one that wants to resume; "" for nothing."""
    if not isinstance(found, dict) or found.get("format") != wanted["format"]:
        return "saved by another version of this toolkit, or no checkpoint at all"
    before, now = found["options"], wanted["options"]
    words = [
        f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]
    words += [f"other {part}" for part, value in wanted["data"].items() if found["data"].get(part) != value]
    words += ["other held-out images"] if found["held_out"] != wanted["held_out"] else []
    return ", ".join(words)


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

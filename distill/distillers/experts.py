"""Experts: networks trained on the real images, kept as they were after each epoch."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from distill.networks import Network
from distill.runtime.progress import progress_bar
from distill.store import MadeFrom, Store
from distill.training.loop import train

__all__ = ["Experts", "batches", "trajectory_of"]

HELD = 2**30  # bytes of trajectories that are held in memory where a store keeps them all

Trajectory = dict[str, Tensor]  # parameters by name, each (epochs + 1, ...)


def batches(count: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Positions among `count` images, `size` at a time, without end: each in turn once before any comes again."""
    while True:
        yield from torch.randperm(count, generator=generator).split(size)


def trajectory_of(network: Network, losses: Iterator[Tensor], *, epochs: int, updates: int, rate: float) -> Trajectory:
    """The parameters of a `network` before its training and after each of its `epochs`, on the CPU.

    - `losses`: computed one after the other, one for each of the `updates` of an epoch. `rate`: learning rate of SGD.
    """
    optimizer = torch.optim.SGD(network.parameters(), lr=rate)
    kept = [_copied(network)]
    for _ in range(epochs):
        train(islice(losses, updates), optimizer)
        kept.append(_copied(network))
    return {name: torch.stack([epoch[name] for epoch in kept]) for name in kept[0]}


def _copied(network: Network) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in network.named_parameters()}


class Experts:
    """The trajectories of `count` experts, each trained once: a store keeps them for other runs.

    - `train`: trains expert number `index`.
    - `store`: where each is an entry, shared with other runs; `None`: all are in memory.
    - `made_from`: what all of them are made from.
    """

    def __init__(
        self, count: int, train: Callable[[int], Trajectory], *, store: Store | None, made_from: MadeFrom
    ) -> None:
        self.count, self.train, self.store, self.made_from = count, train, store, made_from
        self._held: dict[int, Trajectory] = {}

    def make_all(self, *, progress: bool = False) -> None:
        """Train those that no store has yet."""
        for index in progress_bar(range(self.count), shown=progress, desc="experts", unit="expert"):
            self.trajectory(index)

    def trajectory(self, index: int) -> Trajectory:
        """That of expert number `index`, from memory or from the store; it is trained where neither has it."""
        if index not in self._held:
            found = self.train(index) if self.store is None else self._kept(self.store, index)
            size = sum(tensor.nbytes for tensor in found.values())
            if self.store is not None and size * (len(self._held) + 1) > HELD:
                self._held.clear()
            self._held[index] = found
        return self._held[index]

    def _kept(self, store: Store, index: int) -> Trajectory:
        made_from = replace(self.made_from, options={**self.made_from.options, "expert": index})
        return store.get_shared(f"expert-{index}", made_from, lambda: (self.train(index), {})).tensors

    def parameters(self, index: int, epoch: int, like: Network) -> dict[str, Tensor]:
        """Those of expert number `index` after `epoch` epochs, in the type, on the device and in the memory format of
        the parameters of `like`."""
        kept: Mapping[str, Tensor] = self.trajectory(index)
        return {
            name: torch.empty_like(parameter, requires_grad=False).copy_(kept[name][epoch])
            for name, parameter in like.named_parameters()
        }

"""Mini-batches of a buffer, drawn for as long as a strategy asks for them."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from continual.soft_labels import read_all, with_soft_labels
from distill.training.recipe import TrainingRecipe

__all__ = ["Replayed", "read_buffer"]


def read_buffer(buffer: Any, num_classes: int, device: str | torch.device) -> list[Tensor]:
    """Images, class ids, soft labels `(n, C)` and task labels of a buffer, on the device."""
    return [column.to(device) for column in read_all(with_soft_labels(buffer.eval(), num_classes))]


class Replayed(Iterator[list[Tensor]]):
    """Batches of exactly `size` rows of `columns`, without end; the first column, images, is augmented by `recipe`.

    Every image comes once before one comes again; a memory of fewer than `size` images comes several times in a batch.

        >>> images = torch.zeros(3, 1, 4, 4)
        >>> batches = Replayed([images, torch.arange(3)], 2, TrainingRecipe(augment=False), torch.Generator())
        >>> sorted(torch.cat([next(batches)[1] for _ in range(3)]).tolist())
        [0, 0, 1, 1, 2, 2]
    """

    def __init__(self, columns: list[Tensor], size: int, recipe: TrainingRecipe, generator: torch.Generator) -> None:
        self.columns, self.size, self.recipe, self.generator = columns, size, recipe, generator
        self._order = torch.empty(0, dtype=torch.long)

    def __next__(self) -> list[Tensor]:
        images, *others = self.columns
        while len(self._order) < self.size:
            self._order = torch.cat([self._order, torch.randperm(len(images), generator=self.generator)])
        chosen, self._order = self._order[: self.size].to(images.device), self._order[self.size :]
        return [self.recipe.transform(images[chosen], self.generator), *(column[chosen] for column in others)]

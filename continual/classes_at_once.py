"""Which classes of an experience are distilled together."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor

from distill import Distiller

__all__ = ["Part", "divides_classes", "parts_of", "sizes_of_parts"]


@dataclass(frozen=True)
class Part:
    """Classes that are distilled together, to `count` images of each."""

    count: int
    classes: tuple[int, ...]

    @property
    def name(self) -> str:
        """What no other part of the same images has."""
        return f"classes-{self.classes[0]}-to-{self.classes[-1]}"

    def of(self, labels: Tensor) -> Tensor:
        """A mask of the images of these classes."""
        return torch.isin(labels, torch.tensor(self.classes))


def divides_classes(distiller: Distiller) -> bool:
    """Whether `classes_at_once` is for this method: one that learns images, and is not private."""
    return not distiller.selects_real_images and not distiller.is_private


def parts_of(wanted: Mapping[int, int], at_once: int | None = None) -> list[Part]:
    """All classes in as few parts as possible, of one number of images each and of at most `at_once` classes.

    - `wanted`: images of each class. `at_once`: default: no limit.

    The highest number comes first. Parts of the same number differ by at most one class.

    >>> parts_of({0: 20, 1: 20, 2: 5, 3: 20}, at_once=2)
    [Part(count=20, classes=(0, 1)), Part(count=20, classes=(3,)), Part(count=5, classes=(2,))]
    """
    parts: list[Part] = []
    for count in sorted(set(wanted.values()), reverse=True):
        same = sorted(c for c, number in wanted.items() if number == count)
        left = iter(same)
        parts += [Part(count, tuple(islice(left, size))) for size in sizes_of_parts(len(same), at_once)]
    return parts


def sizes_of_parts(classes: int, at_once: int | None) -> list[int]:
    """Numbers of classes of the parts of so many classes, the larger ones first.

    >>> sizes_of_parts(25, at_once=10)
    [9, 8, 8]
    """
    parts = 1 if at_once is None else -(-classes // at_once)
    whole, more = divmod(classes, parts)
    return [whole + 1] * more + [whole] * (parts - more)

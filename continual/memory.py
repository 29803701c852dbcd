"""What a buffer keeps, by task and class, and how the places are shared out when more comes."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
from avalanche.benchmarks.utils.utils import concat_datasets
from torch import Tensor

from continual.items import Items, Layout, dataset_of
from continual.quotas import evicted, fill, newcomers
from continual.soft_labels import soft_label_attribute
from distill import SyntheticSet

__all__ = ["Group", "Key", "Memory", "Part", "Plan", "Returning"]

Key = tuple[int, int]  # task label, class id
Returning = Literal["share", "replace", "add"]


@dataclass(frozen=True, eq=False)
class Part:
    """What is kept of one delivery of images.

    - `synthetic`: `n` images. `tasks`: task labels `(n,)`. `fields`, `layout`: as in `Items`.
    - `stands_for`: how many real images of each task and class it was made from.
    - `transform`: of the images in training; `None` for none.
    """

    synthetic: SyntheticSet
    tasks: Tensor
    fields: tuple[list[Any], ...]
    layout: Layout
    stands_for: Mapping[Key, int]
    transform: Any = None

    def groups(self) -> list[Key]:
        """Task and class of each image."""
        return list(zip(self.tasks.tolist(), self.synthetic.class_ids.tolist(), strict=True))

    def first(self, quotas: Mapping[Key, int]) -> "Part | None":
        """The first images of each group, as many as `quotas` gives it (default: all); `None` if none are left."""
        taken: Counter[Key] = Counter()
        chosen = []
        for i, key in enumerate(self.groups()):
            if key not in quotas or taken[key] < quotas[key]:
                taken[key] += 1
                chosen.append(i)
        if len(chosen) == len(self.tasks):
            return self
        if not chosen:
            return None
        positions = torch.tensor(chosen)
        return replace(
            self,
            synthetic=self.synthetic.subset(positions),
            tasks=self.tasks[positions],
            fields=tuple([column[i] for i in chosen] for column in self.fields),
        )

    def dataset(self) -> AvalancheDataset:
        """The images as an Avalanche dataset, soft labels as an attribute."""
        return stacked([self], self.synthetic.labels)


def stacked(parts: list[Part], labels: Tensor) -> AvalancheDataset:
    """Parts of one layout and transform as one dataset; `labels` are all their soft labels."""
    columns = zip(*(part.fields for part in parts), strict=True)
    items = Items(
        torch.cat([part.synthetic.images for part in parts]),
        torch.cat([part.synthetic.class_ids for part in parts]),
        torch.cat([part.tasks for part in parts]),
        tuple([value for column in of_parts for value in column] for of_parts in columns),
        parts[0].layout,
    )
    soft: DataAttribute = soft_label_attribute(labels)
    return dataset_of(items, attributes=[soft], train_transform=parts[0].transform)


@dataclass(frozen=True)
class Group:
    """The images of one task and class: `buffer`, an Avalanche dataset, which stands for `seen` real images."""

    buffer: AvalancheDataset
    seen: int


@dataclass(frozen=True)
class Plan:
    """What becomes of a delivery: places of each group, how many of the new images get one, how many to distil."""

    quotas: Mapping[Key, int]
    taken: Mapping[Key, int]
    asked: Mapping[Key, int]
    carry: Mapping[Key, float]


@dataclass
class Memory:
    """Parts in the order in which they came, and for each group the real images seen and what rounding left over."""

    parts: list[Part] = field(default_factory=list)
    seen: dict[Key, int] = field(default_factory=dict)
    carry: dict[Key, float] = field(default_factory=dict)

    def copy(self) -> "Memory":
        """Another one with the same content."""
        return Memory(list(self.parts), dict(self.seen), dict(self.carry))

    def kept(self) -> Counter[Key]:
        """How many images each group has."""
        return Counter(key for part in self.parts for key in part.groups())

    def plan(
        self, new: Mapping[Key, int], *, limit: int | None, per_group: int | None, returning: Returning
    ) -> Plan:
        """What to do with `new` images of each group.

        - `limit`: places in all. `per_group`: places of each group; `None`: all that `limit` leaves.
        - `returning`: what a group that has images already does with more of them.
        """
        kept = self.kept()
        if returning == "replace":
            kept = Counter({key: count for key, count in kept.items() if key not in new})
        order = list(dict.fromkeys([*self.seen, *new]))
        capacities = [capacity(kept[key], new.get(key, 0), per_group, returning) for key in order]
        places, level = fill(limit, capacities)
        quotas = dict(zip(order, places, strict=True))
        highest = {key: min(most, level) for key, most in zip(order, capacities, strict=True)}
        taken, asked, carry = {}, {}, {}
        for key, count in new.items():
            seen, left_over = (0, 0.5) if returning == "replace" else (self.seen.get(key, 0), self.carry.get(key, 0.5))
            if returning == "add" and quotas[key] == capacities[order.index(key)]:
                taken[key], carry[key] = quotas[key] - kept[key], left_over
                asked[key] = taken[key]
                continue
            taken[key], carry[key] = newcomers(quotas[key], new=count, kept=kept[key], seen=seen, carry=left_over)
            # What is distilled together is asked for alike; a place more or less is a matter of rounding.
            share = -(-highest[key] * count // (seen + count))
            asked[key] = max(taken[key], min(share, count)) if taken[key] else 0
        return Plan(quotas, taken, asked, carry)

    def add(
        self, part: Part | None, new: Mapping[Key, int], plan: Plan, *, returning: Returning,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        """Take in what was distilled of `new` real images, as planned."""
        if returning == "replace":
            self._forget(new)
        for key, count in new.items():
            self.seen[key] = self.seen.get(key, 0) + count
        self.carry.update(plan.carry)
        self.shrink({key: plan.quotas[key] - plan.taken.get(key, 0) for key in plan.quotas}, generator)
        part = None if part is None else part.first(plan.taken)
        if part is not None:
            self.parts.append(part)

    def shrink(self, quotas: Mapping[Key, int], generator: torch.Generator) -> None:
        """Let each group keep no more than its quota."""
        counts = [Counter(part.groups()) for part in self.parts]
        left: list[dict[Key, int]] = [dict(count) for count in counts]
        for key, quota in quotas.items():
            owners = [i for i, count in enumerate(counts) if count[key]]
            kept = [counts[i][key] for i in owners]
            if sum(kept) > quota:
                stands_for = [self.parts[i].stands_for[key] for i in owners]
                for i, count in zip(owners, evicted(kept, stands_for, quota, generator), strict=True):
                    left[i][key] = count
        shrunk = [part.first(places) for part, places in zip(self.parts, left, strict=True)]
        self.parts = [part for part in shrunk if part is not None]

    def _forget(self, keys: Mapping[Key, int]) -> None:
        nothing = dict.fromkeys(keys, 0)
        self.parts = [part for old in self.parts if (part := old.first(nothing)) is not None]
        for key in keys:
            self.seen.pop(key, None)
            self.carry.pop(key, None)

    def dataset(self) -> AvalancheDataset:
        """All that is kept as one Avalanche dataset."""
        runs: list[list[Part]] = []
        for part in self.parts:
            if runs and runs[-1][0].transform is part.transform:
                runs[-1].append(part)
            else:
                runs.append([part])
        return concat_datasets([stacked(run, torch.cat([part.synthetic.labels for part in run])) for run in runs])


def capacity(kept: int, new: int, per_group: int | None, returning: Returning) -> int:
    """How many images a group could hold."""
    if per_group is None:
        return kept + new
    if returning == "add":
        return kept + min(new, per_group)
    return max(kept, min(kept + new, per_group))

"""What a buffer stores, by task and class, and how places are divided when more images come."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
from avalanche.benchmarks.utils.utils import concat_datasets
from torch import Tensor

from continual.items import Items, Layout, dataset_of
from continual.quotas import equal_quotas, kept_after_eviction, slots_for_new_images
from continual.soft_labels import soft_label_attribute
from distill import SyntheticSet

__all__ = ["Delivery", "Group", "Key", "Memory", "Plan", "Returning"]

Key = tuple[int, int]  # task label, class id
Returning = Literal["share", "replace", "add"]


@dataclass(frozen=True, eq=False)
class Delivery:
    """What is stored of one delivery of images.

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

    def first(self, quotas: Mapping[Key, int]) -> "Delivery | None":
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
        """The images as an Avalanche dataset, with soft labels as an attribute."""
        return stacked([self], self.synthetic.soft_labels)


def stacked(deliveries: list[Delivery], soft_labels: Tensor) -> AvalancheDataset:
    """Deliveries of the same layout and transform as one dataset; `soft_labels` are those of all of them."""
    columns = zip(*(delivery.fields for delivery in deliveries), strict=True)
    items = Items(
        torch.cat([delivery.synthetic.images for delivery in deliveries]),
        torch.cat([delivery.synthetic.class_ids for delivery in deliveries]),
        torch.cat([delivery.tasks for delivery in deliveries]),
        tuple([value for column in of_each for value in column] for of_each in columns),
        deliveries[0].layout,
    )
    soft: DataAttribute = soft_label_attribute(soft_labels)
    return dataset_of(items, attributes=[soft], train_transform=deliveries[0].transform)


@dataclass(frozen=True)
class Group:
    """The images of one task and class: `buffer`, an Avalanche dataset, which stands for `seen` real images."""

    buffer: AvalancheDataset
    seen: int


@dataclass(frozen=True)
class Plan:
    """The plan for a delivery, by group: its places, how many go to new images, and how many images to distil."""

    quotas: Mapping[Key, int]
    taken: Mapping[Key, int]
    asked: Mapping[Key, int]
    carry: Mapping[Key, float]


@dataclass
class Memory:
    """The deliveries in order, and for each group the number of real images seen and the rounding error carried on."""

    deliveries: list[Delivery] = field(default_factory=list)
    seen: dict[Key, int] = field(default_factory=dict)
    carry: dict[Key, float] = field(default_factory=dict)

    def copy(self) -> "Memory":
        """Another memory with the same content."""
        return Memory(list(self.deliveries), dict(self.seen), dict(self.carry))

    def kept(self) -> Counter[Key]:
        """How many images each group has."""
        return Counter(key for delivery in self.deliveries for key in delivery.groups())

    def plan(
        self, new: Mapping[Key, int], *, limit: int | None, per_group: int | None, returning: Returning
    ) -> Plan:
        """What to do with `new` images of each group.

        - `limit`: places in all. `per_group`: places of each group; `None`: all that `limit` leaves.
        - `returning`: what a group that has images does with more of them.
        """
        kept = self.kept()
        if returning == "replace":
            kept = Counter({key: count for key, count in kept.items() if key not in new})
        order = list(dict.fromkeys([*self.seen, *new]))
        capacities = [capacity(kept[key], new.get(key, 0), per_group, returning) for key in order]
        places, level = equal_quotas(limit, capacities)
        quotas = dict(zip(order, places, strict=True))
        highest = {key: min(most, level) for key, most in zip(order, capacities, strict=True)}
        taken, asked, carry = {}, {}, {}
        for key, count in new.items():
            seen, left_over = (0, 0.5) if returning == "replace" else (self.seen.get(key, 0), self.carry.get(key, 0.5))
            if returning == "add" and quotas[key] == capacities[order.index(key)]:
                taken[key], carry[key] = quotas[key] - kept[key], left_over
                asked[key] = taken[key]
                continue
            taken[key], carry[key] = slots_for_new_images(
                quotas[key], new=count, kept=kept[key], seen=seen, carry=left_over
            )
            # What is distilled together is asked for alike; a place more or less is a matter of rounding.
            share = -(-highest[key] * count // (seen + count))
            asked[key] = max(taken[key], min(share, count)) if taken[key] else 0
        return Plan(quotas, taken, asked, carry)

    def add(
        self, delivery: Delivery | None, new: Mapping[Key, int], plan: Plan, *, returning: Returning,
        generator: torch.Generator,
    ) -> None:  # fmt: skip
        """Add what was distilled from `new` real images, as planned."""
        if returning == "replace":
            self._forget(new)
        for key, count in new.items():
            self.seen[key] = self.seen.get(key, 0) + count
        self.carry.update(plan.carry)
        self.shrink({key: plan.quotas[key] - plan.taken.get(key, 0) for key in plan.quotas}, generator)
        delivery = None if delivery is None else delivery.first(plan.taken)
        if delivery is not None:
            self.deliveries.append(delivery)

    def shrink(self, quotas: Mapping[Key, int], generator: torch.Generator) -> None:
        """Drop images, so that no group has more than its quota."""
        counts = [Counter(delivery.groups()) for delivery in self.deliveries]
        left: list[dict[Key, int]] = [dict(count) for count in counts]
        for key, quota in quotas.items():
            owners = [i for i, count in enumerate(counts) if count[key]]
            kept = [counts[i][key] for i in owners]
            if sum(kept) > quota:
                stands_for = [self.deliveries[i].stands_for[key] for i in owners]
                for i, count in zip(owners, kept_after_eviction(kept, stands_for, quota, generator), strict=True):
                    left[i][key] = count
        shrunk = [delivery.first(places) for delivery, places in zip(self.deliveries, left, strict=True)]
        self.deliveries = [delivery for delivery in shrunk if delivery is not None]

    def _forget(self, keys: Mapping[Key, int]) -> None:
        nothing = dict.fromkeys(keys, 0)
        self.deliveries = [rest for old in self.deliveries if (rest := old.first(nothing)) is not None]
        for key in keys:
            self.seen.pop(key, None)
            self.carry.pop(key, None)

    def dataset(self) -> AvalancheDataset:
        """All stored images as one Avalanche dataset."""
        runs: list[list[Delivery]] = []
        for delivery in self.deliveries:
            if runs and runs[-1][0].transform is delivery.transform:
                runs[-1].append(delivery)
            else:
                runs.append([delivery])
        return concat_datasets([stacked(run, torch.cat([each.synthetic.soft_labels for each in run])) for run in runs])


def capacity(kept: int, new: int, per_group: int | None, returning: Returning) -> int:
    """How many images a group could hold."""
    if per_group is None:
        return kept + new
    if returning == "add":
        return kept + min(new, per_group)
    return max(kept, min(kept + new, per_group))

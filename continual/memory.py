"""What a buffer stores, by task and class, and how places are divided when more images come."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.benchmarks.utils.utils import concat_datasets

from continual.delivery import Delivery, Key, stacked
from continual.quotas import equal_quotas, kept_after_eviction, slots_for_new_images

__all__ = ["Group", "Memory", "Plan", "Returning"]

Returning = Literal["share", "replace", "add"]


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

    def __len__(self) -> int:
        return sum(map(len, self.deliveries))

    @property
    def nbytes(self) -> int:
        """Bytes of all images with their labels."""
        return sum(delivery.nbytes for delivery in self.deliveries)

    def nbytes_without(self, keys: Collection[Key]) -> int:
        """Bytes of the images of all other groups than `keys`."""
        nothing = dict.fromkeys(keys, 0)
        return sum(rest.nbytes for delivery in self.deliveries if (rest := delivery.first(nothing)) is not None)

    def plan(
        self, new: Mapping[Key, int], *, limit: int | None, per_group: int | None, returning: Returning,
        limit_of_new: int | None = None,
    ) -> Plan:  # fmt: skip
        """What to do with `new` images of each group.

        - `limit`: places in all. `per_group`: places of each group; `None`: all that `limit` leaves.
        - `limit_of_new`: places of the groups in `new` in all.
        - `returning`: what a group that has images does with more of them.
        """
        kept = self.kept()
        if returning == "replace":
            kept = Counter({key: count for key, count in kept.items() if key not in new})
        order = list(dict.fromkeys([*self.seen, *new]))
        capacities = [capacity(kept[key], new.get(key, 0), per_group, returning) for key in order]
        places, level = equal_quotas(limit, capacities)
        quotas = dict(zip(order, places, strict=True))
        if limit_of_new is not None:
            places, level_of_new = equal_quotas(limit_of_new, [quotas[key] for key in new])
            quotas.update(zip(new, places, strict=True))
            level = min(level, level_of_new)
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
        return concat_datasets([stacked(run) for run in runs])


def capacity(kept: int, new: int, per_group: int | None, returning: Returning) -> int:
    """How many images a group could hold."""
    if per_group is None:
        return kept + new
    if returning == "add":
        return kept + min(new, per_group)
    return max(kept, min(kept + new, per_group))

"""Images lent to one of Avalanche's policies while it chooses, and taken back as bytes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
from avalanche.benchmarks.utils.utils import concat_datasets
from avalanche.training.storage_policy import ExemplarsBuffer

from continual.delivery import Delivery, undecoded
from continual.items import Items, dataset_of
from continual.memory import Memory
from distill import ImageCodec, Preprocessing, SyntheticSet
from distill.sets.codecs import LabelCodec
from distill.sets.synthetic import initial_labels

__all__ = ["Chosen", "Lender", "leaves"]

HANDLE = "handle"


@dataclass(frozen=True)
class Chosen:
    """What a policy has chosen: for each of its groups, in order, the numbers of images, of 16 bits if they suffice."""

    of_each: tuple[np.ndarray, ...] = ()

    def all(self) -> np.ndarray:
        """The numbers of all images, group after group."""
        return np.concatenate([np.empty(0, np.int32), *self.of_each]).astype(np.int32)

    def __len__(self) -> int:
        return sum(map(len, self.of_each))


class Lender:
    """Within a `with` block a policy has all its images as datasets again, and `fresh` ones to choose from.

    Each image has a number, its handle: those of `memory` come first, then those of `items`. Outside of the block the
    policy has no images, so that nothing is kept but bytes. Held images are decoded only if the policy looks at them.

    - `chosen`: what the policy has of `memory`. `items`: new images; `None` for none.
    - `transform`: of the new images in training.
    """

    def __init__(
        self, policy: ExemplarsBuffer, memory: Memory, chosen: Chosen, items: Items | None, classes: tuple[str, ...],
        preprocessing: Preprocessing, transform: Any,
    ) -> None:  # fmt: skip
        self.policy, self.memory, self.before, self.items = policy, memory, chosen, items
        self.classes, self.preprocessing, self.transform = classes, preprocessing, transform
        self.fresh: AvalancheDataset = concat_datasets([])
        self._draft: tuple[np.ndarray, Delivery] | None = None  # new images that were chosen at first, and their rows
        self._encoded: Delivery | None = None

    def __enter__(self) -> "Lender":
        held = len(self.memory)
        if held:
            datasets = undecoded(self.memory.deliveries, [DataAttribute(torch.arange(held), HANDLE)])
            for leaf, handles in zip(leaves(self.policy), self.before.of_each, strict=True):
                leaf.buffer = datasets.subset(handles.tolist())
        if self.items is not None:
            numbers = torch.arange(held, held + len(self.items))
            self.fresh = dataset_of(self.items, attributes=[DataAttribute(numbers, HANDLE)])
        return self

    def __exit__(self, *exception: Any) -> None:
        self.fresh = concat_datasets([])
        for leaf in leaves(self.policy):
            leaf.buffer = concat_datasets([])

    def chosen(self) -> Chosen:
        """What the policy has now."""
        return Chosen(tuple(handles_of(leaf.buffer) for leaf in leaves(self.policy)))

    def encoded(self, chosen: Chosen, codec: ImageCodec, labels: LabelCodec) -> tuple[Memory, Chosen]:
        """The chosen images as bytes, and their new numbers; what was held is not encoded again if it need not be."""
        handles = chosen.all()
        held = len(self.memory)
        every = held + (0 if self.items is None else len(self.items))
        numbers = np.zeros(every, np.uint16 if every < 1 << 16 else np.int32)
        kept: list[Delivery] = []
        start = count = 0
        for delivery in self.memory.deliveries:
            rows = np.unique(handles[(handles >= start) & (handles < start + len(delivery))]) - start
            if len(rows):
                kept.append(delivery if len(rows) == len(delivery) else delivery.subset(rows.tolist()))
                numbers[start + rows] = count + np.arange(len(rows))
                count += len(rows)
            start += len(delivery)
        rows = np.unique(handles[handles >= held]) - held
        if len(rows):
            order, delivery = self._new(rows, codec, labels)
            kept.append(delivery)
            numbers[held + order] = count + np.arange(len(order))
        return Memory(kept), Chosen(tuple(numbers[each] for each in chosen.of_each))

    def _new(self, rows: np.ndarray, codec: ImageCodec, labels: LabelCodec) -> tuple[np.ndarray, Delivery]:
        """The new images at `rows`, encoded class after class, and their rows in that order.

        `rows` are among those of the first call.
        """
        if self._draft is None:
            self._draft = self._drafted(rows)
            if codec.per_image:
                self._encoded = self._draft[1].recoded(codec, labels)
        order, draft = self._draft
        source = draft if self._encoded is None else self._encoded
        places = np.flatnonzero(np.isin(order, rows))
        part = source if len(places) == len(order) else source.subset(places.tolist())
        return order[places], part.recoded(codec, labels)

    def _drafted(self, rows: np.ndarray) -> tuple[np.ndarray, Delivery]:
        assert self.items is not None
        class_ids = self.items.labels.numpy()
        order = rows[np.argsort(class_ids[rows], kind="stable")]
        at = torch.from_numpy(order.astype(np.int64))
        labels = initial_labels(self.items.labels[at], len(self.classes))
        made_by = {"method": type(self.policy).__name__}
        images = self.items.images[at].float()
        chosen = SyntheticSet(images, labels, self.items.labels[at], self.classes, self.preprocessing, made_by)
        fields = tuple([column[i] for i in order.tolist()] for column in self.items.fields)
        tasks = self.items.tasks[at].tolist()
        return order, Delivery.of(chosen, tasks, fields, self.items.layout, {}, self.transform)


def leaves(policy: Any) -> list[Any]:
    """The policies that hold images: those of the groups of a policy, or itself."""
    groups = getattr(policy, "buffer_groups", None)
    if groups is None:
        return [policy]
    return [leaf for group in groups.values() for leaf in leaves(group)]


def handles_of(dataset: AvalancheDataset) -> np.ndarray:
    """The numbers of the images of a dataset, int32."""
    return np.fromiter(map(int, getattr(dataset, HANDLE)), np.int32) if len(dataset) else np.empty(0, np.int32)

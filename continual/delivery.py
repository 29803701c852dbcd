"""What is stored of one delivery of images: bytes, decoded when they are used."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from avalanche.benchmarks.utils import AvalancheDataset, DataAttribute
from torch import Tensor

from continual.items import Items, Layout, as_given, dataset_of
from continual.soft_labels import soft_label_attribute
from distill import EncodedSet, ImageCodec, SyntheticSet
from distill.sets.codecs import LabelCodec
from distill.sets.codecs.class_ids import decode_class_ids, encode_class_ids

__all__ = ["Delivery", "Key", "stacked", "undecoded"]

Key = tuple[int, int]  # task label, class id


@dataclass(frozen=True, eq=False)
class Delivery:
    """What is stored of one delivery of images.

    - `encoded`: `n` images with labels and class ids, as bytes. `tasks`: task labels of the images.
    - `fields`, `layout`: as in `Items`.
    - `stands_for`: how many real images of each task and class it was made from.
    - `made_by`: how the images were made, without the positions of real images.
    - `transform`: of the images in training; `None` for none.
    """

    encoded: EncodedSet
    tasks: "PackedTasks"
    fields: tuple[list[Any], ...]
    layout: Layout
    stands_for: Mapping[Key, int]
    made_by: Mapping[str, Any]
    transform: Any = None

    @classmethod
    def of(
        cls, synthetic: SyntheticSet, tasks: Sequence[int], fields: tuple[list[Any], ...], layout: Layout,
        stands_for: Mapping[Key, int], transform: Any,
    ) -> "Delivery":  # fmt: skip
        """A delivery of which nothing is lost: 32 bits for each value."""
        made_by = without_origins(synthetic.made_by)
        return cls(
            EncodedSet.encode(synthetic), PackedTasks.of(tasks), fields, layout, stands_for, made_by, transform
        )

    def recoded(self, codec: ImageCodec, labels: LabelCodec) -> "Delivery":
        """The same images encoded by other codecs; the same delivery where it has these already."""
        if (self.encoded.codec, self.encoded.label_codec) == (codec, labels):
            return self
        return replace(self, encoded=EncodedSet.encode(self.encoded.decode(), codec=codec, labels=labels))

    def __len__(self) -> int:
        return len(self.encoded)

    @property
    def nbytes(self) -> int:
        """Bytes of images, labels, class ids, and where there are several of them task labels."""
        return self.encoded.nbytes + self.tasks.nbytes

    def synthetic(self) -> SyntheticSet:
        """The images, decoded."""
        decoded = self.encoded.decode()
        codecs = {key: decoded.made_by[key] for key in ("codec", "labels")}
        return replace(decoded, made_by={**self.made_by, **codecs})

    def groups(self) -> list[Key]:
        """Task and class of each image."""
        class_ids = self.encoded.class_ids_tensor()
        return list(zip(self.tasks.unpacked(len(self)), class_ids.tolist(), strict=True))

    def first(self, quotas: Mapping[Key, int]) -> "Delivery | None":
        """The first images of each group, as many as `quotas` gives it (default: all); `None` if none are left."""
        taken: Counter[Key] = Counter()
        chosen = []
        for i, key in enumerate(self.groups()):
            if key not in quotas or taken[key] < quotas[key]:
                taken[key] += 1
                chosen.append(i)
        if len(chosen) == len(self):
            return self
        return self.subset(chosen) if chosen else None

    def subset(self, chosen: Sequence[int]) -> "Delivery":
        """The images at these positions, one or more, in this order."""
        tasks = self.tasks.unpacked(len(self))
        return replace(
            self,
            encoded=self.encoded.subset(torch.tensor(chosen)),
            tasks=PackedTasks.of([tasks[i] for i in chosen]),
            fields=tuple([column[i] for i in chosen] for column in self.fields),
        )


@dataclass(frozen=True)
class PackedTasks:
    """Task labels: the different ones, and as bytes which of them each image has, unless all have the same.

    >>> PackedTasks.of([7, 7, 3]).unpacked(3), PackedTasks.of([5] * 1000).nbytes
    ([7, 7, 3], 0)
    """

    different: tuple[int, ...]
    packed: bytes

    @classmethod
    def of(cls, tasks: Sequence[int]) -> "PackedTasks":
        """Task labels, packed."""
        different = tuple(sorted(set(tasks)))
        if len(different) == 1:
            return cls(different, b"")
        index = {task: i for i, task in enumerate(different)}
        return cls(different, encode_class_ids(torch.tensor([index[task] for task in tasks]), len(different)))

    def unpacked(self, count: int) -> list[int]:
        """The labels of all `count` images."""
        if len(self.different) == 1:
            return [self.different[0]] * count
        return [self.different[i] for i in decode_class_ids(self.packed, count, len(self.different)).tolist()]

    @property
    def nbytes(self) -> int:
        """Bytes of the packed labels."""
        return len(self.packed)


def stacked(deliveries: Sequence[Delivery]) -> AvalancheDataset:
    """Deliveries of the same layout and transform as one dataset of decoded images, with soft labels as attribute."""
    sets = [delivery.synthetic() for delivery in deliveries]
    items = items_of(deliveries, torch.cat([one.images for one in sets]))
    soft: DataAttribute = soft_label_attribute(torch.cat([one.soft_labels for one in sets]))
    return dataset_of(items, attributes=[soft], train_transform=deliveries[0].transform)


def undecoded(deliveries: Sequence[Delivery], attributes: Sequence[DataAttribute]) -> AvalancheDataset:
    """Deliveries of the same layout as one dataset without transform, decoded when the first image is looked at."""
    items = items_of(deliveries, torch.empty(0))
    return dataset_of(items, attributes=attributes, images=DecodedLater(deliveries))


class DecodedLater:
    """The images of deliveries, all of which are decoded when the first one is asked for."""

    def __init__(self, deliveries: Sequence[Delivery]) -> None:
        self.deliveries = deliveries
        self._decoded: Tensor | None = None

    def __getitem__(self, index: int) -> Tensor:
        if self._decoded is None:
            images = torch.cat([delivery.encoded.decode().images for delivery in self.deliveries])
            self._decoded = as_given(images, self.deliveries[0].layout)
        return self._decoded[index]


def items_of(deliveries: Sequence[Delivery], images: Tensor) -> Items:
    """`images` with the class ids, task labels and fields of the deliveries."""
    columns = zip(*(delivery.fields for delivery in deliveries), strict=True)
    return Items(
        images,
        torch.cat([delivery.encoded.class_ids_tensor() for delivery in deliveries]),
        torch.tensor([task for delivery in deliveries for task in delivery.tasks.unpacked(len(delivery))]),
        tuple([value for column in of_each for value in column] for of_each in columns),
        deliveries[0].layout,
    )


def without_origins(made_by: Mapping[str, Any]) -> dict[str, Any]:
    """A `made_by` without "started_from", a number for each image: positions in data that are gone."""
    kept = {key: value for key, value in made_by.items() if key != "started_from"}
    if "parts" in kept:
        kept["parts"] = [without_origins(part) for part in kept["parts"]]
    return kept

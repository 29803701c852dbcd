"""The items of a dataset that are rows of tensors, read as whole tensors in place of one after the other."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from avalanche.benchmarks.utils import AvalancheDataset, TransformGroups
from avalanche.benchmarks.utils.data import _FlatDataWithTransform
from avalanche.benchmarks.utils.transform_groups import DefaultTransformGroups, EmptyTransformGroups
from avalanche.benchmarks.utils.transforms import TupleTransform
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

__all__ = ["Rows", "whole_items"]

AT_ONCE = 200  # rows copied at a time, so that no second copy of all images is made
WHOLE_NUMBERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


class Rows(Dataset):
    """Kept items: image, class id, and the fields between these and the attributes."""

    def __init__(
        self, images: Any, labels: Tensor, fields: Sequence[Sequence[Any]] = (), *, plain_labels: bool = True
    ) -> None:
        self.images, self.labels, self.fields, self.plain_labels = images, labels, fields, plain_labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        label = self.labels[index]
        return self.images[index], int(label) if self.plain_labels else label, *(field[index] for field in self.fields)


@dataclass(frozen=True)
class Part:
    """Rows of one set of tensors, and where they stand among all items.

    - `images`, `labels`, `fields`: of the whole set; `rows`: which of its rows; `places`: of these, in the result.
    """

    images: Tensor
    labels: Tensor
    fields: Sequence[Sequence[Any]]
    rows: list[int]
    places: list[int]


class NotRows(Exception):
    """Raised where items are not known to be rows of tensors, so that they must be read one by one."""


def whole_items(dataset: AvalancheDataset) -> tuple[Tensor, Tensor, list[list[Any]]] | None:
    """Images `(n, ...)`, class ids `(n,)` and the other fields of all items, or `None`.

    `None` unless every item is a row of tensors that no transform changes: those of a `TensorDataset`, of the datasets
    of this package that hold tensors, and of subsets and concatenations of these, images of one shape and float type
    and class ids of an integer type. Everything else may do anything when an item is read.
    """
    if type(dataset).__getitem__ is not AvalancheDataset.__getitem__:
        return None
    data, every = dataset._flat_data, list(range(len(dataset)))
    try:
        parts = list(parts_of_tree(data, data._transform_groups.current_group, every, every))
    except NotRows:
        return None
    first = parts[0]
    form = (first.images.shape[1:], first.images.dtype, len(first.fields))
    if any((part.images.shape[1:], part.images.dtype, len(part.fields)) != form for part in parts):
        return None
    images = torch.empty((len(every), *first.images.shape[1:]), dtype=first.images.dtype)
    labels = torch.empty(len(every), dtype=torch.long)
    fields: list[list[Any]] = [[None] * len(every) for _ in first.fields]
    for part in parts:
        for start in range(0, len(part.rows), AT_ONCE):
            rows, places = (torch.tensor(all_[start : start + AT_ONCE]) for all_ in (part.rows, part.places))
            images[places] = part.images[rows].to(images.device)
            labels[places] = part.labels[rows].to(labels).view(-1)
        for column, field in zip(fields, part.fields, strict=True):
            for row, place in zip(part.rows, part.places, strict=True):
                column[place] = field[row]
    own = [attribute for attribute in dataset._data_attributes.values() if attribute.use_in_getitem]
    return images, labels, [*fields, *([attribute[i] for i in every] for attribute in own)]


def parts_of_tree(data: Any, group: str, rows: list[int], places: list[int]) -> Iterator[Part]:
    """The parts of `rows` of an Avalanche tree of subsets and concatenations without transforms in this `group`."""
    if type(data) is not _FlatDataWithTransform:
        yield part_of(data, rows, places)
        return
    if changes_items(data._frozen_transform_groups, group) or changes_items(data._transform_groups, group):
        raise NotRows
    found: dict[int, tuple[list[int], list[int]]] = {}
    for row, place in zip(rows, places, strict=True):
        child, inner = data._get_idx(row)
        own = found.setdefault(child, ([], []))
        own[0].append(inner)
        own[1].append(place)
    for child, (inner_rows, inner_places) in found.items():
        yield from parts_of_tree(data._datasets[child], group, inner_rows, inner_places)


def part_of(data: Any, rows: list[int], places: list[int]) -> Part:
    """`rows` of a dataset of tensors, or of a torch `Subset` of one; raises `NotRows` for any other."""
    if type(data) is Subset:
        return part_of(data.dataset, [int(data.indices[row]) for row in rows], places)
    if type(data) is Rows:
        columns = (data.images, data.labels, *data.fields)
    elif type(data) is TensorDataset:
        columns = data.tensors
    else:
        raise NotRows
    images, labels, *fields = columns
    if type(images) is not Tensor or type(labels) is not Tensor:  # a subclass may do anything as well
        raise NotRows
    if not images.is_floating_point() or labels.dtype not in WHOLE_NUMBERS or labels.numel() != len(labels):
        raise NotRows
    return Part(images, labels, fields, rows, places)


def changes_items(groups: Any, group: str) -> bool:
    """Whether there is a transform in this `group`, or may be, in groups of another make."""
    if type(groups) not in (TransformGroups, DefaultTransformGroups, EmptyTransformGroups):
        return True
    try:
        transform = groups.transform_groups[group]
    except KeyError:
        return True
    if type(transform) is TupleTransform:
        return any(step is not None for step in transform.transforms)
    return transform is not None

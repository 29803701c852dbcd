"""Soft labels in Avalanche: a data attribute.

Targets stay integer class ids, so that metrics, class-balanced policies and `mb_y` work. The soft labels are the data
attribute `soft_labels` beside them. A dataset that has it works everywhere a dataset without it does;
`with_soft_labels` adds it to the mini-batch.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    ConstantSequence,
    DataAttribute,
    TaskAwareSupervisedClassificationDataset,
    TaskLabels,
)
from torch import Tensor

from continual.items import class_id_of, image_of
from continual.rng_state import preserve_rng_state
from distill import InputError
from distill.runtime.checks import require_whole
from distill.sets.synthetic import initial_labels

__all__ = ["NAME", "SoftLabelDataset", "read_all", "soft_label_attribute", "with_soft_labels"]

NAME = "soft_labels"
LAST = (NAME, "targets_task_labels")


class LabelRows(Sequence[Tensor]):
    """Item `i` is row `positions[i]` of a table of soft labels `(m, C)`.

    Avalanche would turn the table itself into lists of floats, which torch collates column by column.
    """

    def __init__(self, table: Tensor, positions: Sequence[int]) -> None:
        self.table, self.positions = table, positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Any) -> Any:
        return self.table[int(self.positions[index])]


def soft_label_attribute(soft_labels: Tensor) -> DataAttribute:
    """Soft labels `(n, C)` as the data attribute of a dataset of `n` images; not yet in its mini-batches."""
    return DataAttribute(LabelRows(soft_labels, range(len(soft_labels))), NAME)


class SoftLabelDataset(TaskAwareSupervisedClassificationDataset):
    """A dataset whose items are `[image, class id, (other attributes,) soft label (C,), task label]`.

    Concatenated with a dataset that lacks soft labels it loses them, as Avalanche drops what is not common to both.
    """

    _data_attributes: dict[str, DataAttribute]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Avalanche appends new attributes at the end, but takes `mb_task_id` from there.
        attributes = self._data_attributes
        names = sorted(attributes, key=lambda name: LAST.index(name) + 1 if name in LAST else 0)
        self._data_attributes = {name: attributes[name] for name in names}


def with_soft_labels(dataset: AvalancheDataset, num_classes: int) -> SoftLabelDataset:
    """The same dataset with a soft label in every item: its own if it has one, else the initial one of its class.

    Items become `[image, class id, soft label (C,), task label]`; initial labels are those of
    `distill.sets.synthetic.initial_labels`, for the class ids that the items have after target transforms. Nothing is
    copied; transforms are kept.

    Raises `InputError` when the dataset has no targets, these do not determine the class ids of the items, or class
    ids are outside of `num_classes`.

        >>> from distill import Standardize, load_images
        >>> from continual import class_incremental
        >>> digits = load_images("digits").subset(range(100))
        >>> images = Standardize.fit(digits).apply(digits)
        >>> experience = class_incremental(images, images, steps=5).train_stream[0]
        >>> [type(field).__name__ for field in with_soft_labels(experience.dataset, 10)[0]]
        ['Tensor', 'int', 'Tensor', 'int']
    """
    require_whole("num_classes", num_classes, least=1)
    if hasattr(dataset, NAME):
        check_width(getattr(dataset, NAME), num_classes)
        if isinstance(dataset, SoftLabelDataset):
            return dataset
    if not hasattr(dataset, "targets"):
        raise InputError("the dataset has no targets to make soft labels from; make it with Avalanche's generators")
    if hasattr(dataset, NAME):
        rows = getattr(dataset, NAME).data
    else:
        ids = class_ids_of(dataset)
        check_range(ids.values(), num_classes)
        positions = dataset.targets if all(target == own for target, own in ids.items()) else \
            [ids[int(target)] for target in dataset.targets]  # fmt: skip
        rows = LabelRows(initial_labels(torch.arange(num_classes), num_classes), positions)
    attributes = [DataAttribute(rows, NAME, use_in_getitem=True)]
    if not hasattr(dataset, "targets_task_labels"):
        attributes.append(TaskLabels(ConstantSequence(0, len(dataset))))
    if not isinstance(dataset, TaskAwareSupervisedClassificationDataset):
        attributes.append(DataAttribute(dataset.targets.data, "targets"))
    return SoftLabelDataset([dataset], data_attributes=attributes)


def check_width(soft_labels: Any, num_classes: int) -> None:
    """Raise `InputError` unless the soft labels of a dataset are of `num_classes` classes."""
    if len(soft_labels) and (width := len(soft_labels[0])) != num_classes:
        raise InputError(
            f"the soft labels of the dataset are of {width} classes, num_classes is {num_classes}; expected the same "
            "number for buffer and loss: those of the whole problem"
        )


def check_range(class_ids: Collection[int], num_classes: int) -> None:
    """Raise `InputError` for class ids outside of `num_classes`."""
    if class_ids and not 0 <= min(class_ids) <= max(class_ids) < num_classes:
        raise InputError(
            f"class ids run from {min(class_ids)} to {max(class_ids)}, but num_classes is {num_classes}: expected 0 to "
            f"{num_classes - 1}; give the number of classes of the whole problem"
        )


def class_ids_of(dataset: AvalancheDataset) -> dict[int, int]:
    """For each target of `dataset` the class id that its items have after the target transform.

    Told by the first and the last item of each target. Raises `InputError` where these two differ.
    """
    positions: dict[int, list[int]] = {}
    for target, where in dataset.targets.val_to_idx.items():
        positions.setdefault(class_id_of(target, where[0]), []).extend(where)
    ids = {}
    with preserve_rng_state():  # a training transform may draw
        for target, found in positions.items():
            first, last = (class_id_of(dataset[i][1], i) for i in (min(found), max(found)))
            if first != last:
                raise InputError(
                    f"items {min(found)} and {max(found)} have target {target}, but class ids {first} and {last}; "
                    "expected one class id for each target: give all parts of the data the same target transform"
                )
            ids[target] = first
    return ids


def read_all(dataset: AvalancheDataset) -> list[Tensor]:
    """Every field of every item, each field in one tensor of length `n`; random transforms must be off.

    Raises `InputError` when there are no items, the images are no float tensors of one shape, or a field is no number.
    """
    if not len(dataset):
        raise InputError("there are no images to read: the dataset is empty")
    columns: list[Tensor] = []
    for i in range(len(dataset)):
        item = dataset[i]
        fields = [image_of(item, i, tuple(columns[0].shape[1:]) if columns else None), *map(as_tensor, item[1:])]
        if not columns:
            columns = [torch.empty((len(dataset), *field.shape), dtype=field.dtype) for field in fields]
        for column, field in zip(columns, fields, strict=True):
            column[i] = field
    return columns


def as_tensor(field: Any) -> Tensor:
    """A field of an item as a tensor; raises `InputError` where it is no number."""
    try:
        return torch.as_tensor(field)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"a field of the items is {field!r}; expected numbers: drop it from the stream") from error

"""The items of a stream: images, class ids, task labels, and further fields."""

import hashlib
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    DataAttribute,
    TaskAwareSupervisedClassificationDataset,
)
from avalanche.benchmarks.utils.classification_dataset import ClassificationDataset
from torch import Tensor

from continual.rng_state import preserve_rng_state
from continual.whole_tensors import Rows, whole_items
from distill import InputError

__all__ = [
    "Items",
    "Layout",
    "as_given",
    "check_form",
    "check_stream",
    "dataset_of",
    "read_items",
    "warn_of_other_reads",
]

TASKS = "targets_task_labels"
READ_AGAIN = 10  # images that are read twice to detect random transforms in the data set


@dataclass(frozen=True)
class Layout:
    """The form of the items of a stream, so that what is stored is replayed in the same form.

    - `plain`: number of fields between class id and the attributes. `attributes`: names of those, in order.
    - `has_tasks`: whether task labels are among them. `plain_labels`: class ids are ints instead of tensors.
    - `vectors`: items are vectors `(d,)`, kept as images `(1, 1, d)`. `dtype`: of the images.
    """

    plain: int
    attributes: tuple[str, ...]
    plain_labels: bool
    vectors: bool
    dtype: torch.dtype
    collate_fn: Any = None

    @property
    def has_tasks(self) -> bool:
        """Whether items end in a task label."""
        return TASKS in self.attributes

    @property
    def fields(self) -> int:
        """Number of fields beside image, class id and task label."""
        return self.plain + len(self.attributes) - self.has_tasks


@dataclass(frozen=True)
class Items:
    """Items of a stream, read.

    - `images`: float tensor `(n, channels, height, width)`. `labels`, `tasks`: int64 `(n,)`.
    - `fields`: the other fields of each item, one list each, in the order of `layout`.
    """

    images: Tensor
    labels: Tensor
    tasks: Tensor
    fields: tuple[list[Any], ...]
    layout: Layout

    def __len__(self) -> int:
        return len(self.labels)

    def fingerprint(self) -> str:
        """A fingerprint of images, class ids and task labels."""
        digest = hashlib.blake2b(digest_size=16)
        for tensor in (self.images, self.labels, self.tasks):
            digest.update(str(tuple(tensor.shape)).encode())
            digest.update(tensor.contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def of_task(self, task: int) -> Tensor:
        """Positions of the items of one task."""
        return torch.nonzero(self.tasks == task).squeeze(1)

    def joined(self, other: "Items") -> "Items":
        """These items and then `other`."""
        check_form(other, self.layout, tuple(self.images.shape[1:]))
        return Items(
            torch.cat([self.images, other.images]),
            torch.cat([self.labels, other.labels]),
            torch.cat([self.tasks, other.tasks]),
            tuple([*own, *others] for own, others in zip(self.fields, other.fields, strict=True)),
            self.layout,
        )


def check_form(items: Items, layout: Layout, shape: tuple[int, ...]) -> None:
    """Raise `InputError` unless `items` have the form of those before them, `layout` and image shape `shape`."""
    given, before = form(items.layout, tuple(items.images.shape[1:])), form(layout, shape)
    for one, other in zip(given, before, strict=True):
        if one != other:
            raise InputError(f"the items have {one}, those before them {other}; expected the same in all experiences")


def form(layout: Layout, shape: tuple[int, ...]) -> list[str]:
    """What the items of a stream must have in common, in words."""
    names = ", ".join(name for name in layout.attributes if name != TASKS) or "no names"
    kind = f"vectors of {shape[-1]} numbers" if layout.vectors else f"images of shape {shape}"
    return [
        f"{layout.fields} fields beside image, class id and task label",
        f"attributes of {names}",
        "task labels" if layout.has_tasks else "no task labels",
        f"class ids that are {'ints' if layout.plain_labels else 'tensors'}",
        kind,
        f"images of {layout.dtype}",
        f"{layout.plain} fields before the attributes",
    ]


def check_stream(dataset: Any) -> None:
    """Raise `InputError` when the items of an experience cannot be replayed."""
    if not isinstance(dataset, AvalancheDataset):
        raise InputError(
            f"the data are a {type(dataset).__name__}; expected an Avalanche dataset, such as that of "
            "as_classification_dataset"
        )
    if not hasattr(dataset, "targets"):
        raise InputError("the dataset has no targets; make it with Avalanche's generators or as_classification_dataset")
    if not len(dataset):
        raise InputError("there are no images to read: the dataset is empty")
    item = dataset.eval()[0]  # a training transform may draw random numbers
    if isinstance(item, Mapping) or not isinstance(item, Sequence) or len(item) < 2:
        raise InputError(
            f"the items of the stream are of type {type(item).__name__}; expected (image, class id, ...): give the "
            "benchmark a data set that returns such items"
        )


def read_items(dataset: AvalancheDataset) -> Items:
    """All items of `dataset`, its eval transforms applied.

    Raises `InputError` when there are none, an image is no float tensor `(channels, height, width)` or vector of one
    shape, or a class id is no whole number.
    """
    check_stream(dataset)
    dataset = dataset.eval()
    item = dataset[0]
    layout = layout_of(dataset, item)
    images, labels, others = whole_items(dataset) or items_one_by_one(dataset, item)
    tasks = torch.zeros_like(labels)
    if layout.has_tasks:
        tasks = torch.tensor([int(task) for task in others.pop(position_of_tasks(layout))])
    if layout.vectors:
        images = images.view(len(images), 1, 1, -1)
    return Items(images, labels, tasks, tuple(others), layout)


def items_one_by_one(dataset: AvalancheDataset, item: Sequence[Any]) -> tuple[Tensor, Tensor, list[list[Any]]]:
    """Images, class ids and other fields of all items, the first of which is `item`, each checked as it is read."""
    first = image_of(item, 0)
    images = torch.empty((len(dataset), *first.shape), dtype=first.dtype)
    labels = torch.empty(len(dataset), dtype=torch.long)
    others: list[list[Any]] = [[] for _ in item[2:]]
    for i in range(len(dataset)):
        image, label, *fields = dataset[i]
        images[i] = image_of((image,), i, tuple(images.shape[1:]))
        labels[i] = class_id_of(label, i)
        for column, field in zip(others, fields, strict=True):
            column.append(field)
    return images, labels, others


def warn_of_other_reads(dataset: AvalancheDataset, items: Items) -> None:
    """Warn if items of `dataset`, read as `items`, differ when they are read again; global generators are unchanged."""
    dataset = dataset.eval()
    with preserve_rng_state():
        again = [dataset[i][0] for i in range(min(len(items), READ_AGAIN))]
    pairs = zip(again, items.images, strict=False)
    if not all(torch.equal(one.flatten().nan_to_num(), other.flatten().nan_to_num()) for one, other in pairs):
        warnings.warn(
            "images of the stream differ between two reads, as after random transforms, so the stored images are "
            "random variants: give the training transform to the benchmark (transform_groups, or train_transform and "
            "eval_transform) instead of the torch data set",
            stacklevel=3,
        )


def position_of_tasks(layout: Layout) -> int:
    """Where the task label stands among the fields after image and class id."""
    return layout.plain + layout.attributes.index(TASKS)


def layout_of(dataset: AvalancheDataset, item: Sequence[Any]) -> Layout:
    """The layout of the items of an Avalanche dataset, one of which is `item`."""
    attributes = tuple(name for name, a in dataset._data_attributes.items() if a.use_in_getitem)
    image = image_of(item, 0)
    plain_labels = not isinstance(item[1], Tensor)
    return Layout(
        len(item) - 2 - len(attributes), attributes, plain_labels, image.ndim == 1, image.dtype, dataset.collate_fn
    )


def image_of(item: Sequence[Any], i: int, shape: tuple[int, ...] | None = None) -> Tensor:
    """The image of an item; raises `InputError` unless it is a float tensor, of `shape` if given."""
    image = item[0]
    if not isinstance(image, Tensor) or not image.is_floating_point():
        kind = str(image.dtype) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(
            f"the images of the stream are {kind}; expected float tensors: give the benchmark an eval transform that "
            "makes them, such as torchvision's ToTensor()"
        )
    if image.ndim not in (1, 3):
        raise InputError(
            f"image {i} has shape {tuple(image.shape)}; expected (channels, height, width), or vectors (d,): let the "
            "eval transform reshape them"
        )
    if shape is not None and image.shape != shape:
        raise InputError(
            f"image {i} has shape {tuple(image.shape)}, those before it {shape}; expected one shape: let the eval "
            "transform resize them"
        )
    return image


def class_id_of(label: Any, i: int) -> int:
    """A class id as an int; raises `InputError` for anything but one whole number."""
    number = label.item() if isinstance(label, Tensor) and label.numel() == 1 else label
    try:
        class_id = int(number)
    except (TypeError, ValueError) as error:
        raise InputError(f"the class id of item {i} is {label!r}; expected one whole number") from error
    if class_id != number:
        raise InputError(f"the class id of item {i} is {label!r}; expected one whole number")
    return class_id


def as_given(images: Tensor, layout: Layout) -> Tensor:
    """Images `(n, channels, height, width)` in the shape and type that the stream gave them."""
    return (images.flatten(1) if layout.vectors else images).to(layout.dtype)


def dataset_of(
    items: Items, *, attributes: Sequence[DataAttribute] = (), train_transform: Any = None, images: Any = None
) -> TaskAwareSupervisedClassificationDataset | ClassificationDataset:
    """`items` as an Avalanche dataset of their layout; `attributes` come in addition and stay out of the items.

    `train_transform` is applied in the transform group "train", which is the current one, and nothing in "eval".
    `images`: in place of those of `items`, anything that gives the image of a position.
    """
    layout = items.layout
    if images is None:
        images = as_given(items.images, layout)
    rows = Rows(images, items.labels, items.fields[: layout.plain], plain_labels=layout.plain_labels)
    columns: list[Any] = list(items.fields[layout.plain :])
    if layout.has_tasks:
        columns.insert(layout.attributes.index(TASKS), items.tasks.tolist())
    own = [DataAttribute(items.labels, "targets")]
    own += [DataAttribute(column, name, use_in_getitem=True) for name, column in
            zip(layout.attributes, columns, strict=True)]  # fmt: skip
    groups = None if train_transform is None else {"train": (train_transform, None), "eval": None}
    kind = TaskAwareSupervisedClassificationDataset if layout.has_tasks else ClassificationDataset
    return kind(
        [rows], data_attributes=[*own, *attributes], transform_groups=groups, collate_fn=layout.collate_fn
    )

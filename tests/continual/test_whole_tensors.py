"""Streams whose items are rows of tensors are read as whole tensors: equal items, and never past a transform."""

import pytest
import torch
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    DataAttribute,
    TaskAwareSupervisedClassificationDataset,
    TransformGroups,
    _make_taskaware_classification_dataset,
    as_classification_dataset,
)
from torch.utils.data import Dataset, Subset, TensorDataset

from continual import items as reading
from continual.items import Items, dataset_of, read_items
from continual.scenario import labelled_dataset
from continual.whole_tensors import whole_items
from distill import InputError

N = 500  # more than are copied at a time


def images(seed: int = 0, *, n: int = N, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed)).to(dtype)


def labels(n: int = N) -> torch.Tensor:
    return torch.arange(n) % 7


def aware(data: Dataset, **options) -> TaskAwareSupervisedClassificationDataset:
    given = {} if hasattr(data, "targets") else {"targets": labels(len(data)).tolist()}
    return _make_taskaware_classification_dataset(data, **given, **options)


def with_targets(data: Dataset) -> Dataset:
    data.targets = labels(len(data)).tolist()
    return data


def concatenated() -> AvalancheDataset:
    one, other = aware(TensorDataset(images(), labels())), labelled_dataset(images(1), labels(), task_label=3)
    return one.subset([5, 3, 3]).concat(other.subset(range(300, 320))).subset([*range(20), 22, 1]).concat(one)


def again() -> AvalancheDataset:
    fields = (torch.arange(N).tolist(), [str(i) for i in range(N)])
    items = read_items(aware(TensorDataset(images(), labels(), torch.arange(N), torch.rand(N, 2))))
    own = [DataAttribute(fields[1], "name", use_in_getitem=True)]
    return dataset_of(items, attributes=own)


def everything_is_none() -> dict:
    return {"train": (None, None), "eval": (None, None)}


AS_WHOLE = {
    "tensors": lambda: aware(TensorDataset(images(), labels())),
    "task labels of one each": lambda: aware(TensorDataset(images(), labels()), task_labels=(labels() % 3).tolist()),
    "no task labels": lambda: as_classification_dataset(with_targets(TensorDataset(images(), labels()))),
    "class ids (n, 1) of bytes": lambda: aware(TensorDataset(images(), labels().view(-1, 1).byte())),
    "halves": lambda: aware(TensorDataset(images(dtype=torch.float16), labels())),
    "vectors": lambda: aware(TensorDataset(images().flatten(1), labels())),
    "channels last": lambda: aware(TensorDataset(images().contiguous(memory_format=torch.channels_last), labels())),
    "further fields": lambda: aware(TensorDataset(images(), labels(), torch.arange(N), torch.rand(N, 2))),
    "this package's": lambda: labelled_dataset(images(), labels(), task_label=2),
    "replayed items": again,
    "a subset": lambda: aware(TensorDataset(images(), labels())).subset([7, 7, -1, 0, 450]),
    "torch's subset": lambda: aware(with_targets(Subset(Subset(TensorDataset(images(), labels()), range(9)), [8, 1]))),
    "a subset of torch's": lambda: aware(with_targets(Subset(TensorDataset(images(), labels()), [8, 1]))).subset([1]),
    "a concatenation": concatenated,
    "a training transform": lambda: aware(
        TensorDataset(images(), labels()), transform_groups={"train": (torch.neg, None), "eval": (None, None)}
    ),
    "empty transforms": lambda: aware(TensorDataset(images(), labels()), transform_groups=everything_is_none()),
}


@pytest.mark.parametrize("make", AS_WHOLE.values(), ids=AS_WHOLE)
def test_whole_tensors_give_the_items_that_are_read_one_by_one(make, monkeypatch) -> None:
    dataset = make()
    assert whole_items(dataset.eval()) is not None
    read = counted(monkeypatch)
    whole = read_items(dataset)
    assert read == []
    monkeypatch.setattr(reading, "whole_items", lambda dataset: None)
    one_by_one = read_items(dataset)
    assert read == [len(dataset)]
    assert len(whole) == len(dataset)
    assert_equal(whole, one_by_one)


def counted(monkeypatch) -> list[int]:
    """A list that gets the number of items whenever they are read one by one."""
    read: list[int] = []
    original = reading.items_one_by_one
    monkeypatch.setattr(
        reading, "items_one_by_one", lambda dataset, item: read.append(len(dataset)) or original(dataset, item)
    )
    return read


def assert_equal(one: Items, other: Items) -> None:
    for name in ("images", "labels", "tasks"):
        first, second = getattr(one, name), getattr(other, name)
        assert torch.equal(first, second)
        assert (first.dtype, first.stride()) == (second.dtype, second.stride())
    assert one.layout == other.layout
    assert len(one.fields) == len(other.fields)
    for mine, theirs in zip(one.fields, other.fields, strict=True):
        assert [type(value) for value in mine] == [type(value) for value in theirs]
        assert all(bool(torch.as_tensor(a == b).all()) for a, b in zip(mine, theirs, strict=True))


class Doubled(TensorDataset):
    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return 2 * image, label


class Custom(Dataset):
    def __init__(self) -> None:
        self.targets = labels().tolist()

    def __len__(self) -> int:
        return N

    def __getitem__(self, index):
        return torch.full((1, 4, 4), 2.0 * index), self.targets[index]


class Lazy:
    """Images that are made when they are read."""

    def __getitem__(self, index):
        return torch.full((1, 4, 4), 2.0 * index)


class Image(torch.Tensor):
    """A tensor that does something else when it is indexed."""

    def __getitem__(self, index):
        return 2 * torch.Tensor(self)[index]


class Changed(TaskAwareSupervisedClassificationDataset):
    def __getitem__(self, index):
        image, *others = super().__getitem__(index)
        return [2 * image, *others]


class OtherGroups(TransformGroups):
    def __call__(self, element, group_name=None):
        return [2 * element[0], *element[1:]]


def frozen() -> AvalancheDataset:
    data = aware(TensorDataset(images(), labels()), transform_groups={"train": (None, None), "eval": (double, None)})
    return data.freeze_transforms().subset([2, 1])


def lazy() -> AvalancheDataset:
    return dataset_of(read_items(labelled_dataset(images(), labels())), images=Lazy())


def double(image):
    return 2 * image


ONE_BY_ONE = {
    "a transform": lambda: aware(TensorDataset(images(), labels()), transform=double),
    "an eval transform": lambda: aware(
        TensorDataset(images(), labels()), transform_groups={"train": (None, None), "eval": (double, None)}
    ),
    "a transform of a subset": lambda: aware(
        aware(TensorDataset(images(), labels())).subset([3, 4, 5]), transform=double
    ),
    "a transform below a concatenation": lambda: labelled_dataset(images(), labels()).concat(
        aware(TensorDataset(images(), labels()), transform=double)
    ),
    "a transform of class ids": lambda: aware(TensorDataset(images(), labels()), target_transform=lambda c: c * 0 + 6),
    "a frozen transform": frozen,
    "transform groups of another make": lambda: TaskAwareSupervisedClassificationDataset(
        [labelled_dataset(images(), labels())], transform_groups=OtherGroups({"train": None, "eval": None})
    ),
    "a subclass of a tensor dataset": lambda: aware(Doubled(images(), labels())),
    "torch's subset of it": lambda: aware(with_targets(Subset(Doubled(images(), labels()), [3, 2]))),
    "a custom dataset": lambda: aware(Custom()),
    "images made when read": lazy,
    "a subclass of Tensor": lambda: aware(TensorDataset(images().as_subclass(Image), labels())),
    "a subclass of Avalanche's": lambda: Changed([labelled_dataset(images(), labels())]),
}


@pytest.mark.parametrize("make", ONE_BY_ONE.values(), ids=ONE_BY_ONE)
def test_where_reading_may_change_items_they_are_read_one_by_one(make, monkeypatch) -> None:
    dataset, read = make(), counted(monkeypatch)
    items = read_items(dataset)
    assert read == [len(dataset)]
    evaluated = dataset.eval()
    for i in (0, len(dataset) - 1):
        image, label, *_ = evaluated[i]
        assert torch.equal(items.images[i], torch.as_tensor(image).as_subclass(torch.Tensor))
        assert items.labels[i] == int(label)


def test_the_first_item_of_another_form_is_named_as_when_read_one_by_one() -> None:
    small = aware(TensorDataset(images(n=3), labels(3)))
    large = aware(TensorDataset(torch.zeros(2, 1, 5, 5), labels(2)))
    with pytest.raises(InputError, match=r"image 3 has shape \(1, 5, 5\), those before it \(1, 4, 4\)"):
        read_items(small.concat(large))
    with pytest.raises(InputError, match=r"the class id of item 1 is tensor\(0.5000\); expected one whole number"):
        read_items(aware(TensorDataset(images(n=2), torch.tensor([1.0, 0.5]))))

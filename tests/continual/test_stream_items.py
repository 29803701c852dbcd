"""Streams of another make: extra fields, vectors, online sub-experiences, and what is refused."""

import pickle
from collections import Counter

import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.scenarios.online import split_continuous_linear_decay_stream, split_online_stream
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    DataAttribute,
    TaskLabels,
    _make_taskaware_classification_dataset,
)
from avalanche.benchmarks.utils.classification_dataset import ClassificationDataset
from avalanche.training import Naive
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin, SupervisedPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from continual import DistilledBuffer, GDumb, SoftLabelLoss
from continual.distilling import Distilling
from continual.scenario import labelled_dataset
from distill import DM, FRePo, Herding, InputError, Random

C = 4


class WithIndex(Dataset):
    """Items (image, class id, index), class ids as ints."""

    def __init__(self, start: int = 0, n: int = 40) -> None:
        self.images = torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(start))
        self.targets = [i % C for i in range(n)]
        self.start = start

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int, int]:
        return self.images[index], self.targets[index], self.start + index


def with_index(*starts: int):
    parts = [_make_taskaware_classification_dataset(WithIndex(start)) for start in starts]
    return benchmark_from_datasets(train=parts).train_stream


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, C))


@pytest.mark.parametrize("classes_at_once", [None, 2])
@pytest.mark.parametrize("distiller", [
    Random(),
    Herding(steps=1, width=2),
    FRePo(steps=1, width=2, pool_size=1, batch_size=8),
    DM(steps=0, width=2),
], ids=lambda d: d.method)  # fmt: skip
def test_extra_fields_ride_along_with_the_image_that_started_from_theirs(distiller, classes_at_once) -> None:
    policy = DistilledBuffer(distiller, images_per_class=3, num_classes=C, classes_at_once=classes_at_once)
    stream = with_index(0, 100)
    for experience in stream:
        policy.post_adapt(None, experience)
    sources = {index: image for part in stream for image, _, index, _ in part.dataset}
    classes = {index: label for part in stream for _, label, index, _ in part.dataset}
    for image, label, index, task in policy.buffer:
        assert isinstance(label, int)
        assert classes[index] == label
        assert task == 0
        if distiller.method != "frepo":
            assert torch.equal(image, sources[index])


def test_extra_fields_ride_along_where_classes_are_distilled_apart() -> None:
    policy = DistilledBuffer(Random(), images_per_class=20, num_classes=C)
    data = _make_taskaware_classification_dataset(WithIndex(0)).subset([*range(16), 17, 21, 25])
    policy.post_adapt(None, benchmark_from_datasets(train=[data]).train_stream[0])
    found = {index: image for image, _, index, _ in policy.buffer}
    assert sorted(found) == [*range(16), 17, 21, 25]
    assert all(torch.equal(image, WithIndex(0)[index][0]) for index, image in found.items())


def test_mini_batches_with_extra_fields_train() -> None:
    indices = []

    class Spy(SupervisedPlugin):
        def before_forward(self, strategy, **kwargs) -> None:
            indices.extend(strategy.mbatch[2].tolist())
            assert strategy.mbatch[-2].shape == (len(strategy.mb_x), C)

    policy = DistilledBuffer(Random(), images_per_class=2, num_classes=C)
    network = linear()
    strategy = Naive(
        model=network, optimizer=torch.optim.SGD(network.parameters(), lr=0.01), criterion=SoftLabelLoss(C),
        train_mb_size=8, eval_mb_size=8,
        plugins=[Spy(), ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)], evaluator=EvaluationPlugin(),
    )  # fmt: skip
    stream = with_index(0, 100)
    strategy.train(stream[0], eval_streams=[])
    kept = {index for _, _, index, _ in policy.buffer}
    indices.clear()
    strategy.train(stream[1], eval_streams=[])
    assert {index for index in indices if index < 100} == kept
    assert {index for index in indices if index >= 100} == set(range(100, 140))
    GDumb(model=network, storage_policy=policy, train_steps=1, evaluator=EvaluationPlugin()).train(with_index(200))


def test_fields_without_an_image_to_come_from_are_named_before_distilling(monkeypatch) -> None:
    policy = DistilledBuffer(
        FRePo(steps=1, width=2, pool_size=1, batch_size=8, init="noise"), images_per_class=1, num_classes=C
    )
    monkeypatch.setattr(FRePo, "step", lambda *_: pytest.fail("distilled before the warning"))
    with pytest.warns(UserWarning, match="items have 1 fields beside"), pytest.raises(pytest.fail.Exception):
        policy.post_adapt(None, with_index(0)[0])


def test_string_fields_ride_along() -> None:
    class Named(WithIndex):
        def __getitem__(self, index: int):
            return self.images[index], self.targets[index], f"{index}.png"

    data = _make_taskaware_classification_dataset(Named())
    policy = DistilledBuffer(Random(), images_per_class=1, num_classes=C)
    policy.post_adapt(None, benchmark_from_datasets(train=[data]).train_stream[0])
    assert all(torch.equal(image, WithIndex()[int(name[:-4])][0]) for image, _, name, _ in policy.buffer)
    strategy = GDumb(model=linear(), storage_policy=policy, train_steps=1, evaluator=EvaluationPlugin())
    with pytest.raises(InputError, match=r"a field of the items is '.*png'; expected numbers"):
        strategy.train(benchmark_from_datasets(train=[data]).train_stream)


def test_attributes_in_the_items_ride_along() -> None:
    data = WithIndex()
    tensors = TensorDataset(data.images, torch.tensor(data.targets))
    dataset = ClassificationDataset(
        [tensors],
        data_attributes=[
            DataAttribute(data.targets, "targets"),
            DataAttribute(list(range(40)), "position", use_in_getitem=True),
            TaskLabels([1] * 40),
        ],
    )
    policy = DistilledBuffer(Random(), images_per_class=1, num_classes=C)
    policy.post_adapt(None, benchmark_from_datasets(train=[dataset]).train_stream[0])
    assert [len(item) for item in policy.buffer] == [4] * 4
    for image, _, position, task in policy.buffer:
        assert torch.equal(image, data.images[position])
        assert task == 1


def test_vectors_are_kept_as_vectors_where_the_distiller_takes_them() -> None:
    vectors = torch.randn(40, 7)
    data = labelled_dataset(vectors, torch.arange(40) % C)
    stream = benchmark_from_datasets(train=[data]).train_stream
    policy = DistilledBuffer(Random(), images_per_class=2, num_classes=C)
    policy.post_adapt(None, stream[0])
    assert all(image.shape == (7,) and (vectors == image).all(1).any() for image, *_ in policy.buffer)
    with pytest.raises(InputError, match="cannot be pooled"):
        DistilledBuffer(Herding(), images_per_class=2, num_classes=C).post_adapt(None, stream[0])


def dataset(items: list, targets: list | None = None, **options) -> AvalancheDataset:
    attributes = [] if targets is None else [DataAttribute(targets, "targets")]
    return AvalancheDataset([items], data_attributes=attributes, **options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_images_come_back_in_the_dtype_of_the_stream(dtype: torch.dtype) -> None:
    data = labelled_dataset(torch.randn(8, 1, 4, 4).to(dtype), torch.arange(8) % C)
    policy = DistilledBuffer(Random(), images_per_class=1, num_classes=C)
    policy.post_adapt(None, benchmark_from_datasets(train=[data]).train_stream[0])
    assert {image.dtype for image, *_ in policy.buffer} == {dtype}


IMAGE = torch.zeros(1, 4, 4)
REFUSED = {
    "no targets": (dataset([(IMAGE, 0)] * 4), "the dataset has no targets"),
    "dictionaries": (dataset([{"x": IMAGE}] * 4, [0] * 4), "items of the stream are of type dict"),
    "images alone": (dataset([(IMAGE,)] * 4, [0] * 4), "expected \\(image, class id"),
    "no items": (dataset([], []), "the dataset is empty"),
    "bytes": (dataset([(IMAGE.byte(), 0)] * 4, [0] * 4), "images of the stream are torch.uint8"),
    "no channels": (dataset([(IMAGE[0], 0)] * 4, [0] * 4), r"image 0 has shape \(4, 4\); expected \(channels"),
    "mixed shapes": (
        dataset([(IMAGE, 0), (torch.zeros(1, 5, 4), 0)], [0, 0]),
        r"image 1 has shape \(1, 5, 4\), those before it \(1, 4, 4\)",
    ),
    "soft targets": (dataset([(IMAGE, torch.tensor([0.5, 0.5]))] * 4, [0] * 4), "class id of item 0 is tensor"),
    "half a class": (dataset([(IMAGE, 0.5)] * 4, [0] * 4), "class id of item 0 is 0.5; expected one whole number"),
    "class ids in words": (dataset([(IMAGE, "cat")] * 4, ["cat"] * 4), "class id of item 0 is 'cat'"),
    "class id -1": (dataset([(IMAGE, -1)] * 4, [-1] * 4), "labels run from -1 to -1, but there are 4 classes"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_items_are_refused_in_one_line(case: str) -> None:
    data, message = REFUSED[case]
    policy = DistilledBuffer(Random(), images_per_class=1, num_classes=C)
    stream = benchmark_from_datasets(train=[data]).train_stream
    with pytest.raises(InputError, match=message) as caught:
        policy.post_adapt(None, stream[0])
    assert "\n" not in str(caught.value)
    assert len(policy.buffer) == 0
    strategy = GDumb(model=linear(), storage_policy=policy, train_steps=1, evaluator=EvaluationPlugin())
    with pytest.raises(InputError):
        strategy.train(stream)


def test_data_that_are_no_avalanche_dataset_are_refused() -> None:
    policy = DistilledBuffer(Random(), images_per_class=1, num_classes=C)
    with pytest.raises(InputError, match="the data are a TensorDataset; expected an Avalanche dataset"):
        policy.update_from_dataset(TensorDataset(torch.zeros(4, 1, 4, 4), torch.arange(4)))


def test_an_experience_with_other_fields_is_refused() -> None:
    policy = DistilledBuffer(Random(), images_per_class=1, num_classes=C)
    policy.post_adapt(None, with_index(0)[0])
    plain = benchmark_from_datasets(train=[labelled_dataset(torch.randn(4, 1, 4, 4), torch.arange(4))]).train_stream
    with pytest.raises(InputError, match="items have 0 fields beside image, class id and task label, those before"):
        policy.post_adapt(None, plain[0])


def plain(images: torch.Tensor, *, tensors: bool = False, tasks: bool = True, name: str | None = None):
    labels = torch.arange(len(images)) % C
    data = TensorDataset(images, labels)
    own = [DataAttribute(labels, "targets")]
    if tasks:
        own.append(TaskLabels([0] * len(labels)))
    if name is not None:
        own.append(DataAttribute(list(range(len(labels))), name, use_in_getitem=True))
    kind = type(labelled_dataset(images, labels)) if tasks else ClassificationDataset
    rows = data if tensors else list(zip(images, labels.tolist(), strict=True))
    return kind([rows], data_attributes=own)


IMAGES = torch.randn(8, 1, 4, 4)


@pytest.mark.parametrize(("first", "second", "words"), [
    ((IMAGES, {}), (torch.randn(8, 1, 6, 6), {}), r"images of shape \(1, 6, 6\), those before them images of shape"),
    ((IMAGES, {}), (torch.randn(8, 3, 4, 4), {}), r"images of shape \(3, 4, 4\), those before"),
    ((IMAGES, {}), (torch.randn(8, 16), {}), r"vectors of 16 numbers, those before them images"),
    ((IMAGES, {}), (IMAGES.double(), {}), "images of torch.float64, those before them images of torch.float32"),
    ((IMAGES, {}), (IMAGES + 1, {"tensors": True}), "class ids that are tensors, those before them class ids that are"),
    ((IMAGES, {}), (IMAGES + 1, {"tasks": False}), "no task labels, those before them task labels"),
    ((IMAGES, {"tasks": False}), (IMAGES + 1, {}), "task labels, those before them no task labels"),
    ((IMAGES, {"name": "age"}), (IMAGES + 1, {"name": "size"}), "attributes of size, those before them attributes of"),
], ids=lambda value: value if isinstance(value, str) else "")  # fmt: skip
def test_a_delivery_of_another_form_is_refused_before_anything_is_stored(first, second, words: str) -> None:
    policy = DistilledBuffer(Random(), images_per_class=1, num_classes=C)
    policy.update_from_dataset(plain(first[0], **first[1]))
    kept = policy.synthetic.images.clone()
    for _ in range(2):
        with pytest.raises(InputError, match=words):
            policy.update_from_dataset(plain(second[0], **second[1]))
    assert torch.equal(policy.synthetic.images, kept)
    assert sum(group.seen for group in policy.buffer_groups.values()) == 8
    policy.update_from_dataset(plain(first[0] + 2, **first[1]))
    assert sum(group.seen for group in policy.buffer_groups.values()) == 16


def test_classes_without_a_place_are_named_once() -> None:
    policy = DistilledBuffer(Random(), images_per_class=2, classes=("ant", "bee", "cat", "dog"), max_size=3)
    with pytest.warns(UserWarning, match=r"max_size is 3, so that 1 of 4 classes have no slot in the buffer: dog"):
        policy.post_adapt(None, with_index(0)[0])
    policy.post_adapt(None, with_index(100)[0])  # the same classes, no more words
    assert Counter(policy.buffer.targets) == {0: 1, 1: 1, 2: 1}


# -- online streams --------------------------------------------------------------------------------------------------


def plain_stream(n: int = 40, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    parts = [labelled_dataset(torch.randn(n, 1, 4, 4, generator=generator), torch.arange(n) % 2 + 2 * k)
             for k in range(2)]  # fmt: skip
    return benchmark_from_datasets(train=parts).train_stream


@pytest.mark.parametrize("size", [8, 15])
def test_sub_experiences_are_collected_and_distilled_at_the_last(size: int, monkeypatch) -> None:
    shown = []
    distil = Herding.distill

    def watched(self, data, **options):
        shown.append(len(data))
        return distil(self, data, **options)

    monkeypatch.setattr(Herding, "distill", watched)
    stream = plain_stream()
    policy = DistilledBuffer(Herding(steps=0, width=2, depth=1), images_per_class=3, num_classes=C)
    whole = DistilledBuffer(Herding(steps=0, width=2, depth=1), images_per_class=3, num_classes=C)
    online = split_online_stream(stream, experience_size=size, shuffle=False, access_task_boundaries=True)
    sizes = []
    for experience in online:
        policy.post_adapt(None, experience)
        policy.post_adapt(None, experience)  # of another strategy that shares the buffer
        sizes.append(len(policy.buffer))
    assert shown == [40, 40]
    assert sizes[0] == 6  # random ones until then
    assert sizes[-1] == 12
    for experience in stream:
        whole.post_adapt(None, experience)
    assert torch.equal(policy.synthetic.images, whole.synthetic.images)


def test_what_is_still_collected_when_the_next_experience_begins_is_distilled() -> None:
    stream = plain_stream()
    policy = DistilledBuffer(Random(), images_per_class=3, num_classes=C)
    online = list(split_online_stream(stream, experience_size=8, access_task_boundaries=True))
    for experience in [*online[:3], *online[5:]]:  # two are lost on the way
        policy.post_adapt(None, experience)
    assert Counter(policy.buffer.targets) == dict.fromkeys(range(C), 3)
    assert [group.seen for group in policy.buffer_groups.values()][2:] == [20, 20]
    assert sum(group.seen for group in policy.buffer_groups.values()) == 64


def online_experiences(size: int = 10) -> list:
    return list(split_online_stream(plain_stream(), experience_size=size, shuffle=False, access_task_boundaries=True))


@pytest.mark.parametrize("position", [0, 1, 3, 4, 7])
def test_a_stopped_distillation_is_done_when_the_sub_experience_comes_again(position: int, monkeypatch) -> None:
    def stopped(*given, **options):
        monkeypatch.undo()
        raise KeyboardInterrupt

    policies = [DistilledBuffer(Herding(steps=0, width=2, depth=1), images_per_class=3, num_classes=C)
                for _ in range(2)]  # fmt: skip
    for i, experience in enumerate(online_experiences()):
        if i == position:
            monkeypatch.setattr(Distilling, "_distil", stopped)
            before = len(policies[0].buffer)
            with pytest.raises(KeyboardInterrupt):
                policies[0].post_adapt(None, experience)
            assert len(policies[0].buffer) == before
        for policy in policies:
            policy.post_adapt(None, experience)
    stopped_once, whole = policies
    assert torch.equal(stopped_once.synthetic.images, whole.synthetic.images)
    assert [group.seen for group in stopped_once.buffer_groups.values()] == [20] * C
    assert stopped_once._collected is None


def test_equal_data_in_two_sub_experiences_count_twice() -> None:
    images = torch.randn(10, 1, 4, 4)
    images[6:8] = images[2:4]
    data = labelled_dataset(images, torch.arange(10) % 2)
    stream = benchmark_from_datasets(train=[data]).train_stream
    policy = DistilledBuffer(Random(), images_per_class=2, num_classes=C)
    for experience in split_online_stream(stream, experience_size=2, shuffle=False, access_task_boundaries=True):
        policy.post_adapt(None, experience)
        policy.post_adapt(None, experience)  # of another strategy that shares the buffer
    assert policy._collected is None
    assert [group.seen for group in policy.buffer_groups.values()] == [5, 5]


@pytest.mark.parametrize("position", [1, 4, 6])
def test_a_buffer_pickled_between_sub_experiences_collects_the_others(position: int) -> None:
    results = []
    for pickled in (False, True):
        policy = DistilledBuffer(Herding(steps=0, width=2, depth=1), images_per_class=3, num_classes=C)
        for i, experience in enumerate(online_experiences()):
            policy.post_adapt(None, experience)
            if pickled and i == position:
                policy = pickle.loads(pickle.dumps(policy))
        assert policy._collected is None
        results.append(policy.synthetic.images)
    assert torch.equal(*results)


def test_without_boundaries_every_sub_experience_counts_by_itself() -> None:
    policy, stock = DistilledBuffer(Random(), images_per_class=4, num_classes=C), ClassBalancedBuffer(16)
    for experience in split_online_stream(plain_stream(), experience_size=5):
        policy.post_adapt(None, experience)
        stock.post_adapt(None, experience)
    assert Counter(policy.buffer.targets) == Counter(stock.buffer.targets) == dict.fromkeys(range(C), 4)
    assert [group.seen for group in policy.buffer_groups.values()] == [20] * C


def test_blurry_streams() -> None:
    torch.manual_seed(0)
    policy = DistilledBuffer(Random(), images_per_class=4, num_classes=C)
    for experience in split_continuous_linear_decay_stream(plain_stream(), 10, 4, 2, shuffle=True):
        policy.post_adapt(None, experience)
    assert Counter(policy.buffer.targets) == dict.fromkeys(range(C), 4)

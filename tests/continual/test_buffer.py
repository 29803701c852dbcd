"""DistilledBuffer: places of classes, deliveries, tasks, transforms."""

from collections import Counter

import numpy as np
import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets, nc_benchmark

from continual import DistilledBuffer, GDumb, class_incremental, class_order, with_soft_labels
from continual.scenario import labelled_dataset
from continual.soft_labels import read_all
from distill import InputError, Standardize
from tiny_streams import CLASSES, C, First, images, linear, silent, stream


def test_buffer_grows_by_the_classes_of_each_experience() -> None:
    benchmark = class_incremental(images(), images(12), steps=3)
    distiller = First()
    policy = DistilledBuffer(
        distiller, images_per_class=2, classes=CLASSES, preprocessing=Standardize(torch.zeros(1), torch.ones(1))
    )
    assert policy.synthetic is None
    assert len(policy.buffer) == 0
    assert policy.max_size == 12
    for k, experience in enumerate(benchmark.train_stream):
        policy.post_adapt(None, experience)
        assert set(distiller.shown[k]["data"].labels.tolist()) == experience.classes_in_this_experience
        assert len(policy.buffer) == 4 * (k + 1)
    found, targets, soft, _ = read_all(with_soft_labels(policy.buffer, C))
    synthetic = policy.synthetic
    assert synthetic is not None
    assert torch.equal(found, synthetic.images)
    assert torch.equal(targets, synthetic.class_ids)
    assert torch.equal(soft, synthetic.labels)
    assert synthetic.classes == CLASSES
    assert synthetic.preprocessing is policy.preprocessing
    assert len({shown["seed"] for shown in distiller.shown}) == 3


def test_an_experience_is_distilled_once() -> None:
    distiller = First()
    policy = DistilledBuffer(distiller, images_per_class=2, num_classes=C)
    experience = stream(images())[0]
    policy.post_adapt(None, experience)
    buffer = policy.buffer
    policy.post_adapt(None, experience)
    assert len(distiller.shown) == 1
    assert policy.buffer is buffer
    policy.post_adapt(None, stream(images())[0])  # made anew, the same images
    assert len(distiller.shown) == 1


def test_other_images_under_an_index_seen_before_are_distilled() -> None:
    distiller = First()
    policy = DistilledBuffer(distiller, images_per_class=2, num_classes=C)
    policy.post_adapt(None, stream(images(labels=torch.tensor([0, 0, 1, 1])))[0])
    policy.post_adapt(None, stream(images(labels=torch.tensor([2, 2, 3, 3]), seed=1))[0])
    assert Counter(policy.buffer.targets) == {0: 2, 1: 2, 2: 2, 3: 2}
    assert len({shown["seed"] for shown in distiller.shown}) == 2


def test_a_class_that_comes_back_shares_its_places_with_what_was_kept_of_it() -> None:
    first, second = images(labels=torch.tensor([0, 0, 1, 1])), images(labels=torch.tensor([1, 1, 2, 2]), seed=1)
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    for experience in stream(first, second):
        policy.post_adapt(None, experience)
    synthetic = policy.synthetic
    assert synthetic is not None
    assert Counter(synthetic.class_ids.tolist()) == {0: 2, 1: 2, 2: 2}
    assert torch.equal(synthetic.images[synthetic.class_ids == 1], torch.stack([first.images[2], second.images[0]]))


@pytest.mark.parametrize(
    ("returning", "old", "new"), [("share", 3, 1), ("replace", 0, 4), ("add", 4, 4)]
)
def test_what_becomes_of_a_class_that_comes_back_is_an_option(returning: str, old: int, new: int) -> None:
    policy = DistilledBuffer(First(), images_per_class=4, num_classes=C, returning=returning)
    first, second = images(labels=torch.tensor([0] * 30)), images(labels=torch.tensor([0] * 10), seed=1)
    for experience in stream(first, second):
        policy.post_adapt(None, experience)
    assert policy.synthetic is not None
    kept = policy.synthetic.images
    assert torch.equal(kept[:old], first.images[:old])
    assert torch.equal(kept[old:], second.images[:new])


def test_a_handful_of_returning_images_takes_no_more_than_its_share() -> None:
    policy = DistilledBuffer(First(), images_per_class=10, num_classes=C)
    first = images(labels=torch.zeros(500, dtype=torch.long))
    for experience in stream(first, images(labels=torch.tensor([0]), seed=1)):
        policy.post_adapt(None, experience)
    assert policy.synthetic is not None
    assert torch.equal(policy.synthetic.images, first.images[:10])


def test_small_deliveries_get_their_share_in_the_long_run() -> None:
    """As a reservoir would have it: 40 times 5 images, 8 places, and each quarter of the stream has about 2."""
    policy = DistilledBuffer(First(), images_per_class=8, num_classes=C)
    parts = [images(labels=torch.zeros(5, dtype=torch.long), seed=k) for k in range(40)]
    for part in parts:
        policy.post_adapt(None, stream(part)[0])
    assert policy.synthetic is not None
    assert len(policy.synthetic) == 8
    whole = torch.cat([part.images for part in parts])
    came = [int((whole == image).flatten(1).all(1).nonzero()) // 50 for image in policy.synthetic.images]
    assert max(Counter(came).values()) <= 5
    assert len(set(came)) >= 3


def test_classes_of_several_tasks_are_kept_apart() -> None:
    """As with `class_ids_from_zero_in_each_exp`: the same class ids in every task."""
    parts = [images(labels=torch.tensor([0, 0, 1, 1]), seed=k) for k in range(3)]
    tasks = [labelled_dataset(part.images, part.labels, task_label=k) for k, part in enumerate(parts)]
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=2)
    for experience in benchmark_from_datasets(train=tasks).train_stream:
        policy.post_adapt(None, experience)
    assert Counter(zip(policy.buffer.targets_task_labels, policy.buffer.targets, strict=True)) == dict.fromkeys(
        [(task, c) for task in range(3) for c in range(2)], 2
    )
    assert list(policy.buffer_groups) == [(task, c) for task in range(3) for c in range(2)]
    assert policy.max_size == 12


def test_an_experience_of_several_tasks_is_distilled_task_by_task(tmp_path) -> None:
    parts = [images(labels=torch.tensor([0, 0, 1, 1]), seed=k) for k in range(2)]
    one = [labelled_dataset(part.images, part.labels, task_label=k) for k, part in enumerate(parts)]
    for _ in range(2):  # distilled, and then found in the cache
        policy = DistilledBuffer(First(), images_per_class=1, num_classes=2, store=tmp_path)
        policy.post_adapt(None, benchmark_from_datasets(train=[one[0].concat(one[1])]).train_stream[0])
        assert sorted(zip(policy.buffer.targets_task_labels, policy.buffer.targets, strict=True)) == [
            (0, 0), (0, 1), (1, 0), (1, 1)
        ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 2


def test_one_class_an_experience() -> None:
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    strategy = GDumb(model=linear(), storage_policy=policy, train_steps=1, evaluator=silent())
    strategy.train(class_incremental(images(), images(12), steps=C).train_stream)
    assert list(policy.buffer.targets)[::2] == class_order(C)


def test_classes_with_fewer_images_get_as_many_as_they_have() -> None:
    distiller = First()
    policy = DistilledBuffer(distiller, images_per_class=3, num_classes=C)
    policy.post_adapt(None, stream(images(labels=torch.tensor([0, 0, 0, 0, 1, 2, 2, 3, 3, 3])))[0])
    assert Counter(policy.buffer.targets) == {0: 3, 1: 1, 2: 2, 3: 3}
    assert [sorted(set(shown["data"].labels.tolist())) for shown in distiller.shown] == [[0, 3], [2], [1]]


def test_max_size_is_shared_by_all_classes_seen() -> None:
    policy = DistilledBuffer(First(), images_per_class=3, num_classes=C, max_size=7)
    counts = []
    for experience in class_incremental(images(), images(12), steps=3).train_stream:
        policy.post_adapt(None, experience)
        counts.append(sorted(Counter(policy.buffer.targets).values()))
    assert counts == [[3, 3], [1, 2, 2, 2], [1, 1, 1, 1, 1, 2]]


def test_resize_keeps_the_first_images_and_does_not_bring_any_back() -> None:
    data = images()
    policy = DistilledBuffer(First(), images_per_class=3, num_classes=C)
    policy.post_adapt(None, stream(data)[0])
    policy.resize(None, 8)
    synthetic = policy.synthetic
    assert synthetic is not None
    assert Counter(synthetic.class_ids.tolist()) == {0: 2, 1: 2, 2: 1, 3: 1, 4: 1, 5: 1}
    assert torch.equal(synthetic.images[synthetic.class_ids == 0], data.images[[0, C]])
    policy.resize(None, 100)
    assert len(policy.buffer) == 8


@pytest.mark.parametrize("option", ["adaptive", "progress"])
@pytest.mark.parametrize("value", ["no", 1, None])
def test_switches_are_true_or_false(option, value) -> None:
    with pytest.raises(InputError, match=rf"{option} is {value!r}; expected True or False"):
        DistilledBuffer(First(), num_classes=C, **{option: value})


def test_held_out_images_of_the_current_classes_are_passed() -> None:
    distiller = First()
    policy = DistilledBuffer(
        distiller, images_per_class=1, num_classes=C, held_out=images(labels=torch.tensor([0, 1, 1, 5]))
    )
    for experience in stream(images(labels=torch.tensor([0, 1])), images(labels=torch.tensor([2, 3]))):
        policy.post_adapt(None, experience)
    assert distiller.shown[0]["held_out"].labels.tolist() == [0, 1, 1]
    assert distiller.shown[1]["held_out"] is None


def test_images_are_read_under_the_eval_transform() -> None:
    class Folder(torch.utils.data.Dataset):
        """As torchvision's data sets: `targets`, and no tensors before the transform."""

        targets = (torch.arange(12) % C).tolist()

        def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
            return np.full((1, 4, 4), index, np.float32), self.targets[index]

        def __len__(self) -> int:
            return len(self.targets)

    def random_shift(image: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(image) + 100 + torch.rand(1)

    benchmark = nc_benchmark(
        Folder(),
        Folder(),
        n_experiences=2,
        task_labels=False,
        fixed_class_order=list(range(C)),
        train_transform=random_shift,
        eval_transform=torch.from_numpy,
    )
    policy = DistilledBuffer(First(), images_per_class=2)
    strategy = GDumb(model=linear(), storage_policy=policy, train_steps=1, evaluator=silent())
    strategy.train(benchmark.train_stream, eval_streams=[])
    strategy.eval(benchmark.test_stream)
    assert policy.synthetic is not None
    assert policy.synthetic.images[:, 0, 0, 0].tolist() == [0, 6, 1, 7, 2, 8, 3, 9, 4, 10, 5, 11]
    assert strategy.clock.train_iterations == 2


def test_buffer_errors_say_how_to_fix_it() -> None:
    with pytest.raises(InputError, match="num_classes is 3, but 6 classes are named"):
        DistilledBuffer(First(), num_classes=3, classes=CLASSES)
    with pytest.raises(InputError, match="max_size is 0"):
        DistilledBuffer(First(), max_size=0)
    with pytest.raises(InputError, match="unknown; give DistilledBuffer num_classes or classes"):
        DistilledBuffer(First()).post_adapt(None, stream(images())[0])
    with pytest.raises(InputError, match="labels run from 0 to 5, but there are 3 classes"):
        DistilledBuffer(First(), images_per_class=1, num_classes=3).post_adapt(None, stream(images())[0])
    bytes_ = labelled_dataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(InputError, match=r"images of the stream are torch.uint8; expected float tensors"):
        DistilledBuffer(First(), num_classes=C).post_adapt(
            None, benchmark_from_datasets(train=[bytes_]).train_stream[0]
        )


def test_resize_below_one_is_refused_and_warns_of_classes_that_lose_their_place() -> None:
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    policy.post_adapt(None, stream(images())[0])
    with pytest.raises(InputError, match="new_size is 0; expected 1 or more"):
        policy.resize(None, 0)
    with pytest.warns(UserWarning, match=r"max_size is 4, so that 2 of 6 classes have no slot in the buffer: 4, 5"):
        policy.resize(None, 4)
    assert Counter(policy.buffer.targets) == {0: 1, 1: 1, 2: 1, 3: 1}

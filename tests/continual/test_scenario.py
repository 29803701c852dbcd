"""Class orders and class-incremental streams."""


import numpy as np
import pytest
import torch
from avalanche.training import ICaRL
from torch import nn

from continual import class_incremental, class_order
from continual.soft_labels import read_all
from distill import Identity, InputError, PreprocessedImages
from tiny_streams import CLASSES, C, images, silent


def test_class_order_is_the_published_one() -> None:
    assert class_order(100, 0)[:8] == [26, 86, 2, 55, 75, 93, 16, 73]
    assert sorted(class_order(100, 4)) == list(range(100))
    assert class_order(100, 1)[:5] == [80, 84, 33, 81, 93]  # numpy.random.seed(1); numpy.random.permutation(100)


def test_class_order_leaves_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].tolist()
    class_order(10, 3)
    assert np.random.get_state()[1].tolist() == before


def test_class_incremental_splits_in_that_order_without_remapping() -> None:
    train, test = images(60), images(12, seed=1)
    benchmark = class_incremental(train, test, steps=3, seed=2)
    order = class_order(C, 2)
    for name, data in (("train", train), ("test", test)):
        for k, experience in enumerate(getattr(benchmark, f"{name}_stream")):
            wanted = set(order[2 * k : 2 * k + 2])
            found, labels, task_labels = read_all(experience.dataset)
            assert set(labels.tolist()) == wanted == experience.classes_in_this_experience
            assert experience.task_labels == [0]
            assert not task_labels.any()
            of_these = data.subset(torch.isin(data.labels, labels))
            assert len(found) == len(of_these)
            for c in wanted:
                assert torch.equal(found[labels == c], of_these.images[of_these.labels == c])


def test_class_incremental_does_not_copy_images() -> None:
    train = images()
    experience = class_incremental(train, images(12), steps=2).train_stream[0]
    image = experience.dataset[0][0]
    assert image.untyped_storage().data_ptr() == train.images.untyped_storage().data_ptr()


def test_class_incremental_says_which_steps_are_possible() -> None:
    with pytest.raises(InputError, match=r"6 classes cannot be split into 4 equal steps; possible: 1, 2, 3, 6"):
        class_incremental(images(), images(), steps=4)
    with pytest.raises(InputError, match="0 equal steps"):
        class_incremental(images(), images(), steps=0)


def test_class_incremental_names_classes_without_images() -> None:
    few = images(labels=torch.tensor([0, 1, 3, 5]))
    with pytest.raises(InputError, match=r"2 of 6 classes have no image in test: c, e"):
        class_incremental(images(), few, steps=2)
    other = PreprocessedImages(torch.zeros(6, 3, 4, 4), torch.arange(6), CLASSES, Identity())
    with pytest.raises(InputError, match=r"train has 6 classes and images of shape \(1, 4, 4\), test has 6 and \(3"):
        class_incremental(images(), other, steps=2)


def test_class_incremental_has_the_attributes_of_avalanches_benchmarks() -> None:
    benchmark = class_incremental(images(), images(12), steps=3, seed=2)
    assert (benchmark.n_classes, benchmark.n_experiences) == (C, 3)
    assert benchmark.classes_order == class_order(C, 2)
    assert benchmark.n_classes_per_exp == [2, 2, 2]
    for stream in (benchmark.train_stream, benchmark.test_stream, benchmark.test_stream[1:]):
        assert stream.benchmark is benchmark
        for experience in stream:
            assert experience.benchmark is benchmark
            assert experience.origin_stream.benchmark is benchmark
            classes = benchmark.original_classes_in_exp[experience.current_experience]
            assert experience.classes_in_this_experience == classes


def test_unequal_steps() -> None:
    benchmark = class_incremental(images(), images(12), steps=3, first=4)
    assert [len(experience.classes_in_this_experience) for experience in benchmark.train_stream] == [4, 1, 1]
    assert benchmark.n_classes_per_exp == [4, 1, 1]
    order = class_order(C, 0)
    assert benchmark.train_stream[0].classes_in_this_experience == set(order[:4])


@pytest.mark.parametrize(
    ("steps", "first", "message"),
    [
        (3, 3, "6 classes cannot be split into 3 in the first step and equally many in each of 2 others"),
        (3, 0, "6 classes cannot be split into 0 in the first step"),
        (3, "4", "first is '4'; expected a whole number of classes"),
        (2, 7, "6 classes cannot be split into 7 in the first step"),
        (1, 3, "6 classes cannot be split into 3 in the first step"),
        (3, 6, "0 classes are left for the 2 other steps"),
    ],
)
def test_unequal_steps_that_cannot_be_are_refused(steps: int, first: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        class_incremental(images(), images(12), steps=steps, first=first)


def test_icarl_runs_on_our_stream() -> None:
    extractor = nn.Sequential(nn.Flatten(), nn.Linear(16, 8))
    head = nn.Linear(8, C)
    strategy = ICaRL(
        feature_extractor=extractor, classifier=head, memory_size=12, buffer_transform=None, fixed_memory=True,
        optimizer=torch.optim.SGD([*extractor.parameters(), *head.parameters()], lr=0.1), train_mb_size=10,
        eval_mb_size=10, evaluator=silent(),
    )  # fmt: skip
    benchmark = class_incremental(images(), images(12), steps=3)
    strategy.train(benchmark.train_stream)
    strategy.eval(benchmark.test_stream)

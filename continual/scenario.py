"""Class-incremental streams with the published class orders."""

import numpy as np
import torch
from avalanche.benchmarks import CLScenario
from avalanche.benchmarks.scenarios.supervised import class_incremental_benchmark
from avalanche.benchmarks.scenarios.task_aware import with_task_labels
from avalanche.benchmarks.utils import (
    ConstantSequence,
    DataAttribute,
    TaskAwareSupervisedClassificationDataset,
    TaskLabels,
)

from continual.checks import check_order, check_scenario
from continual.whole_tensors import Rows
from distill import InputError, PreprocessedImages
from distill.errors import shown

__all__ = ["class_incremental", "class_order", "labelled_dataset", "step_sizes"]


def class_order(num_classes: int, seed: int = 0) -> list[int]:
    """The published class order of that `seed`: `numpy.random.seed(seed); numpy.random.permutation(num_classes)`.

    NumPy's legacy generator, as in the paper's protocol (orders 0 to 4); NumPy's global state is not changed. Raises
    `InputError` for a seed of 2**32 or more.

        >>> class_order(5, seed=0)
        [2, 0, 1, 3, 4]
    """
    check_order(num_classes, seed)
    return np.random.RandomState(seed).permutation(num_classes).tolist()


def step_sizes(num_classes: int, steps: int, first: int | None = None) -> list[int]:
    """The number of classes of each of `steps`: equally many, or `first` in the first and equally many in the others.

    Raises `InputError` when the classes cannot be divided so.
    """
    if first is None:
        if steps < 1 or num_classes % steps:
            possible = ", ".join(str(n) for n in range(1, num_classes + 1) if num_classes % n == 0)
            raise InputError(f"{num_classes} classes cannot be split into {steps} equal steps; possible: {possible}")
        return [num_classes // steps] * steps
    if isinstance(first, bool) or not isinstance(first, int):
        raise InputError(f"first is {shown(first)}; expected a whole number of classes, or None for equal steps")
    rest = num_classes - first
    if first < 1 or rest < 0 or steps < 1 or (rest % (steps - 1) if steps > 1 else rest):
        raise InputError(
            f"{num_classes} classes cannot be split into {first} in the first step and equally many in each of "
            f"{steps - 1} others; expected a number of other steps that divides {rest}"
        )
    if steps > 1 and rest < steps - 1:
        raise InputError(f"{rest} classes are left for the {steps - 1} other steps; expected at least one for each")
    return [first, *[rest // (steps - 1)] * (steps - 1)] if steps > 1 else [first]


def class_incremental(
    train: PreprocessedImages, test: PreprocessedImages, *, steps: int, seed: int = 0, first: int | None = None
) -> CLScenario:
    """An Avalanche benchmark of `steps` experiences with equally many classes each, in `class_order(C, seed)`.

    It has the streams `train_stream` and `test_stream`; labels stay 0 to C - 1 (no remapping, so heads keep all C
    outputs); the task label is 0; there are no transforms. The images are not copied. Like Avalanche's own benchmarks
    it has `n_classes`, `n_experiences`, `classes_order`, `n_classes_per_exp` and `original_classes_in_exp`, and its
    experiences have `benchmark`.

    - `first`: number of classes of the first step, the other steps sharing the rest; default: as many as in those.

    Raises `InputError` when the classes cannot be divided so, a class has no image in `train` or `test`, or the two
    differ in classes or image shape.

        >>> from distill import Standardize, load_images
        >>> digits = load_images("digits").subset(range(100))
        >>> images = Standardize.fit(digits).apply(digits)
        >>> benchmark = class_incremental(images, images, steps=5)
        >>> benchmark.n_classes_per_exp, len(benchmark.train_stream)
        ([2, 2, 2, 2, 2], 5)
    """
    check_scenario(train, test, steps, seed)
    num_classes = train.num_classes
    sizes = step_sizes(num_classes, steps, first)
    if train.classes != test.classes or train.images.shape[1:] != test.images.shape[1:]:
        raise InputError(
            f"train has {num_classes} classes and images of shape {tuple(train.images.shape[1:])}, test has "
            f"{test.num_classes} and {tuple(test.images.shape[1:])}; expected the same classes and shape in both"
        )
    for name, data in (("train", train), ("test", test)):
        absent = sorted(set(range(num_classes)) - set(torch.unique(data.labels).tolist()))
        if absent:
            names = ", ".join(data.classes[c] for c in absent[:5]) + (", ..." if len(absent) > 5 else "")
            raise InputError(
                f"{len(absent)} of {num_classes} classes have no image in {name}: {names}; expected at least one each"
            )
    streams = {name: labelled_dataset(data.images[:], data.labels) for name, data in (("train", train), ("test", test))}
    order = class_order(num_classes, seed)
    split = class_incremental_benchmark(streams, class_order=order, num_classes_per_exp=sizes)
    return described(with_task_labels(split), order, sizes)


def described(benchmark: CLScenario, order: list[int], sizes: list[int]) -> CLScenario:
    """The same benchmark with the attributes of Avalanche's own, which iCaRL and others need."""
    benchmark.n_classes, benchmark.n_experiences = len(order), len(sizes)
    benchmark.classes_order, benchmark.n_classes_per_exp = list(order), list(sizes)
    starts = [sum(sizes[:k]) for k in range(len(sizes))]
    classes = [order[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    benchmark.original_classes_in_exp = [set(of_step) for of_step in classes]
    for stream in benchmark.streams.values():
        stream.benchmark = benchmark
        for experience in stream:
            experience.benchmark = benchmark
    return benchmark


def labelled_dataset(
    images: torch.Tensor, labels: torch.Tensor, *, task_label: int = 0, attributes: list[DataAttribute] | None = None
) -> TaskAwareSupervisedClassificationDataset:
    """Images `(n, channels, height, width)` and class ids `(n,)` as an Avalanche dataset without transforms.

    Its items are `(image, class id, task label)`, both ids ints, as in Avalanche's own datasets.
    """
    own = [DataAttribute(labels, "targets"), TaskLabels(ConstantSequence(task_label, len(labels)))]
    return TaskAwareSupervisedClassificationDataset(
        [Rows(images, labels)], data_attributes=[*own, *(attributes or [])]
    )

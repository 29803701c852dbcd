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
from torch.utils.data import TensorDataset

from continual.checks import check_order, check_scenario
from distill import InputError, PreprocessedImages

__all__ = ["class_incremental", "class_order", "labelled_dataset"]


def class_order(num_classes: int, seed: int = 0) -> list[int]:
    """The published class order of that `seed`: `numpy.random.seed(seed); numpy.random.permutation(num_classes)`.

    NumPy's legacy generator, as in the paper's protocol (orders 0 to 4), without touching NumPy's global state.
    """
    check_order(num_classes, seed)
    return np.random.RandomState(seed).permutation(num_classes).tolist()


def class_incremental(
    train: PreprocessedImages, test: PreprocessedImages, *, steps: int, seed: int = 0
) -> CLScenario:
    """An Avalanche benchmark of `steps` experiences with equally many classes each, in `class_order(C, seed)`.

    Streams `train_stream` and `test_stream`; labels stay 0 to C - 1 (no remapping, so heads keep all C outputs); the
    task label is 0; no transforms. The images are not copied.

    Raises `InputError` when `steps` does not divide the number of classes C, a class has no image in `train` or
    `test`, or the two differ in classes or image shape.
    """
    check_scenario(train, test, steps, seed)
    num_classes = train.num_classes
    if steps < 1 or num_classes % steps:
        possible = ", ".join(str(n) for n in range(1, num_classes + 1) if num_classes % n == 0)
        raise InputError(f"{num_classes} classes cannot be split into {steps} equal steps; possible: {possible}")
    if train.classes != test.classes or train.images.shape[1:] != test.images.shape[1:]:
        raise InputError(
            f"train has {num_classes} classes and images of shape {tuple(train.images.shape[1:])}, test has "
            f"{test.num_classes} and {tuple(test.images.shape[1:])}; wanted the same classes and shape in both"
        )
    for name, data in (("train", train), ("test", test)):
        absent = sorted(set(range(num_classes)) - set(torch.unique(data.labels).tolist()))
        if absent:
            names = ", ".join(data.classes[c] for c in absent[:5]) + (", ..." if len(absent) > 5 else "")
            raise InputError(
                f"{len(absent)} of {num_classes} classes have no image in {name}: {names}; wanted at least one of each"
            )
    streams = {name: labelled_dataset(data.images[:], data.labels) for name, data in (("train", train), ("test", test))}
    order = class_order(num_classes, seed)
    return with_task_labels(class_incremental_benchmark(streams, class_order=order, num_experiences=steps))


def labelled_dataset(
    images: torch.Tensor, labels: torch.Tensor, *, task_label: int = 0, attributes: list[DataAttribute] | None = None
) -> TaskAwareSupervisedClassificationDataset:
    """Images `(n, channels, height, width)` and class ids `(n,)` as an Avalanche dataset without transforms."""
    own = [DataAttribute(labels, "targets"), TaskLabels(ConstantSequence(task_label, len(labels)))]
    return TaskAwareSupervisedClassificationDataset(
        [TensorDataset(images, labels)], data_attributes=[*own, *(attributes or [])]
    )

"""Soft labels go with the class ids of the items, and their number with the number of classes."""

import random

import numpy as np
import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import _make_taskaware_classification_dataset as make_dataset
from avalanche.training import Naive
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from torch import nn
from torch.utils.data import TensorDataset

from continual import DistilledBuffer, SoftLabelLoss, with_soft_labels
from distill import InputError, Random
from distill.sets.synthetic import initial_labels

C = 4


def dataset(labels: torch.Tensor, target_transform=None, transform=None):
    data = TensorDataset(torch.rand(len(labels), 1, 2, 2), labels)
    data.targets = labels.tolist()
    groups = {"train": (transform, target_transform), "eval": (None, target_transform)}
    return make_dataset(data, transform_groups=groups)


def train(criterion: SoftLabelLoss, policy: DistilledBuffer, *parts, outputs: int = C) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, outputs))
    strategy = Naive(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01), criterion=criterion, train_mb_size=4,
        plugins=[ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)], evaluator=EvaluationPlugin(),
    )  # fmt: skip
    strategy.train(benchmark_from_datasets(train=list(parts)).train_stream)


@pytest.mark.parametrize("change", [lambda y: 3 - y, lambda y: y - 4, lambda y: y // 2])
def test_target_transforms_reach_the_soft_labels(change) -> None:
    targets = torch.arange(8) % C + (4 if int(change(torch.tensor(0))) < 0 else 0)
    labelled = with_soft_labels(dataset(targets, lambda y: int(change(y))), C)
    for i in range(8):
        _, class_id, soft, _ = labelled[i]
        assert class_id == int(change(targets[i]))
        assert torch.equal(soft, initial_labels(torch.tensor([class_id]), C)[0])


def test_parts_with_other_target_transforms_are_refused() -> None:
    both = dataset(torch.arange(C)).concat(dataset(torch.arange(C), lambda y: 3 - int(y)))
    with pytest.raises(InputError, match=r"items 0 and 4 have target 0, but class ids 0 and 3; expected one class id"):
        with_soft_labels(both, C)


def test_looking_at_items_draws_no_random_number() -> None:
    def noisy(image: torch.Tensor) -> torch.Tensor:
        return image + torch.rand(1) + random.random() + np.random.random()

    data = dataset(torch.arange(C), transform=noisy)
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    with_soft_labels(data, C)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.random.get_state()[1].tolist() == states[2]


@pytest.mark.parametrize(("labels", "low", "high"), [([0, 1, 4], 0, 4), ([-1, 0, 1], -1, 1)])
def test_class_ids_out_of_range_are_refused(labels: list[int], low: int, high: int) -> None:
    with pytest.raises(InputError, match=f"class ids run from {low} to {high}, but num_classes is 4: expected 0 to 3"):
        with_soft_labels(dataset(torch.tensor(labels)), C)


def test_buffer_and_loss_of_other_numbers_of_classes_are_refused() -> None:
    policy = DistilledBuffer(Random(), images_per_class=1, num_classes=6)
    with pytest.raises(InputError, match="soft labels of the dataset are of 6 classes, num_classes is 4; expected"):
        train(SoftLabelLoss(C), policy, dataset(torch.arange(2)), dataset(torch.arange(2, 4)))
    with pytest.raises(InputError, match="soft labels of the dataset are of 4 classes, num_classes is 5"):
        with_soft_labels(with_soft_labels(dataset(torch.arange(C)), C), 5)

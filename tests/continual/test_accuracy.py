"""Accuracy over streams of several tasks and after other streams; the accuracy matrix, and what is made of it."""

import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.training import Naive
from avalanche.training.plugins import EvaluationPlugin
from torch import nn

from continual import (
    accuracy_evaluator,
    average_incremental_accuracy,
    experience_accuracies,
    forgetting,
    stream_accuracy,
)
from continual.scenario import labelled_dataset
from distill import InputError


class Sign(nn.Module):
    """Class 1 for positive inputs; has a weight, so that it can be optimised."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([-x, x], 1) * self.weight


def strategy(evaluator: EvaluationPlugin | None = None) -> Naive:
    model = Sign()
    return Naive(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1), eval_mb_size=100,
        evaluator=accuracy_evaluator() if evaluator is None else evaluator,
    )  # fmt: skip


def stream(name: str, *parts: tuple[list[int], int]):
    """Experiences of images that are right or wrong (1 or 0), each of a task."""
    data = [
        labelled_dataset(torch.tensor(right).view(-1, 1) - 0.5, torch.ones(len(right), dtype=int), task_label=task)
        for right, task in parts
    ]
    scenario = benchmark_from_datasets(**{name: data})
    for experience, (_, task) in zip(scenario.streams[name], parts, strict=True):
        experience.task_labels = [task]
    return scenario.streams[name]


def test_all_tasks_count_by_their_images() -> None:
    test = stream("test", ([1, 1, 1, 1], 0), ([0, 0], 1))
    overall, own = experience_accuracies(strategy(), test)
    assert overall == pytest.approx(4 / 6)
    assert own == [1.0, 0.0]
    assert stream_accuracy(strategy(), test) == pytest.approx(4 / 6)


def test_a_single_experience_is_a_stream_too() -> None:
    experience = stream("test", ([1, 0], 0))[0]
    assert experience_accuracies(strategy(), experience) == (stream_accuracy(strategy(), experience), [0.5])


def test_no_steps_and_ragged_rows_are_refused() -> None:
    with pytest.raises(InputError, match="accuracies are empty; expected one for each step"):
        average_incremental_accuracy([])
    for matrix in ([], [[0.5, 0.5]], [[0.5], [0.5]]):
        with pytest.raises(InputError, match=r"matrix has rows of lengths .*; expected 1, 2, ..."):
            forgetting(matrix)


def test_earlier_evaluations_leave_nothing_behind() -> None:
    one = strategy()
    test = stream("test", ([1, 1], 0), ([0, 0], 1))
    assert stream_accuracy(one, stream("train", ([0, 0], 0))) == 0
    assert stream_accuracy(one, [test[0]]) == 1
    assert stream_accuracy(one, [test[1]]) == 0
    assert {name.split("/")[2] for name in one.evaluator.get_last_metrics()} == {"train_stream", "test_stream"}


def test_an_evaluator_without_accuracy_is_refused() -> None:
    with pytest.raises(InputError, match="the strategy's evaluator has no accuracy over experiences"):
        experience_accuracies(strategy(EvaluationPlugin()), stream("test", ([1], 0)))
    with pytest.raises(InputError, match="the strategy's evaluator has no stream accuracy"):
        stream_accuracy(strategy(EvaluationPlugin()), stream("test", ([1], 0)))


def test_forgetting_and_average_incremental_accuracy() -> None:
    matrix = [[0.9], [0.7, 0.8], [0.8, 0.5, 0.6]]
    assert forgetting(matrix) == pytest.approx(((0.9 - 0.8) + (0.8 - 0.5)) / 2)
    assert forgetting([[0.9]]) is None
    assert average_incremental_accuracy([0.9, 0.75, 0.6]) == pytest.approx(0.75)

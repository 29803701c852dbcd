"""Accuracy over a stream, measured by Avalanche's own metrics, and what is computed from it."""

import re
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate

from continual.checks import check_tested, experiences_of
from distill import InputError
from distill.errors import shown

__all__ = [
    "accuracy_evaluator",
    "average_incremental_accuracy",
    "experience_accuracies",
    "forgetting",
    "stream_accuracy",
]

Matrix = Sequence[Sequence[float]]


def accuracy_evaluator() -> EvaluationPlugin:
    """An evaluator that measures top-1 accuracy over whole streams and single experiences, and prints nothing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No loggers specified")  # that is the point
        return EvaluationPlugin(accuracy_metrics(experience=True, stream=True))


def stream_accuracy(strategy: SupervisedTemplate, stream: Any) -> float:
    """Accuracy of the strategy's model on all images of `stream`, over all its tasks, in [0, 1].

    `strategy` must have `evaluator=accuracy_evaluator()`, or another that measures accuracy over streams. Raises
    `InputError` otherwise.
    """
    return over_stream(measured(strategy, stream), stream)


def experience_accuracies(strategy: SupervisedTemplate, stream: Any) -> tuple[float, list[float]]:
    """`stream_accuracy`, and the accuracy on each experience of `stream`, from one evaluation.

    `stream` may be a single experience. `strategy` must have `evaluator=accuracy_evaluator()`, or another that measures
    both. Raises `InputError` otherwise.
    """
    metrics = measured(strategy, stream)
    own = []
    for experience in experiences_of(stream):
        ending = rf"Top1_Acc_Exp/.*/Exp{experience.current_experience:03d}"
        found = [value for name, value in metrics.items() if re.fullmatch(ending, name)]
        if not found:
            raise InputError(
                "the strategy's evaluator has no accuracy over experiences; give it evaluator=accuracy_evaluator()"
            )
        own.append(float(found[0]))
    return over_stream(metrics, stream), own


def average_incremental_accuracy(accuracies: Sequence[float]) -> float:
    """Mean over all steps of the accuracy on the classes seen so far.

    - `accuracies`: in [0, 1], one for each step. Raises `InputError` when there is none.

        >>> average_incremental_accuracy([1.0, 0.5])
        0.75
    """
    if not len(accuracies):
        raise InputError("accuracies are empty; expected one for each step")
    return sum(accuracies) / len(accuracies)


def forgetting(matrix: Matrix) -> float | None:
    """Mean loss of accuracy on each experience but the last, since its best step; `None` for one step.

    - `matrix`: row `k` holds the accuracies on experiences 0 to `k` after step `k` (Chaudhry et al. 2018).

    Raises `InputError` when it has no rows, or a row has another length.

        >>> forgetting([[0.9], [0.6, 0.8]])
        0.30000000000000004
    """
    lengths = [len(row) for row in matrix]
    if not lengths or lengths != list(range(1, len(lengths) + 1)):
        raise InputError(
            f"matrix has rows of lengths {shown(lengths)}; expected 1, 2, ...: after step k the accuracies on 0 to k"
        )
    last = matrix[-1]
    losses = [max(row[j] for row in matrix[j:-1]) - last[j] for j in range(len(matrix) - 1)]
    return sum(losses) / len(losses) if losses else None


def measured(strategy: SupervisedTemplate, stream: Any) -> dict[str, float]:
    """The metrics of an evaluation on `stream`, without those of earlier evaluations on other streams."""
    check_tested(strategy, stream)
    evaluator = strategy.evaluator
    before = evaluator.last_metric_results
    evaluator.last_metric_results = {}
    metrics = dict(strategy.eval(stream))
    evaluator.last_metric_results = {**before, **metrics}
    return metrics


def over_stream(metrics: Mapping[str, float], stream: Any) -> float:
    """The accuracy over all images; Avalanche measures it for each task."""
    found = {name: value for name, value in metrics.items() if name.startswith("Top1_Acc_Stream/")}
    if not found:
        raise InputError("the strategy's evaluator has no stream accuracy; give it evaluator=accuracy_evaluator()")
    if len(found) == 1:
        return next(iter(found.values()))
    counts = images_by_task(stream)
    return sum(counts[int(name[-3:])] * value for name, value in found.items()) / sum(counts.values())


def images_by_task(stream: Any) -> Counter[int]:
    """How many images of each task `stream` has."""
    counts: Counter[int] = Counter()
    for experience in experiences_of(stream):
        counts.update(map(int, experience.dataset.targets_task_labels))
    return counts

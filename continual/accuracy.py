"""Accuracy over a stream, measured by Avalanche's own metrics."""

import warnings
from typing import Any

from avalanche.evaluation.metrics import accuracy_metrics
from avalanche.training.plugins import EvaluationPlugin
from avalanche.training.templates import SupervisedTemplate

from continual.checks import check_stream
from distill import InputError

__all__ = ["accuracy_evaluator", "stream_accuracy"]


def accuracy_evaluator() -> EvaluationPlugin:
    """An evaluator that measures top-1 accuracy over whole streams and prints nothing."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No loggers specified")  # that is the point
        return EvaluationPlugin(accuracy_metrics(stream=True))


def stream_accuracy(strategy: SupervisedTemplate, stream: Any) -> float:
    """Share of all images of `stream` that the strategy's model gets right, in [0, 1].

    `strategy` must have been made with `accuracy_evaluator()`, or another that measures accuracy over streams.
    """
    check_stream(strategy, stream)
    metrics = strategy.eval(stream)
    for name, value in metrics.items():
        if name.startswith("Top1_Acc_Stream"):
            return value
    raise InputError("the strategy measures no accuracy over streams; give it evaluator=accuracy_evaluator()")

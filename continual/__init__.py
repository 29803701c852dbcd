"""Continual learning with distilled replay, in Avalanche."""

import warnings

with warnings.catch_warnings():
    # On import Avalanche loads every solver that its GEM strategy could use; those warn of themselves.
    warnings.simplefilter("ignore")
    try:
        import avalanche.training  # noqa: F401
    except ModuleNotFoundError as error:
        raise ImportError(f"continual needs {error.name}: pip install '.[continual]'") from None

from continual.accuracy import (
    accuracy_evaluator,
    average_incremental_accuracy,
    experience_accuracies,
    forgetting,
    stream_accuracy,
)
from continual.buffer import DistilledBuffer
from continual.gdumb import GDumb
from continual.loss import SoftLabelLoss
from continual.scenario import class_incremental, class_order
from continual.soft_labels import with_soft_labels

__all__ = [
    "DistilledBuffer",
    "GDumb",
    "SoftLabelLoss",
    "accuracy_evaluator",
    "average_incremental_accuracy",
    "class_incremental",
    "class_order",
    "experience_accuracies",
    "forgetting",
    "stream_accuracy",
    "with_soft_labels",
]

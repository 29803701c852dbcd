"""Continual learning with distilled replay, in Avalanche.

- `buffer`: `DistilledBuffer`, distilled images as a storage policy. `distilling`, `intake`, `delivery`, `memory`,
  `quotas`, `byte_budget`: its parts.
- `encoded_buffer`: `EncodedBuffer`, real images that Avalanche's policies choose, in bytes. `lending`: its part.
- `encoded_policy`: what both have in common.
- `gdumb`: `GDumb`, the strategy that trains on the buffer alone.
- `private_naive`: `PrivateNaive`, DP-SGD along a stream, without a buffer.
- `loss`, `soft_labels`: soft labels in Avalanche's own strategies.
- `scenario`, `accuracy`: class-incremental streams, and accuracy over them.
- `items`, `online`, `transforms`: what streams hold, and how their training transforms are repeated on replayed images.
"""

import warnings
from importlib.metadata import PackageNotFoundError, version

try:
    with warnings.catch_warnings():
        # On import Avalanche loads every solver that its GEM strategy could use; those warn of themselves.
        warnings.simplefilter("ignore")
        import avalanche.training  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        f"continual needs {str(error.name).partition('.')[0]}, which is not installed: "
        "pip install '.[continual]'"
    ) from error

from continual.accuracy import (
    accuracy_evaluator,
    average_incremental_accuracy,
    experience_accuracies,
    forgetting,
    stream_accuracy,
)
from continual.buffer import DistilledBuffer
from continual.encoded_buffer import EncodedBuffer
from continual.gdumb import GDumb
from continual.loss import SoftLabelLoss
from continual.private_naive import PrivateNaive
from continual.scenario import class_incremental, class_order
from continual.soft_labels import with_soft_labels

try:
    __version__ = version("frepo-toolkit")
except PackageNotFoundError:  # the folder is on the path, but not installed
    __version__ = "unknown"

__all__ = [
    "DistilledBuffer",
    "EncodedBuffer",
    "GDumb",
    "PrivateNaive",
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

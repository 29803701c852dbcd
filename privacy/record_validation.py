"""One side of the records, members or non-members, as callers give it: checked, and as NumPy arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from privacy.errors import InputError
from privacy.margins import OutputKind, cross_entropy
from privacy.rounding import SUM_TOLERANCE, sum_tolerance
from privacy.validation import as_array, finite_floats

__all__ = ["Given", "RecordArrays", "check_losses_of_both", "checked_side", "checked_tuple"]

Given = tuple[Any, Any, Any]  # outputs, labels, and losses or None


@dataclass(frozen=True, eq=False)
class RecordArrays:
    """One side: `outputs` `(n, C)` float64, `labels` `(n,)` int64, `losses` `(n,)` float64."""

    outputs: np.ndarray
    labels: np.ndarray
    losses: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def accuracy(self) -> float:
        """Share of records whose largest output is at their label, in [0, 1]."""
        return float(self.correct.mean())

    @property
    def correct(self) -> np.ndarray:
        """Boolean `(n,)`: the largest output is at the label."""
        return self.outputs.argmax(1) == self.labels


def checked_tuple(given: Any, name: str) -> Given:
    """`(outputs, labels, losses)` of a side, losses `None` where there are none."""
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise InputError(f"{name} must be (outputs, labels) or (outputs, labels, losses), not {type(given).__name__}")
    return given[0], given[1], given[2] if len(given) == 3 else None


def check_losses_of_both(sides: dict[str, Given]) -> bool:
    """Whether losses are given; raises `InputError` when only one side has them."""
    having = [name for name, parts in sides.items() if parts[2] is not None]
    if len(having) == 1:
        (lacking,) = set(sides) - set(having)
        raise InputError(
            f"{having[0]} have losses and {lacking} have none, so that two different quantities would be compared; "
            "give the same loss for both sides, or for neither: then it is the cross-entropy of the outputs"
        )
    return bool(having)


def checked_side(given: Given, name: str, kind: OutputKind) -> RecordArrays:
    """The arrays of one side, checked; raises `InputError` that names what is wrong."""
    outputs = checked_outputs(as_array(given[0], f"{name} outputs", ndim=2), name, kind)
    labels = checked_labels(as_array(given[1], f"{name} labels", ndim=1), name, outputs.shape)
    if given[2] is None:
        return RecordArrays(outputs, labels, finite_floats(cross_entropy(outputs, labels, kind), f"{name} losses"))
    losses = as_array(given[2], f"{name} losses", ndim=1)
    if losses.shape != labels.shape:
        raise InputError(f"{name} losses have shape {losses.shape}; expected {labels.shape}, one for each label")
    return RecordArrays(outputs, labels, finite_floats(losses, f"{name} losses"))


def checked_outputs(outputs: np.ndarray, name: str, kind: OutputKind) -> np.ndarray:
    """Outputs `(n, C)` as float64; raises `InputError` for wrong shapes and values."""
    if not len(outputs.reshape(-1)):
        raise InputError(f"{name} are empty; expected at least one member and one non-member")
    if outputs.ndim == 1 and outputs.dtype.kind in "iu" and len(np.unique(outputs)) > 2:
        raise InputError(
            f"{name} outputs are integers of shape {outputs.shape}, from {outputs.min()} to {outputs.max()}, which "
            "looks like predicted classes; expected the model's logits or probabilities, (n, C); if the model gives "
            "only the class, use np.eye(C)[classes]"
        )
    if outputs.ndim == 1 or (outputs.ndim == 2 and outputs.shape[1] == 1):
        columns = "[1 - p, p]" if kind == "probabilities" else "[0 * z, z]"
        raise InputError(
            f"{name} outputs have shape {outputs.shape}, a single class; expected (n, C) with at least 2 classes; for "
            f"a model with one sigmoid output give both columns, {columns}"
        )
    if outputs.ndim != 2:
        raise InputError(f"{name} outputs have shape {outputs.shape}; expected (n, C), a row for each record")
    outputs = finite_floats(outputs, f"{name} outputs")
    if kind == "logits" and look_like_probabilities(outputs):
        raise InputError(
            f"{name} outputs are declared as logits, but every row lies in [0, 1] and sums to 1: are they "
            'probabilities? Then use outputs="probabilities"; better, give the logits'
        )
    if kind == "probabilities":
        tolerance = sum_tolerance(outputs)
        off = (np.abs(outputs.sum(1) - 1) > tolerance) | (outputs < 0).any(1) | (outputs > 1 + SUM_TOLERANCE).any(1)
        if off.any():
            row = int(off.argmax())
            raise InputError(
                f"{name} outputs are declared as probabilities, but {int(off.sum())} of {len(off)} rows do not lie "
                f"in [0, 1] and sum to 1 (row {row} sums to {outputs[row].sum():.4g}); are they logits?"
            )
    return outputs


def checked_labels(labels: np.ndarray, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Labels `(n,)` as int64 in `0 .. C - 1`; raises `InputError` otherwise."""
    if labels.shape != shape[:1]:
        hint = ""
        if labels.shape == shape:
            hint = label_matrix_hint(labels)
        elif labels.shape == (shape[0], 1):
            hint = "; give labels.ravel()"
        raise InputError(f"{name} labels have shape {labels.shape}; expected {shape[:1]}, one per row of outputs{hint}")
    if labels.dtype.kind not in "iu":
        raise InputError(f"{name} labels are {labels.dtype}; expected integers, the class of each record")
    if labels.min() < 0 or labels.max() >= shape[1]:
        raise InputError(
            f"{name} labels run from {labels.min()} to {labels.max()}, but the outputs have {shape[1]} classes: "
            f"expected 0 to {shape[1] - 1}"
        )
    return labels.astype(np.int64)


def look_like_probabilities(outputs: np.ndarray) -> bool:
    """Whether all rows lie in [0, 1] and sum to 1, and are not just labels, which may stand for logits."""
    in_range = (outputs >= 0).all() and (outputs <= 1).all() and (np.abs(outputs.sum(1) - 1) < SUM_TOLERANCE).all()
    return bool(in_range and not np.isin(outputs, (0, 1)).all() and len(np.unique(outputs)) > 1)


def label_matrix_hint(labels: np.ndarray) -> str:
    """What to do with labels `(n, C)`: one-hot labels can be converted to classes, several labels per row cannot."""
    if labels.dtype.kind in "iufb" and np.isin(labels, (0, 1)).all() and not (labels.sum(1) == 1).all():
        return (
            "; rows with several ones, or none, are a multi-label problem: audit each class c by itself, with outputs "
            "np.column_stack([np.zeros(n), logits[:, c]]) and labels[:, c]"
        )
    return "; for one-hot labels give labels.argmax(1)"

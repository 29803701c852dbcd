"""One side of the records, members or non-members, as callers give it: checked, and as NumPy arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from privacy.errors import InputError
from privacy.margins import OutputKind, cross_entropy
from privacy.references import References
from privacy.rounding import SUM_TOLERANCE, sum_tolerance
from privacy.validation import as_array, finite_floats

__all__ = [
    "Given", "RecordArrays", "check_losses_of_both", "checked_features", "checked_references", "checked_side",
    "checked_tuple",
]  # fmt: skip

Given = tuple[Any, Any, Any]  # outputs, labels, and losses or None


@dataclass(frozen=True, eq=False)
class RecordArrays:
    """One side: `outputs` `(n, C)` float64, `labels` `(n,)` int64, `losses` `(n,)` float64.

    Of several labels `labels` are `(n, C)`, zeros and ones; of losses alone `outputs` are `(n, 0)`.
    """

    outputs: np.ndarray
    labels: np.ndarray
    losses: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def accuracy(self) -> float:
        """Share of records that are answered right, in [0, 1]; NaN where outputs are not known."""
        return float(self.correct.mean()) if self.outputs.shape[1] else float("nan")

    @property
    def correct(self) -> np.ndarray:
        """Boolean `(n,)`: the largest output is at the label; of several labels, all logits have the right sign."""
        if self.labels.ndim == 2:
            return ((self.outputs > 0) == self.labels).all(1)
        return self.outputs.argmax(1) == self.labels

    @property
    def classes(self) -> np.ndarray:
        """The class of each record, `(n,)`; -1 where it has several labels."""
        return self.labels if self.labels.ndim == 1 else np.full(len(self), -1)


def checked_tuple(given: Any, name: str, kind: OutputKind = "logits") -> Given:
    """`(outputs, labels, losses)` of a side, losses `None` where there are none; outputs `None` of losses alone."""
    if kind == "losses":
        if not isinstance(given, tuple | list) or len(given) not in (1, 2):
            raise InputError(f"{name} must be (losses,) or (losses, labels), not a {type(given).__name__} of others")
        return None, given[1] if len(given) == 2 else None, given[0]
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
    if kind == "losses":
        return checked_losses_alone(given, name)
    if kind == "multi-label":
        return checked_multi_label(given, name)
    outputs = checked_outputs(as_array(given[0], f"{name} outputs", ndim=2), name, kind)
    labels = checked_labels(as_array(given[1], f"{name} labels", ndim=1), name, outputs.shape)
    if given[2] is None:
        return RecordArrays(outputs, labels, finite_floats(cross_entropy(outputs, labels, kind), f"{name} losses"))
    return RecordArrays(outputs, labels, checked_losses(given[2], name, labels.shape))


def checked_losses(given: Any, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Losses as float64 of a shape; raises `InputError` otherwise."""
    losses = as_array(given, f"{name} losses", ndim=1)
    if losses.shape != shape:
        raise InputError(f"{name} losses have shape {losses.shape}; expected {shape}, one for each label")
    return finite_floats(losses, f"{name} losses")


def checked_losses_alone(given: Given, name: str) -> RecordArrays:
    """Records of which only losses are known, and labels where they are given; without, all are of class 0."""
    losses = as_array(given[2], f"{name} losses", ndim=1)
    if losses.ndim != 1 or not len(losses):
        raise InputError(f"{name} losses have shape {losses.shape}; expected (n,), one for each record, at least one")
    labels = np.zeros(len(losses), np.int64)
    if given[1] is not None:
        labels = as_array(given[1], f"{name} labels", ndim=1)
        labels = checked_labels(labels, name, (len(losses), int(np.max(labels, initial=0)) + 1))
    return RecordArrays(np.empty((len(losses), 0)), labels, finite_floats(losses, f"{name} losses"))


def checked_multi_label(given: Given, name: str) -> RecordArrays:
    """Records that each have any number of C labels; raises `InputError` that names what is wrong."""
    outputs = as_array(given[0], f"{name} outputs", ndim=2)
    labels = as_array(given[1], f"{name} labels", ndim=2)
    if outputs.ndim != 2 or 0 in outputs.shape:
        raise InputError(f"{name} outputs have shape {outputs.shape}; expected (n, C), a logit for each label")
    if labels.shape != outputs.shape or not np.isin(labels, (0, 1)).all():
        raise InputError(
            f"{name} labels are {labels.dtype} of shape {labels.shape}; expected zeros and ones of shape "
            f"{outputs.shape}, one for each logit"
        )
    outputs, labels = finite_floats(outputs, f"{name} outputs"), labels.astype(np.int64)
    losses = cross_entropy(outputs, labels, "multi-label")
    if given[2] is not None:
        losses = checked_losses(given[2], name, losses.shape)
    return RecordArrays(outputs, labels, finite_floats(losses, f"{name} losses"))


def checked_features(given: Any, sizes: dict[str, int]) -> np.ndarray | None:
    """Features of all records, `(n, F)` float64, from those of both sides; raises `InputError` for what is wrong."""
    if given is None:
        return None
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InputError(f"features is a {type(given).__name__}; expected (of members (n, F), of non-members (m, F))")
    sides = []
    for (name, size), side in zip(sizes.items(), given, strict=True):
        array = as_array(side, f"features of {name}", ndim=2)
        if array.ndim != 2 or len(array) != size or not array.shape[1]:
            raise InputError(f"features of {name} have shape {array.shape}; expected ({size}, F), one row a record")
        sides.append(finite_floats(array, f"features of {name}"))
    if sides[0].shape[1] != sides[1].shape[1]:
        raise InputError(
            f"there are {sides[0].shape[1]} features of members and {sides[1].shape[1]} of non-members; expected the "
            "same for both"
        )
    return np.concatenate(sides)


def checked_references(given: Any, shapes: list[tuple[int, ...]], kind: OutputKind) -> References | None:
    """References that fit outputs of these shapes, of members and of non-members; raises `InputError` otherwise."""
    if given is None:
        return None
    if not isinstance(given, References):
        raise InputError(f"references is a {type(given).__name__}; expected References(member_outputs=..., ...)")
    given.check_fit(dict(zip(("member", "non_member"), shapes, strict=True)))
    if kind in ("logits", "probabilities"):
        for model in range(len(given)):
            checked_outputs(given.of_model(model), f"reference {model}: its", kind)
        if given.population is not None:
            checked_outputs(given.population.outputs, "population", kind)
            checked_labels(given.population.labels, "population", given.population.outputs.shape)
    return given


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
            "; rows with several ones, or none, are a multi-label problem: use outputs=\"multi-label\" with a logit "
            "for each label"
        )
    return "; for one-hot labels give labels.argmax(1)"

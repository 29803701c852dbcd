"""What a membership-inference attacker sees: labels, outputs and losses of members and non-members."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np

from privacy.confidence import OutputKind, cross_entropy, excess_margins
from privacy.errors import InputError
from privacy.files import as_path, read_arrays, write_arrays
from privacy.inputs import as_array, checked_positions, closest, finite_floats, require_one_of

__all__ = ["AttackRecords", "OutputKind", "Side"]

SUM_TOLERANCE = 1e-3  # probabilities in float16 sum to 1 only so far
BFLOAT16_TOLERANCE = 2e-2
MOST_DIGITS = 4  # with more, rounding is below SUM_TOLERANCE for all but thousands of classes
MANY_TIED = 0.01  # share of a side whose probabilities are rounded to 1
SIDES = ("members", "non_members")
PARTS = ("outputs", "labels", "losses")


@dataclass(frozen=True, eq=False)
class Side:
    """One side, members or non-members: `outputs` `(n, C)` float64, `labels` `(n,)` int64, `losses` `(n,)` float64."""

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


class AttackRecords:
    """What the attacker sees of one model: its outputs, the true labels and the losses, of members and non-members.

    - `members`, `non_members`: `(outputs, labels)` or `(outputs, labels, losses)`, NumPy arrays or anything that turns
      into one (CPU tensors of PyTorch or TensorFlow, JAX arrays, lists, lists of batches). `outputs` `(n, C)`; `labels`
      `(n,)`, integers in `0 .. C - 1`; `losses` `(n,)`, on both sides or on neither, by default the cross-entropy of
      outputs and labels. Give the loss that the model was trained with, where it is another one: an attacker would
      use it.
    - `outputs`: what the outputs are, "logits" or "probabilities". Logits are better: probabilities near 1 are rounded.

    - `losses_given`: whether the losses are the caller's. `notes`: what a reader should know of the numbers given.

    Members are images the model, or the set it was trained on, was made from; non-members come from the same
    distribution and were never used.

    Raises `InputError` when a side is empty, shapes do not match, values are NaN or infinite, labels are out of range,
    there is only one class, losses are given for one side alone, or probabilities are none.
    """

    def __init__(
        self, *, members: Sequence[Any], non_members: Sequence[Any], outputs: OutputKind = "logits"
    ) -> None:
        require_one_of("outputs", outputs, get_args(OutputKind))
        self.outputs: OutputKind = outputs
        sides = {"members": checked_tuple(members, "members"), "non_members": checked_tuple(non_members, "non_members")}
        self.losses_given = check_losses_of_both(sides)
        self.members = checked_side(sides["members"], "members", outputs)
        self.non_members = checked_side(sides["non_members"], "non_members", outputs)
        if self.members.outputs.shape[1] != self.non_members.outputs.shape[1]:
            raise InputError(
                f"members have outputs for {self.members.outputs.shape[1]} classes, non_members for "
                f"{self.non_members.outputs.shape[1]}; wanted the same model's outputs on both sides"
            )
        self.notes = rounding_notes(self)
        if self.losses_given:
            self._check_given_losses()

    def _check_given_losses(self) -> None:
        """Take losses that are the cross-entropy of the outputs as such, exactly; note those that are tied."""
        sides = (self.members, self.non_members)
        exact = [cross_entropy(side.outputs, side.labels, self.outputs) for side in sides]
        if all(np.allclose(s.losses, e, rtol=1e-2, atol=2e-3) for s, e in zip(sides, exact, strict=True)):
            self.members, self.non_members = (
                Side(s.outputs, s.labels, e) for s, e in zip(sides, exact, strict=True)
            )  # fmt: skip
            self.losses_given = False
            self.notes.append(
                "the losses given are the cross-entropy of the outputs, which was worked out again in double precision"
            )
            return
        tied = [np.unique(side.losses, return_counts=True)[1].max() for side in sides]
        shares = [count / len(side) for count, side in zip(tied, sides, strict=True)]
        if max(tied) > 1 and max(shares) > MANY_TIED:
            self.notes.append(
                f"{tied[0]} of {len(sides[0])} members and {tied[1]} of {len(sides[1])} non-members share one loss: in "
                "single precision the loss of every very sure answer is the same; give losses in double precision"
            )

    @property
    def num_classes(self) -> int:
        """Number of classes C of the attacked model."""
        return self.members.outputs.shape[1]

    def features(self) -> np.ndarray:
        """What a trained attack learns from: `[outputs, loss]`, `(members + non-members, C + 1)`, members first."""
        sides = (self.members, self.non_members)
        return np.concatenate([np.column_stack((side.outputs, side.losses)) for side in sides])

    def confidence(self) -> np.ndarray:
        """How sure the model is of each record's label, `(members + non-members,)`, members first; for ranking alone.

        Minus the losses that were given. Where none were, it is the margin of the label's logit over the others, which
        ranks records as the cross-entropy does, but without its rounding: that is 0 for every very sure answer.
        """
        sides = (self.members, self.non_members)
        if self.losses_given:
            return -np.concatenate([side.losses for side in sides])
        return np.concatenate([excess_margins(side.outputs, side.labels, self.outputs) for side in sides])

    def is_member(self) -> np.ndarray:
        """Boolean `(members + non-members,)`, in the order of `features`."""
        return np.arange(len(self.members) + len(self.non_members)) < len(self.members)

    def subset(self, *, members: Any = None, non_members: Any = None) -> "AttackRecords":
        """The records that masks or positions pick, to be attacked by themselves; `None` keeps a whole side.

        A vector of a side's length that holds 0 and 1 alone, of whatever type, is a mask. Positions are in
        `0 .. n - 1`, each at most once, and give the order. Raises `InputError` for what does not fit, repeats a
        record, or picks none.
        """
        parts = {"members": members, "non_members": non_members}
        sides = {}
        for name, chosen in parts.items():
            side: Side = getattr(self, name)
            where = checked_positions(chosen, len(side), f"the subset of {name}")
            losses = side.losses[where] if self.losses_given else None
            sides[name] = (side.outputs[where], side.labels[where], losses)
        return AttackRecords(**sides, outputs=self.outputs)

    def save(self, path: str | Path) -> Path:
        """Write everything to one .npz file, whole or not at all; losses only where they were given."""
        parts = PARTS if self.losses_given else PARTS[:2]
        arrays = {f"{name}_{part}": getattr(getattr(self, name), part) for name in SIDES for part in parts}
        return write_arrays(path, arrays | {"outputs": np.array(self.outputs)})

    @classmethod
    def load(cls, path: str | Path) -> "AttackRecords":
        """Read an .npz with `members_outputs`, `members_labels`, `non_members_outputs`, `non_members_labels`.

        Optional: `members_losses` with `non_members_losses`, and `outputs` ("logits" or "probabilities"). Nothing in
        the file is unpickled. Raises `InputError` that names the file when it is missing, damaged, lacks an array, or
        holds one of another name, which may be a misspelt one.
        """
        arrays = read_arrays(as_path(path), check=check_names)
        sides = {side: [arrays[f"{side}_{p}"] for p in PARTS if f"{side}_{p}" in arrays] for side in SIDES}
        kind: Any = str(arrays.get("outputs", "logits"))
        try:
            return cls(members=sides["members"], non_members=sides["non_members"], outputs=kind)
        except InputError as error:
            raise InputError(f"{path}: {error}") from error

    def __repr__(self) -> str:
        return (
            f"AttackRecords({len(self.members)} members, {len(self.non_members)} non-members, {self.num_classes} "
            f"classes, {self.outputs})"
        )


def check_names(names: Sequence[str], path: Path) -> None:
    """Raise `InputError` when a records file lacks an array, or holds one whose name is not known."""
    needed = [f"{side}_{part}" for side in SIDES for part in PARTS[:2]]
    known = [f"{side}_{part}" for side in SIDES for part in PARTS] + ["outputs"]
    missing = [name for name in needed if name not in names]
    unknown = [name for name in names if name not in known]
    problems = [f"lacks {', '.join(missing)}"] * bool(missing)
    if unknown:
        named = ", ".join(f"{name!r}{closest(name, [k for k in known if k not in names])}" for name in unknown)
        problems.append(f"has {named}, which is none of {', '.join(known)}: rename or remove it")
    if problems:
        raise InputError(
            f"{path} {' and '.join(problems)}; it holds {', '.join(names) or 'nothing'}"
        )


def checked_tuple(given: Any, name: str) -> tuple[Any, Any, Any]:
    """`(outputs, labels, losses)` of a side, losses `None` where there are none."""
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise InputError(f"{name} must be (outputs, labels) or (outputs, labels, losses), was {type(given).__name__}")
    return given[0], given[1], given[2] if len(given) == 3 else None


def check_losses_of_both(sides: dict[str, tuple[Any, Any, Any]]) -> bool:
    """Whether losses are given; raises `InputError` when one side alone has them."""
    having = [name for name, parts in sides.items() if parts[2] is not None]
    if len(having) == 1:
        (lacking,) = set(sides) - set(having)
        raise InputError(
            f"{having[0]} have losses and {lacking} have none, so that two different quantities would be compared; "
            "give the same loss for both sides, or for neither, and the cross-entropy of the outputs is taken"
        )
    return bool(having)


def checked_side(given: tuple[Any, Any, Any], name: str, kind: OutputKind) -> Side:
    """The arrays of one side, checked; raises `InputError` that names what is wrong."""
    outputs = checked_outputs(as_array(given[0], f"{name} outputs", ndim=2), name, kind)
    labels = checked_labels(as_array(given[1], f"{name} labels", ndim=1), name, outputs.shape)
    if given[2] is None:
        return Side(outputs, labels, finite_floats(cross_entropy(outputs, labels, kind), f"{name} losses"))
    losses = as_array(given[2], f"{name} losses", ndim=1)
    if losses.shape != labels.shape:
        raise InputError(f"{name} losses have shape {losses.shape}; wanted {labels.shape}, one for each label")
    return Side(outputs, labels, finite_floats(losses, f"{name} losses"))


def checked_outputs(outputs: np.ndarray, name: str, kind: OutputKind) -> np.ndarray:
    """Outputs `(n, C)` as float64; raises `InputError` for wrong shapes and values."""
    if not len(outputs.reshape(-1)):
        raise InputError(f"{name} are empty; wanted at least one record on each side")
    if outputs.ndim == 1 and outputs.dtype.kind in "iu" and len(np.unique(outputs)) > 2:
        raise InputError(
            f"{name} outputs are whole numbers of shape {outputs.shape}, from {outputs.min()} to {outputs.max()}: are "
            "they predicted classes? Wanted the model's logits or probabilities, (n, C); where the model says nothing "
            "but the class, give np.eye(C)[classes]"
        )
    if outputs.ndim == 1 or (outputs.ndim == 2 and outputs.shape[1] == 1):
        columns = "[1 - p, p]" if kind == "probabilities" else "[0 * z, z]"
        raise InputError(
            f"{name} outputs have shape {outputs.shape}, a single class; wanted (n, C) with at least 2 classes; of a "
            f"model with one sigmoid output give both columns, {columns}"
        )
    if outputs.ndim != 2:
        raise InputError(f"{name} outputs have shape {outputs.shape}; wanted (n, C): a row a record, a column a class")
    outputs = finite_floats(outputs, f"{name} outputs")
    if kind == "logits" and look_like_probabilities(outputs):
        raise InputError(
            f"{name} outputs were announced as logits, but every row lies in [0, 1] and sums to 1: are they "
            'probabilities? Then say outputs="probabilities"; better, give the logits'
        )
    if kind == "probabilities":
        tolerance = sum_tolerance(outputs)
        off = (np.abs(outputs.sum(1) - 1) > tolerance) | (outputs < 0).any(1) | (outputs > 1 + SUM_TOLERANCE).any(1)
        if off.any():
            row = int(off.argmax())
            raise InputError(
                f"{name} outputs were announced as probabilities, but {int(off.sum())} of {len(off)} rows do not lie "
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
        raise InputError(f"{name} labels have shape {labels.shape}; wanted {shape[:1]}, one for each output row{hint}")
    if labels.dtype.kind not in "iu":
        raise InputError(f"{name} labels are {labels.dtype}; wanted integers, the class of each record")
    if labels.min() < 0 or labels.max() >= shape[1]:
        raise InputError(
            f"{name} labels run from {labels.min()} to {labels.max()}, but the outputs have {shape[1]} classes: wanted "
            f"0 to {shape[1] - 1}"
        )
    return labels.astype(np.int64)


def look_like_probabilities(outputs: np.ndarray) -> bool:
    """Whether all rows lie in [0, 1] and sum to 1, and are not labels alone, which may stand for logits."""
    in_range = (outputs >= 0).all() and (outputs <= 1).all() and (np.abs(outputs.sum(1) - 1) < SUM_TOLERANCE).all()
    return bool(in_range and not np.isin(outputs, (0, 1)).all() and len(np.unique(outputs)) > 1)


def label_matrix_hint(labels: np.ndarray) -> str:
    """What to do with labels `(n, C)`: one-hot ones are another form of classes, several ones in a row are not."""
    if labels.dtype.kind in "iufb" and np.isin(labels, (0, 1)).all() and not (labels.sum(1) == 1).all():
        return (
            "; a row with several ones, or none, is a multi-label problem: audit each class c by itself, with outputs "
            "np.column_stack([np.zeros(n), logits[:, c]]) and labels[:, c]"
        )
    return "; of one-hot labels give labels.argmax(1)"


def digits_of(outputs: np.ndarray) -> int | None:
    """Digits after the point that probabilities were rounded to, at most `MOST_DIGITS`; `None` for more."""
    smallest = outputs[outputs > 0].min(initial=1)
    for digits in range(MOST_DIGITS + 1):
        unit = 10.0**-digits
        if smallest > 0.9 * unit and np.abs(outputs - unit * (outputs / unit).round()).max() < 1e-6:
            return digits
    return None


def sum_tolerance(outputs: np.ndarray) -> float:
    """How far from 1 the sum of a row of probabilities may be: rounding moves each by half a unit of its last digit."""
    if not (outputs.astype(np.float32).view(np.uint32) & 0xFFFF).any():  # in bfloat16 a share has 8 bits
        return max(BFLOAT16_TOLERANCE, SUM_TOLERANCE)
    digits = digits_of(outputs)
    return SUM_TOLERANCE if not digits else max(SUM_TOLERANCE, 0.5 * outputs.shape[1] * 10.0**-digits + 1e-6)


def rounding_notes(records: AttackRecords) -> list[str]:
    """What to say of probabilities that are rounded so far that records become alike."""
    if records.outputs != "probabilities":
        return []
    sides = (records.members, records.non_members)
    at_label = [side.outputs[np.arange(len(side)), side.labels] for side in sides]
    ones = [int((values >= 1).sum()) for values in at_label]
    digits = digits_of(np.concatenate([side.outputs for side in sides]))
    notes = []
    if digits is not None:
        notes.append(
            f"the probabilities have {digits} digits after the point, so that many records look alike; give logits, or "
            "probabilities as the model computes them"
        )
    elif max(n / len(side) for n, side in zip(ones, sides, strict=True)) > MANY_TIED:
        notes.append(
            f"the probability of the label is exactly 1 for {ones[0]} of {len(sides[0])} members and {ones[1]} of "
            f"{len(sides[1])} non-members: it was rounded there, and what tells these records apart is lost in part; "
            "give logits"
        )
    return notes

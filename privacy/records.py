"""What a membership-inference attacker sees: labels, outputs and losses of members and non-members."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np

from privacy.errors import InputError
from privacy.files import as_path, read_arrays, write_arrays
from privacy.margins import OutputKind, cross_entropy, excess_margins
from privacy.record_validation import RecordArrays, check_losses_of_both, checked_side, checked_tuple
from privacy.references import REFERENCE_ARRAYS, References
from privacy.rounding import rounding_notes, tied_loss_notes
from privacy.signals import Signals, signals_of
from privacy.validation import checked_positions, closest, require_one_of

__all__ = ["AttackRecords", "OutputKind", "RecordArrays"]

SIDES = ("members", "non_members")
ARRAYS = ("outputs", "labels", "losses")
REFERENCE = "reference_"  # what names of arrays of references begin with in files


class AttackRecords:
    """What the attacker sees of one model: its outputs, the true labels and the losses, of members and non-members.

    Members are records that the model, or the set it was trained on, was made from; non-members come from the same
    distribution and were never used.

    - `members`, `non_members`: `(outputs, labels)` or `(outputs, labels, losses)`, NumPy arrays or anything that turns
      into one (CPU tensors of PyTorch or TensorFlow, JAX arrays, lists, lists of batches). `outputs` `(n, C)`; `labels`
      `(n,)`, integers in `0 .. C - 1`; `losses` `(n,)`, on both sides or on neither, by default the cross-entropy of
      outputs and labels. Give the loss that the model was trained with where it is another one: an attacker would
      use it.
    - `outputs`: "logits" (default) or "probabilities". Logits are better: probabilities near 1 are rounded.
    - `references`: what models of the attacker's own say of the same records (`References`), in outputs of the same
      kind; they make stronger attacks possible.

    The records of both sides then lie in one array, members first:

    - `outputs` `(n, C)` float64, `labels` `(n,)` int64, `losses` `(n,)` float64, `is_member` `(n,)` boolean.
    - `kind`: "logits" or "probabilities". `losses_given`: whether the losses are the caller's.
    - `notes`: what a reader should know about the numbers given.

    Raises `InputError` when a side is empty, shapes do not match, values are NaN or infinite, labels are out of range,
    there is only one class, losses are given for one side only, or probabilities do not sum to 1.

    >>> records = AttackRecords(members=([[4.0, 0], [0, 3]], [0, 1]), non_members=([[1.0, 0]], [1]))
    >>> records
    AttackRecords(2 members, 1 non-members, 2 classes, logits)
    >>> records.is_member
    array([ True,  True, False])
    >>> records.losses.round(3)
    array([0.018, 0.049, 1.313])
    """

    def __init__(
        self,
        *,
        members: Sequence[Any],
        non_members: Sequence[Any],
        outputs: OutputKind = "logits",
        references: References | None = None,
    ) -> None:
        require_one_of("outputs", outputs, get_args(OutputKind))
        given = {"members": checked_tuple(members, "members"), "non_members": checked_tuple(non_members, "non_members")}
        self.kind: OutputKind = outputs
        self.losses_given = check_losses_of_both(given)
        sides = [checked_side(side, name, self.kind) for name, side in given.items()]
        classes = [side.outputs.shape[1] for side in sides]
        if classes[0] != classes[1]:
            raise InputError(
                f"members have outputs for {classes[0]} classes, non_members for {classes[1]}; expected outputs of "
                "one model for both"
            )
        self.outputs, self.labels, self.losses = (
            np.concatenate([getattr(side, array) for side in sides]) for array in ARRAYS
        )
        self.is_member = np.arange(len(self.labels)) < len(sides[0])
        self.given_references = checked_references(references, [side.outputs.shape for side in sides])
        self.notes: list[str] = []
        self._computed_again = False  # whether losses were given, but are the cross-entropy of the outputs
        if self.kind == "probabilities":
            self.notes += rounding_notes(self.outputs, self.labels, self.is_member)
        if self.losses_given:
            self.notes += self._judge_losses()

    def _judge_losses(self) -> list[str]:
        """Replace given losses that are the cross-entropy of the outputs by its exact values; notes on the losses."""
        exact = cross_entropy(self.outputs, self.labels, self.kind)
        if not np.allclose(self.losses, exact, rtol=1e-2, atol=2e-3):
            return tied_loss_notes(self.losses, self.is_member)
        self.losses, self.losses_given, self._computed_again = exact, False, True
        return ["the losses given are the cross-entropy of the outputs, which was computed again in double precision"]

    def __len__(self) -> int:
        return len(self.labels)

    def has(self, need: str) -> bool:
        """Whether there is what an attack may need: "references"."""
        return {"references": self.given_references is not None}[need]

    @property
    def references(self) -> References:
        """The reference models; raises `InputError` where there are none."""
        if self.given_references is None:
            raise InputError("the records have no references; expected AttackRecords(..., references=References(...))")
        return self.given_references

    @cached_property
    def signals(self) -> Signals:
        """How sure the attacked model and the references are of each record; computed once."""
        return signals_of(self.outputs, self.labels, self.kind, self.references)

    @property
    def members(self) -> RecordArrays:
        """The members: views of their outputs, labels and losses."""
        return self._side(slice(0, int(self.is_member.sum())))

    @property
    def non_members(self) -> RecordArrays:
        """The non-members: views of their outputs, labels and losses."""
        return self._side(slice(int(self.is_member.sum()), None))

    def _side(self, where: slice) -> RecordArrays:
        return RecordArrays(self.outputs[where], self.labels[where], self.losses[where])

    @property
    def num_classes(self) -> int:
        """Number of classes C of the attacked model."""
        return self.outputs.shape[1]

    @property
    def correct(self) -> np.ndarray:
        """Boolean `(n,)`: the largest output is at the label."""
        return self.outputs.argmax(1) == self.labels

    def features(self) -> np.ndarray:
        """What a trained attack learns from: outputs and loss, `(n, C + 1)`."""
        return np.column_stack((self.outputs, self.losses))

    def confidence(self) -> np.ndarray:
        """How sure the model is of each record's label, `(n,)`; only the ranking means something.

        Minus the losses that were given. Where none were, it is the margin of the label's logit over the others, which
        ranks records as the cross-entropy does, but without its rounding: that is 0 for every very sure answer.
        """
        return -self.losses if self.losses_given else excess_margins(self.outputs, self.labels, self.kind)

    def subset(self, *, members: Any = None, non_members: Any = None) -> "AttackRecords":
        """The records that masks or positions pick on each side, to be attacked by themselves; `None` keeps a side.

        A vector of a side's length that holds only 0 and 1, of any type, is a mask. Positions are in `0 .. n - 1`,
        each at most once, and give the order. Raises `InputError` for anything that does not fit, repeats a record, or
        picks none.

        >>> records = AttackRecords(members=([[4.0, 0], [0, 3]], [0, 1]), non_members=([[1.0, 0]], [1]))
        >>> records.subset(members=[False, True])
        AttackRecords(1 members, 1 non-members, 2 classes, logits)
        """
        sides, positions = {}, {}
        for name, side, chosen in (
            ("members", self.members, members), ("non_members", self.non_members, non_members),
        ):  # fmt: skip
            where = positions[name] = checked_positions(chosen, len(side), f"the subset of {name}")
            losses = side.losses[where] if self.losses_given or self._computed_again else None
            sides[name] = (side.outputs[where], side.labels[where], losses)
        references = None if self.given_references is None else self.given_references.subset(**positions)
        return AttackRecords(**sides, outputs=self.kind, references=references)

    def save(self, path: str | Path) -> Path:
        """Write everything to one .npz file, atomically; losses only if they were given, and references if any."""
        kept = ARRAYS if self.losses_given or self._computed_again else ARRAYS[:2]
        arrays = {f"{side}_{array}": getattr(getattr(self, side), array) for side in SIDES for array in kept}
        if self.given_references is not None:
            arrays |= {REFERENCE + name: array for name, array in self.given_references.to_arrays().items()}
        return write_arrays(path, arrays | {"outputs": np.array(self.kind)})

    @classmethod
    def load(cls, path: str | Path) -> "AttackRecords":
        """Read an .npz with `members_outputs`, `members_labels`, `non_members_outputs`, `non_members_labels`.

        Optional: `members_losses` with `non_members_losses`, `outputs` ("logits" or "probabilities"), and the arguments
        of `References` by name, such as `reference_member_outputs`. Nothing in the file is unpickled.

        Raises `InputError` that names the file when it is missing or damaged, lacks an array, or holds one of another
        name, which may be a misspelt one.
        """
        arrays = read_arrays(path, check=check_names)
        sides = {side: [arrays[f"{side}_{a}"] for a in ARRAYS if f"{side}_{a}" in arrays] for side in SIDES}
        kind: Any = str(arrays.get("outputs", "logits"))
        try:
            own = {name.removeprefix(REFERENCE): arrays[name] for name in arrays if name.startswith(REFERENCE)}
            references = References.from_arrays(own) if own else None
            return cls(**sides, outputs=kind, references=references)
        except InputError as error:
            raise InputError(f"{as_path(path)}: {error}") from error

    def __repr__(self) -> str:
        references = "" if self.given_references is None else f", {len(self.given_references)} references"
        return (
            f"AttackRecords({self.is_member.sum()} members, {(~self.is_member).sum()} non-members, {self.num_classes} "
            f"classes, {self.kind}{references})"
        )


def checked_references(given: Any, shapes: Sequence[tuple[int, ...]]) -> References | None:
    """References that fit outputs of these shapes, of members and of non-members; raises `InputError` otherwise."""
    if given is None:
        return None
    if not isinstance(given, References):
        raise InputError(f"references is a {type(given).__name__}; expected References(member_outputs=..., ...)")
    given.check_fit(dict(zip(("member", "non_member"), shapes, strict=True)))
    return given


def check_names(names: Sequence[str], path: Path) -> None:
    """Raise `InputError` when a records file lacks an array, or holds one whose name is not known."""
    needed = [f"{side}_{array}" for side in SIDES for array in ARRAYS[:2]]
    known = [f"{side}_{array}" for side in SIDES for array in ARRAYS] + ["outputs"]
    if any(name.startswith(REFERENCE) for name in names):
        known += [REFERENCE + name for name in REFERENCE_ARRAYS]
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

"""What a membership-inference attacker sees: labels, outputs and losses of members and non-members."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, get_args

import numpy as np

from privacy.errors import InputError
from privacy.files import as_path, read_arrays, write_arrays
from privacy.margins import OutputKind, cross_entropy, excess_margins
from privacy.record_validation import (
    RecordArrays,
    check_losses_of_both,
    checked_features,
    checked_references,
    checked_side,
    checked_tuple,
)
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
    - `outputs`: "logits" (default) or "probabilities". Logits are better: probabilities near 1 are rounded. Of models
      that are no classifiers of one label: "multi-label", logits and labels `(n, C)`, zeros and ones; "losses", losses
      alone, `members=(losses,)` or `(losses, labels)`, of regressions or language models.
    - `features`: `(of members (n, F), of non-members (m, F))`, what else the attacker knows of each record, numbers;
      the attacks that learn use them too.
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
        features: Sequence[Any] | None = None,
    ) -> None:
        require_one_of("outputs", outputs, get_args(OutputKind))
        tuples = zip(SIDES, (members, non_members), strict=True)
        given = {name: checked_tuple(side, name, outputs) for name, side in tuples}
        self.kind: OutputKind = outputs
        self.losses_given = check_losses_of_both(given)
        sides = [checked_side(side, name, self.kind) for name, side in given.items()]
        classes = [side.outputs.shape[1] for side in sides]  # 0 of losses alone
        if classes[0] != classes[1]:
            raise InputError(
                f"members have outputs for {classes[0]} classes, non_members for {classes[1]}; expected outputs of "
                "one model for both"
            )
        self.outputs, self.labels, self.losses = (
            np.concatenate([getattr(side, array) for side in sides]) for array in ARRAYS
        )
        self.is_member = np.arange(len(self.labels)) < len(sides[0])
        shapes = [side.losses.shape if self.kind == "losses" else side.outputs.shape for side in sides]
        self.references = checked_references(references, shapes, self.kind)
        self.extra_features = checked_features(features, dict(zip(SIDES, map(len, sides), strict=True)))
        self.notes: list[str] = []
        self._computed_again = False  # whether losses were given, but are the cross-entropy of the outputs
        if self.kind == "probabilities":
            self.notes += rounding_notes(self.outputs, self.labels, self.is_member)
        if self.losses_given:
            self.notes += self._judge_losses()

    def _judge_losses(self) -> list[str]:
        """Replace given losses that are the cross-entropy of the outputs by its exact values; notes on the losses."""
        if self.kind == "losses":
            return tied_loss_notes(self.losses, self.is_member)
        exact = cross_entropy(self.outputs, self.labels, self.kind)
        if not np.allclose(self.losses, exact, rtol=1e-2, atol=2e-3):
            return tied_loss_notes(self.losses, self.is_member)
        self.losses, self.losses_given, self._computed_again = exact, False, True
        return ["the losses given are the cross-entropy of the outputs, which was computed again in double precision"]

    def __len__(self) -> int:
        return len(self.labels)

    def has(self, need: str) -> bool:
        """Whether there is what an attack may need: "outputs", "references", "features"."""
        return {
            "outputs": self.kind != "losses",
            "references": self.references is not None,
            "features": self.extra_features is not None,
        }[need]

    @cached_property
    def signals(self) -> Signals:
        """How sure the attacked model and the references are of each record; computed once.

        Raises `InputError` where there are no references.
        """
        if self.references is None:
            raise InputError("the records have no references; expected AttackRecords(..., references=References(...))")
        given = self.losses if self.kind == "losses" else self.outputs
        return signals_of(given, self.labels, self.kind, self.references)

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
        """Number of classes C of the attacked model; of losses alone, that of the labels."""
        return self.outputs.shape[1] or int(self.labels.max()) + 1

    @property
    def correct(self) -> np.ndarray:
        """Boolean `(n,)`: the largest output is at the label; raises `InputError` for losses alone."""
        if self.kind == "losses":
            raise InputError("the records are losses alone, which do not say what is answered right")
        return self._side(slice(None)).correct

    def has_label(self, label: int) -> np.ndarray:
        """Boolean `(n,)`: the record has this label."""
        return self.labels == label if self.labels.ndim == 1 else self.labels[:, label] == 1

    def features(self) -> np.ndarray:
        """What a trained attack learns from: outputs, loss, and further features if any, `(n, C + 1 + F)`."""
        extra = [] if self.extra_features is None else [self.extra_features]
        return np.column_stack((self.outputs, self.losses, *extra))

    def confidence(self) -> np.ndarray:
        """How sure the model is of each record's label, `(n,)`; only the ranking means something.

        Minus the losses that were given. Where none were, it is the margin of the label's logit over the others, which
        ranks records as the cross-entropy does, but without its rounding: that is 0 for every very sure answer.
        """
        losses_rank = self.losses_given or self.kind == "multi-label"
        return -self.losses if losses_rank else excess_margins(self.outputs, self.labels, self.kind)

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
            sides[name] = [array[where] for array in self._as_given(side).values()]
        references = None if self.references is None else self.references.subset(**positions)
        features = None if self.extra_features is None else [self._features(name)[at] for name, at in positions.items()]
        return AttackRecords(**sides, outputs=self.kind, references=references, features=features)

    def _as_given(self, side: RecordArrays) -> dict[str, np.ndarray]:
        """The arrays of a side that make the same records again, in the order of its tuple."""
        if self.kind == "losses":
            return {"losses": side.losses, "labels": side.labels}
        losses = {"losses": side.losses} if self.losses_given or self._computed_again else {}
        return {"outputs": side.outputs, "labels": side.labels, **losses}

    def _features(self, side: str) -> np.ndarray:
        """The further features of one side, `(n, F)`."""
        assert self.extra_features is not None
        return self.extra_features[self.is_member == (side == "members")]

    def save(self, path: str | Path) -> Path:
        """Write everything to one .npz file, atomically; losses, features and references only if they were given."""
        arrays = {
            f"{name}_{array}": value for name in SIDES for array, value in self._as_given(getattr(self, name)).items()
        }
        if self.extra_features is not None:
            arrays |= {f"{name}_features": self._features(name) for name in SIDES}
        if self.references is not None:
            arrays |= {REFERENCE + name: array for name, array in self.references.to_arrays().items()}
        return write_arrays(path, arrays | {"outputs": np.array(self.kind)})

    @classmethod
    def load(cls, path: str | Path) -> "AttackRecords":
        """Read an .npz with `members_outputs`, `members_labels`, `non_members_outputs`, `non_members_labels`.

        Optional: `members_losses` with `non_members_losses`, `members_features` with `non_members_features`, `outputs`
        ("logits", "probabilities", "multi-label" or "losses", for which only losses are needed), and the arguments of
        `References` by name, such as `reference_member_outputs`. Nothing in the file is unpickled.

        Raises `InputError` that names the file when it is missing or damaged, lacks an array, or holds one of another
        name, which may be a misspelt one.
        """
        arrays = read_arrays(path, check=check_names)
        kind: Any = str(arrays.get("outputs", "logits"))
        order = ("losses", "labels") if kind == "losses" else ARRAYS
        sides = {side: [arrays[f"{side}_{a}"] for a in order if f"{side}_{a}" in arrays] for side in SIDES}
        features = [arrays[f"{side}_features"] for side in SIDES if f"{side}_features" in arrays] or None
        try:
            if kind != "losses" and losses_alone(list(arrays)):
                raise InputError('there are losses and no outputs; for losses alone add outputs = "losses"')
            own = {name.removeprefix(REFERENCE): arrays[name] for name in arrays if name.startswith(REFERENCE)}
            references = References.from_arrays(own) if own else None
            return cls(**sides, outputs=kind, references=references, features=features)
        except InputError as error:
            raise InputError(f"{as_path(path)}: {error}") from error

    def __repr__(self) -> str:
        references = "" if self.references is None else f", {len(self.references)} references"
        if self.extra_features is not None:
            references = f", {self.extra_features.shape[1]} features{references}"
        return (
            f"AttackRecords({self.is_member.sum()} members, {(~self.is_member).sum()} non-members, {self.num_classes} "
            f"classes, {self.kind}{references})"
        )


def check_names(names: Sequence[str], path: Path) -> None:
    """Raise `InputError` when a records file lacks an array, or holds one whose name is not known."""
    needed = [f"{side}_{array}" for side in SIDES for array in (ARRAYS[2:] if losses_alone(names) else ARRAYS[:2])]
    known = [f"{side}_{array}" for side in SIDES for array in ARRAYS] + ["outputs"]
    if any(name.endswith("_features") for name in names):
        known += [f"{side}_features" for side in SIDES]
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


def losses_alone(names: Sequence[str]) -> bool:
    """Whether arrays of these names are losses without outputs."""
    return any(f"{side}_losses" in names for side in SIDES) and not any(f"{side}_outputs" in names for side in SIDES)

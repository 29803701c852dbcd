"""Named slices of the records that a report looks at by themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from privacy.errors import InputError
from privacy.records import AttackRecords
from privacy.validation import checked_mask

__all__ = ["WHOLE", "Masks", "Slices", "checked_slices"]

WHOLE = "all records"
Masks = tuple[Any, Any]  # of members and of non-members: boolean masks, positions, or None for a whole side


@dataclass(frozen=True, eq=False)
class Slices:
    """Named slices of the records, all records first."""

    masks: dict[str, np.ndarray]
    """A boolean mask of all records for each slice, `(n,)`."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Slices that were asked for but have no record on a side, and which side that is."""
    one_sided: tuple[str, ...] = ()
    """Slices that pick among one side only, and so compare different kinds of records."""


def checked_slices(
    records: AttackRecords, *, by_class: bool, by_correctness: bool, masks: Mapping[str, Masks]
) -> Slices:
    """The slices of the records that were asked for.

    Classes, and right or wrong answers, that are missing on a side are `left_out`. Raises `InputError` for a mask of
    the caller's that does not fit, or picks nothing.

    >>> records = AttackRecords(members=([[4.0, 0], [0, 3]], [0, 1]), non_members=([[1.0, 0]], [0]))
    >>> slices = checked_slices(records, by_class=True, by_correctness=False, masks={})
    >>> {name: mask.tolist() for name, mask in slices.masks.items()}
    {'all records': [True, True, True], 'class 0': [True, False, True]}
    >>> slices.left_out
    {'class 1': 'non-members'}
    """
    is_member = records.is_member
    asked: dict[str, np.ndarray] = {}
    if by_class:
        asked = {f"class {label}": records.has_label(label) for label in range(records.num_classes)}
    if by_correctness:
        asked |= {"answered right": records.correct, "answered wrong": ~records.correct}
    found = {WHOLE: np.ones(len(records), bool)}
    left_out = {}
    for name, mask in asked.items():
        sides = {"members": mask & is_member, "non-members": mask & ~is_member}
        if lacking := [side for side, own in sides.items() if not own.any()]:
            left_out[name] = " and no ".join(lacking)
        else:
            found[name] = mask
    for name, given in masks.items():
        if name in found or name in left_out:
            raise InputError(f"there is a slice {name!r} already; give this one another name")
        found[name] = joined_mask(given, name, is_member)
    one_sided = tuple(name for name in masks if found[name][is_member].all() != found[name][~is_member].all())
    return Slices(found, left_out, one_sided)


def joined_mask(given: Any, name: str, is_member: np.ndarray) -> np.ndarray:
    """One mask of all records from what picks on each side; raises `InputError` for anything that does not fit."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InputError(f"slice {name!r} must be (members, non_members): a mask, positions or None for each side")
    mask = np.empty(len(is_member), bool)
    for side, which, chosen in zip(("members", "non_members"), (is_member, ~is_member), given, strict=True):
        mask[which] = checked_mask(chosen, int(which.sum()), f"slice {name!r} of {side}")
    return mask

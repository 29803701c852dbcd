"""Named parts of the records that a report looks at by themselves."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from distill.errors import InputError
from privacy.inputs import checked_mask
from privacy.records import AttackRecords

__all__ = ["WHOLE", "Masks", "checked_slices"]

WHOLE = "all records"
Masks = tuple[Any, Any]  # of members and of non-members: boolean masks, positions, or None for a whole side


def checked_slices(
    records: AttackRecords, *, by_class: bool, by_correctness: bool, masks: Mapping[str, Masks]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Boolean masks of members and non-members for each slice, the whole first.

    Classes, and right or wrong answers, that are missing on a side are left out. Raises `InputError` for a mask of the
    caller's that is none, or picks nothing.
    """
    members, others = records.members, records.non_members
    whole = (np.ones(len(members), bool), np.ones(len(others), bool))
    slices: dict[str, tuple[np.ndarray, np.ndarray]] = {WHOLE: whole}
    if by_class:
        for label in range(records.num_classes):
            slices[f"class {label}"] = (members.labels == label, others.labels == label)
    if by_correctness:
        slices["answered right"] = (members.correct, others.correct)
        slices["answered wrong"] = (~members.correct, ~others.correct)
    slices = {name: sides for name, sides in slices.items() if all(side.any() for side in sides)}
    for name, given in masks.items():
        if not isinstance(given, tuple | list) or len(given) != 2:
            raise InputError(f"slice {name!r} must be (members, non_members): a mask, positions or None for each side")
        sides = tuple(
            checked_mask(mask, len(side), f"slice {name!r} of {which}")
            for mask, side, which in zip(given, (members, others), ("members", "non_members"), strict=True)
        )
        if name in slices:
            raise InputError(f"there is a slice {name!r} already; give this one another name")
        slices[name] = (sides[0], sides[1])
    return slices

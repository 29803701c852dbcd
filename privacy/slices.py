"""Named parts of the records that a report looks at by themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from privacy.errors import InputError
from privacy.inputs import checked_mask
from privacy.records import AttackRecords

__all__ = ["WHOLE", "Masks", "Slices", "checked_slices"]

WHOLE = "all records"
Masks = tuple[Any, Any]  # of members and of non-members: boolean masks, positions, or None for a whole side


@dataclass(frozen=True, eq=False)
class Slices:
    """Named parts of the records: boolean `masks` of members and of non-members, the whole first.

    - `left_out`: slices that were asked for and have no record on a side, and which side that is.
    - `one_sided`: slices that pick among one side alone, and so compare different kinds of records.
    """

    masks: dict[str, tuple[np.ndarray, np.ndarray]]
    left_out: dict[str, str] = field(default_factory=dict)
    one_sided: tuple[str, ...] = ()


def checked_slices(
    records: AttackRecords, *, by_class: bool, by_correctness: bool, masks: Mapping[str, Masks]
) -> Slices:
    """The slices of the records that were asked for.

    Classes, and right or wrong answers, that are missing on a side are `left_out`. Raises `InputError` for a mask of
    the caller's that is none, or picks nothing.
    """
    members, others = records.members, records.non_members
    asked: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    if by_class:
        for label in range(records.num_classes):
            asked[f"class {label}"] = (members.labels == label, others.labels == label)
    if by_correctness:
        asked["answered right"] = (members.correct, others.correct)
        asked["answered wrong"] = (~members.correct, ~others.correct)
    slices = {WHOLE: (np.ones(len(members), bool), np.ones(len(others), bool))}
    left_out = {}
    for name, sides in asked.items():
        lacking = [side for side, mask in zip(("members", "non-members"), sides, strict=True) if not mask.any()]
        if lacking:
            left_out[name] = " and no ".join(lacking)
        else:
            slices[name] = sides
    for name, given in masks.items():
        if name in slices or name in left_out:
            raise InputError(f"there is a slice {name!r} already; give this one another name")
        slices[name] = checked_masks(given, name, (len(members), len(others)))
    one_sided = tuple(name for name in masks if slices[name][0].all() != slices[name][1].all())
    return Slices(slices, left_out, one_sided)


def checked_masks(given: Any, name: str, sizes: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Boolean masks of both sides; raises `InputError` for what is none."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InputError(f"slice {name!r} must be (members, non_members): a mask, positions or None for each side")
    of_members, of_others = (
        checked_mask(mask, size, f"slice {name!r} of {which}")
        for mask, size, which in zip(given, sizes, ("members", "non_members"), strict=True)
    )
    return of_members, of_others

"""The classes of the whole problem, before anything is distilled."""

from typing import Any

from continual.items import Items
from continual.model_outputs import model_outputs
from distill import InputError

__all__ = ["all_classes", "numbered"]


def numbered(num_classes: int) -> tuple[str, ...]:
    """Numbers as names for classes without names."""
    return tuple(str(c) for c in range(num_classes))


def all_classes(known: tuple[str, ...] | None, strategy: Any, items: Items, *, owner: str) -> tuple[str, ...]:
    """The names of all classes: those `known`, or numbers for the outputs of the strategy's model.

    `owner`: whose argument `num_classes` is. Raises `InputError` when the number cannot be told, or a class id of
    `items` is out of range.
    """
    if known is None:
        if strategy is None:
            raise InputError(f"the number of classes is unknown; give {owner} num_classes or classes")
        images = items.images[:2].flatten(1) if items.layout.vectors else items.images[:2]
        known = numbered(model_outputs(strategy.model, images, items.tasks[:2]))
    low, high = int(items.labels.min()), int(items.labels.max())
    if low < 0 or high >= len(known):
        raise InputError(
            f"labels run from {low} to {high}, but there are {len(known)} classes: expected 0 to {len(known) - 1}; "
            "give num_classes, the total over all experiences"
        )
    return known

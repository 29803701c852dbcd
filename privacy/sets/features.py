"""Features of images under the caller's networks, for kernel ridge regression."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from privacy.errors import InputError, shown
from privacy.sets.images import LabelledImages
from privacy.shadow import matrix

__all__ = ["Features", "checked_features"]

NEEDED = ("images", "members", "non_members")


@dataclass(frozen=True, eq=False)
class Features:
    """Features under each of several networks."""

    records: list[np.ndarray]
    """Of all records, for each network `(n, d)`."""
    sets: list[list[np.ndarray]]
    """Of the set and of each reference set, a list with `(k, d)` for each network."""


def checked_features(
    given: Any,
    *,
    distilled: LabelledImages,
    members: LabelledImages,
    non_members: LabelledImages,
    references: Sequence[LabelledImages],
) -> Features:
    """The features of all images: computed by callables, or as they were given; raises `InputError` where they misfit.

    `given`: for each network a callable of images `(n, H, W, channels)` float32 that gives `(n, d)`, or a dictionary
    with the arrays of `images`, `members`, `non_members`, and a list `references` where there are references; or one of
    them alone.
    """
    networks = [given] if callable(given) or isinstance(given, Mapping) else given
    if not isinstance(networks, list | tuple) or not networks:
        raise InputError(
            f"features is {shown(given)}; expected a callable that gives the features of images, (n, d), a dictionary "
            f"of arrays with {', '.join(NEEDED)}, or a list of either, one for each network"
        )
    sides = [distilled, members, non_members, *references]
    found = [of_network(network, i, sides) for i, network in enumerate(networks)]
    records = [np.concatenate(own[1:3]) for own in found]
    return Features(records, [[own[k] for own in found] for k in (0, *range(3, len(sides)))])


def of_network(network: Any, i: int, sides: Sequence[LabelledImages]) -> list[np.ndarray]:
    """The features of the set, members, non-members and reference sets under one network."""
    if callable(network):
        arrays = [called(network, i, side.images) for side in sides]
    elif isinstance(network, Mapping):
        arrays = precomputed(network, i, len(sides) - 3)
    else:
        raise InputError(f"features of network {i} is {shown(network)}; expected a callable or a dictionary of arrays")
    names = [*NEEDED, *(f"reference {k}" for k in range(len(sides) - 3))]
    checked = [matrix(own, f"features of {name} under network {i}") for own, name in zip(arrays, names, strict=True)]
    for own, side, name in zip(checked, sides, names, strict=True):
        if own.shape != (len(side), checked[0].shape[1]):
            raise InputError(
                f"features of {name} under network {i} have shape {own.shape}; expected "
                f"{(len(side), checked[0].shape[1])}, a row for each image"
            )
    return checked


def called(network: Callable[[np.ndarray], Any], i: int, images: np.ndarray) -> Any:
    """What a callable gives for images; its own error becomes the cause of an `InputError`."""
    try:
        return network(images)
    except Exception as error:
        raise InputError(
            f"features of network {i}: the callable failed on images of shape {images.shape}, {images.dtype} "
            f"({type(error).__name__}: {' '.join(str(error).split())[:200]})"
        ) from error


def precomputed(network: Mapping[str, Any], i: int, references: int) -> list[Any]:
    """The arrays of a dictionary, in the order of the sides."""
    missing = [name for name in (*NEEDED, *(["references"] if references else [])) if name not in network]
    if missing:
        raise InputError(
            f"features of network {i} lack {', '.join(missing)}; expected arrays with {', '.join(NEEDED)}, and a list "
            "of references where there are references"
        )
    of_references = list(network["references"]) if references else []
    if len(of_references) != references:
        raise InputError(
            f"features of network {i} are of {len(of_references)} references; expected {references}, as given"
        )
    return [*(network[name] for name in NEEDED), *of_references]

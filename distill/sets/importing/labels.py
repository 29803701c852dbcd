"""Soft labels from labels as other programs save them, class ids or soft labels."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch

from distill.errors import InputError, InputWarning
from distill.sets.synthetic import initial_labels

__all__ = ["soft_labels_of"]


def soft_labels_of(
    labels: torch.Tensor, classes: Sequence[str] | None, path: Path
) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Soft labels `(n, C)`, class ids `(n,)` and C class names."""
    whole = not labels.is_floating_point() and not labels.is_complex() and labels.dtype != torch.bool
    if whole and labels.ndim == 2 and labels.shape[1] == 1:  # as Keras keeps class ids
        labels = labels[:, 0]
    if labels.ndim == 1 and whole:
        class_ids = labels.long()
        names = _class_names(classes, class_ids, path)
        return initial_labels(class_ids, len(names)), class_ids, names
    if labels.ndim != 2 or labels.shape[1] == 0 or labels.is_complex():
        raise InputError(
            f"labels of {path} are {labels.dtype} of shape {tuple(labels.shape)}; expected class ids, integers of "
            "shape (n,), or soft labels, floats of shape (n, classes)"
        )
    labels = labels.float()
    if not bool(torch.isfinite(labels).all()):
        raise InputError(f"labels of {path} hold NaN or infinite values; remove or correct them")
    names = _checked_names(classes) or tuple(str(i) for i in range(labels.shape[1]))
    if len(names) != labels.shape[1]:
        raise InputError(f"{len(names)} class names were given, but labels of {path} have {labels.shape[1]} columns")
    return labels, labels.argmax(1), names


def _class_names(classes: Sequence[str] | None, class_ids: torch.Tensor, path: Path) -> tuple[str, ...]:
    """Class names that fit the class ids."""
    low, high = int(class_ids.min()), int(class_ids.max())
    used = torch.unique(class_ids)
    names = _checked_names(classes)
    if low < 0:
        raise InputError(f"labels of {path} hold the class id {low}; expected class ids from 0")
    if not names and high >= max(len(class_ids), 256):  # a wild label would make millions of names
        raise InputError(f"labels of {path} hold the class id {high}, for {len(class_ids)} images; name all classes")
    if names and high >= len(names):
        raise InputError(
            f"labels of {path} hold the class id {high}, but {len(names)} class names were given"
            + ("; they start at 1: subtract 1" if low == 1 and high == len(names) else "")
        )
    if not names and low > 0:
        raise InputError(
            f"labels of {path} start at {low} and end at {high}; expected class ids from 0: subtract {low}, or name "
            f"all {high + 1} classes"
        )
    if not names and len(used) <= high:
        gaps = sorted(set(range(high)) - set(used.tolist()))
        warnings.warn(
            f"labels of {path} have gaps: no image has the class id {', '.join(map(str, gaps[:5]))}"
            f"{', ...' if len(gaps) > 5 else ''}; assumed to be classes of which the set has no image",
            InputWarning,
            stacklevel=4,
        )
    return names or tuple(str(i) for i in range(high + 1))


def _checked_names(classes: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(classes, str):
        raise InputError(f"classes is the single string {classes!r}; expected a list of names")
    names = tuple(classes or ())
    if len(set(names)) < len(names):
        raise InputError(f"classes hold a name twice; expected {len(names)} different names")
    return names

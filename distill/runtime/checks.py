"""Checks of options and arguments, with error messages in one wording."""

import dataclasses
import math
import numbers
import types
import typing
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from distill.errors import InputError, shown

if typing.TYPE_CHECKING:
    from _typeshed import DataclassInstance

__all__ = ["DTYPES", "check_device", "check_option_types", "class_names", "positions", "require_a",
           "require_below_one", "require_choice", "require_flag", "require_fraction", "require_not_negative",
           "require_one_of", "require_positive", "require_same_classes", "require_whole", "tensor_of"]  # fmt: skip

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def require_a(name: str, value: Any, *kinds: type, hint: str = "") -> None:
    """Raise `InputError` unless the argument `name` is of one of these `kinds`; `hint`: how to get one."""
    if not isinstance(value, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise InputError(f"{name} is a {type(value).__name__}; expected {wanted}" + (f": {hint}" if hint else ""))


def require_whole(name: str, value: Any, *, least: int = 0) -> None:
    """Raise `InputError` unless the argument `name` is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise InputError(f"{name} is {shown(value)}; expected a whole number, {least} or more")
    if value < least:
        raise InputError(f"{name} is {value}; expected {least} or more")


def require_flag(name: str, value: Any) -> None:
    """Raise `InputError` unless the argument `name` is `True` or `False`."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputError(f"{name} is {shown(value)}; expected True or False")


def require_choice(options: Any, name: str, known: Iterable[str]) -> None:
    """Raise `InputError` unless the option `name` is one of `known`."""
    require_one_of(name, getattr(options, name), known)


def require_one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Raise `InputError` unless the argument `name` is one of `known`."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} is {shown(value)}; expected one of {', '.join(known)}")


def require_positive(options: Any, *names: str) -> None:
    """Raise `InputError` unless all these numbers are above 0 and finite; `None` passes, NaN does not."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} is {value}; expected more than 0" + (", finite" if value == math.inf else ""))


def require_not_negative(options: Any, *names: str) -> None:
    """Raise `InputError` unless all these numbers are 0 or above and finite; `None` passes, NaN does not."""
    for name in names:
        value = getattr(options, name)
        if value is not None and not 0 <= value < math.inf:
            raise InputError(f"{name} is {value}; expected 0 or more" + (", finite" if value == math.inf else ""))


def require_below_one(options: Any, *names: str) -> None:
    """Raise `InputError` unless all these numbers are 0 or above, and below 1; NaN does not pass."""
    for name in names:
        value = getattr(options, name)
        if not 0 <= value < 1:
            raise InputError(f"{name} is {value}; expected 0 or more, and less than 1")


def require_fraction(options: Any, *names: str) -> None:
    """Raise `InputError` unless these options are from 0 to 1."""
    for name in names:
        value = getattr(options, name)
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}; expected a number from 0 to 1")


def check_option_types(options: "DataclassInstance") -> None:
    """Raise `InputError` for an option of a dataclass whose type differs from its annotation.

    NumPy numbers are converted to Python numbers, to `int` where the annotation says so; `True` and `False` are no
    numbers.
    """
    for name, annotation in _annotations(type(options)).items():
        kinds = typing.get_args(annotation) if _is_union(annotation) else (annotation,)
        value = getattr(options, name)
        if typing.get_origin(kinds[0]) is typing.Literal:
            continue  # `require_choice` lists the choices
        if value is None and type(None) in kinds:
            continue
        plain = _as_kind(value, kinds[0])
        if plain is None:
            wanted = {int: "a whole number", float: "a number", bool: "True or False", str: "text"}[kinds[0]]
            raise InputError(f"{name} is {shown(value)}; expected {wanted}")
        object.__setattr__(options, name, plain)


@lru_cache(maxsize=64)
def _annotations(cls: type["DataclassInstance"]) -> dict[str, Any]:
    """The annotations of the fields that `check_option_types` knows."""
    fields = {field.name for field in dataclasses.fields(cls)}
    hints = {name: hint for name, hint in typing.get_type_hints(cls).items() if name in fields}

    def known(hint: Any) -> bool:
        first = typing.get_args(hint)[0] if _is_union(hint) else hint
        return first in (int, float, bool, str)

    return {name: hint for name, hint in hints.items() if known(hint)}


def _is_union(annotation: Any) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _as_kind(value: Any, kind: type) -> Any:
    """`value` as Python's own `int`, `float`, `bool` or `str`; `None` where it is of another kind."""
    if kind is bool or isinstance(value, (bool, np.bool_)):
        return bool(value) if kind is bool and isinstance(value, (bool, np.bool_)) else None
    if kind is str:
        return value if isinstance(value, str) else None
    if isinstance(value, numbers.Integral):
        return int(value)
    return float(value) if kind is float and isinstance(value, numbers.Real) else None


def class_names(given: Any) -> tuple[str, ...]:
    """Class names as a tuple; raises `InputError` for a single text, and for names that are no text."""
    if isinstance(given, str):
        raise InputError(f"classes is the single string {shown(given)}; expected a list of names, one per class")
    if not isinstance(given, Iterable):
        raise InputError(f"classes is {shown(given)}; expected a list of names, one per class")
    names = tuple(given)
    if wrong := [name for name in names if not isinstance(name, str)]:
        raise InputError(f"classes hold {shown(wrong[0])}, a {type(wrong[0]).__name__}; expected strings")
    if broken := [name for name in names if not name.isprintable() and not _is_utf8(name)]:
        raise InputError(f"classes hold {shown(broken[0])}, which is not valid UTF-8; expected another name")
    return names


def require_same_classes(given: str, mine: Sequence[str], other: str, theirs: Sequence[str]) -> None:
    """Raise `InputError` unless the names of classes are the same in both, in the same order.

    Numbers 0, 1, ... stand for classes whose names are not known, and go with any names but numbers.

    - `given`, `other`: what has the names `mine` and `theirs`.

    >>> require_same_classes("the set", ["cat", "dog"], "test", ["0", "1"])
    >>> require_same_classes("the set", ["0", "1"], "test", ["1", "0"])
    Traceback (most recent call last):
        ...
    distill.errors.InputError: the set has the classes 0, 1, test 1, 0; expected the same names in the same order
    """
    mine, theirs = tuple(map(str, mine)), tuple(map(str, theirs))
    unnamed = tuple(map(str, range(len(mine))))
    if mine == theirs or (len(mine) == len(theirs) and unnamed in (mine, theirs) and set(mine).isdisjoint(theirs)):
        return
    both = [f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}" for names in (mine, theirs)]
    raise InputError(
        f"{given} has the classes {both[0]}, {other} {both[1]}; expected the same names in the same order"
    )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, or a byte of a file's name
        return False
    return True


def positions(given: Any, count: int) -> np.ndarray:
    """Positions among `count` items as int64 `(k,)`, given as such, as a list, a slice or a boolean mask.

    Raises `InputError` for anything else, for a mask of another length, and for positions out of range.
    """
    if isinstance(given, slice):
        return np.arange(count)[given]
    try:
        index = given.detach().cpu().numpy() if isinstance(given, torch.Tensor) else np.asarray(given)
    except (TypeError, ValueError) as error:  # rows of different lengths
        raise InputError(f"indices are a {type(given).__name__}; expected positions or a mask") from error
    if index.ndim == 1 and not index.size:
        return np.empty(0, np.int64)
    if index.ndim != 1 or index.dtype.kind not in "biu":
        raise InputError(
            f"indices are {index.dtype} of shape {index.shape}; expected positions, whole numbers of shape (k,), or a "
            f"boolean mask ({count},)"
        )
    if index.dtype.kind == "b":
        if len(index) != count:
            raise InputError(f"the mask has {len(index)} entries for {count} images; expected one for each")
        return np.flatnonzero(index)
    if index.min() < -count or index.max() >= count:
        raise InputError(f"indices run from {index.min()} to {index.max()}, but there are {count} images")
    return index.astype(np.int64)


def tensor_of(given: Any, name: str) -> torch.Tensor:
    """The tensor itself, or one of an array or a list of numbers or tensors; `InputError` for anything else."""
    if isinstance(given, torch.Tensor):
        return given
    try:
        if isinstance(given, (list, tuple)) and given and all(isinstance(one, torch.Tensor) for one in given):
            return torch.stack(list(given))
        return torch.as_tensor(np.asarray(given))
    except (TypeError, ValueError, RuntimeError) as error:  # text, objects, rows of different lengths
        raise InputError(f"{name} are a {type(given).__name__}, not numbers of one shape; expected a tensor") from error


def check_device(device: str | torch.device) -> None:
    """Raise `InputError` unless torch can put a tensor on `device`."""
    require_a("device", device, str, torch.device)
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:  # unknown; known but absent
        reason = str(error).splitlines()[0]
        raise InputError(f"device {shown(device)} cannot be used here ({reason}); try 'cpu'") from error

"""What callers give, checked and as NumPy arrays: from any framework, of any numeric type, whole or in batches."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from privacy.errors import InputError, shown

__all__ = [
    "as_array", "checked_list", "checked_mask", "checked_positions", "checked_scores", "closest", "finite_floats",
    "require_flag", "require_mapping", "require_number", "require_one_of", "require_whole",
]  # fmt: skip


def as_array(value: Any, name: str, *, ndim: int) -> np.ndarray:
    """`value` as a NumPy array; raises `InputError` for what NumPy cannot read.

    A list of batches, arrays or tensors that each have `ndim` dimensions, is joined along the first one. Tensors in
    bfloat16, which NumPy lacks, become float32.
    """
    try:
        if is_batches(value, ndim):
            return np.concatenate([plain_array(batch) for batch in value])
        array = plain_array(value)
    except Exception as error:  # whatever the framework raises for tensors on a GPU or with a gradient
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(
            f"{name} cannot be converted to a NumPy array ({reason}); for a PyTorch tensor use .detach().cpu().numpy()"
        ) from error
    if np.ma.isMaskedArray(value) and np.ma.getmaskarray(value).any():
        masked = int(np.ma.getmaskarray(value).sum())
        raise InputError(f"{name} have {masked} masked values; expected an array without a mask: remove these records")
    if array.dtype == object:
        raise InputError(f"{name} contain objects of different lengths or types; expected one array of numbers")
    return array


def is_batches(value: Any, ndim: int) -> bool:
    """Whether `value` is a list of arrays that each have `ndim` dimensions, and the same shape but for the first."""
    return (
        isinstance(value, list | tuple)
        and len(value) > 0
        and all(getattr(batch, "ndim", None) == ndim for batch in value)
        and len({tuple(batch.shape[1:]) for batch in value}) == 1
    )


def plain_array(value: Any) -> np.ndarray:
    """`value` as NumPy reads it; bfloat16, which it cannot read, is converted to float32."""
    if "bfloat16" in str(getattr(value, "dtype", "")):
        value = value.float() if hasattr(value, "float") else value.astype(np.float32)
    elif isinstance(value, list | tuple) and any("bfloat16" in str(getattr(v, "dtype", "")) for v in value):
        value = [plain_array(inner) for inner in value]
    return np.asarray(value)


def finite_floats(array: np.ndarray, name: str) -> np.ndarray:
    """`array` as float64; raises `InputError` for anything but finite numbers."""
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} are {array.dtype}; expected numbers")
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(1)
    if bad.any():
        raise InputError(
            f"{name} contain NaN or infinite values in {int(bad.sum())} of {len(bad)} records, the first is record "
            f"{int(bad.argmax())}; leave these out or fix the model"
        )
    return array.astype(np.float64)


def checked_mask(given: Any, size: int, name: str) -> np.ndarray:
    """The records that `given` picks, as a boolean mask `(size,)`; as in `checked_positions`."""
    mask = np.zeros(size, bool)
    mask[checked_positions(given, size, name)] = True
    return mask


def checked_positions(given: Any, size: int, name: str) -> np.ndarray:
    """Positions `(k,)` that `given` picks of `size` records: a mask, positions, or `None` for all.

    A vector of length `size` that holds nothing but 0 and 1 (booleans, integers, whole floats) is a mask. Positions
    are integers in `0 .. size - 1`, each at most once.

    Raises `InputError` when it does not fit, repeats a record, or picks none.

    >>> checked_positions([0, 1, 1], 3, "the subset").tolist()
    [1, 2]
    >>> checked_positions([2, 0], 3, "the subset").tolist()
    [2, 0]
    """
    if given is None:
        return np.arange(size)
    array = as_array(given, name, ndim=1)
    is_mask = array.dtype == bool or (array.shape == (size,) and array.dtype.kind in "iuf" and is_zero_or_one(array))
    if is_mask:
        if array.shape != (size,):
            raise InputError(f"{name} is a mask of shape {array.shape}; expected ({size},), one value for each record")
        array = np.flatnonzero(array)
    if not array.size:
        raise InputError(f"{name} selects no records; expected at least one member and one non-member")
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"{name} is {array.dtype} of shape {array.shape}; expected a mask of {size} zeros and ones (or booleans), "
            "or integer positions"
        )
    check_each_once(array, size, name)
    return array.astype(np.int64)


def is_zero_or_one(array: np.ndarray) -> bool:
    """Whether every value is 0 or 1."""
    return bool(np.isin(array, (0, 1)).all())


def check_each_once(positions: np.ndarray, size: int, name: str) -> None:
    """Raise `InputError` for positions out of range or repeated."""
    if positions.min() < 0 or positions.max() >= size:
        raise InputError(f"{name} has positions from {positions.min()} to {positions.max()}; expected 0 to {size - 1}")
    values, counts = np.unique(positions, return_counts=True)
    if counts.max() == 1:
        return
    hint = ""
    if is_zero_or_one(positions):
        hint = f"; a mask of zeros and ones has {size} values, one for each record, this has {len(positions)}"
    raise InputError(
        f"{name} repeats {int((counts > 1).sum())} positions, such as {values[counts.argmax()]} "
        f"({counts.max()} times); expected each record at most once{hint}"
    )


def checked_scores(value: Any, name: str) -> np.ndarray:
    """Scores `(n,)` as float64, at least one; raises `InputError` for anything else."""
    scores = as_array(value, name, ndim=1)
    if scores.ndim != 1 or not scores.size:
        raise InputError(f"{name} have shape {scores.shape}; expected (n,), a score for each record")
    return finite_floats(scores, name)


def require_whole(name: str, value: Any, *, least: int) -> None:
    """Raise `InputError` unless the argument `name` is a whole number, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} is {shown(value)}; expected a whole number, {least} or more")


def require_number(
    name: str, value: Any, *, least: float, below: float = float("inf"), most: float = float("inf")
) -> None:
    """Raise `InputError` unless the argument `name` is a number from `least` to below `below`, and `most` at most."""
    is_number = isinstance(value, float | int | np.number) and not isinstance(value, bool)
    if not is_number or not least <= value < below or value > most:
        to = f"below {below:g}" if below < float("inf") else f"{most:g}"
        wanted = f"{least:g} or more" if to == "inf" else f"from {least:g} to {to}"
        raise InputError(f"{name} is {shown(value)}; expected a number, {wanted}")


def require_flag(name: str, value: Any) -> None:
    """Raise `InputError` unless the argument `name` is `True` or `False`."""
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{name} is {shown(value)}; expected True or False")


def require_one_of(name: str, value: Any, known: Iterable[str]) -> None:
    """Raise `InputError` unless the argument `name` is one of `known`."""
    known = list(known)
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} is {shown(value)}; expected one of {', '.join(known)}")


def checked_list(name: str, value: Any, content: str) -> list[Any]:
    """The argument `name` as a list, or an array of several arrays; raises `InputError` for anything else."""
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim > 2):
        return list(value)
    raise InputError(f"{name} is {shown(value)}; expected a list of {content}")


def require_mapping(name: str, value: Any, content: str) -> None:
    """Raise `InputError` unless the argument `name` is a dictionary with strings as keys; `content` says of what."""
    if not isinstance(value, Mapping):
        raise InputError(f"{name} is {shown(value)}; expected {content}")
    if wrong := [key for key in value if not isinstance(key, str)]:
        raise InputError(f"{name} has the key {shown(wrong[0])}, a {type(wrong[0]).__name__}; expected strings")


def closest(name: str, known: Sequence[str]) -> str:
    """` (did you mean ...?)` with the known name closest to `name`, or nothing.

    >>> closest("memers", ["members", "non_members"])
    " (did you mean 'members'?)"
    """
    close = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""

"""Equality of transforms."""

from collections.abc import Mapping
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import Any

import numpy as np
import torch

__all__ = ["same_step"]

FUNCTIONS = (FunctionType, BuiltinFunctionType, MethodType)


def same_step(one: Any, other: Any) -> bool:
    """Whether two steps are the same object, or of the same type with equal content; functions are compared by
    identity, as their code may depend on anything."""
    if one is other:
        return True
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return bool(one.dtype == other.dtype and np.array_equal(one, other))
    if isinstance(one, FUNCTIONS):
        return bool(one == other)
    if isinstance(one, partial):
        return all(same_step(getattr(one, name), getattr(other, name)) for name in ("func", "args", "keywords"))
    if isinstance(one, Mapping):
        return list(one) == list(other) and all(same_step(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same_step, one, other))
    if type(one).__eq__ is object.__eq__ and hasattr(one, "__dict__"):
        return same_step(vars(one), vars(other))
    return bool(one == other)

"""Normalisation layers by name."""

import math
from typing import Literal, get_args

from torch import nn

from distill.errors import InputError
from distill.networks.instance_norm import InstanceNorm2d
from distill.networks.names import unknown

__all__ = ["Norm", "check_norm", "check_size", "make_norm", "norm_groups"]

Norm = Literal["none", "batch", "instance", "layer", "group"]

# What Flax calls momentum 0.1 (keep 10 % of the running statistics) is 0.9 in PyTorch.
BATCH_NORM_MOMENTUM = 0.9


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """The normalisation layer of that name over `channels` feature maps."""
    if norm == "none":
        return nn.Identity()
    if norm == "batch":
        return nn.BatchNorm2d(channels, eps=1e-5, momentum=BATCH_NORM_MOMENTUM)
    if norm == "instance":
        return InstanceNorm2d(channels)
    return nn.GroupNorm(norm_groups(norm, channels), channels)


def norm_groups(norm: Norm, channels: int) -> int:
    """Groups of `channels` that "instance", "layer" or "group" normalise each by itself; "group": 32 if they fit."""
    return {"instance": channels, "layer": 1, "group": math.gcd(32, channels)}[norm]


def check_norm(norm: str) -> None:
    """Raise `InputError` for an unknown norm."""
    if not isinstance(norm, str) or norm not in get_args(Norm):
        raise unknown("norm", norm, get_args(Norm))


def check_size(width: int, depth: int | None) -> None:
    """Raise `InputError` for a width or depth below 1."""
    if width < 1 or (depth is not None and depth < 1):
        raise InputError(f"a network of width {width} and depth {depth} cannot be built; expected at least 1 of each")

"""Checks of options that several benchmarks have."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.harness.command_line import flag
from benchmarks.harness.methods import option_classes
from benchmarks.harness.options import Options, class_options
from distill import InputError
from distill.runtime.checks import check_device

__all__ = ["check_at_least", "check_classes_options", "check_device_option", "check_seeds", "named_by_flags"]


@contextmanager
def named_by_flags(prefix: str) -> Iterator[None]:
    """Let errors of the class of a method or of the training name the flag, as it was typed, in place of the field."""
    try:
        yield
    except InputError as error:
        name, _, rest = str(error).partition(" ")
        fields = {field.name for field in dataclasses.fields(option_classes().get(prefix, Options))}
        said = f"{flag(prefix, name)} {rest}" if name in fields else f"options --{prefix}-...: {error}"
        raise InputError(said) from error


def check_classes_options(options: Options) -> None:
    """Raise `InputError` where options of the methods and the training of a run are refused, whatever the data are."""
    own = class_options(options, channels=3)  # as of RGB images: none are read yet
    for prefix, cls in option_classes().items():
        if prefix in options.parts:
            with named_by_flags(prefix):
                cls(**own[prefix])


def check_at_least(options: Any, least: int, *names: str) -> None:
    """Raise `InputError` where an option, if it is given, is below `least`."""
    for name in names:
        value = getattr(options, name)
        if value is not None and value < least:
            wanted = f"at least {least}" if least else "0 or more"
            raise InputError(f"--{name.replace('_', '-')} is {value}; expected {wanted}")


def check_seeds(seeds: tuple[int, ...]) -> None:
    """Raise `InputError` unless they are different numbers from 0 to 2**32 - 1."""
    if min(seeds) < 0 or max(seeds) >= 2**32 or len(set(seeds)) < len(seeds):
        raise InputError(f"--seeds are {' '.join(map(str, seeds))}; expected different numbers from 0 to 2**32 - 1")


def check_device_option(device: str) -> None:
    """Raise `InputError` unless torch knows `--device` and it is here."""
    try:
        torch.device(device)
    except RuntimeError as error:  # torch names twenty kinds, most of which nobody has
        raise InputError(f"--device is {device!r}, which torch does not know; expected cpu, cuda or mps") from error
    check_device(device)

"""Checks of options that several benchmarks have."""

from typing import Any

from distill import InputError

__all__ = ["check_at_least", "check_seeds"]


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

"""The error that a caller can fix."""

__all__ = ["InputError", "shown"]


class InputError(ValueError):
    """What was given cannot be used; the message says what was given, what was expected and how to fix it."""


def shown(value: object) -> str:
    """`value` in one short line, for messages.

    >>> shown(list(range(100)))
    '[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,... (list)'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:50]}... ({type(value).__name__})"

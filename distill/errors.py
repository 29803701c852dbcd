"""The error for input that the caller can fix, and the warning for input that is not used as it was given."""

__all__ = ["InputError", "InputWarning", "NotFiniteError", "shown"]


class InputError(ValueError):
    """The input cannot be used; the message says what was given, what was expected and how to fix it."""


class NotFiniteError(InputError):
    """A network became NaN while it was trained; the message says what to change."""


class InputWarning(UserWarning):
    """Part of the input is ignored, or not used as it was given; the message names it and says what to do."""


def shown(value: object) -> str:
    """`repr(value)` on one line of at most 60 characters or so, for messages.

    >>> shown([1] * 100)
    '[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1... (list)'
    """
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:50]}... ({type(value).__name__})"

"""The errors a caller can mend, and the words said where nothing fails but not all was taken as it was given."""

__all__ = ["InputError", "InputWarning", "shown"]


class InputError(ValueError):
    """What was given cannot be used; the message says what was given, what was wanted and how to mend it."""


class InputWarning(UserWarning):
    """Something that was given is left out, or not used as it stands; the message names it and the way out."""


def shown(value: object) -> str:
    """`value` in one short line, for messages."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:50]}... ({type(value).__name__})"

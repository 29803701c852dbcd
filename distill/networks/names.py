"""The error for unknown names."""

import difflib
from collections.abc import Iterable

from distill.errors import InputError, shown

__all__ = ["unknown"]


def unknown(what: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a `name` that is not among the `known`, with a suggestion if one is similar."""
    known = list(known)
    close = difflib.get_close_matches(str(name).lower(), known, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return InputError(f"unknown {what} {shown(name)}; known: {', '.join(known)}{hint}")

"""Griffe extension: the doctests of docstrings are shown as code on the API pages."""

import re
from textwrap import dedent
from typing import Any

from griffe import Extension, Object

DOCTEST = re.compile(r"^ *>>> .*\n?(?:^(?!\s*$).*\n?)*", re.MULTILINE)


class DoctestBlocks(Extension):
    """Put a fence around each block of lines that begins with `>>>` and ends with an empty line."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Change the docstring of one object."""
        if obj.docstring is not None:
            obj.docstring.value = DOCTEST.sub(
                lambda block: f"```pycon\n{dedent(block[0]).rstrip()}\n```\n", obj.docstring.value
            )

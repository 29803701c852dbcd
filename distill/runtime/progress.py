"""Progress bars with the remaining time, in one style."""

import sys
from collections.abc import Iterable, Sized
from typing import Any

from tqdm import tqdm

__all__ = ["progress_bar"]


def progress_bar(iterable: Iterable[Any] | None = None, *, shown: bool, **options: Any) -> Any:
    """A tqdm bar that vanishes at its end if it is below another bar, and writes to log files every 30 seconds.

    Where there is nothing left to do there is no bar.
    """
    pace = 0.2 if sys.stderr.isatty() else 30.0
    total = options.get("total", len(iterable) if isinstance(iterable, Sized) else None)
    hidden = not shown or (total is not None and total <= options.get("initial", 0))
    return tqdm(iterable, disable=hidden, leave=None, dynamic_ncols=True, mininterval=pace, **options)

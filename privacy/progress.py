"""The progress bar that work in parallel is shown with."""

import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

__all__ = ["with_progress"]


def with_progress(
    results: Iterable[Any], total: int, progress: bool, *, desc: str = "attack", unit: str = "task"
) -> Iterable[Any]:
    """`results` under a progress bar, if one is wanted; log files get a line only now and then."""
    pace = 0.2 if sys.stderr.isatty() else 30.0
    return tqdm(
        results, disable=not progress, leave=None, dynamic_ncols=True, mininterval=pace, total=total, desc=desc,
        unit=unit,
    )  # fmt: skip

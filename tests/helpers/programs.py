"""Programs of the benchmarks, run in the process of the tests."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from benchmarks.harness.options import Options
from benchmarks.harness.program import run_program

Command = Callable[..., int]


def in_this_process(options: type[Options], tiny: Sequence[str]) -> Iterator[Command]:
    """For a fixture: the program that takes `options`, its arguments after `tiny` to its exit code."""
    patch = pytest.MonkeyPatch()
    patch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)  # holds for a whole process
    yield lambda *arguments: run_program(options, [*tiny, *map(str, arguments)])
    patch.undo()

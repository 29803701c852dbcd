"""Runs of the distillation benchmark that its tests share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.harness.program import run_program
from benchmarks.studies.distillation.options import DistillationOptions
from distillation_runs import TINY

Command = Callable[..., int]


@pytest.fixture(scope="session")
def command() -> Command:
    """The program in this process: its arguments after `TINY` to its exit code."""
    patch = pytest.MonkeyPatch()
    patch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)  # holds for a whole process
    yield lambda *arguments: run_program(DistillationOptions, [*TINY, *map(str, arguments)])
    patch.undo()


@pytest.fixture(scope="session")
def undisturbed(command, tmp_path_factory) -> Path:
    """The folder of a run of all methods over two seeds."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert command("--output", folder, "--method", "all", "--seeds", 0, 1) == 0
    return folder

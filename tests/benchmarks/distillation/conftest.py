"""Runs of the distillation benchmark that its tests share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.studies.distillation.options import DistillationOptions
from distillation_runs import TINY
from programs import Command, in_this_process


@pytest.fixture(scope="session")
def command() -> Iterator[Command]:
    """The program in this process: its arguments after `TINY` to its exit code."""
    yield from in_this_process(DistillationOptions, TINY)


@pytest.fixture(scope="session")
def undisturbed(command, tmp_path_factory) -> Path:
    """The folder of a run of all methods over two seeds."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert command("--output", folder, "--method", "all", "--seeds", 0, 1) == 0
    return folder

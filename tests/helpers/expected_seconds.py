"""Whether a run under `--budget` takes what it was expected to."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.harness.budget import AIM
from distill.files import read_json

__all__ = ["assert_takes_what_is_expected"]

TRIES = 3  # other programs slow memory and caches between a rehearsal and its run; a wrong estimate is wrong each time


def assert_takes_what_is_expected(run: Callable[[Path], int], folder: Path, *, budget: float) -> None:
    """`run` writes to a folder what a budget of so many seconds allows, and in one of some tries takes that long."""
    ratios = []
    for attempt in range(TRIES):
        assert run(folder / str(attempt)) == 0
        results = read_json(folder / str(attempt) / "results.json")
        expected = results["options"]["chosen"]["expected_seconds"]
        assert expected == pytest.approx(AIM * budget, rel=0.02)
        ratios.append(results["cost"]["seconds"] / expected)
        if abs(ratios[-1] - 1) <= 0.15:
            return
    pytest.fail(f"seconds over those expected: {ratios}")

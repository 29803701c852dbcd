"""Distillations that are interrupted between two steps."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from distill.distillers.stepwise import StepwiseDistiller


def killed_before_step(
    k: int, monkeypatch: pytest.MonkeyPatch, distiller: StepwiseDistiller, data: Any, **arguments: Any
) -> None:
    """Distil until step `k` (from 0) would begin, saving after each, then be interrupted; two images per class."""
    step = type(distiller).step

    def step_or_stop(self: StepwiseDistiller, state: Any, data: Any) -> None:
        if state.step == k:
            raise KeyboardInterrupt
        step(self, state, data)

    with monkeypatch.context() as patch:
        patch.setattr("distill.distillers.checkpoint.SECONDS_BETWEEN", 0)
        patch.setattr(type(distiller), "step", step_or_stop)
        with pytest.raises(KeyboardInterrupt):
            distiller.distill(data, **{"images_per_class": 2, **arguments})


@contextmanager
def stopped_after(
    count: int, distiller: type[StepwiseDistiller], monkeypatch: pytest.MonkeyPatch
) -> Iterator[list[int]]:
    """Distillations save after each step, and are interrupted after `count` steps in all; gives their numbers."""
    with monkeypatch.context() as patch:
        patch.setattr("distill.distillers.checkpoint.SECONDS_BETWEEN", 0)
        yield steps_counted(distiller, patch, most=count)


def steps_counted(
    distiller: type[StepwiseDistiller], monkeypatch: pytest.MonkeyPatch, *, most: int | None = None
) -> list[int]:
    """The numbers of the steps that are done from now on; interrupted where one more than `most` begins."""
    done: list[int] = []
    step = distiller.step

    def counted(self: StepwiseDistiller, state: Any, data: Any) -> None:
        if len(done) == most:
            raise KeyboardInterrupt
        done.append(state.step)
        step(self, state, data)

    monkeypatch.setattr(distiller, "step", counted)
    return done

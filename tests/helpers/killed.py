"""Distillations that are interrupted between two steps."""

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

"""How many steps a distillation may take for a given time."""

import time
from typing import Any

from benchmarks.harness.rehearsal import seconds_per_step_from
from distill import Distiller, InputError, PreprocessedImages
from distill.distillers.run import Run
from distill.distillers.stepwise import StepwiseDistiller
from distill.store import Content

__all__ = ["options_for"]

SECONDS = 3.0  # steps are timed for so long


def options_for(distiller: Distiller, data: PreprocessedImages, seconds: float, run: Run) -> Content:
    """The options to change for as many steps as take about `seconds`, by timing some of them; for a store to keep.

    The state of these is thrown away; networks that are trained before the first step stay in the store of `run`, and
    their time counts. A distiller that does not learn images has none to change. What is recorded along the way is not
    timed, so a distillation takes somewhat longer. Raises `InputError` when not a single step can be taken in that
    time.
    """
    if not isinstance(distiller, StepwiseDistiller):
        return {}, {"options": {}}
    started = time.perf_counter()
    distiller.train_networks(distiller.prepare(data, run), run)
    trained = time.perf_counter() - started
    per_step = seconds_per_step(distiller, data, run)
    if seconds < trained + per_step:
        networks = f" after {trained:.2g} s of training its networks" if trained > per_step else ""
        raise InputError(
            f"--seconds is {seconds:g}, but a single step of {distiller.method} takes {per_step:.2g} s{networks}; "
            "increase it"
        )
    before: dict[str, Any] = distiller.options()
    changed = distiller.with_updates(round((seconds - trained) / per_step), run.images_per_class).options()
    differing = {name: value for name, value in changed.items() if value != before[name]}
    return {}, {"options": differing, "seconds_of_networks": trained, "seconds_per_step": per_step}


def seconds_per_step(distiller: StepwiseDistiller, data: PreprocessedImages, run: Run) -> float:
    """Mean time of a step, the first ones left out."""
    data = distiller.prepare(data, run)
    return seconds_per_step_from(distiller.start(data, run), distiller, data, seconds=SECONDS)

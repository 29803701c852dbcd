"""What things take on this machine, found out by doing a little of them."""

import heapq
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from distill import Distiller, LabelledImages, PreprocessedImages, Preprocessing, SyntheticSet
from distill.distillers.run import Run
from distill.distillers.stepwise import StepwiseDistiller
from distill.distillers.trained_network import TrainsNetwork

__all__ = ["OF_SPEED", "Timed", "distillation_timed", "makespan", "seconds_of", "seconds_of_drawing",
           "seconds_per_step_from", "seconds_until_workers", "steady"]  # fmt: skip

T = TypeVar("T")
WARM_UP = 2  # steps not counted: memory is allocated, kernels are chosen
AT_LEAST = 3  # steps counted
SECONDS = 3.0  # and so long, if that is more steps
OF_SPEED = ("width", "batch_size")  # what rungs of a budget change of a method or a training, besides its steps
ROOT = Path(__file__).resolve().parents[2]
SOME = 2000  # images that are preprocessed to see how long all take
FEW, MORE = 2, 7  # updates of a network, of which the difference is timed


@dataclass(frozen=True)
class Timed:
    """Seconds of something: `fixed`, and `step` for each of its steps."""

    fixed: float
    step: float = 0.0

    def of(self, steps: int) -> float:
        """Seconds with so many steps."""
        return self.fixed + steps * self.step

    def steps_in(self, seconds: float) -> int:
        """How many steps take so long, 1 or more."""
        return max(1, int((seconds - self.fixed) / self.step + 1e-6)) if self.step else 1


def seconds_of(do: Callable[[], T]) -> tuple[float, T]:
    """How long it takes, and what it gives."""
    started = now()
    result = do()
    return now() - started, result


def now() -> float:
    """The time in seconds, once a GPU has done what it was given."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()
    return time.perf_counter()


def seconds_per_step_from(
    state: Any, distiller: StepwiseDistiller, data: PreprocessedImages, *, seconds: float
) -> float:
    """Mean time of a step from `state` on, the first ones left out; a few, or as many as take so many `seconds`."""
    for _ in range(WARM_UP):
        distiller.step(state, data)
    count, started = 0, now()
    while count < AT_LEAST or now() - started < seconds:
        distiller.step(state, data)
        count += 1
    return (now() - started) / count


def distillation_timed(distiller: Distiller, data: PreprocessedImages, run: Run, *, seconds: float = SECONDS) -> Timed:
    """What a distillation of `data` takes. What is learned is thrown away.

    - `fixed`: of a method that learns images, start, networks and all that is recorded; of one that trains a network on
      the data, everything but the steps of that; of any other, everything.
    """
    if isinstance(distiller, StepwiseDistiller):

        def begin() -> tuple[PreprocessedImages, Any]:
            prepared = distiller.prepare(data, run)
            return prepared, distiller.start(prepared, run)

        fixed, (prepared, state) = seconds_of(begin)
        step = seconds_per_step_from(state, distiller, prepared, seconds=seconds)
        recorded, _ = seconds_of(distiller.recorder(state).measure)
        return Timed(fixed + distiller.history_points * recorded, step)
    if isinstance(distiller, TrainsNetwork):

        def distil(steps: int) -> object:
            changed = distiller.with_options(steps=steps)
            return changed.distill(data, images_per_class=run.images_per_class, seed=run.seed, device=run.device)

        return steady(distil, seconds=seconds)
    return Timed(
        seconds_of(
            lambda: distiller.distill(data, images_per_class=run.images_per_class, seed=run.seed, device=run.device)
        )[0]
    )


def steady(do: Callable[[int], object], *, seconds: float = SECONDS) -> Timed:
    """What `do(steps)` takes, from two numbers of steps, of which the larger one takes about `seconds`."""
    do(FEW)  # memory is allocated, kernels are chosen
    few, _ = seconds_of(lambda: do(FEW))
    more, _ = seconds_of(lambda: do(MORE))
    step = max((more - few) / (MORE - FEW), 1e-6)
    count = min(int(seconds / step), 100 * MORE)
    if count > 2 * MORE:  # steps so short that their difference is within what timings vary by
        more, _ = seconds_of(lambda: do(count))
        step = max((more - few) / (count - FEW), 1e-6)
    return Timed(max(few - FEW * step, 0.0), step)


def seconds_until_workers(study: str, images: LabelledImages, preprocessing: Preprocessing) -> float:
    """Until workers have imported the module `study` and have preprocessed images."""
    imported, _ = seconds_of(lambda: subprocess.run([sys.executable, "-c", f"import {study}"], cwd=ROOT, check=True))
    some = images.subset(range(min(SOME, len(images))))
    return imported + seconds_of(lambda: preprocessing.apply(some))[0] * len(images) / len(some)


def seconds_of_drawing(synthetic: SyntheticSet) -> float:
    """Of a picture of the set."""
    with tempfile.TemporaryDirectory() as folder:
        synthetic.subset(torch.arange(1)).plot(Path(folder) / "first.png")  # which imports what draws
        return seconds_of(lambda: synthetic.plot(Path(folder) / "images.png"))[0]


def makespan(tasks: Iterable[float], jobs: int) -> float:
    """How long `jobs` workers take for tasks of so many seconds, each taking the next one when it is free.

    >>> makespan([3.0, 1.0, 1.0, 2.0], 2)
    4.0
    """
    free = [0.0] * jobs
    for seconds in tasks:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)

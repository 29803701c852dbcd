"""How long a run of the distillation benchmark takes with given options, for the rule of `--budget`."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from benchmarks.harness.budget import Choice, Rung, choose, duration
from benchmarks.harness.budget_plan import MethodsPlan, jobs_of, threads_of_a_worker
from benchmarks.harness.rehearsal import (
    OF_SPEED,
    Timed,
    distillation_timed,
    makespan,
    seconds_of,
    seconds_of_drawing,
    seconds_until_workers,
    steady,
)
from benchmarks.studies.distillation.curve import SHARES
from benchmarks.studies.distillation.evaluation_networks import columns_of
from benchmarks.studies.distillation.run import DistillationRun
from distill import Distiller, Random, TrainingRecipe
from distill.distillers.run import Run
from distill.distillers.stepwise import StepwiseDistiller
from distill.training.evaluation import evaluate_network, train_network

__all__ = ["choice_for"]

STUDY = "benchmarks.studies.distillation.study"  # what workers import
PICTURES = 6  # of a set that was learned: with labels and the way it came; others have one
TESTED = 1000  # test images, to see how long all take


def choice_for(run: DistillationRun, *, spent: Callable[[], float]) -> Choice:
    """What the budget of a run is enough for; `spent`: gives the seconds since it began."""
    assert run.options.budget is not None
    with threads_of_a_worker(run.options):
        rehearsal = Rehearsal(run)
        return choose(
            lambda rung: SetsPlan(rehearsal, rung),
            budget=duration(run.options.budget, flag="--budget"),
            spent=spent,
        )


class Rehearsal:
    """A little of each part of `run`, timed once."""

    def __init__(self, run: DistillationRun) -> None:
        assert run.data is not None
        self.run, self.data = run, run.data
        self.test = run.tested_as(self.data.preprocessing)
        self.chosen = Random().distill(self.data, images_per_class=run.options.images_per_class)
        self._timed: dict[tuple[Any, ...], Timed] = {}

    def distilling(self, distiller: Distiller) -> Timed:
        """Of a distillation."""
        options = distiller.options()
        key = (distiller.method, *(options[name] for name in OF_SPEED if name in options))
        if key not in self._timed:
            asked = Run(
                images_per_class=self.run.options.images_per_class, device=self.run.options.device, held_out=self.test
            )
            self._timed[key] = distillation_timed(distiller, self.data, asked)
        return self._timed[key]

    def evaluating(self, recipe: TrainingRecipe) -> Timed:
        """Of a network trained, and tested on all test images."""
        key = (recipe.network, recipe.norm, recipe.depth, *(getattr(recipe, name) for name in OF_SPEED))
        if key not in self._timed:
            device, some = self.run.options.device, self.test.subset(torch.arange(min(TESTED, len(self.test))))

            def short(steps: int) -> dict[str, Any]:
                own = replace(recipe, train_steps=steps, steps_per_image=0.0)
                return {"recipe": own, "generator": torch.Generator().manual_seed(0), "device": device}

            trained = steady(lambda steps: train_network(self.chosen, **short(steps)))
            whole, _ = seconds_of(lambda: evaluate_network(self.chosen, some, **short(1)))
            tested = max(whole - trained.of(1), 0.0) * len(self.test) / len(some)
            self._timed[key] = Timed(trained.fixed + tested, trained.step)
        return self._timed[key]

    @cached_property
    def drawing(self) -> float:
        """Seconds of a picture of a set."""
        return seconds_of_drawing(self.chosen)

    @cached_property
    def worker_start(self) -> float:
        """Seconds until workers have images."""
        return seconds_until_workers(STUDY, self.run.train, self.data.preprocessing)


class SetsPlan(MethodsPlan):
    """The run with the options of a rung; what it takes follows from what was timed."""

    def __init__(self, rehearsal: Rehearsal, rung: Rung) -> None:
        self.rehearsal, self.run, self.jobs = rehearsal, rehearsal.run, jobs_of(rehearsal.run.options)
        options = self.run.options
        super().__init__(
            rung, options, made=self.run.made, classes=self.run.train.num_classes,
            images_per_class=dict.fromkeys(options.methods, options.images_per_class),
        )  # fmt: skip

    def timed(self, method: str) -> Timed:
        """Of a distillation."""
        return self.rehearsal.distilling(self.distillers[method])

    def seconds(self, *, each: float, updates: float) -> float:
        """How long all that is left to do takes: a task for every set."""
        options, rehearsal, recipe = self.run.options, self.rehearsal, self.recipe(updates)
        steps = recipe.steps_for(len(rehearsal.chosen))
        columns = [column.recipe for column in columns_of(options.evaluate_on, recipe)]
        evaluated = [options.networks * rehearsal.evaluating(own).of(steps) for own in columns]
        tasks = []
        for method, distiller in self.distillers.items():
            learns = isinstance(distiller, StepwiseDistiller)
            made = self.timed(method).of(self.steps(method, each))
            on_its_way = len(SHARES) * evaluated[0] if learns and options.curve else 0.0
            drawn = rehearsal.drawing * (PICTURES if learns else 1)
            tasks += [made + sum(evaluated) + on_its_way + drawn] * len(options.seeds)
        return (rehearsal.worker_start if self.jobs > 1 else 0.0) + makespan(tasks, self.jobs) + 2 * rehearsal.drawing

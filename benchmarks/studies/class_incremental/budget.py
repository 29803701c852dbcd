"""How long a run of the class-incremental benchmark takes with given options, for the rule of `--budget`."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from joblib import cpu_count

from benchmarks.harness.budget import Choice, Rung, choose, duration
from benchmarks.harness.methods import METHODS, prefix_of
from benchmarks.harness.rehearsal import Timed, makespan
from benchmarks.harness.tasks import CLUSTERS, by_workers
from benchmarks.studies.class_incremental.arms import Arm
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions
from benchmarks.studies.class_incremental.rehearsal import Rehearsal
from benchmarks.studies.class_incremental.streams import StreamStudy
from distill import InputError
from distill.distillers.stepwise import StepwiseDistiller
from distill.distillers.trained_network import TrainsNetwork

__all__ = ["check_budget", "choice_for"]


def check_budget(options: ClassIncrementalOptions, methods: tuple[str, ...]) -> None:
    """Raise `InputError` for options that `--budget` does not go with."""
    if options.preset != "quick":
        raise InputError(f"--budget chooses what --preset {options.preset} fixes; leave one of them out")
    if options.backend in CLUSTERS:
        raise InputError(f"--budget times this machine, but --backend is {options.backend}; leave one of them out")
    if private := [method for method in methods if METHODS[method].private]:
        raise InputError(
            f"--budget was given with {', '.join(private)}, whose steps are part of what is proven of it; leave it out"
        )


def choice_for(run: StreamStudy, arms: list[Arm], equal_arms: list[Arm], *, spent: Any) -> Choice:
    """What the budget of a run is enough for; `spent`: gives the seconds since it began."""
    options = run.options
    assert isinstance(options, ClassIncrementalOptions)
    assert options.budget is not None
    with threads_of_a_worker(options):
        rehearsal = Rehearsal(run, arms, equal_arms)
        return choose(
            lambda rung: StreamPlan(rehearsal, rung, arms, equal_arms),
            budget=duration(options.budget, flag="--budget"),
            spent=spent,
        )


@contextmanager
def threads_of_a_worker(options: ClassIncrementalOptions) -> Iterator[None]:
    """As many threads as a worker will have, where workers do the tasks."""
    before = torch.get_num_threads()
    if by_workers(options):
        torch.set_num_threads(max(1, cpu_count() // options.jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class StreamPlan:
    """The run with the options of a rung; what it takes follows from what was timed."""

    def __init__(self, rehearsal: Rehearsal, rung: Rung, arms: list[Arm], equal_arms: list[Arm]) -> None:
        self.rehearsal, self.run, self.rung = rehearsal, rehearsal.run, rung
        self.arms, self.equal_arms = arms, equal_arms
        options = self.run.options
        self.seeds, self.networks = len(options.seeds), options.networks
        self.jobs = options.jobs if by_workers(options) else 1
        given, preset = options.given, options.presets[options.preset]
        self.preset = preset
        changed: dict[str, dict[str, Any]] = {"frepo": {"batch_size": rung.batch_size}}
        self.free: dict[str, tuple[str, ...]] = {}
        for method, distiller in self.run.made({})[1].items():
            if isinstance(distiller, StepwiseDistiller):
                changed.setdefault(prefix_of(method), {}).update(
                    {"width": rung.width} if "width" in distiller.options() else {}
                )
                steps = fields_of_updates(distiller, self.rehearsal.images_per_class[method])
                if not set(steps) & set(given.get(prefix_of(method), ())):
                    self.free[method] = steps
        self.changed = {prefix: own for prefix, own in changed.items() if prefix in options.parts}
        self.learns = bool(self.free)
        self.trains = not {"train_steps", "steps_per_image"} <= set(given.get("train", ()))
        self.distillers = self.run.made(self.changed)[1]

    # -- what is chosen ------------------------------------------------------------------------------------------------

    def _recipe_options(self, updates: float) -> dict[str, Any]:
        """The recipe with this multiple of the preset's updates."""
        own = self.preset["train"]
        return {
            "width": self.rung.width,
            "train_steps": max(1, round(updates * own["train_steps"])),
            "steps_per_image": round(updates * own["steps_per_image"], 4),
        }

    def _steps(self, method: str, each: float) -> int:
        """Updates of a method in a distillation of so many seconds."""
        if method not in self.free:
            distiller = self.distillers[method]
            assert isinstance(distiller, StepwiseDistiller)
            return distiller.updates(self.rehearsal.images_per_class[method])
        return self._timed(method, self.run.sizes[-1]).steps_in(each)

    def options(self, *, each: float, updates: float) -> dict[str, dict[str, Any]]:
        """The options that this comes to, by the prefixes of their flags."""
        options = {**self.changed, "train": self._recipe_options(updates)}
        for method, names in self.free.items():
            count = self.rehearsal.images_per_class[method]
            distiller = self.distillers[method]
            assert isinstance(distiller, StepwiseDistiller)
            found = distiller.with_updates(self._steps(method, each), count).options()
            options[prefix_of(method)] = {**options.get(prefix_of(method), {}), **{n: found[n] for n in names}}
        return options

    def described(self, options: Mapping[str, Mapping[str, Any]]) -> str:
        """What these are, in words."""
        recipe, distillers = self.run.made(options)
        updates = recipe.steps_for(self.run.train.num_classes * max(self.rehearsal.images_per_class.values()))
        words = [f"width {recipe.width}"]
        for method, distiller in distillers.items():
            if isinstance(distiller, StepwiseDistiller):
                count = distiller.updates(self.rehearsal.images_per_class[method])
                words.append(f"{count} steps of {method} in a distillation")
        if "frepo" in distillers:
            words.append(f"batches of {distillers['frepo'].options()['batch_size']}")
        return ", ".join([*words, f"{updates} updates of a network on all classes"])

    # -- what it takes -------------------------------------------------------------------------------------------------

    def _timed(self, method: str, classes: int) -> Timed:
        """Of a distillation of a step with so many classes."""
        return self.rehearsal.distilling(
            self.distillers[method], self.rehearsal.images_per_class[method], classes
        )

    def least(self, rung: Rung) -> float:
        """Seconds of a distillation with the steps that a rung asks for: of FRePo, else of the first that learns."""
        if not self.free:
            return 0.0
        each = 0.0
        for method in self.free:  # networks of MTT may take longer than steps of FRePo
            timed = self._timed(method, self.run.sizes[-1])
            each = max(each, timed.of(1))
        first = "frepo" if "frepo" in self.free else next(iter(self.free))
        distiller = self.run.made({})[1][first]
        assert isinstance(distiller, StepwiseDistiller)
        count = distiller.updates(self.rehearsal.images_per_class[first])
        steps = max(1, round(rung.steps * count / self.preset["frepo"]["steps"]))
        return max(each, self._timed(first, self.run.sizes[-1]).of(steps))

    def _distilling(self, method: str, classes: int, each: float) -> float:
        """Seconds of a distillation of a step with so many classes."""
        distiller, timed = self.distillers[method], self._timed(method, classes)
        if isinstance(distiller, StepwiseDistiller):
            return timed.of(self._steps(method, each))
        return timed.of(distiller.steps if isinstance(distiller, TrainsNetwork) else 0)

    def seconds(self, *, each: float, updates: float) -> float:
        """How long all that is left to do takes; its tasks in the order of `ClassIncremental.measure`."""
        changes = {**self.changed, "train": self._recipe_options(updates)}
        recipe, sizes = self.run.made(changes)[0], self.run.sizes
        rehearsal, classes, ahead = self.rehearsal, self.run.train.num_classes, self.jobs > 1
        read = [rehearsal.reading * size / sizes[0] for size in sizes]
        tested = rehearsal.testing(recipe) / sizes[0]

        def network(images: float, seen: int) -> float:
            training = rehearsal.training(recipe, round(images))
            return self.networks * (training.of(recipe.steps_for(round(images))) + tested * seen)

        distilled, streams, equal = [], [], []
        for arm in self.arms:
            count = rehearsal.images_per_class[arm.method]
            own = [self._distilling(arm.method, size, each) for size in sizes]
            distilled += [rehearsal.opening + parts for parts in map(sum, zip(own, read, strict=True))]
            seen = [sum(sizes[: k + 1]) for k in range(len(sizes))]
            stream = sum(read) + sum(network(count * so_far, so_far) for so_far in seen) + rehearsal.drawing
            streams.append(rehearsal.opening + stream + (0 if ahead else sum(own)))
        for arm in self.equal_arms:
            again = sum(self._again(arm, size, each) for size in sizes) if arm is not self.equal_arms[0] else 0.0
            opened = rehearsal.opening + sum(read)
            trained = network(rehearsal.equal_counts[arm.method] * classes, classes)
            equal.append(opened * (1 if arm is self.equal_arms[0] else 2) + again + trained)
        phases = [distilled * self.seeds if ahead else [], streams * self.seeds, equal * self.seeds]
        waiting = rehearsal.worker_start if ahead else 0.0
        # The preprocessing of all classes is fitted by now; that of the first step of every other order is not.
        refitted = (self.seeds - 1) * rehearsal.preprocessing if self.run.options.fit_preprocessing == "first" else 0.0
        return waiting + sum(makespan(tasks, self.jobs) for tasks in phases) + refitted + rehearsal.drawing

    def _again(self, arm: Arm, classes: int, each: float) -> float:
        """Seconds of choosing or distilling more images of a step; networks that are trained on the data are kept."""
        if isinstance(self.distillers[arm.method], TrainsNetwork):
            return self._timed(arm.method, classes).fixed
        return self._distilling(arm.method, classes, each)


def fields_of_updates(distiller: StepwiseDistiller, images_per_class: int) -> tuple[str, ...]:
    """The options that say how many updates a distillation takes."""
    before = distiller.options()
    more = distiller.with_updates(2 * distiller.updates(images_per_class) + 2, images_per_class).options()
    return tuple(name for name, value in more.items() if value != before[name])

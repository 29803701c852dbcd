"""What studies of distillers share when `--budget` chooses their options: which of these are free, and what is said."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import torch
from joblib import cpu_count

from benchmarks.harness.budget import Rung, duration, in_words
from benchmarks.harness.methods import METHODS, prefix_of
from benchmarks.harness.options import BudgetOptions, JobOptions, StudyOptions
from benchmarks.harness.rehearsal import Timed
from benchmarks.harness.tasks import CLUSTERS, by_workers
from distill import Distiller, InputError, TrainingRecipe
from distill.distillers.stepwise import StepwiseDistiller
from distill.distillers.trained_network import TrainsNetwork

__all__ = ["MethodsPlan", "checked_budget", "jobs_of", "threads_of_a_worker"]

Made = tuple[TrainingRecipe, dict[str, Distiller]]


B = TypeVar("B", bound=BudgetOptions)


def checked_budget(options: B, methods: tuple[str, ...]) -> B:
    """The options, the budget as `in_words` writes it; raises `InputError` for what it does not go with."""
    if options.budget is None:
        return options
    if options.preset != "quick":
        raise InputError(f"--budget chooses what --preset {options.preset} fixes; leave one of them out")
    if options.backend in CLUSTERS:
        raise InputError(f"--budget times this machine, but --backend is {options.backend}; leave one of them out")
    if private := [method for method in methods if METHODS[method].private]:
        raise InputError(
            f"--budget was given with {', '.join(private)}, whose steps are part of what is proven of it; leave it out"
        )
    return replace(options, budget=in_words(duration(options.budget, flag="--budget")))


def jobs_of(options: JobOptions) -> int:
    """How many tasks are done at a time."""
    return options.jobs if by_workers(options) else 1


@contextmanager
def threads_of_a_worker(options: JobOptions) -> Iterator[None]:
    """As many threads as a worker will have, where workers do the tasks."""
    before = torch.get_num_threads()
    if by_workers(options):
        torch.set_num_threads(max(1, cpu_count() // options.jobs))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class MethodsPlan(ABC):
    """A run of some methods with the options of a rung, see `benchmarks.harness.budget.Plan`.

    A study says in `timed` what a distillation takes, and in `seconds` what all of the run does.

    - `made`: gives the recipe and the distillers, by method, with changes to options of the preset, by prefix.
    - `images_per_class`: of a set, by method. `classes`: of the whole problem.
    """

    def __init__(
        self,
        rung: Rung,
        options: StudyOptions,
        *,
        made: Callable[[Mapping[str, Mapping[str, Any]]], Made],
        images_per_class: Mapping[str, int],
        classes: int,
    ) -> None:
        self.rung, self.made, self.images_per_class, self.classes = rung, made, images_per_class, classes
        self.preset, given = options.presets[options.preset], options.given
        changed: dict[str, dict[str, Any]] = {}
        self.free: dict[str, tuple[str, ...]] = {}
        self.usual = made({})[1]
        for method, distiller in self.usual.items():
            if isinstance(distiller, StepwiseDistiller):
                own = {"width": rung.width} if "width" in distiller.options() else {}
                changed[prefix_of(method)] = {**own, **({"batch_size": rung.batch_size} if method == "frepo" else {})}
                steps = fields_of_updates(distiller, images_per_class[method])
                if not set(steps) & set(given.get(prefix_of(method), ())):
                    self.free[method] = steps
        self.changed = changed
        self.learns = bool(self.free)
        self.trains = not {"train_steps", "steps_per_image"} <= set(given.get("train", ()))
        self.distillers = made(changed)[1]

    @abstractmethod
    def timed(self, method: str) -> Timed:
        """Of a distillation."""

    @abstractmethod
    def seconds(self, *, each: float, updates: float) -> float:
        """How long all that is left to do takes."""

    def recipe(self, updates: float) -> TrainingRecipe:
        """The recipe with this multiple of the preset's updates."""
        return self.made({**self.changed, "train": self._recipe_options(updates)})[0]

    def _recipe_options(self, updates: float) -> dict[str, Any]:
        own = self.preset["train"]
        return {
            "width": self.rung.train_width,
            "train_steps": max(1, round(updates * own["train_steps"])),
            "steps_per_image": round(updates * own["steps_per_image"], 4),
        }

    def steps(self, method: str, each: float) -> int:
        """Steps of a distillation that takes so many seconds, where they are not given: updates of the images, or of
        the network that a method trains on the data."""
        distiller = self.distillers[method]
        if method in self.free:
            return self.timed(method).steps_in(each)
        if isinstance(distiller, StepwiseDistiller):
            return distiller.updates(self.images_per_class[method])
        return distiller.steps if isinstance(distiller, TrainsNetwork) else 0

    def least(self, rung: Rung) -> float:
        """Seconds of a distillation with the steps that a rung asks for: of FRePo, else of the first that learns."""
        if not self.free:
            return 0.0
        first = "frepo" if "frepo" in self.free else next(iter(self.free))
        distiller = self.usual[first]
        assert isinstance(distiller, StepwiseDistiller)
        usual = distiller.updates(self.images_per_class[first])
        asked = self.timed(first).of(max(1, round(rung.steps * usual / self.preset["frepo"]["steps"])))
        # one step of each, as the networks of MTT may take longer than the steps of FRePo
        return max(asked, *(self.timed(method).of(1) for method in self.free))

    def options(self, *, each: float, updates: float) -> dict[str, dict[str, Any]]:
        """The options that this comes to, by the prefixes of their flags."""
        options: dict[str, dict[str, Any]] = {**self.changed, "train": self._recipe_options(updates)}
        for method, names in self.free.items():
            distiller = self.distillers[method]
            assert isinstance(distiller, StepwiseDistiller)
            found = distiller.with_updates(self.steps(method, each), self.images_per_class[method]).options()
            options[prefix_of(method)] = {**options[prefix_of(method)], **{name: found[name] for name in names}}
        return options

    def described(self, options: Mapping[str, Mapping[str, Any]]) -> str:
        """What these are, in words."""
        recipe, distillers = self.made(options)
        learning = {name: own for name, own in distillers.items() if isinstance(own, StepwiseDistiller)}
        widths = dict.fromkeys(own.options()["width"] for own in learning.values() if "width" in own.options())
        words = [f"width {' and '.join(map(str, widths))}"] if widths else []
        words += [
            f"{own.updates(self.images_per_class[name])} steps of {name} in a distillation"
            for name, own in learning.items()
        ]
        if "frepo" in learning:
            words.append(f"batches of {learning['frepo'].options()['batch_size']}")
        updates = recipe.steps_for(self.classes * max(self.images_per_class.values()))
        return ", ".join([*words, f"networks of width {recipe.width}", f"{updates} updates of one on all classes"])


def fields_of_updates(distiller: StepwiseDistiller, images_per_class: int) -> tuple[str, ...]:
    """The options that say how many updates a distillation takes."""
    before = distiller.options()
    more = distiller.with_updates(2 * distiller.updates(images_per_class) + 2, images_per_class).options()
    return tuple(name for name, value in more.items() if value != before[name])

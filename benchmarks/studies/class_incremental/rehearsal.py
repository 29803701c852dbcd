"""What the parts of a class-incremental run take on this machine, each found out by doing a little of it."""

from dataclasses import replace
from functools import cached_property
from math import ceil
from typing import Any

import torch

from benchmarks.harness.rehearsal import (
    OF_SPEED,
    Timed,
    distillation_timed,
    seconds_of,
    seconds_of_drawing,
    seconds_until_workers,
    steady,
)
from benchmarks.studies.class_incremental.arms import Arm
from benchmarks.studies.class_incremental.streams import StreamStudy, gdumb, images_that_fit
from continual import DistilledBuffer, class_incremental, experience_accuracies
from continual.byte_budget import SAMPLED_PER_CLASS, ImageSize
from continual.classes_at_once import divides_classes, sizes_of_parts
from distill import Distiller, PreprocessedImages, Random
from distill.distillers.initialize import choose_per_class
from distill.distillers.run import Run
from distill.sets.codecs import codec_of, label_codec_of
from distill.training.recipe import TrainingRecipe

__all__ = ["Rehearsal"]

STUDY = "benchmarks.studies.class_incremental.study"  # what workers import


class Rehearsal:
    """The first class order of `run`, a little of each of its parts; each is timed once.

    - `images_per_class`: of a set, by method. `opening`: seconds of making the stream; `preprocessing`: of fitting and
      applying that.
    """

    def __init__(self, run: StreamStudy, arms: list[Arm], equal_arms: list[Arm]) -> None:
        self.run, self.seed, self.equal_arms = run, run.options.seeds[0], equal_arms
        self.preprocessing, (self.train, self.test) = seconds_of(lambda: run.images(self.seed))
        self.opening, self.benchmark = seconds_of(lambda: run.benchmark(self.seed))
        self.images_per_class = {arm.method: self.count(arm) for arm in arms}
        self._trained: dict[tuple[Any, ...], tuple[Timed, float]] = {}
        self._distilled: dict[tuple[Any, ...], Timed] = {}

    def count(self, arm: Arm) -> int:
        """Images per class of an arm; about, where bytes say how many they are."""
        return arm.images_per_class or max(1, images_that_fit(self.run, arm, self.seed))

    @cached_property
    def reading(self) -> float:
        """Seconds until a buffer has read the images of the first step, and chosen random ones."""
        return seconds_of(lambda: self._filled(self.benchmark.train_stream[0]))[0]

    @cached_property
    def drawing(self) -> float:
        """Seconds of drawing a set of all classes."""
        count = max(self.images_per_class.values())
        return seconds_of_drawing(Random().distill(self._sample(count), images_per_class=count))

    @cached_property
    def worker_start(self) -> float:
        """Seconds until workers have imported what they need, and have images and a stream."""
        return seconds_until_workers(STUDY, self.run.train, self.train.preprocessing) + self.opening

    @cached_property
    def equal_counts(self) -> dict[str, float]:
        """About how many images per class the arms have that are compared at equal bytes."""
        if not self.equal_arms:
            return {}
        first, *others = self.equal_arms
        sample = Random().distill(self.train, images_per_class=SAMPLED_PER_CLASS, seed=self.seed)
        size = ImageSize.measured(sample, codec_of(first.codec), label_codec_of(first.labels))
        count = self.images_per_class[first.method]
        each = size.expected(learned=not self.run.distiller(first).selects_real_images)
        nbytes = ceil(count * each + size.overhead / self.run.sizes[0])
        found = {arm.method: float(max(1, images_that_fit(self.run, arm.at(nbytes), self.seed))) for arm in others}
        return {first.method: float(count), **found}

    def _sample(self, images_per_class: int) -> PreprocessedImages:
        """So many real images of each class."""
        return self.train.subset(choose_per_class(self.train.labels, images_per_class, torch.Generator()))

    def _filled(self, experience: Any) -> DistilledBuffer:
        """A buffer of random images of an experience."""
        policy = DistilledBuffer(
            Random(), images_per_class=max(self.images_per_class.values()), classes=self.train.classes,
            preprocessing=self.train.preprocessing,
        )  # fmt: skip
        policy.post_adapt(None, experience)
        return policy

    def distilling(self, distiller: Distiller, images_per_class: int, classes: int) -> Timed:
        """Of the distillation of a step with so many classes, all of its parts."""
        at_once = self.run.options.classes_at_once if divides_classes(distiller) else None
        parts = sizes_of_parts(classes, at_once)
        first = self._part_timed(distiller, images_per_class, classes, parts[0])
        return Timed(first.fixed * len(parts), first.step * len(parts))

    def _part_timed(self, distiller: Distiller, images_per_class: int, classes: int, together: int) -> Timed:
        """Of a distillation of so many classes `together`, of a step with `classes`."""
        options = distiller.options()
        key = (distiller.method, images_per_class, together, *(options[name] for name in OF_SPEED if name in options))
        if key not in self._distilled:
            k = self.run.sizes.index(classes)
            wanted = torch.tensor(self.benchmark.classes_order)[sum(self.run.sizes[:k]) :][:together]
            data, held_out = (part.subset(torch.isin(part.labels, wanted)) for part in (self.train, self.test))
            asked = Run(images_per_class=images_per_class, device=self.run.options.device, held_out=held_out)
            self._distilled[key] = distillation_timed(distiller, data, asked)
        return self._distilled[key]

    def training(self, recipe: TrainingRecipe, images: int) -> Timed:
        """Of a training on so many images: what comes before it, and an update."""
        first = self._training(recipe, whole=False)[0]
        few = self.run.sizes[0] * max(self.images_per_class.values())
        batch = min(recipe.batch_size, images)
        step = first.step
        if batch > few:
            most = min(recipe.batch_size, self.train.num_classes * max(self.images_per_class.values()))
            last = self._training(recipe, whole=True)[0].step
            step += (last - first.step) * min(1.0, (batch - few) / max(1, most - few))
        return Timed(first.fixed * images / few, step)

    def testing(self, recipe: TrainingRecipe) -> float:
        """Seconds of testing a network on the classes of the first step."""
        return self._training(recipe, whole=False)[1]

    def _training(self, recipe: TrainingRecipe, *, whole: bool) -> tuple[Timed, float]:
        """Of a training on a buffer of the classes of the first step, or of all; and seconds of a test on those."""
        key = (recipe.network, recipe.width, recipe.depth, recipe.norm, recipe.batch_size, whole)
        if key not in self._trained:
            stream: Any = self.benchmark
            if whole:
                sample = self._sample(max(self.images_per_class.values()))
                stream = class_incremental(sample, self.test, steps=1)
            experience, tests = stream.train_stream[0], stream.test_stream[:1]
            policy = self._filled(experience)

            def strategy(steps: int) -> Any:
                short = replace(recipe, train_steps=steps, steps_per_image=0.0)
                return gdumb(self.run, policy, seed=self.seed, index=0, recipe=short, progress=False)

            timed = steady(lambda steps: strategy(steps).train(experience))
            self._trained[key] = timed, 0.0 if whole else self._tested(strategy(1), tests)
        return self._trained[key]

    @staticmethod
    def _tested(strategy: Any, tests: Any) -> float:
        """Seconds of a test, the first one left out."""
        experience_accuracies(strategy, tests)
        return seconds_of(lambda: experience_accuracies(strategy, tests))[0]

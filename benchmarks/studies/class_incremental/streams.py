"""What studies of a class-incremental stream share: its images, its experiences, the networks trained along it."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.checks import check_at_least, check_seeds, named_by_flags
from benchmarks.harness.data import check_counts, kept_preprocessing
from benchmarks.harness.experiment import Experiment
from benchmarks.harness.methods import distiller_class, prefix_of
from benchmarks.harness.options import class_options
from benchmarks.studies.class_incremental.arms import Arm
from benchmarks.studies.class_incremental.options import StreamOptions
from continual import (
    DistilledBuffer,
    GDumb,
    accuracy_evaluator,
    class_incremental,
    class_order,
    experience_accuracies,
)
from continual.byte_budget import SAMPLED_PER_CLASS, ByteBudget, ImageSize
from continual.classes_at_once import divides_classes
from continual.scenario import step_sizes
from distill import Distiller, InputError, LabelledImages, PreprocessedImages, Preprocessing, Random
from distill.runtime.seeds import generator_for
from distill.sets.codecs import codec_of, label_codec_of
from distill.store import Store
from distill.training.recipe import TrainingRecipe

__all__ = ["StreamStudy", "buffer_of", "final_record", "gdumb", "images_that_fit", "some_measured", "tested"]


class StreamStudy(Experiment):
    """One run on a class-incremental stream: its options resolved and checked, its data loaded."""

    options: StreamOptions

    def __init__(self, options: StreamOptions, methods: tuple[str, ...]) -> None:
        self.options = options
        check_at_least(options, 1, "steps", "networks", "classes_at_once")
        check_at_least(options, 0, "held_out")
        check_seeds(options.seeds)
        super().__init__(options, held_out=options.held_out)
        check_steps(self.train, options)
        self.sizes = step_sizes(self.train.num_classes, options.steps, options.first)
        self.methods = methods
        self.recipe, self.distillers = self.made({})
        check_classes_at_once(options, self.distillers)
        self._images: tuple[str, PreprocessedImages, PreprocessedImages] | None = None

    def made(self, changes: Mapping[str, Mapping[str, Any]]) -> tuple[TrainingRecipe, dict[str, Distiller]]:
        """The recipe and the distillers; `changes`: to options of the preset, by prefix."""
        own = class_options(self.options, channels=self.train.images.shape[-1], changes=changes)
        distillers = {name: distiller_class(name)(**own.get(prefix_of(name), {})) for name in self.methods}
        return TrainingRecipe(**own["train"]), distillers

    def check_arms(self, arms: Iterable[Arm]) -> None:
        """Raise `InputError` where an option does not go with the images, hours before it would be needed."""
        height, width, channels = self.train.images.shape[1:]
        shape = (channels, height, width)
        for arm in arms:
            with named_by_flags(prefix_of(arm.method)):
                self.distiller(arm).check_images(shape, self.train.num_classes)
            codec_of(arm.codec).check_shape(shape)
            if arm.images_per_class is not None:
                check_counts(self.train, arm.images_per_class)
        self.recipe.build(image_shape=shape, num_classes=self.train.num_classes, generator=torch.Generator())

    def distiller(self, arm: Arm) -> Distiller:
        """The distiller of an arm."""
        distiller = self.distillers[arm.method]
        return distiller.with_options(codec=arm.codec) if arm.through else distiller

    def resolved(self) -> dict[str, Any]:
        """The recipe and the distillers."""
        return {"train": vars(self.recipe), **{name: own.options() for name, own in self.distillers.items()}}

    def images(self, seed: int) -> tuple[PreprocessedImages, PreprocessedImages]:
        """Training and test images, preprocessed for a class order; the last ones are kept."""
        name = self._preprocessing_name(seed)
        if self._images is None or self._images[0] != name:
            preprocessing = self.preprocessing(seed)
            self._images = (name, preprocessing.apply(self.train), preprocessing.apply(self.test))
        return self._images[1:]

    def preprocessing(self, seed: int) -> Preprocessing:
        """Fitted on all training images or on those of the first step; kept in the run's folder, as ZCA takes long.

        Where a method is private, a fixed one, for all methods alike.
        """
        if private := [own for own in self.distillers.values() if own.is_private]:
            return private[0].preprocessing_for(self.train)
        data = self.train
        if self.options.fit_preprocessing == "first":
            classes = class_order(data.num_classes, seed)[: self.sizes[0]]
            data = data.subset([label in classes for label in data.labels.tolist()])
        return kept_preprocessing(Store(self.folder), self._preprocessing_name(seed), data)

    def benchmark(self, seed: int) -> Any:
        """The Avalanche benchmark of a class order."""
        steps, first = self.options.steps, self.options.first
        return class_incremental(*self.images(seed), steps=steps, seed=seed, first=first)

    def _preprocessing_name(self, seed: int) -> str:
        return f"preprocessing-order-{seed}" if self.options.fit_preprocessing == "first" else "preprocessing"


def check_steps(train: LabelledImages, options: StreamOptions) -> None:
    """Raise `InputError` when the steps do not divide the classes."""
    total = train.num_classes
    if options.first is None and total % options.steps:
        possible = ", ".join(str(n) for n in range(1, total + 1) if total % n == 0)
        raise InputError(
            f"--steps {options.steps} does not divide the {total} classes of {train.name}; possible: {possible}, or "
            "--first N for a first step of its own size"
        )
    if options.first is not None and not 1 <= options.first <= total:
        raise InputError(f"--first is {options.first}; expected 1 to {total}, the classes of {train.name}")


def check_classes_at_once(options: StreamOptions, distillers: Mapping[str, Distiller]) -> None:
    """Raise `InputError` where it was typed and no method heeds it; in a run that is resumed others may."""
    typed = options.given.get("run", {}).get("classes_at_once") is not None and not options.resume
    if typed and not any(map(divides_classes, distillers.values())):
        raise InputError(
            f"--classes-at-once has no effect: it is for methods that learn images and are not private, and none of "
            f"{', '.join(distillers) or 'the methods'} does; leave it out"
        )


def buffer_of(run: StreamStudy, arm: Arm, seed: int, *, store: Path) -> DistilledBuffer:
    """The buffer of an arm on a class order; it finds in `store` what was distilled before, networks in the run's."""
    train, test = run.images(seed)
    total = None if arm.memory_bytes is None else arm.memory_bytes * train.num_classes
    return DistilledBuffer(
        run.distiller(arm),
        images_per_class=arm.images_per_class,
        memory_bytes=total,
        codec=arm.codec,
        labels=arm.labels,
        classes_at_once=run.options.classes_at_once,
        seed=seed,
        device=run.options.device,
        classes=train.classes,
        preprocessing=train.preprocessing,
        held_out=None if run.distiller(arm).is_private else test,
        store=Store(store, shared=Store(run.folder / "networks")),
        progress=True,
    )


def gdumb(
    run: StreamStudy, policy: DistilledBuffer, *, seed: int, index: int, recipe: TrainingRecipe | None = None,
    progress: bool = True,
) -> GDumb:  # fmt: skip
    """Network number `index` of a class order; the same seeds for every arm. `recipe`: default: the run's."""
    generator, (train, _) = generator_for(seed, index), run.images(seed)
    recipe = recipe or run.recipe
    model = recipe.build(image_shape=train.image_shape, num_classes=train.num_classes, generator=generator)
    return GDumb(
        model=model,
        storage_policy=policy,
        recipe=recipe,
        seed=generator.initial_seed(),
        device=run.options.device,
        evaluator=accuracy_evaluator(),
        progress=progress,
    )


def tested(
    strategies: list[GDumb], experience: Any, tests: Any, about: dict[str, Any], distilled: float
) -> dict[str, Any]:
    """The record of one step: every network trained on the buffer and tested. `distilled`: seconds before that."""
    started = time.monotonic()
    accuracies, matrix_rows = [], []
    for strategy in strategies:
        strategy.train(experience)
        accuracy, by_step = experience_accuracies(strategy, tests)
        accuracies.append(accuracy)
        matrix_rows.append(by_step)
    seconds = {"distil": distilled, "train": time.monotonic() - started}
    return {**about, "accuracy": accuracies, "accuracy_by_step": matrix_rows, "seconds": seconds}


def final_record(run: StreamStudy, arm: Arm, seed: int, *, store: Path, ahead: float = 0.0) -> dict[str, Any]:
    """The record of an arm on a class order after the last step alone.

    - `ahead`: seconds that distilling took before.
    """
    benchmark, started = run.benchmark(seed), time.monotonic()
    policy = buffer_of(run, arm, seed, store=store)
    for experience in benchmark.train_stream:
        policy.post_adapt(None, experience)
    buffer = policy.buffer  # held, so that it is decoded once for all networks
    about = {
        "arm": arm.name,
        "method": arm.method,
        "codec": arm.codec,
        "labels": arm.labels,
        "through": arm.through,
        "options": run.distiller(arm).options(),
        "order": seed,
        "images": len(buffer),
        "images_per_class": len(buffer) / run.train.num_classes,
        "bytes_per_class": policy.nbytes / run.train.num_classes,
        **({} if policy.ledger is None else {"epsilon": policy.ledger.epsilon, "delta": policy.ledger.delta}),
    }
    strategies = [gdumb(run, policy, seed=seed, index=i) for i in range(run.options.networks)]
    return tested(strategies, experience, benchmark.test_stream, about, time.monotonic() - started + ahead)


def images_that_fit(run: StreamStudy, arm: Arm, seed: int, *, more: int = 0) -> int:
    """About how many images per class fit, as the buffer estimates it from the class order's first step.

    - `more`: bytes that a strategy keeps beside each image.
    """
    train, _ = run.images(seed)
    first = torch.isin(train.labels, torch.tensor(class_order(train.num_classes, seed)[: run.sizes[0]]))
    sample = Random().distill(train.subset(first), images_per_class=SAMPLED_PER_CLASS, seed=seed)
    size = ImageSize.measured(sample, codec_of(arm.codec), label_codec_of(arm.labels))
    size = replace(size, each=size.each + more)
    assert arm.memory_bytes is not None
    budget = ByteBudget(arm.memory_bytes * train.num_classes, train.num_classes, adaptive=False)
    return budget.images_per_class(size, run.sizes[0], learned=not run.distiller(arm).selects_real_images)


def some_measured(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records; raises `InputError` where all say why they were left out, as a table of nothing helps nobody."""
    if all("left_out" in record for record in records):
        reasons = dict.fromkeys(f"{record['arm']}: {record['left_out']}" for record in records)
        raise InputError(f"nothing to measure ({'; '.join(reasons)}); raise --memory-bytes, or choose other --arms")
    return records

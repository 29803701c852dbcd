"""Class-incremental learning with a replay buffer of distilled, random or herded images (GDumb)."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.checks import check_at_least, check_seeds
from benchmarks.harness.data import check_counts, for_channels, kept_preprocessing
from benchmarks.harness.experiment import Experiment, run_experiment
from benchmarks.harness.kept import kept
from benchmarks.harness.methods import chosen_methods, distiller_class, option_classes
from benchmarks.harness.options import class_options
from benchmarks.harness.tasks import Tasks
from benchmarks.studies.class_incremental.options import PRESETS, ClassIncrementalOptions
from benchmarks.studies.class_incremental.report import describe_step, reported
from continual import (
    DistilledBuffer,
    GDumb,
    accuracy_evaluator,
    class_incremental,
    class_order,
    experience_accuracies,
)
from continual.scenario import step_sizes
from distill import InputError, LabelledImages, PreprocessedImages, Preprocessing
from distill.runtime.seeds import generator_for
from distill.store import Content, MadeFrom, Store
from distill.training.recipe import TrainingRecipe

__all__ = ["ClassIncremental", "main"]


def main(options: ClassIncrementalOptions) -> None:
    """Run the benchmark and write its folder."""
    run_experiment(ClassIncremental, options)


class ClassIncremental(Experiment):
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    options: ClassIncrementalOptions

    def __init__(self, options: ClassIncrementalOptions) -> None:
        self.options = replace(options, method=chosen_methods(options.method))
        check_options(options)
        super().__init__(options, held_out=options.held_out)
        check_classes(self.train, self.test, options)
        self.sizes = step_sizes(self.train.num_classes, options.steps, options.first)
        own = {prefix: self._class_options(prefix) for prefix in option_classes()}
        self.recipe = TrainingRecipe(**own["train"])
        self.distillers = {name: distiller_class(name)(**own.get(name, {})) for name in self.options.method}
        self._check_images()
        self._images: tuple[str, PreprocessedImages, PreprocessedImages] | None = None

    @staticmethod
    def default_folder(options: ClassIncrementalOptions) -> Path:
        """Named for the data set and the steps."""
        return Path("results") / f"cl-{Path(options.dataset).stem}-{options.steps}steps"

    def _class_options(self, prefix: str) -> dict[str, Any]:
        preset = PRESETS[self.options.preset].get(prefix, {})
        return class_options(self.options, prefix=prefix, preset=for_channels(preset, self.train))

    def _check_images(self) -> None:
        """Raise `InputError` where an option does not go with the images, hours before it would be needed."""
        height, width, channels = self.train.images.shape[1:]
        shape = (channels, height, width)
        for distiller in self.distillers.values():
            distiller.check_images(shape, self.train.num_classes)
        self.recipe.build(image_shape=shape, num_classes=self.train.num_classes, generator=torch.Generator())

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
        """Fitted on all training images or on those of the first step; kept in the run's folder, as ZCA takes long."""
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

    def measure(self, tasks: Tasks) -> list[dict[str, Any]]:
        """The records of every class order, method and step."""
        seeds, steps = self.options.seeds, self.options.steps
        streams = [(method, seed) for seed in seeds for method in self.options.method]
        if tasks.side_by_side:
            for seed in seeds:
                self.preprocessing(seed)  # fitted by one process, found by the others
            tasks.results(distil_ahead, [(*stream, k) for stream in streams for k in range(steps)], unit="distillation")
        return tasks.results(measure_stream, streams, unit="step", describe=describe_step, each=steps)

    def report(self, measured: list[dict[str, Any]], cost: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Draw the plots; returns the figures by name and the table."""
        return reported(self.folder, self.record(), measured)

    def places(self) -> Iterator[str]:
        """Where the plot and the images are."""
        yield f"accuracy plot: {self.folder / 'accuracy.png'}"
        for method in self.options.method:
            yield f"images of {method}: {folder_of(self, method, self.options.seeds[0]) / 'images.png'}"


def check_options(options: ClassIncrementalOptions) -> None:
    """Raise `InputError` for numbers that make no sense."""
    check_at_least(options, 1, "steps", "networks", "images_per_class")
    check_at_least(options, 0, "held_out")
    check_seeds(options.seeds)


def check_classes(train: LabelledImages, test: LabelledImages, options: ClassIncrementalOptions) -> None:
    """Raise `InputError` when steps do not divide the classes or one has no test image; warn of small classes."""
    total = train.num_classes
    if options.first is None and total % options.steps:
        possible = ", ".join(str(n) for n in range(1, total + 1) if total % n == 0)
        raise InputError(
            f"--steps {options.steps} does not divide the {total} classes of {train.name}; possible: {possible}, or "
            "--first N for a first step of its own size"
        )
    check_counts(train, options.images_per_class)
    absent = [name for class_id, name in enumerate(test.classes) if not (test.labels == class_id).any()]
    if absent:
        raise InputError(f"{len(absent)} classes of {test.name} have no test image: {', '.join(absent[:5])}; add some")


def measure_stream(run: ClassIncremental, method: str, seed: int) -> Iterator[dict[str, Any]]:
    """One method on one class order; yields a record for each step, those found in the folder included."""
    folder = folder_of(run, method, seed)
    train, _ = run.images(seed)
    benchmark = run.benchmark(seed)
    policy = buffer_of(run, method, seed)
    strategies = [gdumb(run, policy, train, seed=seed, index=i) for i in range(run.options.networks)]
    for k, experience in enumerate(benchmark.train_stream):
        started = time.monotonic()
        policy.post_adapt(None, experience)
        store, name, made_from = ahead_of(run, method, seed, k)
        ahead = store.load(name, made_from)
        about = {
            "method": method,
            "order": seed,
            "step": k + 1,
            "classes_seen": sum(run.sizes[: k + 1]),
            "images": len(policy.buffer),
        }
        seconds = time.monotonic() - started + (ahead.metadata["seconds"] if ahead else 0.0)
        make = partial(measured_step, strategies, experience, benchmark.test_stream[: k + 1], about, seconds)
        record = kept(step_file(run, method, seed, k), make)
        store.remove(name)
        yield record
    synthetic = policy.synthetic
    assert synthetic is not None
    synthetic.save(folder / "synthetic.safetensors")
    synthetic.plot(folder / "images.png")


def measured_step(
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


def folder_of(run: ClassIncremental, method: str, seed: int) -> Path:
    """The folder of one method on one class order."""
    return run.folder / method / f"order-{seed}"


def step_file(run: ClassIncremental, method: str, seed: int, k: int) -> Path:
    """The file with the record of a step."""
    return folder_of(run, method, seed) / f"step-{k + 1}.json"


def buffer_of(run: ClassIncremental, method: str, seed: int) -> DistilledBuffer:
    """A buffer that finds in the folder what was distilled before."""
    train, test = run.images(seed)
    return DistilledBuffer(
        run.distillers[method],
        images_per_class=run.options.images_per_class,
        seed=seed,
        device=run.options.device,
        classes=train.classes,
        preprocessing=train.preprocessing,
        held_out=test,
        store=folder_of(run, method, seed),
        progress=True,
    )


def gdumb(run: ClassIncremental, policy: DistilledBuffer, train: PreprocessedImages, *, seed: int, index: int) -> GDumb:
    """Network number `index` of a class order; the same seeds for every method."""
    generator = generator_for(seed, index)
    model = run.recipe.build(image_shape=train.image_shape, num_classes=train.num_classes, generator=generator)
    return GDumb(
        model=model,
        storage_policy=policy,
        recipe=run.recipe,
        seed=generator.initial_seed(),
        device=run.options.device,
        evaluator=accuracy_evaluator(),
        progress=True,
    )


def ahead_of(run: ClassIncremental, method: str, seed: int, k: int) -> tuple[Store, str, MadeFrom]:
    """The entry with the seconds of a step that was distilled ahead, which is there until the step is measured."""
    made_from = run.made_from(seed=seed, step=k + 1, **run.distillers[method].options())
    return Store(folder_of(run, method, seed)), f"ahead-{k + 1}", made_from


def distil_ahead(run: ClassIncremental, method: str, seed: int, k: int) -> Iterator[None]:
    """Distil the classes of one step, to be found in the folder when the stream is measured."""

    def make() -> Content:
        benchmark = run.benchmark(seed)
        started = time.monotonic()
        buffer_of(run, method, seed).post_adapt(None, benchmark.train_stream[k])
        return {}, {"seconds": time.monotonic() - started}

    if not step_file(run, method, seed, k).exists():
        store, name, made_from = ahead_of(run, method, seed, k)
        store.get(name, made_from, make)
    yield

"""Class-incremental learning with a replay buffer of distilled, random or herded images.

At every step the new classes are distilled to a few images each, these join the buffer, and networks are trained
from scratch on the buffer alone (GDumb); measured is the test accuracy over all classes seen so far.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from benchmarks.harness.data import check_counts, fingerprints, for_channels, kept_preprocessing, load_parts
from benchmarks.harness.folder import check_record, open_folder
from benchmarks.harness.methods import METHODS, OPTION_CLASSES, chosen_methods
from benchmarks.harness.options import (
    add_cache_option,
    add_class_options,
    add_run_options,
    class_options,
    fill_preset,
)
from benchmarks.harness.process import set_up_process
from benchmarks.harness.results import add_process
from benchmarks.harness.tasks import add_job_options, check_jobs, workers
from benchmarks.studies.class_incremental.report import print_table, write_report
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
from distill.files import read_json, write_json
from distill.runtime.checks import check_device
from distill.runtime.progress import progress_bar
from distill.runtime.seeds import generator_for
from distill.training.recipe import TrainingRecipe

# What differs from the defaults of the classes, which are the paper's. "quick": see the README.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "quick": {
        "run": {"seeds": [0], "networks": 2},
        "frepo": {"steps": 500, "batch_size": 256, "learning_rate": 8e-3, "width": 32, "norm": "instance"},
        "herding": {"width": 32},
        "dm": {"steps": 300, "batch_size": 64, "width": 32},
        "dsa": {"iterations": 4, "inner_loop": 10, "batch_size": 64, "width": 32},
        "train": {
            "norm": "instance",
            "width": 32,
            "loss": "soft-cross-entropy",
            "learning_rate": 3e-3,
            "warmup_steps": 100,
            "batch_size": 128,
            "train_steps": 100,
            "steps_per_image": 0.15,
        },
    },
    "paper": {
        "run": {"seeds": [0, 1, 2, 3, 4], "networks": 1},
        "frepo": {"steps": 500_000, "mirror": True},
        "train": {"train_steps": 10_000},
    },
}
LEFT_OUT = {"images_per_class", "seed", "device"}  # options of the run as a whole


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line, presets filled in."""
    parser = argparse.ArgumentParser(
        description=__doc__, usage="%(prog)s [options]", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--steps", type=int, default=10, help="class-incremental steps; must divide the classes (default: 10)")
    add("--first", type=int, metavar="N",
        help="classes of the first step, the others being shared by the other steps (default: as many as in those)")
    add("--method", choices=[*METHODS, "all"], nargs="+", default=["frepo", "random", "herding"],
        help="what fills the buffer, one or several (default: frepo random herding, side by side)")
    add("--images-per-class", type=int, default=20, help="images of each class in the buffer (default: 20)")
    add("--seeds", type=int, nargs="+", help="class orders (default: 0 (quick), 0 1 2 3 4 (paper))")
    add("--networks", type=int, help="networks trained after every step (default: 2 (quick), 1 (paper))")
    add("--fit-preprocessing", choices=["all", "first"], default="all",
        help="fit it on all classes, as published, which looks at future ones, or on those of the first step alone")
    add("--held-out", type=int, default=0, metavar="N",
        help="measure on the first N training images of each class, kept out of training, instead of the test set: "
        "for choosing options (default: 0)")
    add_run_options(parser, presets=PRESETS, dataset="cifar100", output="results/cl-DATASET-STEPSsteps")
    add_cache_option(parser)
    add_job_options(parser, jobs="processes side by side (default: 1): first the distillation of every step of every "
        "method and order, then the training of every method and order.")
    for prefix, cls in OPTION_CLASSES.items():
        presets = {name: preset.get(prefix, {}) for name, preset in PRESETS.items()}
        add_class_options(parser, cls, prefix=prefix, presets=presets, leave_out=LEFT_OUT)
    arguments = parser.parse_args(argv)
    fill_preset(arguments, PRESETS)
    arguments.method = chosen_methods(arguments.method)
    name = Path(arguments.dataset).stem
    arguments.output = arguments.output or Path("results") / f"cl-{name}-{arguments.steps}steps"
    return arguments


class Run:
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder: Path = arguments.output
        self.methods = arguments.method
        check_run_options(arguments)
        self.train, self.test = load_parts(arguments)
        check_classes(self.train, self.test, arguments)
        self.sizes = step_sizes(self.train.num_classes, arguments.steps, arguments.first)
        options = {prefix: self._class_options(prefix) for prefix in OPTION_CLASSES}
        self.recipe = TrainingRecipe(**options["train"])
        self.distillers = {name: METHODS[name](**options.get(name, {})) for name in self.methods}
        self._check_images()
        self._fingerprints = fingerprints(self.train, self.test)
        self._images: tuple[Path, PreprocessedImages, PreprocessedImages] | None = None

    def _class_options(self, prefix: str) -> dict[str, Any]:
        preset = PRESETS[self.arguments.preset].get(prefix, {})
        return class_options(self.arguments, prefix=prefix, preset=for_channels(preset, self.train))

    def _check_images(self) -> None:
        """Raise `InputError` where an option does not go with the images, hours before it would be needed."""
        height, width, channels = self.train.images.shape[1:]
        shape = (channels, height, width)
        for distiller in self.distillers.values():
            distiller.check_images(shape, self.train.num_classes)
        self.recipe.build(image_shape=shape, num_classes=self.train.num_classes, generator=torch.Generator())

    def options(self) -> dict[str, Any]:
        """Everything that was asked for, as resolved, and fingerprints of the data."""
        given = {k: v for k, v in vars(self.arguments).items() if "." not in k and k != "width"}
        resolved = {**given, "train": vars(self.recipe), "data": self._fingerprints}
        return json.loads(json.dumps(resolved | {n: d.options() for n, d in self.distillers.items()}, default=str))

    def images(self, seed: int) -> tuple[PreprocessedImages, PreprocessedImages]:
        """Training and test images, preprocessed for a class order; the last ones are kept."""
        path = self._preprocessing_path(seed)
        if self._images is None or self._images[0] != path:
            preprocessing = self.preprocessing(seed)
            self._images = (path, preprocessing.apply(self.train), preprocessing.apply(self.test))
        return self._images[1:]

    def preprocessing(self, seed: int) -> Preprocessing:
        """Fitted on all training images, or on those of the first step; kept in the folder, since ZCA takes a while."""
        data = self.train
        if self.arguments.fit_preprocessing == "first":
            classes = class_order(data.num_classes, seed)[: self.sizes[0]]
            data = data.subset([label in classes for label in data.labels.tolist()])
        return kept_preprocessing(self._preprocessing_path(seed), data)

    def benchmark(self, seed: int) -> Any:
        """The Avalanche benchmark of a class order."""
        steps, first = self.arguments.steps, self.arguments.first
        return class_incremental(*self.images(seed), steps=steps, seed=seed, first=first)

    def _preprocessing_path(self, seed: int) -> Path:
        first = self.arguments.fit_preprocessing == "first"
        return self.folder / (f"preprocessing-order-{seed}.safetensors" if first else "preprocessing.safetensors")


def check_run_options(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for numbers that make no sense and devices that are not there."""
    for name in ("steps", "networks", "images_per_class"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; wanted at least 1")
    if arguments.held_out < 0:
        raise InputError(f"--held-out is {arguments.held_out}; wanted 0 or more")
    if min(arguments.seeds) < 0 or max(arguments.seeds) >= 2**32:
        raise InputError(f"--seeds are {arguments.seeds}; wanted numbers from 0 to 2**32 - 1")
    if len(set(arguments.seeds)) < len(arguments.seeds):
        raise InputError(f"--seeds {arguments.seeds} names an order twice")
    check_jobs(arguments)
    check_device(arguments.device)


def check_classes(train: LabelledImages, test: LabelledImages, arguments: argparse.Namespace) -> None:
    """Raise `InputError` when steps do not divide the classes or one has no test image; warn of small classes."""
    total = train.num_classes
    if arguments.first is None and total % arguments.steps:
        possible = ", ".join(str(n) for n in range(1, total + 1) if total % n == 0)
        raise InputError(
            f"--steps {arguments.steps} does not divide the {total} classes of {train.name}; possible: {possible}, or "
            "--first N for a first step of its own size"
        )
    check_counts(train, arguments.images_per_class)
    absent = [name for class_id, name in enumerate(test.classes) if not (test.labels == class_id).any()]
    if absent:
        raise InputError(f"{len(absent)} classes of {test.name} have no test image: {', '.join(absent[:5])}; add some")


def measure_stream(run: Run, method: str, seed: int) -> Iterator[dict[str, Any]]:
    """One method on one class order; yields a record for each step, those found in the folder included."""
    folder = folder_of(run, method, seed)
    train, _ = run.images(seed)
    benchmark = run.benchmark(seed)
    policy = buffer_of(run, method, seed)
    strategies = [gdumb(run, policy, train, seed=seed, index=i) for i in range(run.arguments.networks)]
    for k, experience in enumerate(benchmark.train_stream):
        path, ahead = folder / f"step-{k + 1}.json", distilled_ahead(folder, k)
        started = time.monotonic()
        policy.post_adapt(None, experience)
        if not path.exists():
            distilled = time.monotonic()
            accuracies, matrix_rows = [], []
            for strategy in strategies:
                strategy.train(experience)
                accuracy, by_step = experience_accuracies(strategy, benchmark.test_stream[: k + 1])
                accuracies.append(accuracy)
                matrix_rows.append(by_step)
            seconds_ahead = read_json(ahead)["seconds"] if ahead.exists() else 0.0
            record = {
                "method": method,
                "order": seed,
                "step": k + 1,
                "classes_seen": sum(run.sizes[: k + 1]),
                "images": len(policy.buffer),
                "accuracy": accuracies,
                "accuracy_by_step": matrix_rows,
                "seconds": {"distil": distilled - started + seconds_ahead, "train": time.monotonic() - distilled},
            }
            write_json(path, record)
        ahead.unlink(missing_ok=True)
        yield read_json(path)
    synthetic = policy.synthetic
    assert synthetic is not None
    synthetic.save(folder / "synthetic.safetensors")
    synthetic.plot(folder / "images.png")


def folder_of(run: Run, method: str, seed: int) -> Path:
    """Where all of one method on one class order lies."""
    return run.folder / method / f"order-{seed}"


def buffer_of(run: Run, method: str, seed: int) -> DistilledBuffer:
    """A buffer that finds in the folder what was distilled before."""
    train, test = run.images(seed)
    return DistilledBuffer(
        run.distillers[method],
        images_per_class=run.arguments.images_per_class,
        seed=seed,
        device=run.arguments.device,
        classes=train.classes,
        preprocessing=train.preprocessing,
        held_out=test,
        store=folder_of(run, method, seed),
        progress=True,
    )


def gdumb(run: Run, policy: DistilledBuffer, train: PreprocessedImages, *, seed: int, index: int) -> GDumb:
    """Network number `index` of a class order; the same seeds for every method."""
    generator = generator_for(seed, index)
    model = run.recipe.build(image_shape=train.image_shape, num_classes=train.num_classes, generator=generator)
    return GDumb(
        model=model,
        storage_policy=policy,
        recipe=run.recipe,
        seed=generator.initial_seed(),
        device=run.arguments.device,
        evaluator=accuracy_evaluator(),
        progress=True,
    )


# -- side by side ------------------------------------------------------------------------------------------------------


def run_of_worker(arguments: argparse.Namespace) -> Run:
    """A run that is open already, as a worker needs it."""
    run = Run(arguments)
    check_record(run.folder, run.options())
    return run


def distilled_ahead(folder: Path, k: int) -> Path:
    """Where the seconds of a step's distillation are, from when it was done ahead until the step is measured."""
    return folder / f"step-{k + 1}.distilled.json"


def distil_ahead(run: Run, method: str, seed: int, k: int) -> None:
    """Distil the classes of one step, to be found in the folder when the stream is measured."""
    folder = folder_of(run, method, seed)
    if (folder / f"step-{k + 1}.json").exists() or distilled_ahead(folder, k).exists():
        return
    benchmark = run.benchmark(seed)
    started = time.monotonic()
    buffer_of(run, method, seed).post_adapt(None, benchmark.train_stream[k])
    write_json(distilled_ahead(folder, k), {"seconds": time.monotonic() - started})


def measure_whole_stream(run: Run, method: str, seed: int) -> list[dict[str, Any]]:
    """`measure_stream` to its end."""
    return list(measure_stream(run, method, seed))


def measure_side_by_side(run: Run, started: float) -> list[dict[str, Any]]:
    """All records, in the order in which `measure_one_by_one` has them."""
    seeds, steps = run.arguments.seeds, range(run.arguments.steps)
    streams = [(method, seed) for seed in seeds for method in run.methods]
    distillations = [(*stream, k) for stream in streams for k in steps]
    for seed in seeds:
        run.preprocessing(seed)  # fitted by one process, found by the others
    measured: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    count = len(distillations) + len(streams)
    with (
        workers(__name__, "run_of_worker", run.arguments) as pieces,
        progress_bar(shown=True, total=count, desc="distillations, then streams", unit="piece") as bar,
    ):
        for _ in pieces.done("distil_ahead", distillations):
            add_process(run.folder, started, workers=pieces.workers)
            bar.update()
        for stream, records in pieces.done("measure_whole_stream", streams):
            measured[stream] = records
            add_process(run.folder, started, workers=pieces.workers)
            for record in records:
                tqdm.write(describe_step(record))
            bar.update()
        return [record for stream in streams for record in measured[stream]]


# -- one by one --------------------------------------------------------------------------------------------------------


def measure_one_by_one(run: Run, started: float) -> list[dict[str, Any]]:
    """The records of every class order, method and step."""
    records = []
    for seed in run.arguments.seeds:
        for method in run.methods:
            stream = measure_stream(run, method, seed)
            # A bar for each method, since a step of one takes ten times as long as one of another.
            title = f"{method}, order {seed}"
            for record in progress_bar(stream, shown=True, total=run.arguments.steps, desc=title, unit="step"):
                records.append(record)
                add_process(run.folder, started)
                tqdm.write(describe_step(record))
    return records


def describe_step(record: dict[str, Any]) -> str:
    """One line on one step."""
    accuracy = 100 * sum(record["accuracy"]) / len(record["accuracy"])
    return (
        f"{record['method']:8} order {record['order']} step {record['step']:2}: {record['classes_seen']:3} classes, "
        f"{record['images']:4} images, accuracy {accuracy:.1f} %"
    )


def main(argv: list[str] | None = None) -> None:
    """Run the benchmark and write its folder."""
    started = time.monotonic()
    arguments = parse(argv)
    set_up_process(device=arguments.device, precision=arguments.precision)
    run = Run(arguments)
    with open_folder(run.folder, run.options(), resume=arguments.resume):
        records = (measure_side_by_side if arguments.jobs > 1 else measure_one_by_one)(run, started)
        cost = add_process(run.folder, started)
        write_report(run.folder, run.options(), records, cost)
    print_table(run.folder)
    print(f"accuracy plot: {run.folder / 'accuracy.png'}")
    for method in run.methods:
        print(f"images of {method}: {run.folder / method / f'order-{arguments.seeds[0]}' / 'images.png'}")
    print(f"results in {run.folder}")

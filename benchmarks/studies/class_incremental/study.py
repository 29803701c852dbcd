"""Class-incremental learning with a replay buffer of distilled, random or herded images (GDumb)."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import ceil
from pathlib import Path
from typing import Any

from benchmarks.harness.budget import Choice
from benchmarks.harness.budget_plan import checked_budget
from benchmarks.harness.checks import check_at_least
from benchmarks.harness.experiment import run_experiment
from benchmarks.harness.kept import kept
from benchmarks.harness.methods import chosen_methods
from benchmarks.harness.tasks import Tasks
from benchmarks.studies.class_incremental.ahead import Ahead
from benchmarks.studies.class_incremental.arms import IMAGES_PER_CLASS, Arm, arms_of, equal_arms
from benchmarks.studies.class_incremental.budget import choice_for
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions
from benchmarks.studies.class_incremental.report import describe_equal, describe_step, reported
from benchmarks.studies.class_incremental.streams import StreamStudy, buffer_of, final_record, gdumb, tested

__all__ = ["ClassIncremental", "main"]


def main(options: ClassIncrementalOptions) -> None:
    """Run the benchmark and write its folder."""
    run_experiment(ClassIncremental, options)


class ClassIncremental(StreamStudy):
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    options: ClassIncrementalOptions

    def __init__(self, options: ClassIncrementalOptions) -> None:
        check_at_least(options, 1, "images_per_class", "memory_bytes")
        methods = chosen_methods(options.method)
        if options.images_per_class is None and options.memory_bytes is None:
            options = replace(options, images_per_class=IMAGES_PER_CLASS)
        options = checked_budget(options, methods)
        arms = arms_of(options, methods)
        self.arms = {arm.method: arm for arm in arms}
        self.equal_arms = {arm.method: arm for arm in equal_arms(options, arms)}
        super().__init__(replace(options, method=methods), methods)
        self.check_arms([*arms, *self.equal_arms.values()])
        self.choice = None if options.budget is None else Choice.recorded(self.folder)
        if self.choice is not None:
            self.recipe, self.distillers = self.made(self.choice.options)

    @staticmethod
    def default_folder(options: ClassIncrementalOptions) -> Path:
        """Named for the data set and the steps."""
        return Path("results") / f"cl-{Path(options.dataset).stem}-{options.steps}steps"

    def resolved(self) -> dict[str, Any]:
        """The recipe, the distillers and the arms."""
        chosen = {} if self.choice is None else {"chosen": vars(self.choice)}
        return {**super().resolved(), "arms": [vars(arm) for arm in self.arms.values()], **chosen}

    def prepare(self) -> None:
        """Choose what `--budget` is enough for, once: a resumed run and its workers find the choice in the record."""
        if self.options.budget is None:
            return
        if self.choice is None:
            arms, equal = [*self.arms.values()], [*self.equal_arms.values()]
            self.choice = choice_for(self, arms, equal, spent=lambda: time.monotonic() - self.started)
            self.recipe, self.distillers = self.made(self.choice.options)
            print(self.choice.words)

    def measure(self, tasks: Tasks) -> dict[str, list[dict[str, Any]]]:
        """The records of every class order, method and step, and of those at equal bytes."""
        seeds, steps = self.options.seeds, self.options.steps
        streams = [(method, seed) for seed in seeds for method in self.options.method]
        if tasks.side_by_side:
            for seed in seeds:
                self.preprocessing(seed)  # fitted by one process, found by the others
            each_step = [(*stream, k) for stream in streams for k in range(steps)]
            tasks.results(distil_ahead, each_step, unit="distillation")
            longest_first = sorted(each_step, key=lambda task: -task[-1])
            tasks.results(measure_step, longest_first, unit="step", describe=describe_step)
        describe = None if tasks.side_by_side else describe_step  # described already
        measured = tasks.results(measure_stream, streams, unit="step", describe=describe, each=steps)
        equal = [(method, seed) for method, seed in streams if method in self.equal_arms]
        return {
            "steps": measured,
            "equal_bytes": tasks.results(measure_at_equal_bytes, equal, unit="arm", describe=describe_equal)
            if equal else [],
        }  # fmt: skip

    def report(self, measured: dict[str, Any], cost: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Draw the plots; returns the results by name and the table."""
        return reported(self.folder, self.record(), measured["steps"], measured["equal_bytes"])

    def places(self) -> Iterator[str]:
        """Where the plot and the images are."""
        yield f"accuracy plot: {self.folder / 'accuracy.png'}"
        for method in self.options.method:
            yield f"images of {method}: {folder_of(self, method, self.options.seeds[0]) / 'images.png'}"


def measure_stream(run: ClassIncremental, method: str, seed: int) -> Iterator[dict[str, Any]]:
    """One method on one class order; yields a record for each step, those found in the folder included."""
    stream = Stream(run, method, seed)
    for k in range(run.options.steps):
        yield stream.measured(k)
        stream.ahead(k).forget()
    synthetic = stream.policy.synthetic
    assert synthetic is not None
    synthetic.save(stream.folder / "synthetic.safetensors")
    synthetic.plot(stream.folder / "images.png")


def measure_step(run: ClassIncremental, method: str, seed: int, k: int) -> Iterator[dict[str, Any]]:
    """One step of a method on a class order, whose images were distilled ahead; `measure_stream` finds the record."""
    yield Stream(run, method, seed).measured(k)


class Stream:
    """One method on one class order: its buffer, filled step by step, and the networks that are trained on it."""

    def __init__(self, run: ClassIncremental, method: str, seed: int) -> None:
        self.run, self.method, self.seed, self.arm = run, method, seed, run.arms[method]
        self.folder = folder_of(run, method, seed)
        self.benchmark = run.benchmark(seed)
        self.policy = buffer_of(run, self.arm, seed, store=self.folder)
        self.strategies = [gdumb(run, self.policy, seed=seed, index=i) for i in range(run.options.networks)]
        self.filled = 0  # steps whose classes are in the buffer

    def ahead(self, k: int) -> Ahead:
        """Step number `k`, distilled ahead."""
        return Ahead(self.run, self.arm, self.seed, k, store=self.folder)

    def measured(self, k: int) -> dict[str, Any]:
        """The record of step number `k`, from the folder where it is there; steps are asked for in their order."""
        started, experience = time.monotonic(), None
        while self.filled <= k:
            started, experience = time.monotonic(), self.benchmark.train_stream[self.filled]
            self.policy.post_adapt(None, experience)
            self.filled += 1
        policy, classes_seen = self.policy, sum(self.run.sizes[: k + 1])
        buffer = policy.buffer  # held: decoded once for all networks
        about = {
            "method": self.method,
            "order": self.seed,
            "step": k + 1,
            "classes_seen": classes_seen,
            "images": len(buffer),
            "bytes_per_class": policy.nbytes / classes_seen,
            **({} if policy.ledger is None else {"epsilon": policy.ledger.epsilon, "delta": policy.ledger.delta}),
        }
        seconds = time.monotonic() - started + self.ahead(k).seconds()
        tests = self.benchmark.test_stream[: k + 1]
        return kept(
            step_file(self.run, self.method, self.seed, k),
            partial(tested, self.strategies, experience, tests, about, seconds),
        )


def measure_at_equal_bytes(run: ClassIncremental, method: str, seed: int) -> Iterator[dict[str, Any]]:
    """One method after the last step, in the bytes that the first method's images take in the same codec."""
    arm, first = run.equal_arms[method], next(iter(run.equal_arms.values()))
    store = folder_of(run, method, seed)
    if arm is not first:
        store, arm = run.folder / "equal-bytes" / method / f"order-{seed}", arm.at(bytes_of(run, first, seed))
    path = run.folder / "equal-bytes" / f"{method}-order-{seed}.json"
    yield kept(path, partial(final_record, run, arm, seed, store=store))


def bytes_of(run: ClassIncremental, arm: Arm, seed: int) -> int:
    """Bytes per class of an arm whose images are distilled already."""
    policy = buffer_of(run, arm, seed, store=folder_of(run, arm.method, seed))
    for experience in run.benchmark(seed).train_stream:
        policy.post_adapt(None, experience)
    # Rounded up: in equal steps as many images of the same size fit then.
    return ceil(policy.nbytes / run.train.num_classes)


def folder_of(run: ClassIncremental, method: str, seed: int) -> Path:
    """The folder of one method on one class order."""
    return run.folder / method / f"order-{seed}"


def step_file(run: ClassIncremental, method: str, seed: int, k: int) -> Path:
    """The file with the record of a step."""
    return folder_of(run, method, seed) / f"step-{k + 1}.json"


def distil_ahead(run: ClassIncremental, method: str, seed: int, k: int) -> Iterator[None]:
    """Distil the classes of one step, to be found in the folder when the stream is measured."""
    if not step_file(run, method, seed, k).exists():
        Ahead(run, run.arms[method], seed, k, store=folder_of(run, method, seed)).distil()
    yield

"""Accuracy against epsilon: private sets, alone or as a replay buffer, and DP-SGD on the records themselves."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.harness.checks import check_at_least
from benchmarks.harness.experiment import run_experiment
from benchmarks.harness.kept import kept_record
from benchmarks.harness.methods import METHODS
from benchmarks.harness.tasks import Tasks
from benchmarks.studies.class_incremental.arms import Arm
from benchmarks.studies.class_incremental.streams import StreamStudy, final_record
from benchmarks.studies.private.options import SGD, WITHOUT_NOISE, PrivateOptions
from benchmarks.studies.private.report import describe, reported
from continual import PrivateNaive, accuracy_evaluator, class_incremental, experience_accuracies
from distill import Distiller, InputError, Preprocessing, PrivateSGD
from distill.accounting.accountant import require_accountant
from distill.accounting.fixed_preprocessing import fixed_preprocessing

__all__ = ["PrivateStudy", "main"]


def main(options: PrivateOptions) -> None:
    """Run the benchmark and write its folder."""
    run_experiment(PrivateStudy, options)


@dataclass(frozen=True)
class PrivateArm(Arm):
    """A method with a budget for each set that it makes."""

    epsilon: float = math.inf


class PrivateStudy(StreamStudy):
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    # A point depends on its method, budget and seed alone, so that others may be added to a run; options of its method
    # are compared with its own record.
    free_options: ClassVar[frozenset[str]] = frozenset({"method", "epsilon", "seeds", *METHODS, *SGD})
    options: PrivateOptions

    def __init__(self, options: PrivateOptions) -> None:
        check_private_options(options)
        self.sgd = PrivateSGD(delta=options.delta, **sgd_options(options))
        super().__init__(options, options.sets)
        self.check_arms(arm_of(self, *point[:2]) for point in self.points() if point[0] not in SGD)
        if {*SGD} & {*options.method}:
            self.sgd.build(self.images(0)[0], seed=0)

    @staticmethod
    def default_folder(options: PrivateOptions) -> Path:
        """Named for the data set and the steps."""
        name = f"private-{Path(options.dataset).stem}-{options.images_per_class}"
        return Path("results") / (f"{name}-{options.steps}steps" if options.steps > 1 else name)

    def preprocessing(self, seed: int) -> Preprocessing:
        """A fixed one, for all methods alike."""
        return fixed_preprocessing(self.train.images.shape[-1])

    def distiller(self, arm: Arm) -> Distiller:
        """The distiller of an arm, with its budget."""
        assert isinstance(arm, PrivateArm)
        distiller = super().distiller(arm)
        if not distiller.is_private:
            return distiller
        return distiller.with_options(epsilon=arm.epsilon, delta=self.options.delta)

    def sgd_at(self, epsilon: float) -> PrivateSGD:
        """DP-SGD with a budget; without noise, but clipped all the same, where it is infinite."""
        return replace(self.sgd, noise_multiplier=0.0) if math.isinf(epsilon) else replace(self.sgd, epsilon=epsilon)

    def resolved(self) -> dict[str, Any]:
        """The recipe, the distillers, DP-SGD; budgets as text, as JSON has no infinity."""
        budgets = [f"{epsilon:g}" for epsilon in self.options.epsilon]
        return {**super().resolved(), "dp-sgd": vars(self.sgd), "epsilon": budgets}

    def points(self) -> list[tuple[str, float, int]]:
        """Method, budget and seed of everything that is measured."""
        return [
            (method, epsilon, seed)
            for seed in self.options.seeds
            for epsilon in self.options.epsilon
            for method in dict.fromkeys(self.options.method)
            if math.isfinite(epsilon) or method in (*WITHOUT_NOISE, *SGD)
        ]

    def measure(self, tasks: Tasks) -> list[dict[str, Any]]:
        """The records of every method, budget and seed."""
        return tasks.results(measure_point, self.points(), unit="point", describe=describe)

    def report(self, measured: list[dict[str, Any]], cost: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Draw the plot; returns the results by name and the table."""
        return reported(self.folder, self.record(), measured)

    def places(self) -> Iterator[str]:
        """Where the plot is."""
        yield f"accuracy against epsilon: {self.folder / 'epsilon.png'}"


def check_private_options(options: PrivateOptions) -> None:
    """Raise `InputError` for budgets and options that make no sense, alone or together."""
    require_accountant()
    check_at_least(options, 1, "images_per_class")
    if not all(epsilon > 0 for epsilon in options.epsilon) or len(set(options.epsilon)) < len(options.epsilon):
        said = " ".join(f"{epsilon:g}" for epsilon in options.epsilon)
        raise InputError(f"--epsilon is {said}; expected different numbers above 0, or inf")
    typed = options.given.get("run", {})
    if "fit_preprocessing" in typed:
        raise InputError("--fit-preprocessing has no effect: nothing may be fitted on private records; leave it out")
    if options.steps == 1 and "dp-sgd-joint" in options.method:
        raise InputError("--method dp-sgd-joint is dp-sgd where all classes come at once; give more --steps, or dp-sgd")
    sgd = [f"--{name.replace('_', '-')}" for name in typed if name.startswith("sgd_")]
    if sgd and not {*SGD} & {*options.method}:
        raise InputError(f"{sgd[0]} was given, but no --method is dp-sgd")


def sgd_options(options: PrivateOptions) -> dict[str, Any]:
    """What the command line says of DP-SGD."""
    given = {name.removeprefix("sgd_"): value for name, value in vars(options).items() if name.startswith("sgd_")}
    width = {} if options.width is None else {"width": options.width}
    return {**width, **{name: value for name, value in given.items() if value is not None}}


def arm_of(run: PrivateStudy, method: str, epsilon: float) -> PrivateArm:
    """What fills the buffer: plain float images, made with this budget."""
    name = method if math.isfinite(epsilon) else WITHOUT_NOISE[method]
    return PrivateArm(name, "float32", "float32", images_per_class=run.options.images_per_class, epsilon=epsilon)


def measure_point(run: PrivateStudy, method: str, epsilon: float, seed: int) -> Iterator[dict[str, Any]]:
    """One method with one budget and seed, after the last step."""
    folder = run.folder / f"epsilon-{epsilon:g}" / method / f"seed-{seed}"
    if method in SGD:
        options = vars(run.sgd_at(epsilon))
        make = partial(trained, run, method, epsilon, seed)
    else:
        arm = arm_of(run, method, epsilon)
        options = run.distiller(arm).options()
        make = partial(final_record, run, arm, seed, store=folder)
    point = kept_record(folder / "point.json", make, method=method, options=options)
    yield {"epsilon": math.inf, **point, "method": method, "asked": f"{epsilon:g}"}


def trained(run: PrivateStudy, method: str, epsilon: float, seed: int) -> dict[str, Any]:
    """The record of DP-SGD: one network, trained further at every step, or on all steps together."""
    started, sgd, (train, test) = time.monotonic(), run.sgd_at(epsilon), run.images(seed)
    strategy = PrivateNaive(
        model=sgd.build(train, seed),
        sgd=sgd,
        preprocessing=train.preprocessing,
        seed=seed,
        device=run.options.device,
        evaluator=accuracy_evaluator(),
        progress=True,
    )
    benchmark = run.benchmark(seed)
    joint = class_incremental(train, test, steps=1, seed=seed) if method == "dp-sgd-joint" else benchmark
    for experience in joint.train_stream:
        strategy.train(experience)
    accuracy, by_step = experience_accuracies(strategy, benchmark.test_stream)
    assert strategy.ledger is not None
    seconds = {"distil": 0.0, "train": time.monotonic() - started}
    return {
        "options": vars(sgd), "order": seed, "epsilon": strategy.ledger.epsilon, "delta": strategy.ledger.delta,
        "accuracy": [accuracy], "accuracy_by_step": [by_step], "seconds": seconds,
    }  # fmt: skip

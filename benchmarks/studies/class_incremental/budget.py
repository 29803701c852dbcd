"""How long a run of the class-incremental benchmark takes with given options, for the rule of `--budget`."""

from collections.abc import Callable

from benchmarks.harness.budget import Choice, Rung, choose, duration
from benchmarks.harness.budget_plan import MethodsPlan, jobs_of, threads_of_a_worker
from benchmarks.harness.rehearsal import Timed, makespan
from benchmarks.studies.class_incremental.arms import Arm
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions
from benchmarks.studies.class_incremental.rehearsal import Rehearsal
from benchmarks.studies.class_incremental.streams import StreamStudy
from distill.distillers.trained_network import TrainsNetwork

__all__ = ["choice_for"]


def choice_for(run: StreamStudy, arms: list[Arm], equal_arms: list[Arm], *, spent: Callable[[], float]) -> Choice:
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


class StreamPlan(MethodsPlan):
    """The run with the options of a rung; what it takes follows from what was timed."""

    def __init__(self, rehearsal: Rehearsal, rung: Rung, arms: list[Arm], equal_arms: list[Arm]) -> None:
        self.rehearsal, self.run = rehearsal, rehearsal.run
        self.arms, self.equal_arms = arms, equal_arms
        self.networks, self.seeds = self.run.options.networks, len(self.run.options.seeds)
        self.jobs = jobs_of(self.run.options)
        super().__init__(
            rung, self.run.options, made=self.run.made, images_per_class=rehearsal.images_per_class,
            classes=self.run.train.num_classes,
        )  # fmt: skip

    def timed(self, method: str) -> Timed:
        """Of a distillation of the last step."""
        return self._timed(method, self.run.sizes[-1])

    def _timed(self, method: str, classes: int) -> Timed:
        """Of a distillation of a step with so many classes."""
        return self.rehearsal.distilling(self.distillers[method], self.images_per_class[method], classes)

    def seconds(self, *, each: float, updates: float) -> float:
        """How long all that is left to do takes; its tasks in the order of `ClassIncremental.measure`."""
        recipe, sizes = self.recipe(updates), self.run.sizes
        rehearsal, ahead = self.rehearsal, self.jobs > 1
        read = [rehearsal.reading * size / sizes[0] for size in sizes]
        tested = rehearsal.testing(recipe) / sizes[0]

        def network(images: float, seen: int) -> float:
            training = rehearsal.training(recipe, round(images))
            return self.networks * (training.of(recipe.steps_for(round(images))) + tested * seen)

        distilled: list[float] = []
        trained: list[list[float]] = []
        streams, equal = [], []
        for arm in self.arms:
            count, steps = self.images_per_class[arm.method], self.steps(arm.method, each)
            own = [self._timed(arm.method, size).of(steps) for size in sizes]
            distilled += [rehearsal.opening + parts for parts in map(sum, zip(own, read, strict=True))]
            seen = [sum(sizes[: k + 1]) for k in range(len(sizes))]
            networks = [network(count * so_far, so_far) for so_far in seen]
            reads = rehearsal.opening + sum(read) + rehearsal.drawing
            trained.append([rehearsal.opening + sum(read[: k + 1]) + one for k, one in enumerate(networks)])
            streams.append(reads + (0 if ahead else sum(own) + sum(networks)))
        for arm in self.equal_arms:
            first = arm is self.equal_arms[0]
            # networks that are trained on the data are kept, images that are learned are not
            steps = 0 if isinstance(self.distillers[arm.method], TrainsNetwork) else self.steps(arm.method, each)
            again = 0 if first else sum(self._timed(arm.method, size).of(steps) for size in sizes)
            opened = (rehearsal.opening + sum(read)) * (1 if first else 2)
            last = network(rehearsal.equal_counts[arm.method] * self.classes, self.classes)
            equal.append(opened + again + last)
        last_first = zip(*(reversed(steps) for steps in trained), strict=True)
        steps_alone = [seconds for step in last_first for seconds in step * self.seeds]
        before = [distilled * self.seeds, steps_alone] if ahead else []
        phases = [*before, streams * self.seeds, equal * self.seeds]
        waiting = rehearsal.worker_start if ahead else 0.0
        # The preprocessing of all classes is fitted by now; that of the first step of every other order is not.
        refitted = (self.seeds - 1) * rehearsal.preprocessing if self.run.options.fit_preprocessing == "first" else 0.0
        return waiting + sum(makespan(tasks, self.jobs) for tasks in phases) + refitted + rehearsal.drawing

"""What a replay memory of a given number of bytes per class should hold: accuracy of many arms at many sizes."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.harness.experiment import run_experiment
from benchmarks.harness.kept import kept_record
from benchmarks.harness.methods import METHODS
from benchmarks.harness.tasks import Tasks
from benchmarks.studies.class_incremental.ahead import Ahead
from benchmarks.studies.class_incremental.arms import Arm, parsed_arms
from benchmarks.studies.class_incremental.report import describe_equal
from benchmarks.studies.class_incremental.streams import StreamStudy, final_record, images_that_fit, some_measured
from benchmarks.studies.memory.options import MemoryOptions
from benchmarks.studies.memory.report import reported
from distill import InputError

__all__ = ["MemoryStudy", "main"]


def main(options: MemoryOptions) -> None:
    """Run the benchmark and write its folder."""
    run_experiment(MemoryStudy, options)


class MemoryStudy(StreamStudy):
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    # A point depends on its method, codecs, size and class order alone, so that others may be added to a run; options
    # of its method are compared with its own record.
    free_options: ClassVar[frozenset[str]] = frozenset({"arms", "memory_bytes", "seeds", "most_images", *METHODS})
    options: MemoryOptions

    def __init__(self, options: MemoryOptions) -> None:
        check_sizes(options)
        self.arms = parsed_arms(options.arms)
        super().__init__(options, tuple(dict.fromkeys(arm.method for arm in self.arms.values())))
        self.check_arms(self.arms.values())

    @staticmethod
    def default_folder(options: MemoryOptions) -> Path:
        """Named for the data set and the steps."""
        return Path("results") / f"memory-{Path(options.dataset).stem}-{options.steps}steps"

    def measure(self, tasks: Tasks) -> list[dict[str, Any]]:
        """The records of every arm, size and class order."""
        seeds = self.options.seeds
        for seed in seeds:
            self.preprocessing(seed)  # fitted by one process, found by the others
        # Small memories first, so that every arm has a point early, unless workers learn all images before.
        sizes = sorted(self.options.memory_bytes)
        points = [(text, size, seed) for size in sizes for seed in seeds for text in self.arms]
        if tasks.side_by_side:
            learned = [point for point in points if not self.distiller(self.arms[point[0]]).selects_real_images]
            tasks.results(distil_ahead, [(*p, k) for p in learned for k in range(self.options.steps)], unit="step")
        return some_measured(tasks.results(measure_point, points, unit="point", describe=describe))

    def report(self, measured: list[dict[str, Any]], cost: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Draw the plot; returns the results by name and the table."""
        return reported(self.folder, self.record(), measured)

    def places(self) -> Iterator[str]:
        """Where the plot is."""
        yield f"accuracy against bytes: {self.folder / 'memory.png'}"


def check_sizes(options: MemoryOptions) -> None:
    """Raise `InputError` unless there are arms, and sizes of at least a byte."""
    if min(options.memory_bytes) < 1:
        raise InputError(f"--memory-bytes is {min(options.memory_bytes)}; expected at least 1 byte per class")
    if options.most_images < 1:
        raise InputError(f"--most-images is {options.most_images}; expected at least 1")


def measure_point(run: MemoryStudy, text: str, size: int, seed: int) -> Iterator[dict[str, Any]]:
    """One arm at one size on one class order, after the last step; or why it is left out."""
    arm = run.arms[text].at(size)
    folder = folder_of(run, text, size, seed)
    if reason := left_out(run, arm, seed):
        yield {"arm": arm.name, "order": seed, "size": size, "left_out": reason}
        return
    ahead = [Ahead(run, arm, seed, k, store=folder) for k in range(run.options.steps)]
    make = partial(final_record, run, arm, seed, store=folder, ahead=sum(step.seconds() for step in ahead))
    point = kept_record(folder / "point.json", make, method=arm.method, options=run.distiller(arm).options())
    for step in ahead:
        step.forget()
    yield {**point, "size": size}


def distil_ahead(run: MemoryStudy, text: str, size: int, seed: int, k: int) -> Iterator[None]:
    """Learn the images of one step of a point that is not measured yet, to be found in its folder."""
    arm, folder = run.arms[text].at(size), folder_of(run, text, size, seed)
    if not (folder / "point.json").exists() and not left_out(run, arm, seed):
        Ahead(run, arm, seed, k, store=folder).distil()
    yield


def folder_of(run: MemoryStudy, text: str, size: int, seed: int) -> Path:
    """The folder of a point."""
    return run.folder / f"{size}-bytes" / text.replace("/", "_").replace(":", "-") / f"order-{seed}"


def left_out(run: MemoryStudy, arm: Arm, seed: int) -> str:
    """Why a point is not measured; "" where it is."""
    fit = images_that_fit(run, arm, seed)
    if fit < 1:
        return "no image fits"
    if not run.distiller(arm).selects_real_images and fit > run.options.most_images:
        return f"{fit} images per class fit, more than --most-images {run.options.most_images}"
    return ""


def describe(record: dict[str, Any]) -> str:
    """One line on a point."""
    if "left_out" in record:
        return f"{record['arm']} at {record['size']} bytes: left out, {record['left_out']}"
    return describe_equal(record)

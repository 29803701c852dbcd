"""Dataset distillation: what networks make of a few distilled, chosen or imported images."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.harness.experiment import run_experiment
from benchmarks.harness.tasks import Tasks
from benchmarks.studies.distillation.budget import choice_for
from benchmarks.studies.distillation.checks import check_ranks
from benchmarks.studies.distillation.options import DistillationOptions
from benchmarks.studies.distillation.plots import SECONDS_PLOT
from benchmarks.studies.distillation.report import describe, reported
from benchmarks.studies.distillation.run import DistillationRun
from benchmarks.studies.distillation.sets import evaluations, pictures
from distill.runtime.distributed import is_first_rank

__all__ = ["Distillation", "main"]


def main(options: DistillationOptions) -> None:
    """Run the benchmark and write its folder."""
    check_ranks(options)
    run_experiment(Distillation, options)


class Distillation(DistillationRun):
    """What is measured in a run, and how it is reported."""

    def prepare(self) -> None:
        """Preprocess the images; choose what `--budget` is enough for, once, to be found by whoever resumes."""
        super().prepare()
        if self.options.budget is not None and self.choice is None:
            self.choice = choice_for(self, spent=lambda: time.monotonic() - self.started)
            self._resolve()
            print(self.choice.words)

    def measure(self, tasks: Tasks) -> list[dict[str, Any]]:
        """The records of every row and seed."""
        sets = [(index, seed) for index, row in enumerate(self.rows) for seed in self.seeds_of(row)]
        if tasks.side_by_side:
            self.data = None  # the workers have their own
        found = tasks.results(set_and_networks, sets, unit="set", describe=describe)
        return [record for own in found for record in own]

    def report(self, measured: list[dict[str, Any]], cost: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Draw the plots; returns the results by name and the table."""
        return reported(self, measured, cost)

    def places(self) -> Iterator[str]:
        """Where the plot and the images are."""
        yield f"accuracy plot: {self.folder / ('sweep.png' if self.options.sweep else 'accuracy.png')}"
        if self.options.curve:
            yield f"accuracy against seconds: {self.folder / SECONDS_PLOT}"
        for row in self.rows:
            yield f"images of {row.name}: {self.folder_of(row, self.seeds_of(row)[0])}"


def set_and_networks(run: Distillation, row: int, seed: int) -> Iterator[list[dict[str, Any]]]:
    """One set made, evaluated and drawn: the records of its networks. `row`: its position among the run's."""
    records = list(evaluations(run, run.rows[row], seed))
    if is_first_rank():
        pictures(run, run.rows[row], seed)
    yield records

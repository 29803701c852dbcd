"""One run of a study: what every study does alike, from its options to its folder."""

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

from benchmarks.harness.checks import check_at_least, check_classes_options, check_device_option
from benchmarks.harness.cost import add_process
from benchmarks.harness.data import fingerprints, load_data
from benchmarks.harness.options import Precision, StudyOptions
from benchmarks.harness.process import precision_for, set_up_process
from benchmarks.harness.results import print_table, write_results
from benchmarks.harness.run_folder import check_record, open_folder, recorded, space_for, write_record
from benchmarks.harness.tasks import Tasks, check_jobs, tasks_of
from distill.runtime.distributed import is_first_rank, leave_ranks, start_ranks, wait_for_ranks
from distill.store import MadeFrom

__all__ = ["Experiment", "run_experiment"]

E = TypeVar("E", bound="Experiment")
S = TypeVar("S", bound=StudyOptions)


class Experiment(ABC):
    """Options resolved and checked, data loaded.

    A study defines what it measures and how it reports that. Workers make the same run from the same options.
    """

    ranks: ClassVar[bool] = False
    """Whether a run is divided among the processes that `torchrun` starts."""
    free_options: ClassVar[frozenset[str]] = frozenset()
    """Options that may differ when a run is resumed: those that only say which of its results to make."""
    options: Any

    def __init__(self, options: StudyOptions, *, held_out: int = 0) -> None:
        check_jobs(options)
        check_device_option(options.device)
        check_at_least(options, 1, "width")
        check_classes_options(options)
        self.started = time.monotonic()
        self.folder: Path = options.output or self.default_folder(options)
        self.train, self.test = load_data(options, held_out=held_out)
        self._fingerprints: dict[str, str] | None = None

    @classmethod
    def of_worker(cls: type[E], options: Any) -> E:
        """The same run in a worker; raises `InputError` where the data are not those it was started on."""
        run = cls(options)
        check_record(run.folder, run.record(), free=cls.free_options)
        run.prepare()
        return run

    @staticmethod
    @abstractmethod
    def default_folder(options: Any) -> Path:
        """A folder named for what the run is about."""

    @abstractmethod
    def resolved(self) -> dict[str, Any]:
        """What the options became, by name: of distillers, training, ..."""

    def files(self) -> list[Path]:
        """Files that the results depend on, besides the data set."""
        return []

    def prepare(self) -> None:  # noqa: B027 (optional)
        """What is done once when the folder is open, in every process.

        What is decided there, because it takes long, becomes part of the record, and is found by whoever resumes.
        """

    @abstractmethod
    def measure(self, tasks: Tasks) -> Any:
        """Everything that is measured, in the run's folder as it is found."""

    @abstractmethod
    def report(self, measured: Any, cost: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Draw the plots; returns the results by name and the table."""

    @abstractmethod
    def places(self) -> Iterator[str]:
        """Where the plots and images are, a line each."""

    def record(self) -> dict[str, Any]:
        """Everything that was asked for, as resolved, and fingerprints of the data, JSON-able."""
        given = {name: value for name, value in vars(self.options).items() if name not in ("given", "width")}
        given |= {"output": self.folder, **self.resolved()}
        if self._fingerprints is None:
            self._fingerprints = fingerprints(self.train, self.test, files=self.files())
        return json.loads(json.dumps({**given, "data": self._fingerprints}, default=str))

    def made_from(self, **options: Any) -> MadeFrom:
        """What is made with `options` from the data of this run, for a `Store` in its folder."""
        return MadeFrom(options, self.record()["data"])


@contextmanager
def opened(make: type[E], options: StudyOptions) -> Iterator[E]:
    """The run, its folder open; of several ranks the first one writes there, and then the others read."""
    run = make(options)
    with ExitStack() as stack:
        before = run.record()
        if is_first_rank():
            space = space_for(math.prod(run.train.images.shape))
            folder = open_folder(
                run.folder, before, resume=options.resume, free=make.free_options, prepare=run.prepare,
                space=space,
            )  # fmt: skip
            stack.enter_context(folder)
            if run.record().get("chosen") != before.get("chosen"):  # by --budget, in the open folder
                write_record(run.folder, run.record())
        wait_for_ranks()
        if not is_first_rank():
            check_record(run.folder, run.record(), free=make.free_options)
            run.prepare()
        yield run


def with_precision(options: S, folder: Path) -> S:
    """Options with the precision that "auto" is: that of the run in `folder`, else what is fastest on this machine."""
    if options.precision != "auto":
        return options
    before = recorded(folder, "precision") if options.resume else None
    known = before in get_args(Precision) and before != "auto"
    found: Any = before if known else precision_for(options.device, "auto")
    return replace(options, precision=found)


def run_experiment(make: type[Experiment], options: StudyOptions) -> None:
    """Run a study and write its folder."""
    started = time.monotonic()
    options = with_precision(options, options.output or make.default_folder(options))
    set_up_process(device=options.device, precision=options.precision, shares_out=make.ranks)
    start_ranks(options.device)
    with opened(make, options) as run:
        with tasks_of(run, started) as tasks:
            measured = run.measure(tasks)
        if is_first_rank():
            cost = add_process(run.folder, started)
            figures, table = run.report(measured, cost)
            write_results(run.folder, {"options": run.record(), "cost": cost, **figures}, table)
            print_table(run.folder)
            print("\n".join([*run.places(), f"results in {run.folder}"]))
    leave_ranks()

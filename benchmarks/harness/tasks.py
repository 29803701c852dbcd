"""The tasks of a run: one after the other, or in parallel by worker processes through joblib.

A task is a function of a module, called with the run and a few numbers; it yields results. A worker builds the run from
its options once and keeps it, so that no data is sent; a task leaves its files in the run's folder, as it does without
workers. On a cluster all machines therefore need the same folders under the same paths (results, data sets, this
toolkit) and the same packages.
"""

import os
import platform
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager, redirect_stderr
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from threading import RLock
from typing import Any

import torch
from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.parallel import BACKENDS, get_active_backend
from tqdm import tqdm

from benchmarks.harness.cost import add_process, machine, peak_memory_mib
from benchmarks.harness.options import JobOptions
from benchmarks.harness.process import set_up_process
from distill import InputError
from distill.runtime.distributed import is_first_rank
from distill.runtime.progress import progress_bar
from distill.runtime.signals import interrupts_held
from distill.runtime.workers import workers_end_with_program

__all__ = ["Tasks", "by_workers", "check_jobs", "do_task", "tasks_of"]

# What a backend imports, and what to install for it.
CLUSTERS = {"dask": ("distributed", "dask distributed"), "ray": ("ray", "ray")}
ADDRESSES = {"dask": "DASK_SCHEDULER_ADDRESS", "ray": "RAY_ADDRESS"}
# Threads share torch's settings with the program; forked processes hang in what torch's threads held when they split.
NO_FRESH_PROCESSES = ("sequential", "threading", "multiprocessing")
ENDED = object()  # in place of a result, when a task has no more


def plural(unit: str) -> str:
    """More than one of it.

    >>> plural("memory"), plural("step")
    ('memories', 'steps')
    """
    return f"{unit[:-1]}ies" if unit.endswith("y") else f"{unit}s"


def check_jobs(options: JobOptions) -> None:
    """Raise `InputError` for numbers of jobs that make no sense, and backends that are unknown or not installed."""
    if options.jobs is not None and options.jobs < 1:
        raise InputError(f"--jobs is {options.jobs}; expected at least 1")
    name = options.backend
    if name not in CLUSTERS and (name not in BACKENDS or name in NO_FRESH_PROCESSES):
        known = [other for other in (*BACKENDS, *CLUSTERS) if other not in NO_FRESH_PROCESSES]
        raise InputError(f"--backend {name} is not available; expected {', '.join(dict.fromkeys(known))}")
    if name in CLUSTERS and find_spec(CLUSTERS[name][0]) is None:
        raise InputError(f"--backend {name} is not installed here; pip install {CLUSTERS[name][1]}")
    if options.scheduler and name not in CLUSTERS:
        raise InputError(f"--scheduler is for --backend {' or '.join(CLUSTERS)}, but --backend is {name}")
    if name == "ray" and (options.jobs or 1) == 1:  # joblib would do them here
        raise InputError(f"--backend ray does --jobs tasks at a time, but --jobs is {options.jobs}; expected 2 or more")


def by_workers(options: JobOptions) -> bool:
    """Whether the tasks of a run with these options are done by workers: several jobs, or a cluster."""
    return (options.jobs or 1) > 1 or options.backend in CLUSTERS


# -- in the program ----------------------------------------------------------------------------------------------------


@dataclass
class Tasks:
    """Does the tasks of `run`, which began at `time.monotonic()` `started`, and records their cost as they end."""

    run: Any
    started: float
    warned: set[tuple[str, str]] = field(default_factory=set)
    """Categories and texts of the warnings of workers that were passed on."""

    @property
    def side_by_side(self) -> bool:
        """Whether workers do them."""
        return by_workers(self.run.options)

    def results(
        self,
        function: Callable[..., Iterable[Any]],
        tasks: Iterable[tuple[Any, ...]],
        *,
        unit: str,
        describe: Callable[[Any], str] | None = None,
        each: int = 0,
    ) -> list[Any]:
        """What `function(run, *task)` yields for all tasks, in their order, however they are done.

        - `unit`: of the progress bar: a task, or one of `each` results of a task.
        - `describe`: a line on one result, printed when it comes.

        Raises `InputError` where a task does, or the system ends a worker.
        """
        tasks = list(tasks)
        found: dict[tuple[Any, ...], list[Any]] = {task: [] for task in tasks}
        done = self._done_by_workers if self.side_by_side else self._done_here
        with progress_bar(shown=is_first_rank(), total=(each or 1) * len(tasks), desc=plural(unit), unit=unit) as bar:
            for task, result, workers in done(function, tasks):
                if result is ENDED:
                    bar.update(0 if each else 1)
                    continue
                found[task].append(result)
                if is_first_rank():
                    add_process(self.run.folder, self.started, workers=workers)
                    if describe is not None:
                        tqdm.write(describe(result))
                bar.update(1 if each else 0)
        return [result for task in tasks for result in found[task]]

    def _done_here(self, function: Callable[..., Iterable[Any]], tasks: list[tuple[Any, ...]]) -> Iterator[Any]:
        for task in tasks:
            for result in function(self.run, *task):
                yield task, result, None
            yield task, ENDED, None

    def _pass_on(self, caught: Iterable[tuple[str, str]]) -> None:
        """Warn here of what a worker was warned of, once of each."""
        for category, text in caught:
            if (category, text) not in self.warned:
                self.warned.add((category, text))
                warnings.warn(text, referred(category), stacklevel=2)

    def _done_by_workers(self, function: Callable[..., Iterable[Any]], tasks: list[tuple[Any, ...]]) -> Iterator[Any]:
        in_worker, known = sent_by_value(self.run), {}
        local = self.run.options.backend not in CLUSTERS
        calls = [delayed(in_worker)(reference(function), task) for task in tasks]
        try:
            with closing(as_they_end(calls)) as results:
                for task, found, worker in results:
                    self._pass_on(worker.pop("warnings"))
                    known[worker["id"]] = worker
                    # joblib replaces workers of this machine now and then: those that held most, as many as at once.
                    workers = sorted(known.values(), key=lambda worker: -worker["peak_memory_mib"])
                    for result in found:
                        yield task, result, workers[: self.run.options.jobs] if local else workers
                    yield task, ENDED, None
        except BrokenProcessPool as error:
            raise InputError(
                "a worker was killed, most likely for lack of memory; continue with --resume and fewer --jobs"
            ) from error


@contextmanager
def tasks_of(run: Any, started: float) -> Iterator[Tasks]:
    """The tasks of a run, and the workers that do them; raises `InputError` when a cluster cannot be reached."""
    tasks, options = Tasks(run, started), run.options
    with ExitStack() as stack:
        if tasks.side_by_side:
            # joblib takes a run's memory for a leak, and warns of workers that it replaced because of it.
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", category=UserWarning, module="joblib")
            stack.enter_context(cluster(options))
            stack.enter_context(parallel_config(options.backend, n_jobs=options.jobs))
            stack.enter_context(workers_end_with_program())
        yield tasks


@contextmanager
def cluster(options: JobOptions) -> Iterator[None]:
    """A connection to the Dask or Ray cluster that was named, or to one that is started on this machine."""
    address = options.scheduler or os.environ.get(ADDRESSES.get(options.backend, ""))
    with ExitStack() as stack:
        try:
            with interrupts_held():
                if options.backend == "dask":
                    here = {"n_workers": options.jobs or 1, "threads_per_worker": 1, "dashboard_address": None}
                    where: dict[str, Any] = {"address": address} if address else {**here, "silence_logs": "ERROR"}
                    stack.enter_context(import_module("distributed").Client(**where))
                elif options.backend == "ray":
                    ray = import_module("ray")
                    import_module("ray.util.joblib").register_ray()
                    where = {"address": address} if address else {"num_cpus": options.jobs, "include_dashboard": False}
                    ray.init(log_to_driver=False, logging_level="ERROR", **where)
                    stack.callback(ray.shutdown)
        except (OSError, ValueError) as error:
            where_to = address or "this machine"
            raise InputError(f"--backend {options.backend}: cannot use {where_to} ({error})") from error
        yield


def as_they_end(calls: list[Any]) -> Generator[Any, None, None]:
    """The results as they come, or all at the end with a backend that cannot return them earlier."""
    if not get_active_backend()[0].supports_return_generator:
        yield from Parallel(batch_size=1)(calls)
        return
    with interrupts_held():
        results = Parallel(batch_size=1, return_as="generator_unordered")(calls)
    yield from results


def reference(named: Any) -> str:
    """A class or a function as "module:name"."""
    return f"{named.__module__}:{named.__qualname__}"


def sent_by_value(run: Any) -> Callable[[str, tuple[Any, ...]], Any]:
    """`do_task` for a run as a function that joblib sends by value, so that a worker need not find this file."""
    here = str(Path(__file__).resolve().parents[2])
    recipe = {
        "run": reference(type(run)), "options": reference(type(run.options)),
        "values": {**vars(run.options), "jobs": 1},  # a worker does one thing at a time
        "folder": os.getcwd(), "jobs": run.options.jobs or 1,
    }  # fmt: skip

    def in_worker(function: str, task: tuple[Any, ...]) -> Any:
        if here not in sys.path:
            sys.path.append(here)
        return import_module("benchmarks.harness.tasks").do_task(recipe, function, task)

    return in_worker


# -- in a worker -------------------------------------------------------------------------------------------------------

latest: list[Any] = []  # the recipe of the last run, and the run


def do_task(recipe: Mapping[str, Any], function: str, task: tuple[Any, ...]) -> tuple[Any, ...]:
    """The task, its results, and a description of this worker, with what it was warned of."""
    # Bars of several workers would be drawn over each other; Dask would send parts of a task to workers of its own.
    with redirect_stderr(StringIO()), parallel_config("threading"):
        if latest[:1] != [recipe]:
            latest[:] = [recipe, built(recipe)]  # what this warns of, the program has said
        with warnings.catch_warnings(record=True) as caught:
            results = list(referred(function)(latest[1], *task))
    told = [(reference(each.category), str(each.message)) for each in caught if issubclass(each.category, UserWarning)]
    worker = f"{platform.node()}-{os.getpid()}"
    return task, results, {
        "id": worker, "peak_memory_mib": peak_memory_mib(), "machine": machine(), "warnings": told,
    }  # fmt: skip


def built(recipe: Mapping[str, Any]) -> Any:
    """The run, built in a process that is set up as the program's own is."""
    os.chdir(recipe["folder"])
    options = referred(recipe["options"])(**recipe["values"])
    set_up_process(device=options.device, precision=options.precision)
    tqdm.set_lock(RLock())  # its own is a semaphore, which is reported as leaked when the program ends this process
    torch.set_num_threads(max(1, cpu_count() // recipe["jobs"]))
    return referred(recipe["run"]).of_worker(options)


def referred(name: str) -> Any:
    """What `reference` referred to."""
    module, _, qualname = name.partition(":")
    return getattr(import_module(module), qualname)

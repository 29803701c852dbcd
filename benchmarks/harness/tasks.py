"""Pieces of a run that do not need each other, done side by side by worker processes through joblib.

A piece is a function of the program and a few numbers. A worker builds the run from its arguments once and keeps it, so
that no data is sent around; a piece leaves its files in the run's folder, as it would without workers. On a cluster the
workers therefore need the same folders under the same paths (results, data sets, this toolkit) and the same packages.
"""

import argparse
import importlib
import os
import pickle
import platform
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager, redirect_stderr
from functools import lru_cache
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from threading import RLock
from typing import Any

import torch
from joblib import Parallel, cpu_count, delayed, parallel_config
from joblib.parallel import BACKENDS, get_active_backend
from tqdm import tqdm

from benchmarks.harness.process import set_up_process
from benchmarks.harness.results import machine, peak_memory_mib
from distill import InputError
from distill.runtime.stops import interrupts_held
from distill.runtime.workers import workers_end_with_program

__all__ = ["Pieces", "add_job_options", "check_jobs", "do_piece", "workers"]

# What a backend imports, and what to install for it.
CLUSTERS = {"dask": ("distributed", "dask distributed"), "ray": ("ray", "ray")}
# Threads share torch's settings with the program; forked processes hang in what torch's threads held when they split.
NO_FRESH_PROCESSES = ("sequential", "threading", "multiprocessing")


def add_job_options(parser: argparse.ArgumentParser, *, jobs: str, default: int | None = 1) -> None:
    """The options on workers; `jobs`: what N of them do, in words."""
    add = parser.add_argument
    add("--jobs", type=int, default=default, metavar="N",
        help=f"{jobs} Each of N > 1 has the cores divided by N as torch threads, which may change the last bits of the "
        "figures, and memory of its own")
    add("--backend", default="loky", metavar="NAME",
        help="the joblib backend that the N > 1 processes are had from: loky (this machine), or dask or ray, where "
        "installed: then results, data and this toolkit lie on a file system that all machines share (default: loky)")
    add("--scheduler", metavar="ADDRESS",
        help="of the Dask or Ray cluster (default: $DASK_SCHEDULER_ADDRESS, $RAY_ADDRESS, else one is started here for "
        "the run); Dask's workers should have one thread each, and are as many at once as it has, whatever N is")


def check_jobs(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for numbers of jobs that make no sense, and backends that are unknown or not installed."""
    if arguments.jobs is not None and arguments.jobs < 1:
        raise InputError(f"--jobs is {arguments.jobs}; wanted at least 1")
    name = arguments.backend
    if name not in CLUSTERS and (name not in BACKENDS or name in NO_FRESH_PROCESSES):
        known = [other for other in (*BACKENDS, *CLUSTERS) if other not in NO_FRESH_PROCESSES]
        raise InputError(f"--backend {name} cannot be had; wanted {', '.join(dict.fromkeys(known))}")
    if name in CLUSTERS and find_spec(CLUSTERS[name][0]) is None:
        raise InputError(f"--backend {name} is not installed here; pip install {CLUSTERS[name][1]}")
    if arguments.scheduler and name not in CLUSTERS:
        raise InputError(f"--scheduler is for --backend {' or '.join(CLUSTERS)}, but --backend is {name}")


# -- in the program ----------------------------------------------------------------------------------------------------


class Pieces:
    """What workers are told of a run, and what is known of the workers.

    - `program`: the module that has the functions.
    - `build`: its function that makes the run from the arguments.
    """

    def __init__(self, program: str, build: str, arguments: argparse.Namespace) -> None:
        # A worker does one thing at a time.
        told = argparse.Namespace(**{**vars(arguments), "jobs": 1})
        self._run = (program, build, os.getcwd(), arguments.jobs, pickle.dumps(told))
        self._jobs: int = arguments.jobs
        self._local = arguments.backend not in CLUSTERS
        self._workers: dict[str, dict[str, Any]] = {}

    @property
    def workers(self) -> list[dict[str, Any]]:
        """What each worker said of itself: machine, threads, and the most memory it has held.

        joblib replaces workers of this machine now and then; no more are listed than there are at once, those that held
        most.
        """
        known = sorted(self._workers.values(), key=lambda worker: -worker["peak_memory_mib"])
        return known[: self._jobs] if self._local else known

    def done(self, function: str, tasks: Iterable[tuple[Any, ...]]) -> Iterator[tuple[tuple[Any, ...], Any]]:
        """Each task with the result of `function(run, *task)`, in the order in which they are finished.

        Raises `InputError` where a piece does, or the system ends a worker.
        """
        in_worker = found_anywhere()
        calls = [delayed(in_worker)(self._run, function, task) for task in tasks]
        try:
            with closing(results_of(calls, self._jobs)) as results:
                for task, result, worker in results:
                    self._workers[worker["id"]] = worker
                    yield task, result
        except BrokenProcessPool as error:
            raise InputError(
                "the system ended a process, most likely for want of memory; resume with --resume and fewer --jobs"
            ) from error


@contextmanager
def workers(program: str, build: str, arguments: argparse.Namespace) -> Iterator[Pieces]:
    """Workers for the pieces of a run; raises `InputError` when a cluster cannot be reached."""
    with warnings.catch_warnings():
        # joblib takes the memory that a run fills for a leak, and tells of workers it replaced for that.
        warnings.filterwarnings("ignore", category=UserWarning, module="joblib")
        with backend(arguments):
            yield Pieces(program, build, arguments)


@contextmanager
def backend(arguments: argparse.Namespace) -> Iterator[None]:
    """joblib's backend, connected to its cluster."""
    connect = {"dask": dask_client, "ray": ray_session}.get(arguments.backend, no_cluster)
    with (
        connect(arguments) as options,
        parallel_config(arguments.backend, n_jobs=arguments.jobs, **options),
        workers_end_with_program(),
    ):
        yield


@contextmanager
def no_cluster(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Nothing to connect to."""
    yield {}


@contextmanager
def dask_client(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A client of the cluster that was named, or of one on this machine."""
    address = arguments.scheduler or os.environ.get("DASK_SCHEDULER_ADDRESS")
    local = {"n_workers": arguments.jobs, "threads_per_worker": 1, "silence_logs": "ERROR", "dashboard_address": None}
    where = {"address": address} if address else local
    with reaching(arguments, address), interrupts_held():
        client = importlib.import_module("distributed").Client(**where)
    with client:
        yield {"client": client}


@contextmanager
def ray_session(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A connection to the cluster that was named, or to one on this machine."""
    address = arguments.scheduler or os.environ.get("RAY_ADDRESS")
    local = {"num_cpus": arguments.jobs, "include_dashboard": False}
    where = {"address": address} if address else local
    ray = importlib.import_module("ray")
    importlib.import_module("ray.util.joblib").register_ray()
    with reaching(arguments, address), interrupts_held():
        ray.init(log_to_driver=False, logging_level="ERROR", **where)
    try:
        yield {}
    finally:
        ray.shutdown()


@contextmanager
def reaching(arguments: argparse.Namespace, address: str | None) -> Iterator[None]:
    """Turn what goes wrong with a connection into an `InputError`."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise InputError(f"--backend {arguments.backend}: cannot use {address or 'this machine'} ({error})") from error


def results_of(calls: list[Any], jobs: int) -> Generator[Any, None, None]:
    """The results as they come, or all at the end where the backend can do no better."""
    active, _ = get_active_backend()
    if not active.supports_return_generator:
        yield from Parallel(n_jobs=jobs, batch_size=1)(calls)
        return
    with interrupts_held():
        results = Parallel(n_jobs=jobs, batch_size=1, return_as="generator_unordered")(calls)
    yield from results


def found_anywhere() -> Callable[..., Any]:
    """`do_piece` as a function that is sent whole, so that a worker need not know where this file lies."""
    here = str(Path(__file__).resolve().parents[2])

    def in_worker(run: tuple[Any, ...], function: str, task: tuple[Any, ...]) -> Any:
        import importlib
        import sys

        if here not in sys.path:
            sys.path.append(here)
        return importlib.import_module("benchmarks.harness.tasks").do_piece(run, function, task)

    return in_worker


# -- in a worker -------------------------------------------------------------------------------------------------------


def do_piece(run: tuple[Any, ...], function: str, task: tuple[Any, ...]) -> tuple[Any, ...]:
    """The task, its result, and what is to be known of this worker."""
    # Bars of several workers would be drawn over each other; Dask would send parts of a piece to workers of its own.
    with redirect_stderr(StringIO()), parallel_config("threading"):
        result = getattr(importlib.import_module(run[0]), function)(run_in_worker(*run), *task)
    worker = f"{platform.node()}-{os.getpid()}"
    return task, result, {"id": worker, "peak_memory_mib": peak_memory_mib(), "machine": machine()}


@lru_cache(maxsize=1)
def run_in_worker(program: str, build: str, folder: str, jobs: int, arguments: bytes) -> Any:
    """The run, built once in a process that is set up as the program sets itself up."""
    os.chdir(folder)
    told = pickle.loads(arguments)
    set_up_process(device=told.device, precision=told.precision)
    tqdm.set_lock(RLock())  # its own is a semaphore, of which something complains when the program ends this process
    torch.set_num_threads(max(1, cpu_count() // jobs))
    return getattr(importlib.import_module(program), build)(told)

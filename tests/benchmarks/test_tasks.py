"""Tasks side by side: who does them, what comes back, and how it ends when something goes wrong.

This file is also the study whose tasks are done: workers import it by its name.
"""

import os
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch
from joblib import cpu_count

from benchmarks.harness import tasks
from benchmarks.harness.cost import add_process
from benchmarks.harness.options import JobOptions, MachineOptions
from benchmarks.harness.tasks import Tasks, check_jobs, tasks_of
from distill import InputError, InputWarning


@dataclass(frozen=True, kw_only=True)
class SomeOptions(JobOptions, MachineOptions):
    output: Path = Path()


class Run:
    def __init__(self, options: SomeOptions) -> None:
        self.options, self.folder, self.made = options, options.output, os.urandom(8)

    @classmethod
    def of_worker(cls, options: SomeOptions) -> "Run":
        return cls(options)


def surroundings(run: Run, number: int) -> Iterator[dict[str, Any]]:
    print("a bar", file=sys.stderr)
    for part in "ab":
        yield {
            "number": number, "part": part, "made": run.made, "options": run.options, "pid": os.getpid(),
            "threads": torch.get_num_threads(), "folder": os.getcwd(),
        }  # fmt: skip


def refuse(run: Run, number: int) -> Iterator[None]:
    raise InputError(f"{number} cannot be used")
    yield


def warn(run: Run, number: int) -> Iterator[int]:
    warnings.warn("a small class", InputWarning, stacklevel=1)
    warnings.warn(f"of task {number}", UserWarning, stacklevel=1)
    warnings.warn("of no concern", DeprecationWarning, stacklevel=1)
    yield number


def be_killed(run: Run) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def endless_if_0(run: Run, number: int, folder: Path) -> Iterator[int]:
    (folder / str(os.getpid())).touch()
    if number == 0:
        Event().wait()
    yield number


def results(options: SomeOptions, function: Any, each: list[tuple[Any, ...]], **more: Any) -> list[Any]:
    with tasks_of(Run(options), time.monotonic()) as some:
        return some.results(function, each, unit="task", **more)


@pytest.fixture
def options(tmp_path, monkeypatch) -> SomeOptions:
    monkeypatch.chdir(tmp_path)
    return SomeOptions(jobs=2, output=tmp_path / "run")


def numbers(found: list[dict[str, Any]]) -> list[tuple[int, str]]:
    return [(one["number"], one["part"]) for one in found]


# -- what comes back ---------------------------------------------------------------------------------------------------

TASKS = [(number,) for number in range(6)]
IN_ORDER = [(number, part) for number in range(6) for part in "ab"]


@pytest.mark.parametrize("jobs", [None, 1])
def test_tasks_one_after_the_other_are_done_here(options, capfd, jobs):
    found = results(replace(options, jobs=jobs), surroundings, TASKS)
    assert numbers(found) == IN_ORDER
    assert {one["pid"] for one in found} == {os.getpid()}


@pytest.mark.slow
def test_every_task_is_done_in_a_worker_that_makes_the_run_once(options, tmp_path, capfd):
    lines = []
    with tasks_of(Run(options), time.monotonic()) as some:
        found = some.results(surroundings, TASKS, unit="task")
        found += some.results(surroundings, TASKS, unit="task", describe=lambda one: lines.append(one["part"]) or "")
    assert numbers(found) == 2 * IN_ORDER
    assert len(lines) == len(IN_ORDER)
    assert {one["pid"] for one in found}.isdisjoint({os.getpid()})
    assert len({one["made"] for one in found}) == len({one["pid"] for one in found}) <= 2
    assert {one["threads"] for one in found} == {max(1, cpu_count() // 2)}
    assert {one["folder"] for one in found} == {str(tmp_path)}
    assert all(vars(one["options"]) == vars(options) | {"jobs": 1} for one in found)
    workers = add_process(options.output, 0.0)["processes"][0]["workers"]
    assert {worker["id"].rpartition("-")[2] for worker in workers} <= {str(one["pid"]) for one in found}
    assert all(worker["peak_memory_mib"] > 10 for worker in workers)
    assert "a bar" not in capfd.readouterr().err


@pytest.mark.slow
def test_warnings_of_workers_are_the_programs_once_each(options):
    with pytest.warns() as caught:
        assert results(options, warn, TASKS[:3]) == [0, 1, 2]
    told = [(each.category, str(each.message)) for each in caught if issubclass(each.category, UserWarning)]
    expected = [(InputWarning, "a small class"), *((UserWarning, f"of task {number}") for number in range(3))]
    assert sorted(told, key=str) == sorted(expected, key=str)


@pytest.mark.parametrize("jobs", [None, 1, 2])
def test_a_cluster_does_the_tasks_whatever_the_jobs(options, jobs):
    with_dask = Tasks(Run(replace(options, jobs=jobs, backend="dask", scheduler="tcp://127.0.0.1:1")), 0.0)
    assert with_dask.side_by_side
    assert Tasks(Run(replace(options, jobs=jobs)), 0.0).side_by_side == (jobs == 2)


def test_a_cluster_that_does_nothing_is_never_accepted(options, monkeypatch):
    monkeypatch.setattr(tasks, "find_spec", lambda name: True)
    check_jobs(replace(options, jobs=1, backend="dask"))
    for jobs in (None, 1):
        with pytest.raises(InputError, match=f"--backend ray does --jobs tasks at a time, but --jobs is {jobs}; "):
            check_jobs(replace(options, jobs=jobs, backend="ray"))


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_clusters_do_tasks_where_they_are_installed(options, monkeypatch, backend, module):
    pytest.importorskip(module)
    # Workers of a cluster know nothing of where this process looks for modules, and this file is none of benchmarks/.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    found = results(replace(options, backend=backend), surroundings, TASKS)
    assert numbers(found) == IN_ORDER
    assert {one["pid"] for one in found}.isdisjoint({os.getpid()})


@pytest.mark.slow
def test_tasks_are_done_by_a_dask_cluster_that_was_there_before(options, monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        theirs = {worker.pid for worker in cluster.workers.values()}
        given = replace(options, backend="dask", scheduler=cluster.scheduler_address)
        found = results(given, surroundings, TASKS[:2])
        assert {one["pid"] for one in found} <= theirs
    assert numbers(found) == IN_ORDER[:4]


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def test_mistake_in_a_task_is_the_programs(options):
    with pytest.raises(InputError, match=r"^7 cannot be used$"):
        results(options, refuse, [(7,)])


@pytest.mark.slow
def test_worker_that_the_system_ends_is_a_want_of_memory(options):
    with pytest.raises(InputError, match=r"a worker was killed, most likely for lack of memory; .*fewer --jobs"):
        results(options, be_killed, [()])


@pytest.mark.slow
def test_interrupt_ends_all_workers(options, tmp_path, capfd):
    def stop(_: int) -> str:
        os.kill(os.getpid(), signal.SIGINT)
        return ""

    with pytest.raises(KeyboardInterrupt):
        results(options, endless_if_0, [(number, tmp_path) for number in range(3)], describe=stop)
    pids = [int(path.name) for path in tmp_path.iterdir() if path.name.isdecimal()]
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jobs": 0}, "--jobs is 0; expected at least 1"),
        ({"backend": "abacus"}, "--backend abacus is not available; expected loky, dask, ray"),
        ({"backend": "threading"}, "--backend threading is not available"),
        ({"backend": "dask"}, "--backend dask is not installed here; pip install dask distributed"),
        ({"backend": "ray"}, "--backend ray is not installed here; pip install ray"),
        ({"scheduler": "tcp://here:8786"}, "--scheduler is for --backend dask or ray, but --backend is loky"),
    ],
    ids=str,
)
def test_what_is_not_available_is_refused(options, monkeypatch, changes, message):
    monkeypatch.setattr(tasks, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=message):
        check_jobs(replace(options, **changes))


@pytest.mark.parametrize("jobs", [None, 1, 3])
def test_what_is_available_is_not_refused(options, jobs):
    check_jobs(replace(options, jobs=jobs))


# -- what it cost ------------------------------------------------------------------------------------------------------


def test_memory_of_workers_is_added_and_their_time_is_not(tmp_path):
    alone = add_process(tmp_path, 0.0)
    workers = [{"id": "a", "peak_memory_mib": 1e6}, {"id": "b", "peak_memory_mib": 2e6}]
    with_workers = add_process(tmp_path, 0.0, workers=workers)
    assert with_workers["peak_memory_mib"] == pytest.approx(3e6 + alone["peak_memory_mib"], rel=1e-3)
    assert with_workers["seconds"] == pytest.approx(alone["seconds"], rel=1e-2)
    assert add_process(tmp_path, 0.0)["processes"][0]["workers"] == workers  # a last call forgets none


def test_packages_that_are_not_installed_do_not_end_a_run(tmp_path, monkeypatch):
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("benchmarks.harness.versions.version", missing)
    (process,) = add_process(tmp_path, 0.0)["processes"]
    assert process["machine"]["avalanche-lib"] == process["machine"]["frepo-toolkit"] == "not installed"

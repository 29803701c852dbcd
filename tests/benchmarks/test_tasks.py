"""Pieces side by side: who does them, what comes back, and how it ends when something goes wrong.

This file is also the program whose pieces are done: workers import it by its name.
"""

import importlib
import os
import signal
import sys
from argparse import Namespace
from pathlib import Path
from threading import Event
from types import ModuleType
from typing import Any

import pytest
import torch
from joblib import cpu_count

from distill import InputError

ARGUMENTS = Namespace(jobs=2, backend="loky", scheduler=None, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def pieces() -> ModuleType:
    return importlib.import_module("benchmarks.harness.tasks")


# -- the program -----------------------------------------------------------------------------------------------------


def build(arguments: Namespace) -> dict[str, Any]:
    return {"arguments": arguments, "built": os.urandom(8)}


def surroundings(run: dict[str, Any], number: int) -> dict[str, Any]:
    print("a bar", file=sys.stderr)
    return {**run, "number": number, "pid": os.getpid(), "threads": torch.get_num_threads(), "folder": os.getcwd()}


def refuse(run: dict[str, Any], number: int) -> None:
    raise InputError(f"{number} cannot be used")


def be_killed(run: dict[str, Any]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def endless_if_0(run: dict[str, Any], number: int, folder: Path) -> int:
    (folder / str(os.getpid())).touch()
    if number == 0:
        Event().wait()
    return number


# -- what comes back -------------------------------------------------------------------------------------------------


def test_every_task_is_done_in_a_worker_that_builds_the_run_once(pieces, capfd, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    tasks = [(number,) for number in range(6)]
    with pieces.workers("test_tasks", "build", ARGUMENTS) as started:
        done = dict(started.done("surroundings", tasks))
        again = dict(started.done("surroundings", tasks))
    assert sorted(done) == tasks
    results = [*done.values(), *again.values()]
    assert [done[task]["number"] for task in tasks] == list(range(6))
    assert {result["pid"] for result in results}.isdisjoint({os.getpid()})
    assert len({result["built"] for result in results}) == len({result["pid"] for result in results}) <= 2
    assert {result["threads"] for result in results} == {max(1, cpu_count() // 2)}
    assert {result["folder"] for result in results} == {str(tmp_path)}
    assert all(vars(result["arguments"]) == vars(ARGUMENTS) | {"jobs": 1} for result in results)
    assert {worker["id"].rpartition("-")[2] for worker in started.workers} == {str(r["pid"]) for r in results}
    assert all(worker["peak_memory_mib"] > 10 for worker in started.workers)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("backend", "module"), [("dask", "distributed"), ("ray", "ray")])
def test_clusters_do_pieces_where_they_are_installed(pieces, monkeypatch, backend, module):
    pytest.importorskip(module)
    # Ray's workers know nothing of where this process looks for modules, and this file is no program of benchmarks/.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))
    arguments = Namespace(**vars(ARGUMENTS) | {"backend": backend})
    with pieces.workers("test_tasks", "build", arguments) as started:
        done = dict(started.done("surroundings", [(0,), (1,)]))
    assert [done[number,]["number"] for number in (0, 1)] == [0, 1]


# -- what goes wrong -------------------------------------------------------------------------------------------------


def test_mistake_in_a_piece_is_the_programs(pieces):
    with (
        pytest.raises(InputError, match=r"^7 cannot be used$"),
        pieces.workers("test_tasks", "build", ARGUMENTS) as started,
    ):
        list(started.done("refuse", [(7,)]))


@pytest.mark.slow
def test_worker_that_the_system_ends_is_a_want_of_memory(pieces):
    with (
        pytest.raises(InputError, match=r"ended a process, most likely for want of memory; .*fewer --jobs"),
        pieces.workers("test_tasks", "build", ARGUMENTS) as started,
    ):
        list(started.done("be_killed", [()]))


def test_interrupt_ends_all_workers(pieces, capfd, tmp_path):
    def stop_at_first_result() -> None:
        with pieces.workers("test_tasks", "build", ARGUMENTS) as started:
            for _ in started.done("endless_if_0", [(number, tmp_path) for number in range(3)]):
                os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        stop_at_first_result()
    pids = [int(path.name) for path in tmp_path.iterdir()]
    assert pids
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"jobs": 0}, "--jobs is 0; wanted at least 1"),
        ({"backend": "abacus"}, "--backend abacus cannot be had; wanted loky, dask, ray"),
        ({"backend": "threading"}, "--backend threading cannot be had"),
        ({"backend": "dask"}, "--backend dask is not installed here; pip install dask distributed"),
        ({"backend": "ray"}, "--backend ray is not installed here; pip install ray"),
        ({"scheduler": "tcp://here:8786"}, "--scheduler is for --backend dask or ray, but --backend is loky"),
    ],
    ids=str,
)
def test_what_cannot_be_had_is_refused(pieces, monkeypatch, changes, message):
    monkeypatch.setattr(pieces, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=message):
        pieces.check_jobs(Namespace(**vars(ARGUMENTS) | changes))


@pytest.mark.parametrize("jobs", [None, 1, 3])
def test_what_can_be_had_is_not_refused(pieces, jobs):
    pieces.check_jobs(Namespace(**vars(ARGUMENTS) | {"jobs": jobs}))


# -- what it cost ----------------------------------------------------------------------------------------------------


def test_memory_of_workers_is_added_and_their_time_is_not(pieces, tmp_path):
    add_process = importlib.import_module("benchmarks.harness.results").add_process
    alone = add_process(tmp_path, 0.0)
    workers = [{"id": "a", "peak_memory_mib": 1e6}, {"id": "b", "peak_memory_mib": 2e6}]
    with_workers = add_process(tmp_path, 0.0, workers=workers)
    assert with_workers["peak_memory_mib"] == pytest.approx(3e6 + alone["peak_memory_mib"], rel=1e-3)
    assert with_workers["seconds"] == pytest.approx(alone["seconds"], rel=1e-2)
    assert add_process(tmp_path, 0.0)["processes"][0]["workers"] == workers  # a last call forgets none

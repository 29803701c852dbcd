"""Workers end with their program, however it ends; SIGTERM stops a program as Ctrl-C does."""

import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from joblib.parallel import get_active_backend

from benchmarks.studies.kills.study import left_of
from distill.runtime import workers
from distill.runtime.signals import Terminated, interrupts_held, terminations_interrupt
from distill.runtime.workers import workers_end_with_program

ROOT = Path(__file__).parents[2]

DEADLINE = 60  # seconds until something counts as stuck
# One task for two workers, so that one of them never gets any.
ENDLESS = """
import os, sys, threading
from joblib import Parallel, delayed
from distill.runtime.workers import workers_end_with_program

def task(folder):
    open(os.path.join(folder, "begun"), "w").close()
    threading.Event().wait()

if __name__ == "__main__":
    with workers_end_with_program():
        results = Parallel(n_jobs=2, batch_size=1, return_as="generator")([delayed(task)(sys.argv[1])])
        print("started", flush=True)
        threading.Event().wait()
"""
MEASURING = """
import sys
sys.path.append(sys.argv[1])
from benchmarks.harness.program import run_command
from benchmarks.studies.speed.cases import Case, measured

if __name__ == "__main__":
    sys.exit(run_command(lambda: measured(Case(what="plain", width=2, images=6, batch=6, resolution=8, time_for=600))))
"""


def wait_until(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, process.args
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name
)
def test_no_worker_outlives_its_program_busy_or_idle(tmp_path, number):
    program = tmp_path / "program.py"
    program.write_text(ENDLESS)
    process = subprocess.Popen([sys.executable, str(program), str(tmp_path)], start_new_session=True)
    try:
        wait_until((tmp_path / "begun").exists, process)
        assert len(left_of(process.pid)) >= 3
        process.send_signal(number)
        assert process.wait(DEADLINE) == -number
        wait_until(lambda: not left_of(process.pid), process)
    finally:
        for left in left_of(process.pid):
            os.kill(left, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 143)], ids=["SIGKILL", "SIGTERM"])
def test_a_case_of_the_speed_benchmark_ends_with_it(tmp_path, number, code):
    program = tmp_path / "program.py"
    program.write_text(MEASURING)
    process = subprocess.Popen(
        [sys.executable, str(program), str(ROOT)], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    try:
        wait_until(lambda: len(left_of(process.pid)) >= 3, process)
        process.send_signal(number)
        assert process.wait(DEADLINE) == code
        wait_until(lambda: not left_of(process.pid), process)
        assert process.stderr is not None
        said = process.stderr.read()
        assert number == signal.SIGKILL or said == "\nstopped\n"
    finally:
        for left in left_of(process.pid):
            os.kill(left, signal.SIGKILL)
        process.communicate()


def test_without_a_system_that_tells_the_end_is_looked_for(monkeypatch):
    monkeypatch.delattr(os, "pidfd_open", raising=False)
    monkeypatch.setattr(workers, "SECONDS_BETWEEN", 0.001)
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    ended = threading.Event()
    wait = workers.waiting_for(process.pid)

    def notice() -> None:
        wait()
        ended.set()

    threading.Thread(target=notice, daemon=True).start()
    assert not ended.wait(0.05)
    process.communicate()
    assert ended.wait(DEADLINE)


@pytest.mark.slow
def test_work_is_done_as_without_and_workers_are_used_again():
    def pids() -> set[int]:
        return set(Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4)))

    with workers_end_with_program():
        first = pids()
        assert os.getpid() not in first
    with workers_end_with_program():
        assert len(first | pids()) <= 2
    get_reusable_executor().shutdown()  # other tests would use them again, and joblib takes what these load for a leak


def test_a_backend_that_starts_no_processes_is_left_as_it_is():
    with parallel_config("threading"):
        before, _ = get_active_backend()
        with workers_end_with_program():
            assert get_active_backend()[0] is before
            assert set(Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(2))) == {os.getpid()}


# -- SIGTERM -----------------------------------------------------------------------------------------------------------


def test_a_termination_interrupts_and_afterwards_kills_again():
    def be_terminated() -> None:
        with terminations_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
            threading.Event().wait(DEADLINE)

    with pytest.raises(Terminated):
        be_terminated()
    assert issubclass(Terminated, KeyboardInterrupt)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_handler_of_the_users_is_left_alone():
    came = []
    before = signal.signal(signal.SIGTERM, lambda *_: came.append("here"))
    try:
        with terminations_interrupt():
            os.kill(os.getpid(), signal.SIGTERM)
        assert came == ["here"]
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_termination_that_is_held_takes_effect_afterwards():
    done = []

    def start_something() -> None:
        with terminations_interrupt(), interrupts_held():
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("started")

    with pytest.raises(Terminated):
        start_something()
    assert done == ["started"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_in_another_thread_nothing_is_done_about_signals():
    failed = []

    def use() -> None:
        try:
            with terminations_interrupt(), interrupts_held():
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert not failed


@pytest.fixture
def options() -> ModuleType:
    return importlib.import_module("benchmarks.harness.program")


def be_sent(number: int) -> None:
    os.kill(os.getpid(), number)
    threading.Event().wait(DEADLINE)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"])
def test_a_program_that_is_asked_to_end_says_so_in_a_line_and_by_its_code(options, capsys, number, code):
    assert options.run_command(lambda: be_sent(number), when_stopped="stopped; --resume goes on") == code
    assert capsys.readouterr().err == "\nstopped; --resume goes on\n"


def test_a_rank_is_killed_at_once_as_it_may_wait_for_others(options, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")
    monkeypatch.setenv("WORLD_SIZE", "2")
    found = []
    assert options.run_command(lambda: found.append(signal.getsignal(signal.SIGTERM))) == 0
    assert found == [signal.SIG_DFL]

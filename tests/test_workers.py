"""Workers end with their program, however it ends; SIGTERM stops a program as Ctrl-C does."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from joblib import Parallel, delayed, parallel_config
from joblib.parallel import get_active_backend

from distill import workers
from distill.stops import Terminated, terminations_held, terminations_interrupt
from distill.workers import workers_end_with_program

DEADLINE = 60  # seconds until something counts as stuck
# One task for two workers, so that one of them never gets any.
ENDLESS = """
import os, sys, threading
from joblib import Parallel, delayed
from distill.workers import workers_end_with_program

def task(folder):
    open(os.path.join(folder, "begun"), "w").close()
    threading.Event().wait()

if __name__ == "__main__":
    with workers_end_with_program():
        results = Parallel(n_jobs=2, batch_size=1, return_as="generator")([delayed(task)(sys.argv[1])])
        print("started", flush=True)
        threading.Event().wait()
"""


def group(leader: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # gone in the meantime
        if int(of) == leader and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def wait_until(condition, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, process.args
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_no_worker_outlives_its_program_busy_or_idle(tmp_path, number):
    program = tmp_path / "program.py"
    program.write_text(ENDLESS)
    process = subprocess.Popen([sys.executable, str(program), str(tmp_path)], start_new_session=True)
    try:
        wait_until((tmp_path / "begun").exists, process)
        assert len(group(process.pid)) >= 3
        process.send_signal(number)
        assert process.wait(DEADLINE) == -number
        wait_until(lambda: not group(process.pid), process)
    finally:
        for left in group(process.pid):
            os.kill(left, signal.SIGKILL)


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


def test_work_is_done_as_without_and_workers_are_used_again():
    def pids() -> set[int]:
        return set(Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4)))

    with workers_end_with_program():
        first = pids()
        assert os.getpid() not in first
    with workers_end_with_program():
        assert len(first | pids()) <= 2


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
        with terminations_interrupt(), terminations_held():
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
            with terminations_interrupt(), terminations_held():
                pass
        except ValueError as error:
            failed.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert not failed

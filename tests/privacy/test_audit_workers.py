"""Workers of an audit end with it, however it ends."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky import get_reusable_executor
from joblib.parallel import get_active_backend

from privacy import AttackRecords, InputError, audit, workers
from privacy.workers import workers_end_with_program

DEADLINE = 60  # seconds until something counts as stuck
# One task for two workers, so that one of them never gets any.
ENDLESS = """
import os, sys, threading
from joblib import Parallel, delayed
from privacy.workers import workers_end_with_program

def task(folder):
    open(os.path.join(folder, "begun"), "w").close()
    threading.Event().wait()

if __name__ == "__main__":
    with workers_end_with_program():
        results = Parallel(n_jobs=2, batch_size=1, return_as="generator")([delayed(task)(sys.argv[1])])
        threading.Event().wait()
"""


def processes_of(group: int) -> set[int]:
    """Ids of the processes in a group that are not zombies."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
        except OSError:  # it ended in the meantime
            continue
        if int(its_group) == group and state != "Z":
            found.add(int(stat.parent.name))
    return found


def wait_until(condition) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_no_worker_outlives_a_killed_program_busy_or_idle(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(ENDLESS)
    process = subprocess.Popen([sys.executable, str(program), str(tmp_path)], start_new_session=True)
    try:
        wait_until((tmp_path / "begun").exists)
        assert len(processes_of(process.pid)) >= 3
        process.kill()
        process.wait(DEADLINE)
        wait_until(lambda: not processes_of(process.pid))
    finally:
        for left in processes_of(process.pid):
            os.kill(left, 9)


def test_an_audit_starts_workers_that_end_with_it(monkeypatch):
    found = []

    def look(records, attacks, **options):
        found.append(get_active_backend()[0].configure.keywords["initializer"])
        raise InputError("seen enough")

    monkeypatch.setattr("privacy.auditing.run_fast", look)
    generator = np.random.default_rng(0)
    sides = [(generator.normal(size=(40, 3)), np.arange(40) % 3) for _ in range(2)]
    with pytest.raises(InputError, match="seen enough"):
        audit(AttackRecords(members=sides[0], non_members=sides[1]), attacks="threshold")
    assert found == [workers.end_with]


def test_a_backend_that_starts_no_processes_is_left_as_it_is():
    with parallel_config("threading"):
        before, _ = get_active_backend()
        with workers_end_with_program():
            assert get_active_backend()[0] is before
            assert set(Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(2))) == {os.getpid()}


@pytest.mark.slow
def test_workers_are_used_again():
    def pids() -> set[int]:
        return set(Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(4)))

    with workers_end_with_program():
        first = pids()
        assert os.getpid() not in first
    with workers_end_with_program():
        assert len(first | pids()) <= 2
    get_reusable_executor().shutdown()  # other tests would use them again, and joblib takes what these load for a leak

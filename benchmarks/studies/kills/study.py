"""Runs that are killed at random moments, resumed, and compared with undisturbed ones."""

import itertools
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmarks.harness.checks import check_at_least
from benchmarks.harness.cost import machine
from benchmarks.harness.run_folder import open_file
from benchmarks.studies.kills.compare import differences
from benchmarks.studies.kills.options import KillOptions
from distill import InputError
from distill.files import write_json

BENCHMARKS = Path(__file__).resolve().parents[2]
COMMON = [
    "--dataset", "digits", "--width", "4", "--images-per-class", "2", "--frepo-steps", "20", "--frepo-pool-size", "2",
    "--frepo-batch-size", "64", "--train-steps", "6",
]  # fmt: skip
COMMANDS = {
    "cl_cifar100.py": [*COMMON, "--steps", "2", "--networks", "1", "--method", "frepo", "random"],
    "mia.py": [*COMMON, "--members", "100", "--arms", "real", "frepo", "--attacks", "threshold", "knn"],
    "distillation.py": [*COMMON, "--networks", "1", "--method", "frepo", "random"],
}
# A checkpoint after every step, so that kills hit the writing of some; in the program, not in its workers.
WITH_CHECKPOINTS = (
    "import runpy, sys, distill.distillers.checkpoint as c; c.SECONDS_BETWEEN = 0.0; sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
PATIENCE = 10.0  # seconds until a process counts as left
STUCK = 600.0  # seconds until a program counts as stuck


@dataclass(frozen=True)
class Case:
    """What is killed, and how."""

    program: str
    jobs: int
    signal: str


@dataclass
class Outcome:
    """The outcome of one kill. `gone_after`: seconds from the signal until no process of the run was there."""

    case: Case
    moment: float
    gone_after: float = 0.0
    left: int = 0
    returncode: int = 0
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Undisturbed:
    """An undisturbed run: when it opened its folder, and when it ended, in seconds since its start."""

    folder: Path
    opened: float
    ended: float


def started(case: Case, folder: Path, *, resume: bool = False) -> subprocess.Popen[bytes]:
    """The program, in a group of processes of its own; its output is written to a file beside its folder."""
    command = [sys.executable, "-c", WITH_CHECKPOINTS, str(BENCHMARKS / case.program), *COMMANDS[case.program]]
    command += ["--jobs", str(case.jobs), "--output", str(folder), *(["--resume"] if resume else [])]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with log_of(folder).open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)


def log_of(folder: Path) -> Path:
    """The output of the last program that worked in `folder`."""
    return folder.with_name(f"{folder.name}.txt")


def left_of(group: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue  # it has ended meanwhile
        if int(of) == group and state not in "ZX":
            found.append(int(path.parent.name))
    return found


def undisturbed_run(case: Case, folder: Path) -> Undisturbed:
    """A whole run; raises `InputError` where it fails."""
    start = time.monotonic()
    process = started(case, folder)
    while not (folder / "options.json").exists() and process.poll() is None:
        time.sleep(0.01)
    opened = time.monotonic() - start
    if process.wait(STUCK):
        raise InputError(f"{case} fails even undisturbed: {log_of(folder).read_text()[-500:]}")
    return Undisturbed(folder, opened, time.monotonic() - start)


def killed_run(case: Case, folder: Path, moment: float) -> Outcome | None:
    """A run killed `moment` seconds after its start, and what was left of it; `None` where it was over by then."""
    process = started(case, folder)
    try:
        process.wait(moment)
        return None
    except subprocess.TimeoutExpired:
        pass
    outcome = Outcome(case, moment)
    start = time.monotonic()
    process.send_signal(getattr(signal, case.signal))
    while (left := left_of(process.pid)) and time.monotonic() - start < PATIENCE:
        process.poll()  # reaps it if it has ended
        time.sleep(0.01)
    outcome.gone_after, outcome.left = time.monotonic() - start, len(left)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    outcome.returncode = process.wait(STUCK)
    if left:
        outcome.faults.append(f"{len(left)} processes left")
    if "Traceback" in log_of(folder).read_text():
        outcome.faults.append(f"traceback: {log_of(folder).read_text()[-500:]}")
    return outcome


def one_kill(case: Case, folder: Path, wanted: Undisturbed, generator: np.random.Generator) -> Outcome:
    """A run that was killed before its end, resumed and compared."""
    outcome, attempt, own = None, 0, folder
    while outcome is None:
        attempt += 1
        own = folder / f"run-{attempt}"
        own.parent.mkdir(parents=True, exist_ok=True)
        outcome = killed_run(case, own, float(generator.uniform(wanted.opened / 2, wanted.ended)))
    process = started(case, own, resume=True)
    if process.wait(STUCK):
        outcome.faults.append(f"not resumed: {log_of(own).read_text()[-500:]}")
    else:
        outcome.faults += differences(own, wanted.folder)
    return outcome


def outcomes(options: KillOptions, folder: Path) -> Iterator[Outcome]:
    """The kills, until there are enough of them or the time is up; programs, jobs and signals take turns."""
    cases = [
        Case(program, jobs, name) for name in options.signals for jobs in options.jobs
        for program in options.programs
    ]  # fmt: skip
    generator = np.random.default_rng(options.seed)
    until = time.monotonic() + 60 * options.minutes
    whole: dict[tuple[str, int], Undisturbed] = {}
    for number, case in zip(range(options.kills), itertools.cycle(cases), strict=False):
        if time.monotonic() > until:
            return
        key = (case.program, case.jobs)
        if key not in whole:
            whole[key] = undisturbed_run(case, folder / f"undisturbed-{case.program}-{case.jobs}")
        yield one_kill(case, folder / f"kill-{number}", whole[key], generator)


def summary(found: list[Outcome]) -> str:
    """A table: kills, identical resumes and processes left, by program, jobs and signal."""
    head = ("program", "jobs", "signal", "kills", "identical", "left", "gone after, s")
    rows = []
    for case in dict.fromkeys(outcome.case for outcome in found):
        own = [outcome for outcome in found if outcome.case == case]
        rows.append((*asdict(case).values(), *counts(own)))
    rows.append(("all", "", "", *counts(found)))
    lines = ["| " + " | ".join(map(str, row)) + " |" for row in (head, ("---",) * len(head), *rows)]
    return "\n".join(lines)


def counts(own: list[Outcome]) -> tuple[int, int, int, str]:
    """Kills, those without a fault, processes left, and the longest time until all were gone."""
    longest = max((outcome.gone_after for outcome in own), default=0.0)
    return len(own), sum(not outcome.faults for outcome in own), sum(outcome.left for outcome in own), f"{longest:.2f}"


def check_options(options: KillOptions) -> None:
    """Raise `InputError` for numbers that make no sense, and where there is no /proc."""
    check_at_least(options, 1, "kills")
    check_at_least(options, 0, "seed")
    if min(options.jobs) < 1 or len(set(options.jobs)) < len(options.jobs):
        raise InputError(f"--jobs are {' '.join(map(str, options.jobs))}; expected different numbers, at least 1")
    if not options.minutes > 0:
        raise InputError(f"--minutes is {options.minutes:g}; expected more than 0")
    if not Path("/proc/self/stat").exists():
        raise InputError("this looks for processes in /proc, which is not available here; run it on Linux")


def main(options: KillOptions) -> None:
    """Kill, resume, compare; print the table. Raises `InputError` where one failed."""
    check_options(options)
    found: list[Outcome] = []
    with open_file(options.output), tempfile.TemporaryDirectory(prefix="kills-") as name:
        for outcome in tqdm(outcomes(options, Path(name)), total=options.kills, desc="kills", unit="kill"):
            found.append(outcome)
            for fault in outcome.faults:
                tqdm.write(f"{outcome.case} at {outcome.moment:.1f} s: {fault}")
            given: dict[str, Any] = {**vars(options), "output": str(options.output)}
            del given["given"]
            write_json(options.output, {
                "options": given, "machine": machine(), "kills": [asdict(one) for one in found],
            })  # fmt: skip
    print(summary(found))
    if bad := sum(bool(outcome.faults) for outcome in found):
        raise InputError(f"{bad} of {len(found)} kills failed (resume or comparison); see {options.output}")

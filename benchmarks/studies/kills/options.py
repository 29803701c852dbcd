"""The options of the kills."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.harness.options import Options

__all__ = ["PROGRAMS", "SIGNALS", "KillOptions"]

PROGRAMS = ("cl_cifar100.py", "mia.py", "distillation.py")
SIGNALS = ("SIGKILL", "SIGTERM")


@dataclass(frozen=True, kw_only=True)
class KillOptions(Options):
    """Kill runs of the three benchmarks at random moments, resume them, and compare with undisturbed runs.

    Each run is a tiny one on scikit-learn's digits, and saves a checkpoint after every step. It is killed (SIGKILL) or
    asked to end (SIGTERM), with one process or with two workers; then every process that it started must be gone, and
    the same command with --resume must produce the same files, results, tables and sets. Linux only, as it looks for
    processes in /proc.
    """

    main: ClassVar[str] = "benchmarks.studies.kills.study:main"
    kills: int = 100
    """Number of kills."""
    minutes: float = float("inf")
    """Time in minutes after which no new kill is started."""
    seed: int = 0
    """Seed of the moments at which runs are killed."""
    programs: tuple[Literal[PROGRAMS], ...] = PROGRAMS  # type: ignore[valid-type]
    """Programs to kill."""
    jobs: tuple[int, ...] = (1, 2)
    """Values of --jobs for the programs."""
    signals: tuple[Literal[SIGNALS], ...] = SIGNALS  # type: ignore[valid-type]
    """Signals to send."""
    output: Path = Path("results/kills.json")
    """JSON file for the results."""

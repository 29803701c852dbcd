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

    Each run works on scikit-learn's digits, with tiny options; its own process saves a checkpoint after every step. It
    is killed once (SIGKILL) or asked to end (SIGTERM), with one process or with two workers; then every process that it
    has started must be gone, and the same command with --resume must end in the same files, figures, tables and sets.
    Linux alone: it looks for processes in /proc.
    """

    main: ClassVar[str] = "benchmarks.studies.kills.study:main"
    kills: int = 100
    """Number of kills."""
    minutes: float = float("inf")
    """Start no kill after so many minutes."""
    seed: int = 0
    """Seed of the moments at which runs are killed."""
    programs: tuple[Literal[PROGRAMS], ...] = PROGRAMS  # type: ignore[valid-type]
    """Programs to kill."""
    jobs: tuple[int, ...] = (1, 2)
    """Numbers of tasks that the programs do side by side."""
    signals: tuple[Literal[SIGNALS], ...] = SIGNALS  # type: ignore[valid-type]
    """Signals to send."""
    output: Path = Path("results/kills.json")
    """File for the figures."""

"""The options of the speed benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.harness.options import FolderOptions, MachineOptions

__all__ = ["STUDIES", "SpeedOptions"]

STUDIES = ("target", "released", "width", "images", "batch", "resolution", "training", "large", "attacks")


@dataclass(frozen=True, kw_only=True)
class SpeedOptions(MachineOptions, FolderOptions):
    """How fast a FRePo step is, part by part, against this machine's own ceiling, a plain implementation, DM and DSA.

    Every case is measured in a process of its own, and beside it the ceiling: the operations a second of a float32
    matrix product of 2048 x 2048. Images are noise, which changes no time. Run it on a quiet machine.
    """

    main: ClassVar[str] = "benchmarks.studies.speed.study:main"
    study: tuple[Literal[STUDIES], ...] = STUDIES  # type: ignore[valid-type]
    """What is varied."""
    longest: float = 15.0
    """Leave out what would take longer than so many seconds a step, judging by the sizes before it."""
    seconds: float = 2.0
    """Time steps for at least so many seconds."""
    output: Path = Path("results/speed")
    """Folder for results."""

"""The options of the speed benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.harness.options import FolderOptions, MachineOptions

__all__ = ["STUDIES", "SpeedOptions"]

STUDIES = ("target", "jax", "width", "images", "batch", "resolution", "training", "large", "attacks")


@dataclass(frozen=True, kw_only=True)
class SpeedOptions(MachineOptions, FolderOptions):
    """Time of a FRePo step, part by part, compared with this machine's ceiling, a naive version, DM and DSA.

    Every case is measured in its own process, and next to it the ceiling: the operations per second of a float32 matrix
    product of 2048 x 2048. Images are random noise, which does not affect timings. Run it on an idle machine.
    """

    main: ClassVar[str] = "benchmarks.studies.speed.study:main"
    study: tuple[Literal[STUDIES], ...] = STUDIES  # type: ignore[valid-type]
    """What to vary or compare. jax: in float32, in bfloat16 on CPUs with a matrix unit for it, and JAX, in turns."""
    longest: float = 15.0
    """Longest time per step in seconds; cases expected to exceed it, judging by smaller ones, are skipped."""
    seconds: float = 2.0
    """Shortest time in seconds that the steps of a case are timed for."""
    output: Path = Path("results/speed")
    """Folder for results."""

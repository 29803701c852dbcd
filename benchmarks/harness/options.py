"""Options that several benchmarks have in common: dataclasses that the command line is made from.

Nothing heavy is imported here, so that `--help` answers at once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from benchmarks.harness.methods import chosen_methods

__all__ = [
    "MORE",
    "DataOptions",
    "FolderOptions",
    "JobOptions",
    "MachineOptions",
    "More",
    "Options",
    "Precision",
    "Presets",
    "StudyOptions",
    "UsageError",
    "class_options",
]

Precision = Literal["float32", "tf32", "bfloat16"]
Presets = Mapping[str, Mapping[str, Mapping[str, Any]]]

class UsageError(ValueError):
    """A command line that cannot be read or run."""


T = TypeVar("T")
MORE = "shown by --help-all alone"
More = Annotated[T, MORE]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one program.

    A subclass names the function that takes them, as "module:function". The text beside each field is its help.
    """

    main: ClassVar[str]
    presets: ClassVar[Presets] = {}
    """By name: values of options of the run ("run"), and of methods and training, by the prefix of their flags."""
    left_out: ClassVar[frozenset[str]] = frozenset()
    """Fields of methods and training that are no flags here, because an option of the run sets them."""
    when_stopped: ClassVar[str] = "stopped"
    given: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Options that were typed, those of methods and training by prefix, those of the run under "run"; no flag."""

    @property
    def parts(self) -> frozenset[str]:
        """Prefixes of the options of methods and training that have an effect in this run."""
        return frozenset()

    def idle(self, prefix: str) -> str:
        """Why options of `prefix`, which is none of `parts`, have no effect."""
        return f"no --method is {prefix}"


@dataclass(frozen=True, kw_only=True)
class MachineOptions(Options):
    """What to compute on, and how precisely."""

    device: str = "cpu"
    """What to compute on: cpu, cuda or mps."""
    precision: More[Precision] = "float32"
    """Of products in convolutions and matrix products: tf32 (NVIDIA GPUs) and bfloat16 (CPUs that have it) are faster,
    and give other figures."""


@dataclass(frozen=True, kw_only=True)
class FolderOptions(Options):
    """Where a run is written."""

    when_stopped: ClassVar[str] = "stopped; the same command with --resume resumes the run"
    output: Path | None = None
    """Folder for results; by default in results/, named for what the run is about."""
    resume: bool = False
    """Resume the run in --output, on the same data; it ends in the same figures."""


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """Which images."""

    dataset: str = "cifar100"
    """cifar100, cifar10, mnist, fmnist, digits, tiny-imagenet, cub200, imagenette, imagewoof or imagenet; a folder of
    images by class; or an .npz file."""
    data_dir: Path | None = None
    """Where data sets are, or are downloaded to. Default: $FREPO_DATA, else ./data."""
    resolution: More[int | None] = None
    """Resize the images of a folder to so many pixels a side. Default: the data set's own."""
    cache_dir: More[Path | None] = None
    """Where images decoded from files are kept. Default: $FREPO_CACHE, else cache/ in the data folder."""


@dataclass(frozen=True, kw_only=True)
class JobOptions(Options):
    """Tasks of a run side by side."""

    jobs: int = 1
    """Tasks done side by side, each in a process of its own with its share of the cores and memory of its own. The last
    bits of figures may depend on it."""
    backend: More[str] = "loky"
    """The joblib backend of these processes: loky (this machine); or dask or ray, where installed: then results, data
    and this toolkit are on a file system that all machines share."""
    scheduler: More[str | None] = None
    """Address of the Dask or Ray cluster. Default: $DASK_SCHEDULER_ADDRESS, $RAY_ADDRESS, else a cluster started here
    for the run. Dask's workers should have one thread each; it decides how many work at once, whatever --jobs is."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions(DataOptions, MachineOptions, FolderOptions, JobOptions):
    """The options of a study of distillers."""

    preset: Literal["quick", "paper"] = "quick"
    """Values of all options that are not given. quick: for 2 CPU cores; paper: as published, for a GPU."""
    width: int | None = None
    """Channels of all networks; --frepo-width, --train-width, ... set it for one use."""

    @property
    def parts(self) -> frozenset[str]:
        """The methods that `--method` names, and the training."""
        return frozenset({*chosen_methods(getattr(self, "method", ())), "train"})


def class_options(options: Options, *, prefix: str, preset: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one class: those of the preset, changed by `--width` and by what was typed for the class."""
    width = getattr(options, "width", None)
    return {**preset, **({} if width is None else {"width": width}), **options.given.get(prefix, {})}

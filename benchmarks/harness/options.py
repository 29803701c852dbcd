"""Options that several benchmarks have in common: dataclasses that the command line is made from.

Nothing heavy is imported here, so that `--help` answers at once.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from benchmarks.harness.methods import chosen_methods, methods_of, option_classes, prefix_of

__all__ = [
    "MORE",
    "BudgetOptions",
    "ByChannels",
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
    "for_channels",
]

Precision = Literal["auto", "float32", "tf32", "bfloat16"]
Presets = Mapping[str, Mapping[str, Mapping[str, Any]]]

class UsageError(ValueError):
    """A command line that cannot be read or run."""


T = TypeVar("T")
MORE = "shown by --help-all alone"
More = Annotated[T, MORE]


@dataclass(frozen=True, kw_only=True)
class Options:
    """The options of one program.

    A subclass names the function that takes them, as "module:function". The text below each field is its help.
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
        return f"no --method is {' or '.join(methods_of(prefix))}"


@dataclass(frozen=True, kw_only=True)
class MachineOptions(Options):
    """What to compute on, and how precisely."""

    device: str = "cpu"
    """Device to compute on: cpu, cuda or mps."""
    precision: More[Precision] = "float32"
    """Precision of convolutions and matrix products. tf32 (NVIDIA GPUs) and bfloat16 (CPUs that support it) are faster,
    but change the results. auto: bfloat16 on CPUs with a matrix unit for it (AMX), float32 elsewhere."""


@dataclass(frozen=True, kw_only=True)
class FolderOptions(Options):
    """Where a run is written."""

    when_stopped: ClassVar[str] = "stopped; the same command with --resume resumes the run"
    output: Path | None = None
    """Folder for results. Default: a folder in results/ that is named after the data set and the settings."""
    resume: bool = False
    """Resume an interrupted run in --output, with the same data; the results are identical."""


@dataclass(frozen=True, kw_only=True)
class DataOptions(Options):
    """Which images."""

    dataset: str = "cifar100"
    """Data set: cifar100, cifar10, mnist, fmnist, digits, tiny-imagenet, cub200, imagenette, imagewoof or imagenet; a
    folder with a subfolder of images per class; or an .npz file."""
    data_dir: Path | None = None
    """Folder where data sets are, or are downloaded to. Default: $FREPO_DATA, else ./data."""
    resolution: More[int | None] = None
    """Height and width in pixels to resize the images of a folder to. Default: that of the data set."""
    cache_dir: More[Path | None] = None
    """Folder where decoded images are cached. Default: $FREPO_CACHE, else cache/ in the data folder."""


@dataclass(frozen=True, kw_only=True)
class JobOptions(Options):
    """Tasks of a run in parallel."""

    jobs: int = 1
    """Number of parallel worker processes. They share the cores, but each needs its own memory. Results can differ in
    the last bits."""
    backend: More[str] = "loky"
    """joblib backend of these processes: loky (this machine), or dask or ray where installed. With these, results, data
    and this toolkit must be on a file system that all machines share."""
    scheduler: More[str | None] = None
    """Address of the Dask or Ray cluster. Default: $DASK_SCHEDULER_ADDRESS, $RAY_ADDRESS, else a cluster started here
    for the run. Dask workers should have one thread each. The cluster, not --jobs, decides how many tasks run at once.
    """


@dataclass(frozen=True, kw_only=True)
class StudyOptions(DataOptions, MachineOptions, FolderOptions, JobOptions):
    """The options of a study of distillers."""

    preset: Literal["quick", "paper"] = "quick"
    """Default values of all other options. quick: for 2 CPU cores; paper: as published, needs a GPU."""
    width: int | None = None
    """Width (channels) of all networks; --frepo-width, --train-width, ... override it for one of them."""

    @property
    def parts(self) -> frozenset[str]:
        """The methods that `--method` names, and the training."""
        return frozenset({*map(prefix_of, chosen_methods(getattr(self, "method", ()))), "train"})


@dataclass(frozen=True, kw_only=True)
class BudgetOptions(StudyOptions):
    """The options of a study whose runs may be made to fit in a given time."""

    budget: str | None = None
    """Time for the whole run on this machine: 90s, 30m, 2h, 1h30m. Width, steps, batch and updates are chosen by a rule
    and printed; options that are typed win. Default: the fixed numbers of the preset."""


@dataclass(frozen=True)
class ByChannels:
    """A value of a preset that is another one for grey images than for RGB ones."""

    grey: Any
    rgb: Any

    def __str__(self) -> str:
        return f"{self.rgb}, of grey images {self.grey}"


def for_channels(preset: Mapping[str, Any], channels: int) -> dict[str, Any]:
    """A method's preset as it goes with images of so many channels: the published setting mirrors RGB images only.

    >>> for_channels({"learning_rate": ByChannels(grey=1, rgb=2), "mirror": True}, 1)
    {'learning_rate': 1, 'mirror': False}
    """
    grey = channels == 1
    values = {
        name: (value.grey if grey else value.rgb) if isinstance(value, ByChannels) else value
        for name, value in preset.items()
    }
    return values | ({"mirror": False} if grey and "mirror" in values else {})


def class_options(
    options: Options, *, channels: int, changes: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, dict[str, Any]]:
    """The options of all methods and of the training, by the prefix of their flags.

    Those of the preset as they go with images of so many channels, changed by `changes`, then by `--width`, then by
    what was typed.
    """
    preset, changes = options.presets.get(getattr(options, "preset", ""), {}), changes or {}
    width = getattr(options, "width", None)
    found = {}
    for prefix, own in option_classes().items():
        values = for_channels({**preset.get(prefix, {}), **changes.get(prefix, {})}, channels)
        sized = width is not None and "width" in {field.name for field in dataclasses.fields(own)}
        found[prefix] = {**values, **({"width": width} if sized else {}), **options.given.get(prefix, {})}
    return found

"""The options of the class-incremental benchmark, and of the comparison with Avalanche's GDumb."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.harness.methods import METHODS
from benchmarks.harness.options import More, Options, Presets, StudyOptions

__all__ = ["PRESETS", "ClassIncrementalOptions", "StockOptions", "StreamOptions"]

# What differs from the defaults of the classes, which are the paper's. "quick": see the README.
PRESETS: Presets = {
    "quick": {
        "frepo": {"steps": 500, "batch_size": 256, "learning_rate": 8e-3, "width": 32, "norm": "instance"},
        "herding": {"width": 32},
        "dm": {"steps": 300, "batch_size": 64, "width": 32},
        "dsa": {"iterations": 4, "inner_loop": 10, "batch_size": 64, "width": 32},
        "train": {
            "norm": "instance",
            "width": 32,
            "loss": "soft-cross-entropy",
            "learning_rate": 3e-3,
            "warmup_steps": 100,
            "batch_size": 128,
            "train_steps": 100,
            "steps_per_image": 0.15,
        },
    },
    "paper": {
        "run": {"seeds": (0, 1, 2, 3, 4), "networks": 1},
        "frepo": {"steps": 500_000, "mirror": True},
        "train": {"train_steps": 10_000},
    },
}


@dataclass(frozen=True, kw_only=True)
class StreamOptions(StudyOptions):
    """The class-incremental stream, and the networks that are trained along it."""

    steps: int = 10
    """Class-incremental steps; must divide the classes."""
    first: More[int | None] = None
    """Classes of the first step, the others being shared by the other steps. Default: as many as in those."""
    seeds: tuple[int, ...] = (0,)
    """Class orders."""
    networks: int = 2
    """Networks trained after every step."""
    fit_preprocessing: More[Literal["all", "first"]] = "all"
    """Fit the preprocessing on all classes, as published, which looks at future ones, or on those of the first step."""
    held_out: More[int] = 0
    """For choosing options: measure on this many training images of each class, kept out of training, in place of the
    test set."""


@dataclass(frozen=True, kw_only=True)
class ClassIncrementalOptions(StreamOptions):
    """Class-incremental learning with a replay buffer of distilled, random or herded images.

    At every step the new classes are distilled to a few images each, these join the buffer, and networks are trained
    from scratch on the buffer alone (GDumb); measured is the test accuracy over all classes seen so far. Below, the
    same methods are compared at equal bytes.
    """

    main: ClassVar[str] = "benchmarks.studies.class_incremental.study:main"
    presets: ClassVar[Presets] = PRESETS
    method: tuple[Literal[(*METHODS, "all")], ...] = ("frepo", "random", "herding")  # type: ignore[valid-type]
    """What fills the buffer, one or several."""
    images_per_class: int | None = None
    """Images of each class in the buffer. Default: 20, or as many as --memory-bytes hold."""
    memory_bytes: int | None = None
    """Bytes of each class in the buffer, for images, labels and class ids together, in place of --images-per-class."""
    codec: str | None = None
    """How images lie in the buffer: float32, float16, uint8, webp:QUALITY, jpeg:QUALITY, lowres:FACTOR, ... Default:
    float32, or webp:50 with --memory-bytes."""
    labels: str | None = None
    """How labels lie in the buffer: hard (class ids alone), uint8, float16 or float32. Default: hard for real images
    and uint8 for learned labels, float32 where images are float32."""
    equal_bytes: More[str] = "webp:50"
    """Compare at equal bytes, after the last step: the images of the first method, stored with this codec, against as
    many of the others as fit the same bytes. "none" leaves it out, and so does --memory-bytes, where all are equal."""


@dataclass(frozen=True, kw_only=True)
class StockOptions(Options):
    """Our GDumb with random real images against Avalanche's own, at the same memory, network and number of updates.

    Both keep 20 real images of each class at the end and train the same network on them alone. Avalanche's restores one
    set of initial weights, and has neither schedule nor augmentation nor soft labels; it is given each of several
    constant learning rates, and all are shown.
    """

    main: ClassVar[str] = "benchmarks.studies.class_incremental.stock_gdumb:main"
    dataset: str = "cifar100"
    """cifar100, cifar10, mnist, fmnist, digits, tiny-imagenet, cub200, imagenette, imagewoof or imagenet; a folder of
    images by class; or an .npz file."""
    data_dir: Path | None = None
    """Where data sets are, or are downloaded to. Default: $FREPO_DATA, else ./data."""
    steps: int = 10
    """Class-incremental steps; must divide the classes."""
    images_per_class: int = 20
    """Real images of each class in the memory."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds of weights and of the choice of images."""
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Learning rates of Avalanche's Adam."""
    output: Path | None = None
    """A JSON file. Default: results/stock-gdumb-DATASET.json."""

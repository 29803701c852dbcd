"""The options of the class-incremental benchmark, and of the comparison with Avalanche's GDumb."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.harness.methods import METHODS, QUICK_EXPERTS, methods_of, prefix_of
from benchmarks.harness.options import BudgetOptions, More, Options, Precision, Presets, StudyOptions

__all__ = ["PRESETS", "ArmOptions", "ClassIncrementalOptions", "StockOptions", "StreamOptions"]

# What differs from the defaults of the classes, which are the paper's. "quick": see docs/results.md.
PRESETS: Presets = {
    "quick": {
        "run": {"classes_at_once": 10},
        "frepo": {
            "steps": 250,
            "init": "herded",
            "max_updates": 0,
            "mean_matching": 10.0,
            "batch_size": 256,
            "learning_rate": 8e-3,
            "width": 32,
            "norm": "instance",
        },
        "herding": {"steps": 0, "width": 64, "norm": "instance"},
        "teacher": {"width": 32},
        "dm": {"steps": 300, "init": "herded", "batch_size": 64, "width": 32},
        "dsa": {"init": "herded", "iterations": 4, "inner_loop": 10, "batch_size": 64, "width": 32},
        "mtt": {
            "steps": 100,
            "init": "herded",
            "student_steps": 10,
            "student_learning_rate": 5e-2,
            **QUICK_EXPERTS,
            "width": 32,
        },
        "kip": {
            "network": "conv",
            "depth": 3,
            "steps": 200,
            "init": "herded",
            "batch_size": 64,
            "distilled_batch_size": 20,
        },
        "train": {
            "norm": "instance",
            "width": 64,
            "loss": "soft-cross-entropy",
            "hard_label_scale": 1.0,
            "learning_rate": 3e-3,
            "warmup_steps": 100,
            "batch_size": 128,
            "train_steps": 100,
            "steps_per_image": 0.15,
            "augmentations": 2,
            "cutmix": 0.5,
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

    precision: More[Precision] = "auto"
    """Precision of convolutions and matrix products. auto: bfloat16 on CPUs with a matrix unit for it (AMX), float32
    elsewhere; bfloat16 and tf32 (NVIDIA GPUs) are faster than float32, but change the results."""
    steps: int = 10
    """Number of class-incremental steps; must divide the number of classes."""
    first: More[int | None] = None
    """Number of classes in the first step; the other steps share the rest equally. Default: all steps equal."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the class orders; 0 to 4 are the published ones."""
    networks: int = 2
    """Number of networks trained after every step."""
    classes_at_once: More[int | None] = None
    """At most this many classes of a step are distilled together, by methods that learn images and are not private.
    None: all."""
    fit_preprocessing: More[Literal["all", "first"]] = "all"
    """Classes to fit the preprocessing on: all, as published, including future ones, or those of the first step."""
    held_out: More[int] = 0
    """Hold out this many training images per class and evaluate on them instead of the test set, to tune options."""


@dataclass(frozen=True, kw_only=True)
class ArmOptions(StreamOptions):
    """A stream whose memories are arms: METHOD/CODEC."""

    arms: tuple[str, ...] = ()
    """What fills the memory."""

    @property
    def parts(self) -> frozenset[str]:
        """The methods of the arms, and the training."""
        methods = {arm.partition("/")[0] for arm in self.arms}
        return frozenset({prefix_of(method) for method in methods if method in METHODS} | {"train"})

    def idle(self, prefix: str) -> str:
        """That no arm is of this method."""
        return f"no arm is {' or '.join(methods_of(prefix))}"


@dataclass(frozen=True, kw_only=True)
class ClassIncrementalOptions(StreamOptions, BudgetOptions):
    """Class-incremental learning with a replay buffer of distilled, random or herded images.

    At every step the new classes are distilled to a few images each, which are added to the buffer, and networks are
    trained from scratch on the buffer alone (GDumb). The result is the test accuracy over all classes seen so far;
    below it, the same methods are compared at equal bytes.
    """

    main: ClassVar[str] = "benchmarks.studies.class_incremental.study:main"
    presets: ClassVar[Presets] = PRESETS
    method: tuple[Literal[(*METHODS, "all")], ...] = ("frepo", "random", "herding")  # type: ignore[valid-type]
    """Methods that fill the replay buffer."""
    images_per_class: int | None = None
    """Images per class in the buffer. Default: 20, or as many as fit in --memory-bytes."""
    memory_bytes: int | None = None
    """Bytes per class in the buffer, for images, labels and class ids together; instead of --images-per-class."""
    codec: str | None = None
    """Codec of the images in the buffer: float32, float16, uint8, webp:QUALITY, mosaic:avif:QUALITY, ...
    Default: float32, or webp:50 with --memory-bytes."""
    labels: str | None = None
    """Codec of the labels in the buffer: hard (class ids alone), uint8, float16 or float32. Default: hard for real
    images and uint8 for learned labels, float32 where images are float32."""
    equal_bytes: More[str] = "webp:50"
    """Codec of a comparison at equal bytes after the last step: the images of the first method against as many images
    of the others as fit in the same bytes. "none" leaves it out; so does --memory-bytes, with which all are equal."""


@dataclass(frozen=True, kw_only=True)
class StockOptions(Options):
    """This toolkit's GDumb with random real images and Avalanche's own, at equal memory, network and training steps.

    Both keep 20 real images per class at the end and train the same network on them alone. Avalanche's GDumb restores
    one set of initial weights and has no schedule, augmentation or soft labels; it is run with each of several constant
    learning rates, and all results are shown.
    """

    main: ClassVar[str] = "benchmarks.studies.class_incremental.stock_gdumb:main"
    dataset: str = "cifar100"
    """Data set: cifar100, cifar10, mnist, fmnist, digits, tiny-imagenet, cub200, imagenette, imagewoof or imagenet; a
    folder with a subfolder of images per class; or an .npz file."""
    data_dir: Path | None = None
    """Folder where data sets are, or are downloaded to. Default: $FREPO_DATA, else ./data."""
    steps: int = 10
    """Number of class-incremental steps; must divide the number of classes."""
    images_per_class: int = 20
    """Real images per class in the memory."""
    seeds: tuple[int, ...] = (0, 1)
    """Seeds of the initial weights and of the selection of images."""
    rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Learning rates of Avalanche's Adam."""
    output: Path | None = None
    """JSON file for the results. Default: results/stock-gdumb-DATASET.json."""

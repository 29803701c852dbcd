"""The options of the distillation benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.harness.methods import METHODS, chosen_methods
from benchmarks.harness.options import More, Presets, StudyOptions

__all__ = ["PRESETS", "DistillationOptions"]

# What differs from the defaults of the classes, which are the paper's. "quick": see the README.
PRESETS: Presets = {
    "quick": {
        "frepo": {"steps": 1000, "batch_size": 256, "learning_rate": 8e-3, "width": 32, "history_points": 9},
        "herding": {"width": 32},
        "dm": {"steps": 300, "batch_size": 64, "width": 32, "history_points": 9},
        "dsa": {"iterations": 10, "inner_loop": 10, "batch_size": 64, "width": 32, "history_points": 9},
        "train": {
            "width": 32,
            "learning_rate": 2e-3,
            "warmup_steps": 100,
            "batch_size": 128,
            "train_steps": 400,
            "steps_per_image": 1.0,
        },
    },
    "paper": {
        "run": {"networks": 5},
        "frepo": {"steps": 500_000, "mirror": True, "history_points": 9},
        "dm": {"history_points": 9},
        "dsa": {"history_points": 9},
        "train": {},
    },
}


@dataclass(frozen=True, kw_only=True)
class DistillationOptions(StudyOptions):
    """Dataset distillation: what networks make of a few distilled, chosen or imported images, trained on them alone.

    Each method makes a set of the training images; networks are trained on the set from scratch, all by one recipe, and
    tested on the test images. With --evaluate-on, networks of other architectures too; with --sweep, one option takes
    several values; with --set, saved sets are evaluated instead, this toolkit's or others'.
    """

    main: ClassVar[str] = "benchmarks.studies.distillation.study:main"
    presets: ClassVar[Presets] = PRESETS
    dataset: str = "mnist"
    """cifar100, cifar10, mnist, fmnist, digits, tiny-imagenet, cub200, imagenette, imagewoof or imagenet; a folder of
    images by class; or an .npz file."""
    method: tuple[Literal[(*METHODS, "all")], ...] = ()  # type: ignore[valid-type]
    """One or several, side by side. Default: frepo random herding; with --sweep: the one it is for, and random."""
    images_per_class: int = 10
    """Images of each class in a set."""
    seconds: float | None = None
    """Every method that learns images gets as many steps as take so many seconds here, timed at the start by one
    process with all cores; overrides --frepo-steps, --dm-steps and --dsa-iterations."""
    seeds: tuple[int, ...] = (0,)
    """A distillation for each."""
    networks: int = 3
    """Networks trained on each set."""
    evaluate_on: tuple[str, ...] = ()
    """Networks to train on each set, as NETWORK[:NORM[:DEPTH]] (conv, conv:none, conv:batch:4, resnet18:instance); all:
    those of the paper's Table 2 and of its appendix C.6. Default: that of the --train options."""
    sweep: tuple[str, ...] = ()
    """An option of a method and its values: --sweep frepo-pool-size 1 2 5 10 20."""
    set: tuple[Path, ...] = ()
    """Evaluate saved sets instead of distilling: .safetensors of this toolkit, .npz or .pt of others, folders of image
    files by class."""
    preprocessing: More[str | None] = None
    """What others' sets went through: identity, 'standardize:mean=...;std=...', a .safetensors set of this toolkit that
    shares it, or fit: this toolkit's own, fitted on the training images."""
    pixels: More[bool] = False
    """Others' images are pixels, to which --preprocessing is to be applied."""
    layout: More[Literal["auto", "nchw", "nhwc"]] = "auto"
    """Order of the axes of others' images."""
    labels: More[Path | None] = None
    """Others' labels, where they are in a file of their own."""
    held_out: More[int] = 0
    """For choosing options: measure on so many training images of each class, kept out of training, in place of the
    test set."""

    @property
    def methods(self) -> tuple[str, ...]:
        """What distils; nothing where saved sets are evaluated."""
        if self.set:
            return ()
        swept = self.sweep[0].partition("-")[0] if self.sweep else ""
        return chosen_methods(self.method or ((swept, "random") if swept else ("frepo", "random", "herding")))

    @property
    def parts(self) -> frozenset[str]:
        """The methods, and the training."""
        return frozenset({*self.methods, "train"})

    def idle(self, prefix: str) -> str:
        """That nothing is distilled, or not by this method."""
        return "--set distils nothing" if self.set else f"no --method is {prefix}"

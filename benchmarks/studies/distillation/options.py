"""The options of the distillation benchmark."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.harness.methods import METHODS, QUICK_EXPERTS, chosen_methods, methods_of, prefix_of
from benchmarks.harness.options import BudgetOptions, ByChannels, More, Presets

__all__ = ["PRESETS", "DistillationOptions"]

# What differs from the defaults of the classes, which are the paper's. "quick": see docs/results.md.
PRESETS: Presets = {
    "quick": {
        "frepo": {"steps": 1000, "batch_size": 256, "learning_rate": 8e-3, "width": 32, "history_points": 9},
        "private": {"history_points": 9},
        "herding": {"width": 32},
        "teacher": {"width": 32},
        "dm": {"steps": 300, "batch_size": 64, "width": 32, "history_points": 9},
        "dsa": {"iterations": 10, "inner_loop": 10, "batch_size": 64, "width": 32, "history_points": 9},
        "mtt": {
            "steps": 100,
            "learning_rate": ByChannels(grey=300.0, rgb=4000.0),
            "student_steps": 10,
            "student_learning_rate": 5e-2,
            **QUICK_EXPERTS,
            "width": 32,
            "history_points": 9,
        },
        "kip": {"network": "conv", "depth": 3, "steps": 200, "batch_size": 64, "history_points": 9},
        "train": {
            "width": ByChannels(grey=32, rgb=64),
            "learning_rate": ByChannels(grey=2e-3, rgb=1e-3),
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
        "mtt": {"history_points": 9},
        "kip": {"history_points": 9},
        "train": {},
    },
}


@dataclass(frozen=True, kw_only=True)
class DistillationOptions(BudgetOptions):
    """Dataset distillation: accuracy of networks trained only on a few distilled, selected or imported images.

    Each method makes a small set from the training images; networks are trained from scratch on each set, all with one
    recipe, and tested on the test images. --evaluate-on adds other networks, --sweep varies one option, and --set
    evaluates saved sets instead, of this toolkit or of other code.
    """

    main: ClassVar[str] = "benchmarks.studies.distillation.study:main"
    presets: ClassVar[Presets] = PRESETS
    dataset: str = "mnist"
    """Data set: cifar100, cifar10, mnist, fmnist, digits, tiny-imagenet, cub200, imagenette, imagewoof or imagenet; a
    folder with a subfolder of images per class; or an .npz file."""
    method: tuple[Literal[(*METHODS, "all")], ...] = ()  # type: ignore[valid-type]
    """Methods to compare. Default: frepo random herding; with --sweep: the swept method and random."""
    images_per_class: int = 10
    """Images per class in a set."""
    seconds: float | None = None
    """Time budget in seconds for each distillation by a method that learns images, the experts of MTT included. The
    number of steps is calibrated at the start, by one process with all cores; overrides --frepo-steps, --dm-steps,
    --dsa-iterations, --mtt-steps and --kip-steps."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; one distillation per seed."""
    networks: int = 3
    """Number of networks trained on each set."""
    evaluate_on: tuple[str, ...] = ()
    """Networks to train on each set, as NETWORK[:NORM[:DEPTH]] (conv, conv:none, conv:batch:4, resnet18:instance), or
    all: those of the paper's Table 2 and appendix C.6. Default: the network of the --train options."""
    sweep: tuple[str, ...] = ()
    """Option of a method to vary, and its values: --sweep frepo-pool-size 1 2 5 10 20."""
    curve: bool = False
    """Accuracy against seconds: networks are also trained on each set as after 1/16, 1/8, 1/4, 1/2 of its seconds."""
    set: tuple[Path, ...] = ()
    """Saved sets to evaluate instead of distilling: .safetensors of this toolkit, .npz or .pt of other code, or folders
    with a subfolder of images per class."""
    preprocessing: More[str | None] = None
    """Preprocessing of imported sets: identity, 'standardize:mean=...;std=...', a .safetensors set of this toolkit with
    the same preprocessing, or fit: this toolkit's own, fitted on the training images."""
    pixels: More[bool] = False
    """The imported images are raw pixels: apply --preprocessing to them."""
    layout: More[Literal["auto", "nchw", "nhwc"]] = "auto"
    """Order of the axes of imported images."""
    labels: More[Path | None] = None
    """File with the labels of an imported set, if separate from its images."""
    held_out: More[int] = 0
    """Hold out this many training images per class and evaluate on them instead of the test set, to tune options."""

    @property
    def methods(self) -> tuple[str, ...]:
        """What distils; nothing where saved sets are evaluated."""
        if self.set:
            return ()
        swept = methods_of(self.sweep[0].partition("-")[0]) if self.sweep else ()
        return chosen_methods(self.method or ((*swept, "random") if swept else ("frepo", "random", "herding")))

    @property
    def parts(self) -> frozenset[str]:
        """The methods, and the training."""
        return frozenset({*map(prefix_of, self.methods), "train"})

    def idle(self, prefix: str) -> str:
        """That nothing is distilled, or not by this method."""
        return "--set distils nothing" if self.set else super().idle(prefix)

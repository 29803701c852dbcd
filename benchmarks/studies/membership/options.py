"""The options of the membership-inference benchmark, and of the simulation of its intervals."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.harness.methods import METHODS
from benchmarks.harness.options import FolderOptions, More, Presets, StudyOptions

__all__ = ["ARMS", "PRESETS", "CoverageOptions", "MembershipOptions"]

# "subset" is random choice under the name that the paper's tables give it.
ARMS = ("real", "subset", *(name for name in METHODS if name != "random"))

# What differs from the defaults of the classes, which are the paper's. "quick": see the README.
PRESETS: Presets = {
    "quick": {
        "frepo": {"steps": 1500, "batch_size": 256, "learning_rate": 8e-3, "width": 32, "norm": "instance"},
        "herding": {"width": 32},
        "dm": {"steps": 1500, "batch_size": 64, "width": 32},
        "dsa": {"iterations": 10, "inner_loop": 10, "batch_size": 64, "width": 32},
        "train": {
            "norm": "instance",
            "width": 32,
            "learning_rate": 2e-3,
            "warmup_steps": 100,
            "batch_size": 64,
            "augment": False,
        },
    },
    "paper": {
        "run": {"seeds": (0, 1, 2, 3, 4), "train_steps": (100, 250, 500, 1000, 2000, 4000, 8000, 16_000)},
        "frepo": {"steps": 500_000},
        "train": {"augment": False},
    },
}


@dataclass(frozen=True, kw_only=True)
class MembershipOptions(StudyOptions):
    """Membership-inference audit of models trained on real images, on a few of them, and on images distilled from them.

    Members are a part of the training set; a model is trained on all of them ("real"), on a few of them drawn at random
    ("subset"), or on the same number of images distilled from them. Each model is attacked five ways, with as many
    other images as non-members; measured is how well members are told from non-members, and accuracy on test images.
    """

    main: ClassVar[str] = "benchmarks.studies.membership.study:main"
    presets: ClassVar[Presets] = PRESETS
    left_out: ClassVar[frozenset[str]] = frozenset({"train_steps", "steps_per_image"})
    dataset: str = "fmnist"
    """cifar100, cifar10, mnist, fmnist, digits, tiny-imagenet, cub200, imagenette, imagewoof or imagenet; a folder of
    images by class; or an .npz file."""
    arms: tuple[str, ...] = ("real", "subset", "frepo")
    """What models are trained on: real, subset, or a method of distillation (frepo, herding, dm, dsa)."""
    members: int | None = None
    """Images in a member set, and as many non-members. Default: 10000, or half of a smaller training set."""
    images_per_class: int = 50
    """Images of each class in the subset and in the distilled sets."""
    train_steps: tuple[int, ...] = (10_000,)
    """Updates of the attacked models, a model for each number; several give the curves."""
    seeds: tuple[int, ...] = (0,)
    """Member sets, disjoint."""
    attacks: tuple[str, ...] = ("all",)
    """Which attacks: all, or some of threshold, lr, mlp, rf, knn."""
    engine: More[Literal["fast", "tf-privacy"]] = "fast"
    """fast: this toolkit's attacks; tf-privacy: TensorFlow Privacy's own code, where it is installed."""
    jobs: int | None = None  # type: ignore[assignment]  # with attacks in processes of their own where it is not given
    """Tasks done side by side, each in a process of its own, on one arm and member set, which it also attacks by
    itself. Default: one arm after the other, whose attacks have a process for each core; 1: no other processes."""

    @property
    def parts(self) -> frozenset[str]:
        """The arms, and the training."""
        return frozenset({arm for given in self.arms for arm in given.split(",")} | {"train"})

    def idle(self, prefix: str) -> str:
        """That there is no such arm."""
        return f"no arm is {prefix}"


@dataclass(frozen=True, kw_only=True)
class CoverageOptions(FolderOptions):
    """How often the audit's intervals cover the truth, and how often its verdict is a false alarm, by simulation.

    Three parts. Scores drawn from distributions whose AUC and TPR are known; whole audits of records whose logits are
    drawn, with all five attacks, where the truth of an attack is its mean over all audits of the same kind; and audits
    where nothing leaks, sliced by class too, for the verdict. Tables are printed, and written beside all counts.
    """

    main: ClassVar[str] = "benchmarks.studies.membership.coverage:main"
    draws: int = 2000
    """Draws of scores for each distribution and size."""
    audits: int = 200
    """Whole audits for each leak and size."""
    noise: int = 600
    """Audits without a leak, at 200 records a side."""
    sizes: tuple[int, ...] = (20, 200, 2000)
    """Records a side of whole audits."""
    seed: int = 0
    """The first of the seeds."""
    jobs: int = -1
    """Processes side by side; -1: one for each core."""
    output: Path = Path("results/mia-coverage")
    """Folder for results."""
    resume: bool = False
    """Make only what --output does not hold yet; it was made with the same --seed and --draws."""

"""The options of the membership-inference benchmark, and of the simulation of its intervals."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from benchmarks.harness.methods import METHODS, QUICK_EXPERTS, methods_of, prefix_of
from benchmarks.harness.options import FolderOptions, More, Presets, StudyOptions

__all__ = ["ARMS", "PRESETS", "CoverageOptions", "MembershipOptions"]

# "subset" is random choice under the name that the paper's tables give it.
ARMS = ("real", "subset", *(name for name in METHODS if name != "random"))

# What differs from the defaults of the classes, which are the paper's. "quick": see docs/results.md.
PRESETS: Presets = {
    "quick": {
        "frepo": {"steps": 1500, "batch_size": 256, "learning_rate": 8e-3, "width": 32, "norm": "instance"},
        "herding": {"width": 32},
        "teacher": {"width": 32},
        "dm": {"steps": 1500, "batch_size": 64, "width": 32},
        "dsa": {"iterations": 10, "inner_loop": 10, "batch_size": 64, "width": 32},
        "mtt": {"steps": 300, "student_steps": 10, "student_learning_rate": 5e-2, **QUICK_EXPERTS, "width": 32},
        "kip": {"network": "conv", "depth": 3, "steps": 300, "batch_size": 64, "distilled_batch_size": 20},
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

    Members are a part of the training set. A model is trained on all of them ("real"), on a few of them selected at
    random ("subset"), or on the same number of images distilled from them. Each model is attacked in five ways, with an
    equal number of other images as non-members. The results are how well the attacks distinguish members from
    non-members, and the accuracy on test images.
    """

    main: ClassVar[str] = "benchmarks.studies.membership.study:main"
    presets: ClassVar[Presets] = PRESETS
    left_out: ClassVar[frozenset[str]] = frozenset({"train_steps", "steps_per_image", "epsilon", "noise_multiplier"})
    dataset: str = "fmnist"
    """Data set: cifar100, cifar10, mnist, fmnist, digits, tiny-imagenet, cub200, imagenette, imagewoof or imagenet; a
    folder with a subfolder of images per class; or an .npz file."""
    arms: tuple[str, ...] = ("real", "subset", "frepo")
    """Training data of the models: real, subset, or images by a method: frepo, herding, dm, dsa, mtt, kip,
    random-teacher, herding-teacher, private-frepo, ndpdc, noisy-means."""
    epsilon: tuple[float, ...] = (1.0,)
    """Privacy budgets of private arms, all of it counted; with several, an arm for each."""
    members: int | None = None
    """Number of members, and of non-members. Default: 10000, or half of a smaller training set."""
    images_per_class: int = 50
    """Images per class in the subset and in the distilled sets."""
    train_steps: tuple[int, ...] = (10_000,)
    """Training steps of the attacked models; give several to plot accuracy and AUC against steps."""
    seeds: tuple[int, ...] = (0,)
    """Seeds; each selects a disjoint set of members."""
    attacks: tuple[str, ...] = ("all",)
    """Attacks: all, or any of threshold, lr, mlp, rf, knn; with --references also lira, rmia, calibrated, bavaria."""
    engine: More[Literal["fast", "tf-privacy"]] = "fast"
    """Implementation of the attacks: fast, this toolkit's; tf-privacy, TensorFlow Privacy's, if installed."""
    references: int = 0
    """Number of references, even, for the attacks that need them: networks for the arm real, sets for the others, each
    made of a random half of members and non-members."""
    canaries: int = 0
    """Number of mislabelled images, half of which, by coins, are planted among the members."""
    audit_set: bool = False
    """Attack the sets themselves as well."""
    shadow_networks: More[int] = 3
    """Number of random networks in whose features sets answer by kernel ridge regression."""
    jobs: int | None = None  # type: ignore[assignment]  # with attacks in processes of their own where it is not given
    """Number of parallel worker processes, each of which handles one arm and one seed at a time. Default: one arm after
    the other, with its attacks in parallel on all cores; 1: no worker processes."""

    @property
    def parts(self) -> frozenset[str]:
        """The arms, and the training."""
        arms = {arm for given in self.arms for arm in given.split(",")}
        return frozenset({*map(prefix_of, arms), "train"})

    def idle(self, prefix: str) -> str:
        """That there is no such arm."""
        return f"no arm is {' or '.join(methods_of(prefix))}"


@dataclass(frozen=True, kw_only=True)
class CoverageOptions(FolderOptions):
    """Simulate the coverage of the audit's confidence intervals and the false-alarm rate of its verdict.

    Three parts: scores sampled from distributions with known AUC and TPR; whole audits with all five attacks on sampled
    logits, where the true value of an attack is its mean over all audits of the same kind; and audits without a leak,
    also sliced by class, for the verdict. Tables are printed, and saved with all counts.
    """

    main: ClassVar[str] = "benchmarks.studies.membership.coverage:main"
    draws: int = 2000
    """Samples of scores per distribution and size."""
    audits: int = 200
    """Number of whole audits per kind of leak and size."""
    noise: int = 600
    """Number of audits without a leak, with 200 members and 200 non-members."""
    sizes: tuple[int, ...] = (20, 200, 2000)
    """Numbers of members, and of non-members, in a whole audit."""
    seed: int = 0
    """First of the seeds."""
    jobs: int = -1
    """Number of parallel worker processes; -1: one per core."""
    output: Path = Path("results/mia-coverage")
    """Folder for results."""
    resume: bool = False
    """Make only what --output does not hold yet; it was made with the same --seed and --draws."""

"""The options of the benchmark of private methods."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from benchmarks.harness.methods import METHODS, prefix_of
from benchmarks.harness.options import More, Presets
from benchmarks.studies.class_incremental.options import StreamOptions
from benchmarks.studies.distillation.options import PRESETS as OF_DISTILLATION

__all__ = ["PRESETS", "PRIVATE", "SGD", "WITHOUT_NOISE", "PrivateOptions"]

PRIVATE = tuple(name for name, method in METHODS.items() if method.private)
SGD = ("dp-sgd", "dp-sgd-joint")
WITHOUT_NOISE = {"private-frepo": "frepo"}  # what stands for a method at an infinite epsilon
# The recipe of the distillation benchmark, so that its figures and these are of one kind.
PRESETS: Presets = {
    name: {part: own for part, own in preset.items() if part in ("run", "frepo", "train")}
    for name, preset in OF_DISTILLATION.items()
}


@dataclass(frozen=True, kw_only=True)
class PrivateOptions(StreamOptions):
    """Accuracy against epsilon: private distillation, and DP-SGD under the same accountant.

    Private methods make a set with each budget, and networks are trained from scratch on the set alone. DP-SGD trains
    one network on the records themselves: it leaves no set. With --steps above 1 classes come step by step, each step
    with the budget for its own records: sets fill a replay buffer; dp-sgd trains one network further at every step, and
    dp-sgd-joint trains on all steps together, which no stream allows.
    """

    main: ClassVar[str] = "benchmarks.studies.private.study:main"
    presets: ClassVar[Presets] = PRESETS
    left_out: ClassVar[frozenset[str]] = frozenset({"epsilon", "delta", "noise_multiplier"})
    dataset: str = "mnist"
    """Data set: cifar100, cifar10, mnist, fmnist, digits, tiny-imagenet, cub200, imagenette, imagewoof or imagenet; a
    folder with a subfolder of images per class; or an .npz file."""
    method: tuple[Literal[(*PRIVATE, *SGD)], ...] = (*PRIVATE, "dp-sgd")  # type: ignore[valid-type]
    """Methods to compare."""
    epsilon: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0, 8.0, math.inf)
    """Privacy budgets, all of it counted. At inf there is no noise: dp-sgd still clips, private-frepo is plain FRePo,
    and the other methods are left out."""
    delta: float = 1e-5
    """Probability with which the guarantee may fail."""
    images_per_class: int = 10
    """Images per class in a set."""
    steps: int = 1
    """Number of class-incremental steps; must divide the number of classes. 1: all classes at once."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of everything that is drawn, and of the class orders."""
    networks: int = 3
    """Number of networks trained on each set; DP-SGD trains one for each seed, as each costs epsilon."""
    sgd_steps: More[int | None] = None
    """Number of updates of DP-SGD. Default: that of PrivateSGD, as for the options below."""
    sgd_batch_size: More[int | None] = None
    """Expected number of records in an update of DP-SGD."""
    sgd_clip: More[float | None] = None
    """Norm to which DP-SGD clips the gradient of a record."""
    sgd_learning_rate: More[float | None] = None
    """Initial learning rate of DP-SGD."""
    sgd_width: More[int | None] = None
    """Width of the network that DP-SGD trains."""

    @property
    def sets(self) -> tuple[str, ...]:
        """The methods that make sets, those that stand for them without noise included."""
        private = tuple(dict.fromkeys(name for name in self.method if name in PRIVATE))
        ends = [WITHOUT_NOISE[name] for name in private if math.inf in self.epsilon and name in WITHOUT_NOISE]
        return (*private, *ends)

    @property
    def parts(self) -> frozenset[str]:
        """The methods that make sets, and the training of networks on these."""
        return frozenset({*map(prefix_of, self.sets), "train"})

    def idle(self, prefix: str) -> str:
        """That there is nothing that these options are of."""
        return "--epsilon has no inf, or no --method is private-frepo" if prefix == "frepo" else super().idle(prefix)

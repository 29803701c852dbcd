"""What distillers with a guarantee of differential privacy share: a budget, its ledger, and what they refuse."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from distill.accounting.accountant import Release, calibrated_noise, require_accountant
from distill.accounting.fixed_preprocessing import check_not_fitted, fixed_preprocessing
from distill.accounting.ledger import KEY, Ledger, Spent
from distill.accounting.noise_stream import NoiseStream
from distill.data.labelled import LabelledImages
from distill.distillers.base import Distiller
from distill.distillers.run import Run
from distill.errors import InputError
from distill.preprocess import PreprocessedImages, Preprocessing
from distill.runtime.checks import require_positive
from distill.runtime.distributed import world_size
from distill.runtime.seeds import Purpose
from distill.sets.synthetic import describe

__all__ = ["PrivateDistiller"]


@dataclass(frozen=True, kw_only=True)
class PrivateDistiller(Distiller):
    """Base of methods whose sets are (epsilon, delta)-differentially private in the records they are distilled from.

    Neighbours differ in one record (an image with its label), replaced by a blank one that adds nothing to any sum; to
    replace it by any other record costs twice as much at most. The number of records and which classes
    occur are public. Everything a set says of the records comes from the releases in its ledger; everything else that
    is done is post-processing.
    """

    is_private: ClassVar[bool] = True
    epsilon: float = 1.0
    """Privacy budget of the whole set, all of it counted. With a noise multiplier it decides on the start alone, and
    the ledger tells what everything costs."""
    delta: float = 1e-5
    """Probability with which the guarantee may fail; well below 1 / number of records."""
    noise_multiplier: float | None = None
    """Noise in units of the clip. Default: the least that keeps to epsilon; if given, the ledger tells epsilon."""
    secret_noise: bool = False
    """Draw noise and batches from the operating system's entropy: not reproducible. Otherwise they come from the seed,
    which is then a secret: whoever knows it can take the noise off. Never use one seed for two sets."""
    public_preprocessing: bool = False
    """Confirm that the preprocessing was not fitted on the private records. Otherwise only fixed ones are accepted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "epsilon", "delta", "noise_multiplier")
        if not self.delta < 1:
            raise InputError(f"delta is {self.delta}; expected less than 1, such as 1e-05")

    def preprocessing_for(self, data: LabelledImages) -> Preprocessing:
        """A fixed one, pixels to [-1, 1]: one that was fitted on private records would release their statistics."""
        return fixed_preprocessing(data.images.shape[-1])

    def check_run(self, run: Run) -> None:
        """Raise `InputError` where the accountant is not installed, or several processes would draw other noise."""
        super().check_run(run)
        require_accountant()
        if self.secret_noise and world_size() > 1:
            raise InputError("secret_noise=True does not work under torchrun: its processes must draw the same noise")

    def check_data(self, data: PreprocessedImages, run: Run) -> None:
        """Raise `InputError` for a preprocessing that may be fitted on private records, and for held-out images."""
        if run.held_out is not None:
            raise InputError(
                f"held_out was given to {self.method}: accuracy on held-out records of the private data would be "
                "recorded without noise; leave it out, and evaluate the finished set on public images"
            )
        check_not_fitted(data.preprocessing, public=self.public_preprocessing)

    @abstractmethod
    def releases(self, records: int, images_per_class: int) -> tuple[Release, ...]:
        """Everything that is released of so many records, noise included."""

    def ledger(self, data: PreprocessedImages, run: Run) -> Ledger:
        """What distilling `data` spends."""
        classes = tuple(int(class_id) for class_id in torch.unique(data.labels))
        spent = Spent(self.method, self.releases(len(data), run.images_per_class), classes, len(data))
        return Ledger((spent,), self.delta)

    def calibrated(self, releases: Any, epsilon: float) -> float:
        """The noise multiplier with which `releases(noise)` keep to `epsilon` at delta."""
        return calibrated_noise(releases, epsilon=epsilon, delta=self.delta)

    def stream(self, run: Run, purpose: Purpose) -> NoiseStream:
        """A stream of noise or of coins, from the seed of the run or from the operating system."""
        return NoiseStream.secret() if self.secret_noise else NoiseStream.of_seed(run.seed, purpose)

    def private_made_by(self, run: Run, ledger: Ledger, history: Sequence[dict[str, float]] = ()) -> dict[str, Any]:
        """The `made_by` of a set, with its ledger and without the seed, with which the noise could be taken off."""
        asked = {name: value for name, value in run.options().items() if name != "seed"}
        options = {**asked, **self.options()}
        return describe(
            self.method, options, started_from=[], history=list(history), **{KEY: ledger.as_json()}
        )

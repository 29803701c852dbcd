"""What distillers with a guarantee of differential privacy share: a budget, its ledger, and what they refuse."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from distill.accounting.accountant import Release, require_accountant
from distill.accounting.budget import Budget
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
class PrivateDistiller(Budget, Distiller):
    """Base of methods whose sets are (epsilon, delta)-differentially private in the records they are distilled from.

    Neighbours differ in one record (an image with its label), replaced by a blank one that adds nothing to any sum; to
    replace it by any other record costs twice as much at most. The number of records and which classes
    occur are public. Everything a set says of the records comes from the releases in its ledger; everything else that
    is done is post-processing.
    """

    is_private: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_budget()
        require_positive(self, "noise_multiplier")

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

    def stream(self, run: Run, purpose: Purpose) -> NoiseStream:
        """A stream of noise or of coins, from the seed of the run or from the operating system."""
        return self.noise_stream(run.seed, purpose)

    def private_made_by(self, run: Run, ledger: Ledger, history: Sequence[dict[str, float]] = ()) -> dict[str, Any]:
        """The `made_by` of a set, with its ledger and without the seed, with which the noise could be taken off."""
        asked = {name: value for name, value in run.options().items() if name != "seed"}
        options = {**asked, **self.options()}
        return describe(
            self.method, options, started_from=[], history=list(history), **{KEY: ledger.as_json()}
        )

"""Noisy means: the plainest private set, one release of sums of images."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch

from distill.accounting.accountant import Release
from distill.distillers.private import PrivateDistiller
from distill.distillers.private_start import start_images, start_releases
from distill.distillers.run import Run
from distill.errors import InputError
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_choice, require_positive
from distill.runtime.seeds import Purpose
from distill.sets.synthetic import SyntheticSet, initial_labels

__all__ = ["NoisyMeans"]

Kind = Literal["class-means", "clusters"]


@dataclass(frozen=True, kw_only=True)
class NoisyMeans(PrivateDistiller):
    """Noisy means of the images of each class, or of parts of it: where `PrivateFRePo` starts, with all of epsilon.

    A baseline that every private distillation has to beat.

    >>> from distill import load_images
    >>> NoisyMeans(noise_multiplier=9.0, kind="class-means").distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by noisy-means, epsilon 0.382 at delta 1e-05)
    """

    method: ClassVar[str] = "noisy-means"
    kind: Kind = "clusters"
    """Means of what: "class-means", the same for each image of a class; or "clusters", parts of each class."""
    frequencies: int = 10
    """Cosine frequencies in each direction of noisy means: fewer are smoother, with less noise."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self, "kind", get_args(Kind))
        require_positive(self, "frequencies")

    def check_run(self, run: Run) -> None:
        """Raise `InputError` for `on_release`: there are no steps to see."""
        super().check_run(run)
        if run.on_release is not None:
            raise InputError(f"on_release was given to {self.method}, which has no steps; use private-frepo or ndpdc")

    def releases(self, records: int, images_per_class: int) -> tuple[Release, ...]:
        """One noisy sum for each class, and for each of its parts."""
        noise = self.noise_multiplier
        if noise is None:
            noise = self.calibrated(lambda tried: start_releases(self.kind, tried), self.epsilon)
        return start_releases(self.kind, noise)

    def _distill(self, data: PreprocessedImages, run: Run) -> SyntheticSet:
        ledger = self.ledger(data, run)
        class_ids = torch.unique(data.labels).repeat_interleave(run.images_per_class)
        images = start_images(
            data,
            class_ids,
            init=self.kind,
            noise_multiplier=ledger.spent[0].releases[-1].noise_multiplier,
            noise_std=0.0,
            frequencies=self.frequencies,
            noise=self.stream(run, Purpose.NOISE),
            directions=run.generator(Purpose.START),
        )
        labels = initial_labels(class_ids, data.num_classes)
        made_by = self.private_made_by(run, ledger)
        return SyntheticSet(images, labels, class_ids, data.classes, data.preprocessing, made_by)

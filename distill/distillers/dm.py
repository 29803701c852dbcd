"""DM: distribution matching (Zhao & Bilen 2021)."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from distill.distillers.matching import Matching, MatchingState
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_not_negative

__all__ = ["DM", "mean_distance"]


@dataclass(frozen=True, kw_only=True)
class DM(Matching):
    """Mean features of a class's distilled and real images are matched, in a new random network at every step.

    Source: Zhao & Bilen, *Dataset Condensation with Distribution Matching* (WACV 2023, arXiv 2021), and its released
    code, whose defaults these are. The loss recorded is the mean over classes, the gradient that of the sum, as there.
    The order of random numbers is our own, and flipping depends on the data (`flip`).

    >>> from distill import load_images
    >>> DM(steps=1, width=4, depth=1, batch_size=8).distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by dm)
    """

    method: ClassVar[str] = "dm"
    steps: int = 20_000
    """Number of updates of the distilled images; published: 20 000."""
    learning_rate: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_not_negative(self, "steps")

    def updates(self, images_per_class: int) -> int:
        """How often the images are updated in all."""
        return self.steps

    def with_updates(self, count: int, images_per_class: int) -> "DM":
        """The same distiller with this many steps."""
        return self.with_options(steps=count)

    def step(self, state: MatchingState, data: PreprocessedImages) -> None:
        """Match in a newly drawn network; changes `state`."""
        state.network.reset_parameters(state.generator)
        classes = len(state.positions)
        seen = state.seen()
        means_t, augmented_s = [], []
        for positions, images_s in zip(state.positions.values(), seen.split(state.sizes), strict=True):
            images_t, images_s = self.pair(state, data, positions, images_s)
            with torch.no_grad():
                means_t.append(state.network.features(images_t).mean(0))
            augmented_s.append(images_s)
        features_s = state.network.features(torch.cat(augmented_s))  # all classes in one go
        means_s = torch.stack([own.mean(0) for own in features_s.split(state.sizes)])
        loss = mean_distance(torch.stack(means_t), means_s)
        (gradient,) = torch.autograd.grad(loss, seen)
        state.update(gradient, loss.item() / classes)


def mean_distance(means_t: Tensor, means_s: Tensor) -> Tensor:
    """Squared distance between mean features `(classes, d)` of real and distilled images, summed over classes."""
    return (means_t - means_s).square().sum()

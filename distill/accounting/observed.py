"""Releases as an attacker sees them who knows all that is public: what audits of a guarantee look at."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ObservedRelease", "Observer", "Terms"]

Terms = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""From images `(n, channels, height, width)` and labels `(n,)` of records to factors `(n, d)` and `(n, k)` of what each
of them adds to a sum, before it is clipped; a function of what is public."""


@dataclass(frozen=True, eq=False)
class ObservedRelease:
    """A noisy sum over records, and what any record would add to it; all of it is covered by the guarantee.

    Nothing here depends on the records but `summed`: what a record adds follows from the distilled images, the
    networks and the options, and these from earlier releases.
    """

    summed: Tensor
    """The sum with its noise, `(d, k)`."""
    terms: Terms
    """Gives the factors of what records add; only until the next step, which changes the networks."""
    clip: float
    """Norm to which what a record adds is clipped."""
    noise_std: float
    """Standard deviation of the noise, as the ledger counts it."""
    sampling_rate: float
    """Probability with which a record is in the sum."""

    @torch.no_grad()
    def added_by(self, images: Tensor, labels: Tensor) -> Tensor:
        """What each of some preprocessed images, with its label, adds where it is in the sum: float64 `(n, d k)`."""
        left, right = (factor.cpu().double() for factor in self.terms(images.to(self.summed), labels))
        added = (left[:, :, None] * right[:, None, :]).flatten(1)
        return added / (added.norm(dim=1, keepdim=True) / self.clip).clamp(min=1)


Observer = Callable[[ObservedRelease], None]

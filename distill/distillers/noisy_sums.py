"""Sums over private records, each clipped, with Gaussian noise: the only way in which a set learns of them."""

import torch
from torch import Tensor

__all__ = ["clip_factors", "noisy_group_sums", "noisy_outer_sum", "poisson_sample"]


def clip_factors(norms: Tensor, clip: float) -> Tensor:
    """What scales vectors of these `norms` `(n,)` to a norm of at most `clip`: at most 1, and 1 for a norm of 0."""
    return (clip / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp(max=1)


def poisson_sample(count: int, rate: float, generator: torch.Generator) -> Tensor:
    """Positions of the records, of `count`, that an independent coin of probability `rate` chose; perhaps none.

    The accountant's amplification by sampling holds for this, not for batches of a fixed size.
    """
    return torch.nonzero(torch.rand(count, generator=generator, dtype=torch.float64) < rate).squeeze(1)


def noisy_group_sums(
    vectors: Tensor, groups: Tensor, count: int, *, clip: float, noise_multiplier: float, generator: torch.Generator
) -> Tensor:
    """For each of `count` groups the sum of its vectors, clipped, with noise: `(count, d)`.

    `vectors` is `(n, d)`, `groups` int64 `(n,)`. A record is in one group, so that one more or less changes all sums
    together by a vector of norm `clip` at most: they are one Gaussian release of `noise_multiplier`.
    """
    clipped = vectors * clip_factors(vectors.norm(dim=1), clip)[:, None]
    sums = vectors.new_zeros(count, vectors.shape[1]).index_add_(0, groups.to(vectors.device), clipped)
    return sums + noise_multiplier * clip * normal_like(sums, generator)


def noisy_outer_sum(
    left: Tensor, right: Tensor, *, clip: float, noise_multiplier: float, generator: torch.Generator
) -> Tensor:
    """The sum of outer products `left_i right_i^T`, each clipped to norm `clip`, with noise: `(d, C)`.

    `left` is `(n, d)`, `right` `(n, C)`. The norm of an outer product is the product of the norms, so that none is
    formed. Without records, noise alone.
    """
    factors = clip_factors(left.norm(dim=1) * right.norm(dim=1), clip)
    total = left.T @ (right * factors[:, None])
    return total + noise_multiplier * clip * normal_like(total, generator)


def normal_like(tensor: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal numbers of the shape of `tensor`, drawn on the CPU so that devices agree."""
    return torch.randn(tensor.shape, generator=generator, dtype=torch.float64).to(tensor)

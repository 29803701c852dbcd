"""Sums over private records, each clipped, with Gaussian noise: the only way in which anything learns of them.

Clipped, summed and noised in float64 on the CPU: in float32 the rounding of a long sum can be larger than the clip.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

from distill.accounting.noise_stream import NoiseStream

__all__ = ["clip_factors", "noisy_group_sums", "noisy_outer_sum", "noisy_row_sum", "poisson_sample"]


def clip_factors(norms: Tensor, clip: float) -> Tensor:
    """What scales vectors of these `norms` `(n,)` to a norm of at most `clip`: at most 1, and 1 for a norm of 0."""
    return (clip / norms.clamp_min(torch.finfo(norms.dtype).tiny)).clamp(max=1)


def poisson_sample(count: int, rate: float, coins: NoiseStream) -> Tensor:
    """Positions of the records, of `count`, that an independent coin of probability `rate` chose; perhaps none.

    The accountant's amplification by sampling holds for this, not for batches of a fixed size.
    """
    return torch.nonzero(coins.uniform(count) < rate).squeeze(1)


def noisy_row_sum(
    chunks: Iterable[Tensor], size: int, *, clip: float, noise_multiplier: float, noise: NoiseStream
) -> Tensor:
    """The sum of all rows of the `chunks` `(n, size)`, each row clipped, with noise: float64 `(size,)` on the CPU.

    Without rows, noise alone.
    """
    total = torch.zeros(size, dtype=torch.float64)
    for rows in chunks:
        exact = rows.cpu().double()
        total += clip_factors(exact.norm(dim=1), clip) @ exact
    return total + noise_multiplier * clip * normal_like(total, noise)


def noisy_group_sums(
    vectors: Tensor, groups: Tensor, count: int, *, clip: float, noise_multiplier: float, noise: NoiseStream
) -> Tensor:
    """For each of `count` groups the sum of its vectors, clipped, with noise: `(count, d)`.

    `vectors` is `(n, d)`, `groups` int64 `(n,)`. A record is in one group, so that one more or less changes all sums
    together by a vector of norm `clip` at most: they are one Gaussian release of `noise_multiplier`.
    """
    exact = vectors.cpu().double()
    clipped = exact * clip_factors(exact.norm(dim=1), clip)[:, None]
    sums = exact.new_zeros(count, exact.shape[1]).index_add_(0, groups.cpu(), clipped)
    return (sums + noise_multiplier * clip * normal_like(sums, noise)).to(vectors)


def noisy_outer_sum(
    left: Tensor, right: Tensor, *, clip: float, noise_multiplier: float, noise: NoiseStream
) -> Tensor:
    """The sum of outer products `left_i right_i^T`, each clipped to norm `clip`, with noise: `(d, C)`.

    `left` is `(n, d)`, `right` `(n, C)`. The norm of an outer product is the product of the norms, so that none is
    formed. Without records, noise alone.
    """
    exact, other = left.cpu().double(), right.cpu().double()
    factors = clip_factors(exact.norm(dim=1) * other.norm(dim=1), clip)
    total = exact.T @ (other * factors[:, None])
    return (total + noise_multiplier * clip * normal_like(total, noise)).to(left)


def normal_like(sums: Tensor, noise: NoiseStream) -> Tensor:
    """Standard normal numbers of the shape of `sums`."""
    return noise.normal(*sums.shape)

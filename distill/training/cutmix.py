"""CutMix: images with a rectangle of another image."""

import torch
from torch import Tensor

from distill.training.augmentation import Draw

__all__ = ["cut_and_mixed"]


def cut_and_mixed(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Images `(n, channels, height, width)` with one rectangle, alike for all, from another image each (CutMix).

    Its area is uniform and its place any (Yun et al. 2019), so that it may be cut off at the edges. Also returned: the
    positions `(n,)` of the other images, and the share of an image that is still its own.

    >>> values = torch.arange(3.0)
    >>> images = values.view(3, 1, 1, 1).expand(3, 1, 4, 4)
    >>> mixed, others, share = cut_and_mixed(images, torch.Generator().manual_seed(1))
    >>> torch.allclose(mixed.mean((1, 2, 3)), share * values + (1 - share) * values[others])
    True
    """
    height, width = images.shape[2:]
    draw = Draw(generator, (height, width), 1)
    side = float(draw.uniform(0, 1)) ** 0.5
    rows, columns = (within(int(draw.whole(0, size - 1)), round(size * side), size) for size in (height, width))
    others = torch.randperm(len(images), generator=generator).to(images.device)
    mixed = images.clone()
    mixed[:, :, rows, columns] = images[others][:, :, rows, columns]
    covered = mixed[:1, :1, rows, columns].numel() / (height * width)
    return mixed, others, torch.tensor(1 - covered)


def within(centre: int, length: int, size: int) -> slice:
    """`length` positions around a `centre`, those of them that are in `size`."""
    first = centre - length // 2
    return slice(max(0, first), min(size, first + length))

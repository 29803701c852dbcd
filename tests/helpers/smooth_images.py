"""Images that compress as photographs do: random, but smooth; pixels in [0, 1]."""

import torch
from torch.nn import functional

from distill import Identity, PreprocessedImages, Preprocessing

__all__ = ["smooth"]


def smooth(
    n: int, *, num_classes: int, shape: tuple[int, int, int] = (3, 16, 16), seed: int = 0,
    preprocessing: Preprocessing | None = None,
) -> PreprocessedImages:  # fmt: skip
    """`n` images, class ids in turn; `preprocessing` is done to them."""
    channels, height, width = shape
    coarse = torch.rand(n, channels, 4, 4, generator=torch.Generator().manual_seed(seed))
    pixels = functional.interpolate(coarse, (height, width), mode="bilinear")
    preprocessing = Identity() if preprocessing is None else preprocessing
    names = tuple(f"class {c}" for c in range(num_classes))
    return PreprocessedImages(preprocessing.forward(pixels), torch.arange(n) % num_classes, names, preprocessing)

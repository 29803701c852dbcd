"""Per-channel standardisation."""

import numpy as np
import torch

from distill.datasets import LabelledImages
from distill.errors import InputError
from distill.pixels import chunk_length
from distill.preprocess.base import Preprocessing

__all__ = ["Standardize"]


class Standardize(Preprocessing):
    """Per-channel standardisation: `(pixels - mean) / std`, `mean` and `std` of shape `(channels,)`."""

    kind = "standardize"

    def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        self.mean, self.std = mean, std

    @classmethod
    def fit(cls, data: LabelledImages) -> "Standardize":
        """Channel means and standard deviations of all pixels of `data`; a constant channel is only centred."""
        if not len(data):
            raise InputError("cannot fit a preprocessing on 0 images")
        counts = torch.from_numpy(_value_counts(data.images)).double()
        values = torch.arange(256).float().div_(255).double()
        mean = counts @ values / counts.sum(1)
        variance = (counts * (values - mean[:, None]).square()).sum(1) / counts.sum(1)
        varies = (counts > 0).sum(1) > 1
        return cls(mean.float(), torch.where(varies, variance.sqrt(), torch.ones_like(variance)).float())

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels to zero mean and unit variance per channel."""
        mean, std = self.mean.to(pixels), self.std.to(pixels)
        return (pixels - mean[:, None, None]) / std[:, None, None]

    def inverse(self, images: torch.Tensor) -> torch.Tensor:
        """Back to pixels."""
        mean, std = self.mean.to(images), self.std.to(images)
        return images * std[:, None, None] + mean[:, None, None]

    def state(self) -> dict[str, torch.Tensor]:
        """`mean` and `std`."""
        return {"mean": self.mean, "std": self.std}


def _value_counts(images: np.ndarray) -> np.ndarray:
    """How often each of the 256 values occurs in each channel: int64 `(channels, 256)`, all that a mean needs."""
    counts = np.zeros((images.shape[-1], 256), np.int64)
    length = chunk_length(images.shape[1:])
    for start in range(0, len(images), length):
        chunk = images[start : start + length]
        counts += [np.bincount(chunk[..., channel].ravel(), minlength=256) for channel in range(chunk.shape[-1])]
    return counts

"""Per-channel standardisation."""

from collections.abc import Sequence

import numpy as np
import torch

from distill.data.labelled import LabelledImages
from distill.data.pixels import chunk_length
from distill.errors import InputError
from distill.preprocess.base import Preprocessing
from distill.preprocess.state import checked_state
from distill.runtime.checks import require_a

__all__ = ["Standardize"]


class Standardize(Preprocessing):
    """Per-channel standardisation: `(pixels - mean) / std`.

    - `mean`, `std`: float tensors of shape `(channels,)`, `std` above 0.

    Raises `InputError` for other tensors.

        >>> half = Standardize(torch.tensor([0.5]), torch.tensor([0.25]))
        >>> half.forward(torch.ones(1, 1, 1, 2)).tolist()
        [[[[2.0, 2.0]]]]
    """

    kind = "standardize"

    def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
        self.mean, self.std = checked_state(self.kind, mean=(mean, 1), std=(std, 1))
        if self.mean.shape != self.std.shape or not bool((self.std > 0).all()):
            raise InputError(
                f"mean and std of the preprocessing {self.kind!r} are {self.mean.tolist()!s:.60} and "
                f"{self.std.tolist()!s:.60}; expected one mean and one std for each channel, std above 0"
            )

    @classmethod
    def fit(cls, data: LabelledImages) -> "Standardize":
        """Fit channel means and standard deviations on all pixels of `data`; a constant channel is only centred.

        Raises `InputError` when there are no images.
        """
        require_a("data", data, LabelledImages, hint="uint8 images with labels and classes")
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

    def misfit(self, image_shape: Sequence[int]) -> str | None:
        """Why this preprocessing does not fit images of shape `(channels, height, width)`; `None` if it does."""
        if image_shape[0] != len(self.mean):
            return f"{self.kind} is for {len(self.mean)} channels, images have {image_shape[0]}"
        return None

    def state(self) -> dict[str, torch.Tensor]:
        """`mean` and `std`."""
        return {"mean": self.mean, "std": self.std}


def _value_counts(images: np.ndarray) -> np.ndarray:
    """How often each of the 256 values occurs in each channel: int64 `(channels, 256)`."""
    counts = np.zeros((images.shape[-1], 256), np.int64)
    length = chunk_length(images.shape[1:])
    for start in range(0, len(images), length):
        chunk = images[start : start + length]
        counts += [np.bincount(chunk[..., channel].ravel(), minlength=256) for channel in range(chunk.shape[-1])]
    return counts

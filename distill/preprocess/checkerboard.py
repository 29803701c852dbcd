"""ZCA whitening of images too large to whiten as a whole."""

import numpy as np
import torch

from distill.data.labelled import LabelledImages
from distill.errors import InputError, shown
from distill.preprocess.zca import ZCA, fit_whitening
from distill.runtime.checks import require_a

__all__ = ["CheckerboardZCA"]


class CheckerboardZCA(ZCA):
    """ZCA of interleaved sub-grids: every second pixel of each row and column, for 128x128 images four of 64x64.

    All sub-grids are whitened by one matrix, made as in `ZCA` from the mean of their covariances (FRePo's appendix A.1
    and released code). Above 128x128 every fourth pixel, and so on, so that no sub-grid is larger than 64x64 RGB.
    Differs from the released code as `ZCA` does, and in leaving no direction unwhitened where there are fewer images
    than values of a sub-grid.

    - `mean`, `std`, `centre`, `triangle`: as in `ZCA`; `d` is the values of an image in `centre`, and those of a
      sub-grid in `triangle`.
    - `stride`: integer tensor `()`, every how many pixels one belongs to the same sub-grid.
    """

    kind = "checkerboard-zca"

    def __init__(
        self,
        mean: torch.Tensor,
        std: torch.Tensor,
        centre: torch.Tensor,
        triangle: torch.Tensor,
        stride: torch.Tensor,
    ) -> None:
        super().__init__(mean, std, centre, triangle)
        if not isinstance(stride, torch.Tensor) or stride.numel() != 1 or not 1 <= float(stride) == int(stride):
            given = shown(stride)
            raise InputError(f"stride of the preprocessing {self.kind!r} is {given}; expected a whole number above 0")
        self.stride = int(stride)

    @classmethod
    def fit(cls, data: LabelledImages) -> "CheckerboardZCA":
        """Fit on `data`, on as many images as `ZCA.fit` uses.

        Raises `InputError` when a side of the images is not a multiple of the stride.
        """
        require_a("data", data, LabelledImages, hint="uint8 images with labels and classes")
        height, width = data.images.shape[1:3]
        stride = 2
        while int(np.prod(data.images.shape[1:])) > cls.largest * stride**2:
            stride *= 2
        if height % stride or width % stride:
            raise InputError(
                f"checkerboard whitening of {width}x{height} images takes every {stride}th pixel: expected sides that "
                f"{stride} divides; resize the images (resolution=..., --resolution on the command line)"
            )
        return cls(*fit_whitening(data, stride=stride), stride=torch.tensor(stride))

    def state(self) -> dict[str, torch.Tensor]:
        """The state of `ZCA`, and the stride."""
        return {**super().state(), "stride": torch.tensor(self.stride)}

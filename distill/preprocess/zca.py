"""ZCA whitening with a regularised covariance."""

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from distill.data.labelled import LabelledImages
from distill.data.pixels import positions_in_chunks, unit_pixels
from distill.errors import InputError
from distill.preprocess.base import Preprocessing
from distill.preprocess.standardize import Standardize
from distill.preprocess.state import checked_state
from distill.runtime.checks import require_a

__all__ = ["ZCA", "Fitted", "fit_whitening"]

REGULARIZATION = 0.1
FITTED_ON = 100_000  # images at most


class ZCA(Preprocessing):
    """Standardisation, then ZCA whitening with a regularised covariance.

    `x -> W (x - centre)` on flattened standardised images, `W = (cov + 0.1 trace(cov) / d I)^(-1/2)`
    (Nguyen et al. 2021, and FRePo's appendix A.1), with `d` the values of an image, at most 64 x 64 x 3. `W` is
    symmetric, so only its upper triangle is kept. Differs from the released FRePo code in subtracting the mean image
    before whitening, so that the matrix is a covariance; standardisation has already removed nearly all of it.

    - `mean`, `std`: channel statistics `(channels,)`.
    - `centre`: the mean standardised image `(d,)`.
    - `triangle`: the upper triangle of `W`, row by row, `(d (d + 1) / 2,)`.

    Made by `fit`. Raises `InputError` for tensors of other shapes, or NaN or infinite values.
    """

    kind = "zca"
    regularization: ClassVar[float] = REGULARIZATION
    largest: ClassVar[int] = 3 * 64 * 64
    stride: int = 1  # what is whitened together: every pixel, or every `stride`th of each row and column

    def __init__(
        self, mean: torch.Tensor, std: torch.Tensor, centre: torch.Tensor, triangle: torch.Tensor
    ) -> None:
        self.standardize = Standardize(mean, std)
        self.centre, self.triangle = checked_state(self.kind, centre=(centre, 1), triangle=(triangle, 1))
        self._size = math.isqrt(2 * len(self.triangle))  # d (d + 1) / 2 values
        if self._size * (self._size + 1) // 2 != len(self.triangle):
            raise InputError(f"triangle of the preprocessing {self.kind!r} is cut off: {len(self.triangle)} values")
        self._elsewhere: dict[tuple[str, torch.device, torch.dtype], torch.Tensor] = {}

    @classmethod
    def fit(cls, data: LabelledImages) -> "ZCA":
        """Fit on `data`: channel statistics on all images, mean image and covariance on at most 100 000, drawn at
        random, but always the same, where there are more.

        Takes an eigendecomposition of a `d x d` matrix. Raises `InputError` when images are larger than 64x64 RGB, or
        all the same.
        """
        require_a("data", data, LabelledImages, hint="uint8 images with labels and classes")
        size = int(np.prod(data.images.shape[1:]))
        if size > cls.largest:
            raise InputError(
                f"whitening images of {size} values needs a matrix of {size} x {size}; expected at most {cls.largest} "
                "values (64x64 RGB): resize the images (resolution=..., --resolution on the command line) or take "
                "CheckerboardZCA"
            )
        return cls(*fit_whitening(data, stride=1))

    @cached_property
    def _whiten(self) -> torch.Tensor:
        d = self._size
        rows, columns = torch.triu_indices(d, d)
        matrix = torch.empty(d, d)
        matrix[rows, columns] = self.triangle
        matrix[columns, rows] = self.triangle
        return matrix

    @cached_property
    def _colour(self) -> torch.Tensor:
        inverse, info = torch.linalg.inv_ex(self._whiten.double())
        if int(info) or not bool(torch.isfinite(inverse).all()):
            raise InputError(
                f"the matrix of the preprocessing {self.kind!r} is singular and has no inverse; fit it again, or copy "
                "its file again"
            )
        return inverse.float()

    def misfit(self, image_shape: Sequence[int]) -> str | None:
        """Why this preprocessing does not fit images of shape `(channels, height, width)`; `None` if it does."""
        _, height, width = image_shape
        values, stride = math.prod(image_shape), self.stride
        if height % stride or width % stride or values != len(self.centre) or values != self._size * stride**2:
            wanted = f"{self._size * stride**2} values" + (f" and sides that {stride} divides" if stride > 1 else "")
            return f"{self.kind} is for images of {wanted}, these are {tuple(image_shape)} (channels, height, width)"
        return self.standardize.misfit(image_shape)

    def _matrix(self, name: str, like: torch.Tensor) -> torch.Tensor:
        """The matrix on the device and in the type of `like`, copied there once: hundreds of MB for 64x64 images."""
        key = (name, like.device, like.dtype)
        if key not in self._elsewhere:
            self._elsewhere[key] = getattr(self, name).to(like)
        return self._elsewhere[key]

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels to whitened images."""
        centred = self.standardize.forward(pixels).flatten(1) - self.centre.to(pixels)
        grids = to_grids(centred.view(pixels.shape), self.stride)
        return from_grids(grids @ self._matrix("_whiten", pixels), pixels.shape, self.stride)

    def inverse(self, images: torch.Tensor) -> torch.Tensor:
        """Whitened images back to pixels."""
        grids = to_grids(images, self.stride) @ self._matrix("_colour", images)
        flat = from_grids(grids, images.shape, self.stride).flatten(1) + self.centre.to(images)
        return self.standardize.inverse(flat.view(images.shape))

    def state(self) -> dict[str, torch.Tensor]:
        """Channel statistics, mean image and the upper triangle of the whitening matrix."""
        return {**self.standardize.state(), "centre": self.centre, "triangle": self.triangle}


class Fitted(NamedTuple):
    """The tensors that `ZCA` consists of."""

    mean: torch.Tensor
    std: torch.Tensor
    centre: torch.Tensor
    triangle: torch.Tensor


def fit_whitening(data: LabelledImages, *, stride: int) -> Fitted:
    """The whitening of the sub-grids of every `stride`th pixel, with the mean of all their covariances.

    Reads the images three times, in chunks: memory is that of some `d x d` matrices, `d` the values of a sub-grid.
    """
    standardize = Standardize.fit(data)
    positions = _sample(len(data))

    def chunks() -> Iterator[torch.Tensor]:
        for chunk in positions_in_chunks(positions, data.images.shape[1:]):
            yield standardize.forward(unit_pixels(data.images[chunk]))

    total = torch.zeros(data.images.shape[3], *data.images.shape[1:3], dtype=torch.float64)
    for images in chunks():
        total += images.sum(0, dtype=torch.float64)
    centre = (total / len(positions)).float()
    size = centre.numel() // stride**2
    covariance = torch.zeros(size, size, dtype=torch.float64)
    for images in chunks():
        grids = to_grids(images - centre, stride)
        covariance += grids.T @ grids
    covariance /= len(positions) * stride**2
    if not bool(covariance.trace() > 0):
        raise InputError(f"cannot fit a whitening on {len(data)} images that are all the same")
    return Fitted(standardize.mean, standardize.std, centre.flatten(), _inverse_root(covariance))


def _inverse_root(covariance: torch.Tensor) -> torch.Tensor:
    """Upper triangle of `(cov + 0.1 trace(cov) / d I)^(-1/2)`, row by row, as float32."""
    ridge = REGULARIZATION * covariance.trace() / len(covariance)
    values, vectors = torch.linalg.eigh(covariance)
    whiten = (vectors * (values.clamp_min(0) + ridge).rsqrt()) @ vectors.T
    rows, columns = torch.triu_indices(*whiten.shape)
    return whiten[rows, columns].float()


def _sample(count: int) -> np.ndarray:
    """Positions in order: all, or a random `FITTED_ON` of more."""
    if count <= FITTED_ON:
        return np.arange(count)
    chosen = torch.randperm(count, generator=torch.Generator().manual_seed(0))[:FITTED_ON]
    return np.sort(chosen.numpy())


def to_grids(images: torch.Tensor, stride: int) -> torch.Tensor:
    """Images `(n, channels, height, width)` to their sub-grids of every `stride`th pixel, flattened.

    `(n stride^2, channels height width / stride^2)`: those of an image follow each other, row offset by row offset.
    """
    n, channels, height, width = images.shape
    cut = images.reshape(n, channels, height // stride, stride, width // stride, stride)
    return cut.permute(0, 3, 5, 1, 2, 4).reshape(n * stride**2, channels * height * width // stride**2)


def from_grids(grids: torch.Tensor, shape: torch.Size, stride: int) -> torch.Tensor:
    """The inverse of `to_grids`: images of that `shape`."""
    n, channels, height, width = shape
    cut = grids.reshape(n, stride, stride, channels, height // stride, width // stride)
    return cut.permute(0, 3, 4, 1, 5, 2).reshape(shape)

"""Images shrunk before another codec stores them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import torch
from torch.nn import functional

from distill.errors import InputError
from distill.runtime.checks import require_a, require_whole
from distill.sets.codecs.base import ImageCodec, Shape, codec_of
from distill.sets.codecs.plain import UInt8

__all__ = ["Lowres"]


@dataclass(frozen=True)
class Lowres(ImageCodec):
    """Pixels shrunk by `factor`, stored by another codec, and enlarged when decoded.

    Enlarging is bicubic; shrinking gives the small image that comes nearest when enlarged (least squares). Both are
    linear, so that the round trip without the inner codec is an orthogonal projection: images that went through it stay
    as they are, and the gradient of `coded` is projected. Enlarged pixels may lie a little outside [0, 1]. Sides that
    `factor` does not divide are rounded up.

    On CIFAR-100, `lowres:2` reaches 27.8 dB where means over areas and bilinear enlarging reach 25.5.

    - `factor`: by what height and width are divided, 2 or more.
    - `inner`: the codec of the shrunk pixels.
    """

    kind = "lowres"
    differentiable = True

    factor: int
    inner: ImageCodec = field(default_factory=UInt8)

    def __post_init__(self) -> None:
        require_whole("factor", self.factor, least=2)
        require_a("inner", self.inner, ImageCodec, hint='made by codec_of("webp:50")')

    @property
    def spec(self) -> str:
        """"lowres:FACTOR+INNER", without "+INNER" for uint8."""
        return f"lowres:{self.factor}" + (f"+{self.inner.spec}" if self.inner != UInt8() else "")

    @classmethod
    def from_words(cls, words: str) -> "Lowres":
        """The codec of "FACTOR" or "FACTOR+INNER"."""
        factor, _, inner = words.partition("+")
        if not factor.isdecimal():
            raise InputError(f"factor of codec 'lowres' is {factor!r}; expected a whole number, as in lowres:2+webp:50")
        return cls(int(factor), codec_of(inner) if inner else UInt8())

    @property
    def per_image(self) -> bool:
        """As the inner codec."""
        return self.inner.per_image

    def _check_shape(self, channels: int, height: int, width: int) -> None:
        if min(height, width) < self.factor:
            raise InputError(f"images of {height}x{width} cannot be shrunk by {self.factor}; expected a smaller factor")
        self.inner.check_shape((channels, *self.small((height, width))))

    def small(self, sides: Sequence[int]) -> tuple[int, int]:
        """Height and width of shrunk images."""
        height, width = sides
        return small_side(height, self.factor), small_side(width, self.factor)

    def shrink(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels `(n, channels, height, width)`, shrunk: what comes nearest when enlarged, by least squares."""
        rows, columns = (shrinking(side, self.factor).to(pixels) for side in pixels.shape[2:])
        return rows @ pixels @ columns.T

    def enlarge(self, small: torch.Tensor, sides: Sequence[int]) -> torch.Tensor:
        """Shrunk pixels at the height and width `sides`: bicubic."""
        rows, columns = (enlarging(side, self.factor).to(small) for side in sides)
        return rows @ small @ columns.T

    def smooth(self, stored: torch.Tensor) -> torch.Tensor:
        """Shrunk and enlarged: the round trip but for what the inner codec does."""
        return self.enlarge(self.inner.smooth(self.shrink(stored)), stored.shape[2:])

    def _encode(self, images: torch.Tensor) -> bytes:
        return self.inner._encode(self._shrunk(images))

    def _encode_groups(self, images: torch.Tensor, groups: Sequence[int]) -> bytes:
        return self.inner._encode_groups(self._shrunk(images), groups)

    def _decode(self, body: bytes, shape: Shape) -> torch.Tensor:
        small = self.inner._decode(body, self._small_shape(shape))
        return self.enlarge(small.double(), shape[2:]).float()

    def _subset(self, body: bytes, shape: Shape, rows: np.ndarray) -> bytes:
        return self.inner._subset(body, self._small_shape(shape), rows)

    def _shrunk(self, images: torch.Tensor) -> torch.Tensor:
        """Computed in double precision, so that an image gives the same bytes alone and among others."""
        return self.shrink(images.double()).float()

    def _small_shape(self, shape: Shape) -> Shape:
        return (*shape[:2], *self.small(shape[2:]))


def small_side(side: int, factor: int) -> int:
    """The length of a side, shrunk."""
    return -(-side // factor)


@lru_cache(maxsize=64)
def enlarging(side: int, factor: int) -> torch.Tensor:
    """The bicubic enlarging of one side as a matrix, float64 `(side, side shrunk)`."""
    small = small_side(side, factor)
    each = torch.eye(small, dtype=torch.float64)[:, None, :, None]
    columns = functional.interpolate(each.expand(-1, -1, -1, 2), (side, 2), mode="bicubic", align_corners=False)
    return columns[:, 0, :, 0].T.contiguous()


@lru_cache(maxsize=64)
def shrinking(side: int, factor: int) -> torch.Tensor:
    """The pseudo-inverse of `enlarging`, float64 `(side shrunk, side)`."""
    return torch.linalg.pinv(enlarging(side, factor))

"""What codecs of 8 bits a value share: pixels outside [0, 1] are clipped, or the range of the pack is stored."""

from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np
import torch

from distill.runtime.checks import require_choice
from distill.sets.codecs.base import ImageCodec, Shape

__all__ = ["EightBits"]

RANGES = ("unit", "scaled")


@dataclass(frozen=True)
class EightBits(ImageCodec):
    """A codec that stores pixels of 8 bits.

    - `range`: "unit": [0, 1] becomes 0 to 255, and what is outside is clipped. "scaled": the least and the greatest
      value of the pack become 0 and 255; they take 8 bytes. A few pixels far outside make the steps coarse for all.
    """

    range: str = field(default="unit", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self, "range", RANGES)

    def _encode(self, images: torch.Tensor) -> bytes:
        bounds, pixels = self.to_bytes(images)
        return bounds + self.pack(pixels)

    def _decode(self, body: bytes, shape: Shape) -> torch.Tensor:
        bounds, rest = self.cut(body)
        return self.from_bytes(bounds, self.unpack(rest, shape))

    def _subset(self, body: bytes, shape: Shape, rows: np.ndarray) -> bytes:
        bounds, rest = self.cut(body)
        return bounds + self.pick(rest, shape, rows)

    @abstractmethod
    def pack(self, pixels: np.ndarray) -> bytes:
        """The bytes of uint8 images `(n, height, width, channels)`."""

    @abstractmethod
    def unpack(self, body: bytes, shape: Shape) -> np.ndarray:
        """Uint8 images `(n, height, width, channels)` of the bytes that `pack` gave."""

    @abstractmethod
    def pick(self, body: bytes, shape: Shape, rows: np.ndarray) -> bytes:
        """What `pack` gives of the images at these positions alone."""

    def to_bytes(self, images: torch.Tensor) -> tuple[bytes, np.ndarray]:
        """The bounds to store, and the images as uint8 `(n, height, width, channels)`."""
        bounds = b""
        if self.range == "scaled":
            bounds = np.array([images.min(), images.max()], "<f4").tobytes()
        low, size = _low_and_size(bounds)
        unit = (images - low) / size
        pixels = unit.clamp(0, 1).mul(255).round().to(torch.uint8)
        return bounds, pixels.permute(0, 2, 3, 1).contiguous().numpy()

    def from_bytes(self, bounds: bytes, pixels: np.ndarray) -> torch.Tensor:
        """Float32 images `(n, channels, height, width)` of what `to_bytes` gave."""
        low, size = _low_and_size(bounds)
        unit = torch.from_numpy(pixels).permute(0, 3, 1, 2).float().div(255)
        return (unit if self.range == "unit" else unit * size + low).contiguous()

    def cut(self, body: bytes) -> tuple[bytes, bytes]:
        """The bounds of a body, and the rest."""
        size = 8 if self.range == "scaled" else 0
        return body[:size], body[size:]


def _low_and_size(bounds: bytes) -> tuple[float, float]:
    low, high = np.frombuffer(bounds, "<f4").tolist() if bounds else (0.0, 1.0)
    return low, (high - low) or 1.0

"""Images as numbers: floats of 32 or 16 bits, and pixels of 8 bits."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from distill.errors import InputError
from distill.sets.codecs.base import ImageCodec, Shape
from distill.sets.codecs.eight_bits import EightBits

__all__ = ["Float16", "Float32", "UInt8"]


@dataclass(frozen=True)
class Float32(ImageCodec):
    """The input of the network as it is: 4 bytes a value, nothing lost."""

    kind = "float32"
    space = "input"
    differentiable = True
    stored_as: ClassVar[str] = "<f4"

    def _encode(self, images: torch.Tensor) -> bytes:
        return images.numpy().astype(self.stored_as).tobytes()

    def _decode(self, body: bytes, shape: Shape) -> torch.Tensor:
        return torch.from_numpy(np.frombuffer(body, self.stored_as).astype(np.float32)).reshape(shape)

    def _subset(self, body: bytes, shape: Shape, rows: np.ndarray) -> bytes:
        return rows_of(body, shape, rows)


@dataclass(frozen=True)
class Float16(Float32):
    """The input of the network in half precision: 2 bytes a value, 11 significant bits, at most 65504."""

    kind = "float16"
    differentiable = False
    stored_as = "<f2"

    def _encode(self, images: torch.Tensor) -> bytes:
        largest = float(images.abs().max())
        if largest > float(np.finfo(np.float16).max):
            raise InputError(f"images reach {largest:g}, too large for 16 bits; expected up to 65504, or codec float32")
        return super()._encode(images)


@dataclass(frozen=True)
class UInt8(EightBits):
    """Pixels of 8 bits: 1 byte a value; pixels that were of 8 bits come back as they were."""

    kind = "uint8"

    def pack(self, pixels: np.ndarray) -> bytes:
        """The pixels, image by image, row by row."""
        return pixels.tobytes()

    def unpack(self, body: bytes, shape: Shape) -> np.ndarray:
        """The pixels again."""
        n, channels, height, width = shape
        return np.frombuffer(bytearray(body), np.uint8).reshape(n, height, width, channels)

    def pick(self, body: bytes, shape: Shape, rows: np.ndarray) -> bytes:
        """The bytes of these images."""
        return rows_of(body, shape, rows)


def rows_of(body: bytes, shape: Shape, rows: np.ndarray) -> bytes:
    """The bytes of some images of a body in which all take as many."""
    size = len(body) // shape[0]
    return b"".join(body[row * size : (row + 1) * size] for row in rows.tolist())

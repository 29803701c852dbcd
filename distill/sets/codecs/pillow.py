"""WebP and JPEG files as Pillow writes them, without the bytes that are the same in each."""

import io
import struct
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import PIL
from PIL import Image

from distill.errors import InputError
from distill.sets.codecs.base import Shape
from distill.sets.codecs.eight_bits import EightBits
from distill.sets.codecs.sealed import join, split

__all__ = ["JPEG", "PillowCodec", "WebP", "image_of"]


@dataclass(frozen=True)
class PillowCodec(EightBits):
    """A file for each image, one after the other. Images of 1 or 3 channels.

    - `quality`: 0 to 100, as the format means it.
    - `range`: "unit" or "scaled", see `EightBits`.
    """

    quality: int
    longest_side: ClassVar[int]

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.quality <= 100:
            raise InputError(f"quality is {self.quality}; expected 0 to 100")

    def _check_shape(self, channels: int, height: int, width: int) -> None:
        if channels not in (1, 3):
            raise InputError(f"images have {channels} channels; codec {self.spec} wants 1 or 3; uint8 takes any")
        if (side := max(height, width)) > self.longest_side:
            raise InputError(f"images have sides of {side} pixels; codec {self.spec} wants {self.longest_side} at most")

    @abstractmethod
    def write(self, pixels: np.ndarray) -> bytes:
        """A complete file of one image, uint8 `(height, width, channels)`."""

    @abstractmethod
    def write_alone(self, pixels: np.ndarray) -> bytes:
        """The fewest bytes for one image that shares nothing with others."""

    @abstractmethod
    def read_alone(self, file: bytes, image_shape: Sequence[int]) -> np.ndarray:
        """The image of what `write_alone` gave."""

    def pack(self, pixels: np.ndarray) -> bytes:
        """What `write_alone` gives of each image, with its length."""
        return join([self.write_alone(one) for one in pixels])

    def unpack(self, body: bytes, shape: Shape) -> np.ndarray:
        """The images of what `pack` gave."""
        return np.stack([self.read_alone(bare, shape[1:]) for bare in split(body, shape[0])])

    def pick(self, body: bytes, shape: Shape, rows: np.ndarray) -> bytes:
        """What `pack` gives of these images, none encoded again."""
        bare = split(body, shape[0])
        return join([bare[row] for row in rows])

    def check_layout(self, known: bool) -> None:
        """Raise `InputError` unless a file that Pillow wrote is `known` to have what is left out and put back."""
        if not known:
            raise InputError(
                f"Pillow {PIL.__version__} writes {self.kind} files of a layout that codec {self.spec} does not know; "
                "use another codec, such as uint8, or another version of Pillow"
            )

    def read(self, file: bytes, channels: int) -> np.ndarray:
        """The image of a complete file, uint8 `(height, width, channels)`."""
        with Image.open(io.BytesIO(file)) as image:
            pixels = np.asarray(image.convert("RGB" if channels == 3 else "L"))
        return pixels if channels == 3 else pixels[:, :, None]


@dataclass(frozen=True)
class WebP(PillowCodec):
    """A lossy WebP file for each image, without the 27 bytes that its length and shape give again.

    What is kept is the bitstream of RFC 6386 without the start code and size of its frame header (section 9.1).
    """

    kind = "webp"
    longest_side = 16383
    start_code: ClassVar[bytes] = b"\x9d\x01\x2a"

    def write(self, pixels: np.ndarray) -> bytes:
        """A WebP file: lossy, the slowest and smallest method, no metadata."""
        file = io.BytesIO()
        image_of(pixels).convert("RGB").save(file, "WEBP", quality=self.quality, method=6, lossless=False)
        return file.getvalue()

    def write_alone(self, pixels: np.ndarray) -> bytes:
        """The bitstream: RIFF header, name and length of the only chunk, start code and size left out."""
        file = self.write(pixels)
        length = int.from_bytes(file[16:20], "little")
        frame = file[20 : 20 + length]
        self.check_layout((file[12:16], frame[3:6]) == (b"VP8 ", self.start_code))
        return frame[:3] + frame[10:]

    def read_alone(self, file: bytes, image_shape: Sequence[int]) -> np.ndarray:
        """The image of a bitstream, made a file again."""
        channels, height, width = image_shape
        frame = file[:3] + self.start_code + struct.pack("<HH", width, height) + file[3:]
        chunk = b"VP8 " + struct.pack("<I", len(frame)) + frame + b"\0" * (len(frame) % 2)
        return self.read(b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk, channels)


@dataclass(frozen=True)
class JPEG(PillowCodec):
    """A JPEG file for each image, its header with the tables, some 620 bytes, once for the pack.

    A pack of one image therefore takes those in full: keep many images in one pack.
    """

    kind = "jpeg"
    longest_side = 65500
    start: ClassVar[bytes] = b"\xff\xd8"
    end: ClassVar[bytes] = b"\xff\xd9"

    def pack(self, pixels: np.ndarray) -> bytes:
        """The header that all files share, and the scans with their lengths."""
        files = [self.write(one) for one in pixels]
        header = files[0][: _scan_starts(files[0])]
        if not all(file.startswith(header) for file in files):
            header = b""
        return struct.pack("<H", len(header)) + header + join([file[len(header) : -2] for file in files])

    def unpack(self, body: bytes, shape: Shape) -> np.ndarray:
        """The images of header and scans."""
        header, rest = _header(body)
        return np.stack([self.read(header + scan + self.end, shape[1]) for scan in split(rest, shape[0])])

    def pick(self, body: bytes, shape: Shape, rows: np.ndarray) -> bytes:
        """The header, and the scans of these images."""
        header, rest = _header(body)
        scans = split(rest, shape[0])
        return struct.pack("<H", len(header)) + header + join([scans[row] for row in rows])

    def write(self, pixels: np.ndarray) -> bytes:
        """A JPEG file with the standard's Huffman tables, so that all share a header."""
        return self._save(pixels, own_tables=False)

    def write_alone(self, pixels: np.ndarray) -> bytes:
        """A JPEG file with Huffman tables for this image."""
        return self._save(pixels, own_tables=True)[2:-2]

    def read_alone(self, file: bytes, image_shape: Sequence[int]) -> np.ndarray:
        """The image of such a file."""
        return self.read(self.start + file + self.end, image_shape[0])

    def _save(self, pixels: np.ndarray, *, own_tables: bool) -> bytes:
        file = io.BytesIO()
        image_of(pixels).save(file, "JPEG", quality=self.quality, optimize=own_tables)
        self.check_layout(file.getvalue().startswith(self.start) and file.getvalue().endswith(self.end))
        return file.getvalue()


def image_of(pixels: np.ndarray) -> Image.Image:
    """An image of uint8 `(height, width, channels)`."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def _header(body: bytes) -> tuple[bytes, bytes]:
    end = 2 + int.from_bytes(body[:2], "little")
    return body[2:end], body[end:]


def _scan_starts(file: bytes) -> int:
    """Where the entropy-coded data of a JPEG file begin: behind its "start of scan" segment."""
    at = 2
    while True:
        marker, length = file[at + 1], int.from_bytes(file[at + 2 : at + 4], "big")
        at += 2 + length
        if marker == 0xDA:
            return at

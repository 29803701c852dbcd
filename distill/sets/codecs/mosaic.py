"""Many images in one WebP, JPEG or AVIF file."""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from distill.errors import InputError
from distill.runtime.checks import require_a
from distill.sets.codecs.base import ImageCodec, Shape, codec_of
from distill.sets.codecs.pillow import PillowCodec
from distill.sets.codecs.sealed import join, split

__all__ = ["Mosaic"]


@dataclass(frozen=True)
class Mosaic(ImageCodec):
    """Images side by side on canvases of at most 25, each a file of the inner codec, so that headers are paid once.

    A canvas holds images of one group, and those of a class are one group in an `EncodedSet` that has class after
    class; groups of fewer than 9 share canvases. Each takes 2 to 5 bytes beside its file. `subset` keeps canvases of
    which all images are chosen, in order, as they are; what it takes out of others is decoded and encoded again, which
    costs about 1 dB the first time, and less each time after that: a buffer that must shrink often is better off
    without a mosaic.

    On CIFAR-100 with WebP of quality 50, an image takes 198 bytes in place of 243, for 0.5 dB; JPEG gains nothing,
    and AVIF takes 168 and loses no more than WebP files of their own.
    Filters of the inner format work across the borders of images whose sides are no multiples of 16, a little.

    - `inner`: `WebP`, `JPEG` or `AVIF`, by whose `range` pixels outside [0, 1] are treated.
    """

    kind = "mosaic"
    tiles: ClassVar[int] = 25
    fewest: ClassVar[int] = 9

    inner: PillowCodec

    def __post_init__(self) -> None:
        require_a("inner", self.inner, PillowCodec, hint='the codec in a mosaic is codec_of("webp:50") or "jpeg:50"')

    @property
    def spec(self) -> str:
        """"mosaic:INNER"."""
        return f"{self.kind}:{self.inner.spec}"

    @classmethod
    def from_words(cls, words: str) -> "Mosaic":
        """The codec of "INNER"."""
        if not words:
            raise InputError("codec 'mosaic' was given no inner codec; expected such as mosaic:webp:50")
        inner: Any = codec_of(words)
        return cls(inner)

    @property
    def per_image(self) -> bool:
        """False: images of one canvas cannot be taken apart."""
        return False

    def _check_shape(self, channels: int, height: int, width: int) -> None:
        side = _side(self.tiles)
        self.inner.check_shape((channels, side * height, side * width))

    def _encode(self, images: torch.Tensor) -> bytes:
        return self._encode_groups(images, [len(images)])

    def _encode_groups(self, images: torch.Tensor, groups: Sequence[int]) -> bytes:
        bounds, pixels = self.inner.to_bytes(images)
        waiting: list[np.ndarray] = []
        canvases: list[tuple[int, bytes]] = []
        for group in np.split(pixels, np.cumsum(groups)[:-1]):
            waiting.append(group)
            if sum(map(len, waiting)) >= self.fewest:
                canvases += self._canvases(waiting)
        return bounds + _join(canvases + self._canvases(waiting))

    def _decode(self, body: bytes, shape: Shape) -> torch.Tensor:
        bounds, rest = self.inner.cut(body)
        pixels = np.concatenate([self._read(count, file, shape) for count, file in _split(rest)])
        return self.inner.from_bytes(bounds, pixels)

    def _subset(self, body: bytes, shape: Shape, rows: np.ndarray) -> bytes:
        bounds, rest = self.inner.cut(body)
        canvases = _split(rest)
        starts = np.cumsum([0, *(count for count, _ in canvases)])
        chosen: list[tuple[int, bytes]] = []
        waiting: list[np.ndarray] = []
        for canvas, places in _stretches(rows, starts):
            count, file = canvases[canvas]
            whole = np.array_equal(places, np.arange(count))
            if whole or sum(map(len, waiting)) >= self.fewest:
                chosen += self._canvases(waiting)
            if whole:
                chosen.append((count, file))
            else:
                waiting.append(self._read(count, file, shape)[places])
        return bounds + _join(chosen + self._canvases(waiting))

    def _canvases(self, waiting: list[np.ndarray]) -> list[tuple[int, bytes]]:
        """The images that wait, on canvases of about as many each: their counts and files. None wait afterwards."""
        if not waiting:
            return []
        pixels = np.concatenate(waiting)
        waiting.clear()
        return [(len(part), self._write(part)) for part in np.array_split(pixels, -(-len(pixels) // self.tiles))]

    def _write(self, tiles: np.ndarray) -> bytes:
        """One file of uint8 images `(n, height, width, channels)`; what is left of the canvas has their mean colour."""
        n, height, width, channels = tiles.shape
        columns, rows = _grid(n)
        filled = np.empty((rows * columns, height, width, channels), np.uint8)
        filled[:n] = tiles
        filled[n:] = tiles.mean((0, 1, 2)).round()
        canvas = filled.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
        return self.inner.write_alone(canvas.reshape(rows * height, columns * width, channels))

    def _read(self, n: int, file: bytes, shape: Shape) -> np.ndarray:
        """The images of one file, uint8 `(n, height, width, channels)`."""
        _, channels, height, width = shape
        columns, rows = _grid(n)
        canvas = self.inner.read_alone(file, (channels, rows * height, columns * width))
        tiles = canvas.reshape(rows, height, columns, width, channels).swapaxes(1, 2)
        return tiles.reshape(rows * columns, height, width, channels)[:n]


def _stretches(rows: np.ndarray, starts: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Chosen positions, cut where the canvas changes or begins again: which canvas, and the places in it."""
    canvases = np.searchsorted(starts, rows, side="right") - 1
    cuts = np.flatnonzero((np.diff(canvases) != 0) | (rows[1:] == starts[canvases[1:]])) + 1
    parts = zip(np.split(rows, cuts), np.split(canvases, cuts), strict=True)
    return [(int(of[0]), part - starts[of[0]]) for part, of in parts]


def _side(n: int) -> int:
    """The least side of a square of `n` tiles or more."""
    return int(np.ceil(np.sqrt(n)))


def _grid(n: int) -> tuple[int, int]:
    """Columns and rows for `n` tiles."""
    columns = _side(n)
    return columns, -(-n // columns)


def _join(canvases: Sequence[tuple[int, bytes]]) -> bytes:
    counts, files = zip(*canvases, strict=True)
    return struct.pack("<I", len(counts)) + bytes(counts) + join(files)


def _split(body: bytes) -> list[tuple[int, bytes]]:
    (canvases,) = struct.unpack_from("<I", body)
    counts = body[4 : 4 + canvases]
    return list(zip(counts, split(body[4 + canvases :], canvases), strict=True))

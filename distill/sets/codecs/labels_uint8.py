"""Soft labels of 8 bits over the classes that a pack has images of."""

from dataclasses import dataclass

import numpy as np
import torch

from distill.sets.codecs.class_ids import width_of_ids
from distill.sets.codecs.labels import LabelCodec, as_floats

__all__ = ["LabelsUInt8"]


@dataclass(frozen=True)
class LabelsUInt8(LabelCodec):
    """8 bits for each class that the pack has images of, spread between the least and the greatest of the image.

    Every other column comes back as the mean that these columns had in that image, for FRePo keeps them within a hair
    of each other. Takes `6 + k` bytes an image for `k` classes, and a list of these classes. A subset keeps the columns
    of the pack that it was taken from: encode a step as a whole, then take its classes.
    """

    kind = "uint8"

    def _encode(self, labels: np.ndarray, class_ids: np.ndarray) -> bytes:
        columns = np.unique(class_ids)
        if not len(columns):
            return b""
        kept, others = labels[:, columns], np.delete(labels, columns, axis=1)
        rest = others.mean(1) if others.shape[1] else np.zeros(len(labels), np.float32)
        lows = _float16(kept.min(1), up=False)
        steps = _float16((kept.max(1) - lows.astype(np.float32)) / 255, up=True)
        sizes = np.where(steps > 0, steps, 1).astype(np.float32)
        codes = np.rint((kept - lows.astype(np.float32)[:, None]) / sizes[:, None]).clip(0, 255).astype(np.uint8)
        return _Parts(columns, np.stack([lows, steps, _float16(rest)]), codes).join(labels.shape[1])

    def _decode(self, body: bytes, class_ids: torch.Tensor, num_classes: int) -> np.ndarray:
        parts = _Parts.split(body, len(class_ids), num_classes)
        lows, steps, rest = parts.numbers.astype(np.float32)
        labels = np.repeat(rest[:, None], num_classes, axis=1)
        labels[:, parts.columns] = lows[:, None] + steps[:, None] * parts.codes
        return labels

    def _subset(self, body: bytes, count: int, num_classes: int, rows: np.ndarray) -> bytes:
        parts = _Parts.split(body, count, num_classes)
        return _Parts(parts.columns, parts.numbers[:, rows], parts.codes[rows]).join(num_classes) if len(rows) else b""


@dataclass(frozen=True)
class _Parts:
    """What a body consists of.

    - `columns`: the k classes that have codes.
    - `numbers`: float16 `(3, n)`: the least value of each image, its step, and its value in all other columns.
    - `codes`: uint8 `(n, k)`.
    """

    columns: np.ndarray
    numbers: np.ndarray
    codes: np.ndarray

    def join(self, num_classes: int) -> bytes:
        columns = self.columns.astype(width_of_ids(num_classes)).tobytes()
        count = np.array(len(self.columns), "<u4").tobytes()
        return count + columns + self.numbers.astype("<f2").tobytes() + self.codes.tobytes()

    @classmethod
    def split(cls, body: bytes, count: int, num_classes: int) -> "_Parts":
        if not count:
            return cls(np.empty(0, np.int64), np.empty((3, 0), np.float16), np.empty((0, 0), np.uint8))
        kind = np.dtype(width_of_ids(num_classes))
        k = int(np.frombuffer(body, "<u4", 1)[0])
        columns = np.frombuffer(body, kind, k, 4).astype(np.int64)
        at = 4 + k * kind.itemsize
        numbers = np.frombuffer(body, "<f2", 3 * count, at).reshape(3, count)
        return cls(columns, numbers, np.frombuffer(body, np.uint8, count * k, at + 6 * count).reshape(count, k))


def _float16(values: np.ndarray, *, up: bool | None = None) -> np.ndarray:
    """Half precision, rounded to the nearest, or where `up` is given up or down; `InputError` when too large."""
    half = np.frombuffer(as_floats(values, "<f2"), "<f2")
    if up is None:
        return half
    wrong = half.astype(np.float32) < values if up else half.astype(np.float32) > values
    return np.where(wrong, np.nextafter(half, np.float16(np.inf if up else -np.inf)), half)

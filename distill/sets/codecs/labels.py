"""The base of every label codec, and the simple ones: no labels, or floats."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch

from distill.errors import InputError
from distill.runtime.checks import positions, require_one_of
from distill.sets.codecs.sealed import seal, unseal
from distill.sets.synthetic import initial_labels

__all__ = ["HardLabels", "LabelCodec", "LabelsFloat16", "LabelsFloat32", "as_floats", "label_codec_of"]


@dataclass(frozen=True)
class LabelCodec(ABC):
    """How the soft labels of a pack lie in memory. `kind` is its name, under which it is registered when defined.

    - `encode`: labels `(n, C)` and class ids `(n,)` to a payload.
    - `decode`: a payload and the class ids to labels, float32 `(n, C)`.
    """

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type["LabelCodec"]]] = {}

    def __init_subclass__(cls) -> None:
        LabelCodec.kinds[cls.kind] = cls

    @property
    def spec(self) -> str:
        """The text that `label_codec_of` reads as this codec."""
        return self.kind

    def encode(self, labels: torch.Tensor, class_ids: torch.Tensor) -> bytes:
        """One payload for all labels; raises `InputError` for other shapes, NaN, and values that do not fit."""
        if labels.ndim != 2 or labels.shape[:1] != class_ids.shape or not labels.is_floating_point():
            raise InputError(
                f"labels are {labels.dtype} of shape {tuple(labels.shape)}; expected floats ({len(class_ids)}, classes)"
            )
        plain = labels.detach().to("cpu", torch.float32)
        if not bool(torch.isfinite(plain).all()):
            raise InputError("labels hold NaN or infinite values, which cannot be encoded")
        return self._seal(self._encode(plain.numpy(), class_ids.cpu().numpy()), *labels.shape)

    def decode(self, payload: bytes, class_ids: torch.Tensor, num_classes: int) -> torch.Tensor:
        """The labels of a payload, float32 `(n, num_classes)`; raises `InputError` when it is damaged."""
        body = unseal(payload, self._meant(len(class_ids), num_classes))
        return torch.from_numpy(self._decode(body, class_ids, num_classes))

    def check_payload(self, payload: bytes, count: int, num_classes: int) -> None:
        """Raise `InputError` when a payload is damaged or of other labels."""
        unseal(payload, self._meant(count, num_classes))

    def subset(self, payload: bytes, count: int, num_classes: int, chosen: Any) -> bytes:
        """The payload of the labels at `chosen`, positions or a boolean mask; nothing is rounded again."""
        rows = positions(chosen, count)
        body = unseal(payload, self._meant(count, num_classes))
        return self._seal(self._subset(body, count, num_classes, rows), len(rows), num_classes)

    @abstractmethod
    def _encode(self, labels: np.ndarray, class_ids: np.ndarray) -> bytes:
        """The body of a payload of float32 labels `(n, C)`, finite."""

    @abstractmethod
    def _decode(self, body: bytes, class_ids: torch.Tensor, num_classes: int) -> np.ndarray:
        """The labels of a body, float32."""

    @abstractmethod
    def _subset(self, body: bytes, count: int, num_classes: int, rows: np.ndarray) -> bytes:
        """The body of the labels at these positions."""

    def _seal(self, body: bytes, count: int, num_classes: int) -> bytes:
        return seal(body, self._meant(count, num_classes))

    def _meant(self, count: int, num_classes: int) -> str:
        return f"{self.kind} labels of shape ({count}, {num_classes})"


@dataclass(frozen=True)
class LabelsFloat32(LabelCodec):
    """All columns in single precision: nothing lost, 4 bytes a class."""

    kind = "float32"
    stored_as: ClassVar[str] = "<f4"

    def _encode(self, labels: np.ndarray, class_ids: np.ndarray) -> bytes:
        return as_floats(labels, self.stored_as)

    def _decode(self, body: bytes, class_ids: torch.Tensor, num_classes: int) -> np.ndarray:
        return np.frombuffer(body, self.stored_as).astype(np.float32).reshape(len(class_ids), num_classes)

    def _subset(self, body: bytes, count: int, num_classes: int, rows: np.ndarray) -> bytes:
        return np.frombuffer(body, self.stored_as).reshape(count, num_classes)[rows].tobytes()


@dataclass(frozen=True)
class LabelsFloat16(LabelsFloat32):
    """All columns in half precision: 11 significant bits, 2 bytes a class."""

    kind = "float16"
    stored_as = "<f2"


@dataclass(frozen=True)
class HardLabels(LabelCodec):
    """Nothing but the class ids: labels come back as `initial_labels` gives them."""

    kind = "hard"

    def _encode(self, labels: np.ndarray, class_ids: np.ndarray) -> bytes:
        return b""

    def _decode(self, body: bytes, class_ids: torch.Tensor, num_classes: int) -> np.ndarray:
        return initial_labels(class_ids, num_classes).numpy()

    def _subset(self, body: bytes, count: int, num_classes: int, rows: np.ndarray) -> bytes:
        return b""


def label_codec_of(spec: str | LabelCodec) -> LabelCodec:
    """The label codec of that name, or the codec itself: "hard", "uint8", "float16" or "float32".

    Raises `InputError` for other names.

        >>> label_codec_of("uint8")
        LabelsUInt8()
    """
    if isinstance(spec, LabelCodec):
        return spec
    require_one_of("labels", spec, LabelCodec.kinds)
    return LabelCodec.kinds[spec]()


def as_floats(values: np.ndarray, kind: str) -> bytes:
    """The bytes of floats of that NumPy type; raises `InputError` when they are too large for it."""
    largest = float(np.abs(values).max(initial=0))
    if largest > float(np.finfo(kind).max):
        raise InputError(f"labels reach {largest:g}, too large for 16 bits; expected at most 65504, or labels float32")
    return values.astype(kind).tobytes()

"""A synthetic set in memory as bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.errors import InputError
from distill.preprocess import Preprocessing
from distill.runtime.checks import class_names, positions, require_a, require_whole
from distill.sets.codecs.base import ImageCodec, codec_of
from distill.sets.codecs.class_ids import decode_class_ids, encode_class_ids, run_lengths
from distill.sets.codecs.labels import LabelCodec, label_codec_of
from distill.sets.synthetic import SyntheticSet
from distill.tensor_files import read_tensors, write_tensors

__all__ = ["EncodedSet"]

FORMAT = 1
PAYLOADS = ("images", "labels", "class_ids")


@dataclass(frozen=True, eq=False)
class EncodedSet:
    """A `SyntheticSet` as bytes: what a replay buffer of so many bytes holds.

    - `images`, `labels`, `class_ids`: payloads, each with a checksum.
    - `count`: number of images. `image_shape`: their channels, height, width.
    - `codec`, `label_codec`: how images and labels lie in memory.
    - `classes`, `preprocessing`: as in the set.
    - `method`: who made the images, for `made_by` of the decoded set.

    Made by `EncodedSet.encode`. Raises `InputError` when a payload is damaged, or of another codec or shape.

        >>> from distill import Random, load_images
        >>> digits = Random().distill(load_images("digits"), images_per_class=20, seed=0)
        >>> encoded = EncodedSet.encode(digits, codec="uint8", labels="hard")
        >>> encoded
        EncodedSet(200 images of 1x8x8 in 12843 bytes, uint8, labels hard)
        >>> encoded.decode().images.shape
        torch.Size([200, 1, 8, 8])
        >>> len(encoded.subset(encoded.class_ids_tensor() == 3))
        20
    """

    images: bytes
    labels: bytes
    class_ids: bytes
    count: int
    image_shape: tuple[int, ...]
    codec: ImageCodec
    label_codec: LabelCodec
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    method: str | None = field(default=None)

    def __post_init__(self) -> None:
        require_whole("count", self.count)
        require_a("codec", self.codec, ImageCodec, hint='made by codec_of("webp:50")')
        require_a("label_codec", self.label_codec, LabelCodec, hint='made by label_codec_of("uint8")')
        require_a("preprocessing", self.preprocessing, Preprocessing, hint="Identity() where nothing was done")
        require_a("image_shape", self.image_shape, tuple)
        require_a("method", self.method, str, type(None))
        object.__setattr__(self, "classes", class_names(self.classes))
        self.codec.check_payload(self.images, (self.count, *self.image_shape))
        self.label_codec.check_payload(self.labels, self.count, len(self.classes))
        self.class_ids_tensor()

    @classmethod
    def encode(
        cls, synthetic: SyntheticSet, *, codec: str | ImageCodec = "float32", labels: str | LabelCodec = "float32"
    ) -> "EncodedSet":
        """A set as bytes.

        - `codec`: how images lie in memory, see `codec_of`; "float32" keeps them as they are.
        - `labels`: "float32", "float16": all values; "uint8": 8 bits for each class that the set has images of, one
          value for all others; "hard": the class ids alone, labels come back as where FRePo's start.

        Raises `InputError` for unknown codecs, and images that the codec does not take.
        """
        require_a("synthetic", synthetic, SyntheticSet)
        image_codec, label_codec = codec_of(codec), label_codec_of(labels)
        channels, height, width = synthetic.images.shape[1:]
        image_codec.check_shape((channels, height, width))
        stored = image_codec.to_stored(synthetic.images.detach().float(), synthetic.preprocessing)
        return cls(
            images=image_codec.encode(stored, groups=run_lengths(synthetic.class_ids)),
            labels=label_codec.encode(synthetic.soft_labels, synthetic.class_ids),
            class_ids=encode_class_ids(synthetic.class_ids, synthetic.num_classes),
            count=len(synthetic),
            image_shape=(channels, height, width),
            codec=image_codec,
            label_codec=label_codec,
            classes=synthetic.classes,
            preprocessing=synthetic.preprocessing,
            method=synthetic.made_by.get("method"),
        )

    def decode(self) -> SyntheticSet:
        """The set again: images of float32 on the CPU; `made_by` has the method and the codecs, no history.
        """
        class_ids = self.class_ids_tensor()
        decoded = self.codec.decode(self.images, (self.count, *self.image_shape))
        labels = self.label_codec.decode(self.labels, class_ids, len(self.classes))
        made_by = {"method": self.method, "codec": self.codec.spec, "labels": self.label_codec.spec}
        images = self.codec.to_input(decoded, self.preprocessing)
        return SyntheticSet(images, labels, class_ids, self.classes, self.preprocessing, made_by)

    @property
    def nbytes(self) -> int:
        """Bytes of images, labels and class ids, all that decoding needs counted.

        Not counted: `classes` and `preprocessing`, which the stream needs anyway, and some 600 bytes of this object.
        """
        return sum(len(getattr(self, name)) for name in PAYLOADS)

    def class_ids_tensor(self) -> torch.Tensor:
        """The class of each image, int64 `(n,)`; no image is decoded for it."""
        return decode_class_ids(self.class_ids, self.count, len(self.classes))

    def subset(self, indices: torch.Tensor) -> "EncodedSet":
        """The images at `indices` (positions or a boolean mask), not coded again where the codec is `per_image`.

        Raises `InputError` when indices are out of range or a mask has another length.
        """
        rows = positions(indices, self.count)
        return replace(
            self,
            images=self.codec.subset(self.images, (self.count, *self.image_shape), rows),
            labels=self.label_codec.subset(self.labels, self.count, len(self.classes), rows),
            class_ids=encode_class_ids(self.class_ids_tensor()[torch.from_numpy(rows)], len(self.classes)),
            count=len(rows),
        )

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        shape = "x".join(map(str, self.image_shape))
        return (
            f"EncodedSet({self.count} images of {shape} in {self.nbytes} bytes, {self.codec.spec}, "
            f"labels {self.label_codec.spec})"
        )

    # -- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write everything to one safetensors file, completely or not at all.

        Raises `InputError` when the file cannot be written.
        """
        tensors = {name: _tensor(getattr(self, name)) for name in PAYLOADS}
        tensors |= {f"preprocessing.{name}": tensor for name, tensor in self.preprocessing.state().items()}
        metadata = {
            "encoded": FORMAT,
            "count": self.count,
            "image_shape": list(self.image_shape),
            "codec": self.codec.spec,
            "label_codec": self.label_codec.spec,
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.kind,
            "method": self.method,
        }
        return write_tensors(path, tensors, metadata)

    @classmethod
    def load(cls, path: str | Path) -> "EncodedSet":
        """Read what `save` wrote. Raises `InputError` when the file is missing, damaged or another kind of file.

        A codec of your own is found by its kind: define its class first.
        """
        tensors, metadata = read_tensors(path)
        wanted = {"count", "image_shape", "codec", "label_codec", "classes", "preprocessing", "method"}
        missing = set(PAYLOADS) - tensors.keys() | wanted - metadata.keys()
        if metadata.get("encoded") != FORMAT or missing:
            raise InputError(f"{path} is no encoded set of format {FORMAT}; expected a file that EncodedSet.save wrote")
        try:
            return cls._from_file(tensors, metadata)
        except InputError as error:
            raise InputError(f"{path} holds no valid encoded set: {error}") from error

    @classmethod
    def _from_file(cls, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> "EncodedSet":
        prefix = "preprocessing."
        state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        require_a("image_shape", metadata["image_shape"], list)
        return cls(
            **{name: tensors[name].numpy().tobytes() for name in PAYLOADS},
            count=metadata["count"],
            image_shape=tuple(metadata["image_shape"]),
            codec=codec_of(metadata["codec"]),
            label_codec=label_codec_of(metadata["label_codec"]),
            classes=class_names(metadata["classes"]),
            preprocessing=Preprocessing.from_state(metadata["preprocessing"], state),
            method=metadata["method"],
        )


def _tensor(payload: bytes) -> torch.Tensor:
    return torch.from_numpy(np.frombuffer(payload, np.uint8).copy())

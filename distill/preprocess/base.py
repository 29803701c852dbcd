"""The base of every preprocessing, and labelled images that a preprocessing was applied to."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch

from distill.data.labelled import LabelledImages
from distill.data.pixels import chunk_length
from distill.errors import InputError, shown
from distill.preprocess.streamed import StreamedImages, is_large
from distill.runtime.checks import class_names, positions, require_a, tensor_of

__all__ = ["PreprocessedImages", "Preprocessing"]


class Preprocessing(ABC):
    """An invertible map from pixels in [0, 1] to the input of a network.

    A subclass has a `kind`, under which it is registered when it is defined: a saved set names the kind, and is loaded
    with that class and its `state`.

        >>> from distill import ZCA, load_images
        >>> digits = load_images("digits")
        >>> whiten = ZCA.fit(digits)
        >>> images = whiten.apply(digits)
        >>> images.images.shape
        torch.Size([1347, 1, 8, 8])
        >>> pixels = whiten.inverse(images.images[:1])
        >>> bool((pixels[0, 0] * 255 - torch.from_numpy(digits.images[0, ..., 0])).abs().max() < 0.1)
        True
    """

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type["Preprocessing"]]] = {}

    def __init_subclass__(cls) -> None:
        Preprocessing.kinds[cls.kind] = cls

    @abstractmethod
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in [0, 1] of shape `(n, channels, height, width)` to network input of the same shape."""

    @abstractmethod
    def inverse(self, images: torch.Tensor) -> torch.Tensor:
        """Network input back to pixels: in [0, 1] for real images, possibly outside for distilled ones."""

    @abstractmethod
    def state(self) -> dict[str, torch.Tensor]:
        """The tensors that `from_state` builds this preprocessing from."""

    def misfit(self, image_shape: Sequence[int]) -> str | None:
        """Why this preprocessing does not fit images of shape `(channels, height, width)`; `None` if it does."""
        return None

    @classmethod
    def from_state(cls, kind: str, state: Mapping[str, torch.Tensor]) -> "Preprocessing":
        """Build the preprocessing of that `kind` from its `state`; raises `InputError` for an unknown kind."""
        require_a("state", state, Mapping)
        if not isinstance(kind, str) or kind not in cls.kinds:
            raise InputError(f"unknown preprocessing {shown(kind)}; known: {', '.join(sorted(cls.kinds))}")
        try:
            return cls.kinds[kind](**state)
        except TypeError as error:  # a tensor too few or too many
            given = ", ".join(map(str, state))
            raise InputError(f"{given or 'nothing'} is not the state of a preprocessing {kind!r}") from error

    def same_as(self, other: "Preprocessing") -> bool:
        """Whether `other` is of the same kind and state, so that both map pixels alike."""
        if self is other:
            return True
        require_a("the other preprocessing", other, Preprocessing)
        mine, theirs = self.state(), other.state()
        return self.kind == other.kind and all(torch.equal(mine[name].cpu(), theirs[name].cpu()) for name in mine)

    def apply(self, data: LabelledImages, *, stream: bool | None = None) -> "PreprocessedImages":
        """Preprocess a set, as a whole or (streamed) image by image when they are indexed.

        - `stream`: whether to stream; `None`: if the float32 tensor of all images would take more than
          `distill.preprocess.streamed.STREAM_ABOVE` bytes (4 GiB).

        Raises `InputError` when this preprocessing does not fit the shape of the images.
        """
        require_a("data", data, LabelledImages, hint="uint8 images with labels and classes")
        if reason := self.misfit((data.images.shape[3], *data.images.shape[1:3])):
            raise InputError(f"the preprocessing does not fit the images: {reason}")
        streamed = StreamedImages(data.images, self)
        streams = is_large(data.images.shape) if stream is None else stream
        images = streamed if streams else streamed[:]
        return PreprocessedImages(images, torch.from_numpy(data.labels), data.classes, self)


@dataclass(frozen=True, eq=False)
class PreprocessedImages:
    """Labelled images as the input of a network, with the preprocessing that was applied to them.

    - `images`: float tensor of shape `(n, channels, height, width)`, or `StreamedImages` of a large set; indexing and
      `split` give tensors for both.
    - `labels`: int64 tensor of shape `(n,)`, class ids in `0 .. len(classes) - 1`.
    - `classes`: names of all classes of the problem.
    - `preprocessing`: the map from pixels in [0, 1] to `images`.

    Raises `InputError` when shapes do not match, labels are out of range or a pixel is NaN or infinite.
    """

    images: torch.Tensor | StreamedImages
    labels: torch.Tensor
    classes: tuple[str, ...]
    preprocessing: Preprocessing

    def __post_init__(self) -> None:
        images, labels = _images(self.images), _labels(self.labels)
        require_a("preprocessing", self.preprocessing, Preprocessing, hint="Identity() where nothing was done")
        object.__setattr__(self, "classes", class_names(self.classes))
        if images.ndim != 4 or not images.is_floating_point():
            raise InputError(
                f"images are {images.dtype} of shape {tuple(images.shape)}; expected floats of shape "
                "(n, channels, height, width)"
            )
        if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
            raise InputError(f"labels are {labels.dtype}; expected integers")
        if labels.shape != images.shape[:1]:
            raise InputError(
                f"labels have shape {tuple(labels.shape)}; expected ({len(images)},), one for each image"
            )
        if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= len(self.classes)):
            raise InputError(
                f"labels run from {int(labels.min())} to {int(labels.max())}, but there are {len(self.classes)} "
                f"classes: expected 0 to {len(self.classes) - 1}"
            )
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels.long())
        _check_finite(images)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes of the whole problem."""
        return len(self.classes)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height, width."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def subset(self, indices: torch.Tensor) -> "PreprocessedImages":
        """The images at `indices` (positions or a boolean mask); a few images of a streamed set become a tensor."""
        indices = torch.from_numpy(positions(indices, len(self)))
        if isinstance(self.images, StreamedImages):
            chosen: torch.Tensor | StreamedImages = self.images.select(indices)
            chosen = chosen if is_large(chosen.shape) else chosen[:]
        else:
            chosen = self.images[indices.to(self.images.device)]
        return PreprocessedImages(chosen, self.labels[indices.to(self.labels.device)], self.classes, self.preprocessing)

    def to(self, device: str, dtype: torch.dtype) -> "PreprocessedImages":
        """The same images on another device or in another float type; not copied where nothing changes."""
        images, labels = self.images.to(device, dtype), self.labels.to(device)
        unchanged = images is self.images and labels is self.labels
        return self if unchanged else replace(self, images=images, labels=labels)


def _images(given: Any) -> torch.Tensor | StreamedImages:
    return given if isinstance(given, StreamedImages) else tensor_of(given, "images")


def _labels(given: Any) -> torch.Tensor:
    """Labels as a tensor, of shape `(n,)` where they were `(n, 1)`."""
    labels = tensor_of(given, "labels")
    if not labels.numel():  # an empty list is one of floats
        labels = labels.long()
    return labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels


def _check_finite(images: torch.Tensor | StreamedImages) -> None:
    if isinstance(images, StreamedImages):  # pixels are bytes, so only the preprocessing can be broken
        broken = [name for name, tensor in images.preprocessing.state().items() if not bool(tensor.isfinite().all())]
        if broken:
            raise InputError(f"the preprocessing holds NaN or infinite values ({', '.join(broken)}); fit it again")
        return
    chunks = images.split(chunk_length(images.shape[1:]))  # torch's test takes the memory of the floats once more
    if bad := sum(int((~torch.isfinite(chunk.flatten(1)).all(1)).sum()) for chunk in chunks):
        raise InputError(f"{bad} of {len(images)} images hold NaN or infinite pixels; remove or correct them")

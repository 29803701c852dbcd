"""What the storage policies that hold images encoded share."""

import weakref
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training.storage_policy import ExemplarsBuffer

from continual.byte_budget import check_pixels, sample_of
from continual.classes import all_classes, numbered
from continual.items import Items, check_form
from continual.memory import Memory
from continual.replay_transform import ReplayTransform, Transform
from distill import Identity, ImageCodec, Preprocessing, SyntheticSet, codec_of
from distill.sets.codecs import LabelCodec, label_codec_of

__all__ = ["EncodedPolicy"]


class EncodedPolicy(ExemplarsBuffer):
    """A storage policy whose images are bytes in a `Memory`, decoded for as long as somebody holds the dataset.

    - `codec`, `labels`: how images and labels lie in memory.
    - `num_classes` or `classes` (their names): of the whole problem; `classes` is `None` until they are known.
    - `preprocessing`: what the stream's tensors went through; `None` for nothing.
    - `transform`: of the images in training, see `DistilledBuffer`.
    """

    def __init__(
        self, max_size: int, *, codec: str | ImageCodec, labels: str | LabelCodec, num_classes: int | None,
        classes: Sequence[str] | None, preprocessing: Preprocessing | None, transform: Transform,
    ) -> None:  # fmt: skip
        self.codec, self.labels = codec_of(codec), label_codec_of(labels)
        self.classes: tuple[str, ...] | None = None if classes is None else tuple(classes)
        if num_classes is not None and classes is None:
            self.classes = numbered(num_classes)
        self.preprocessing = Identity() if preprocessing is None else preprocessing
        self._transform = ReplayTransform(transform, owner=type(self).__name__)
        self._memory = Memory()
        self._in_use: weakref.ref | None = None  # the decoded buffer, as long as somebody holds it
        super().__init__(max_size)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_in_use": None}  # weak references cannot be pickled

    @property
    def buffer(self) -> AvalancheDataset:
        """All images as an Avalanche dataset, decoded now; the same one as before if somebody still holds that."""
        decoded = None if self._in_use is None else self._in_use()
        if decoded is None:
            decoded = self._decoded()
            self._in_use = weakref.ref(decoded)
        return decoded

    @property
    def nbytes(self) -> int:
        """Bytes that the images, labels and class ids take now."""
        return self._memory.nbytes

    def update(self, strategy: Any, **kwargs: Any) -> None:
        """What `ReplayPlugin` of Avalanche 0.6 calls after an experience; its own `update` warns at every call."""
        self.post_adapt(strategy, strategy.experience)

    @abstractmethod
    def _decoded(self) -> AvalancheDataset:
        """All images as an Avalanche dataset."""

    def _check_items(self, strategy: Any, items: Items) -> None:
        """Determine the number of classes, and check that the images can be kept, before anything is done with them."""
        self.classes = all_classes(self.classes, strategy, items, owner=type(self).__name__)
        channels, height, width = items.images.shape[1:]
        self.codec.check_shape((channels, height, width))
        if self._memory.deliveries:
            first = self._memory.deliveries[0]
            check_form(items, first.layout, first.encoded.image_shape)

    def _sample(self, items: Items, generator: torch.Generator) -> SyntheticSet:
        """Some real images, to find out how many fit; raises `InputError` where the codec cannot store their pixels."""
        assert self.classes is not None
        sample = sample_of(items, self.classes, self.preprocessing, generator)
        check_pixels(sample, self.codec)
        return sample

    def _stored_as(self) -> str:
        """How images are encoded, in words."""
        return f"{self.codec.spec} with labels {self.labels.spec}"

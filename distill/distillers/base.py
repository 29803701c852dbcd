"""The one verb: a Distiller turns labelled images into a SyntheticSet."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from distill.data.labelled import LabelledImages
from distill.errors import InputError, InputWarning, shown
from distill.files import as_path
from distill.preprocess import Identity, PreprocessedImages, default_preprocessing
from distill.preprocess.streamed import StreamedImages
from distill.runtime.checks import check_device, check_option_types, require_a, require_not_negative, require_positive
from distill.sets.synthetic import SyntheticSet

__all__ = ["Distiller", "Recorder", "check_varied"]

AS_PIXELS = "LabelledImages(images, labels, classes) of uint8 pixels (n, height, width, channels)"
AS_FLOATS = "PreprocessedImages(images, labels, classes, preprocessing) of floats (n, channels, height, width)"
CHECKED_AT_ONCE = 500  # images

Recorder = Callable[[int, SyntheticSet], None]  # is called with a step and the set as it is then
D = TypeVar("D", bound="Distiller")


@dataclass(frozen=True, kw_only=True)
class Distiller(ABC):
    """Options of a distillation, and the verb `distill`.

    - `images_per_class`: how many images stand for each class that `distill` is shown.
    - `seed`: every random choice comes from it; the same seed gives the same set on the same machine.
    - `device`: where the work is done ("cpu", "cuda", "mps"); sets always come back on the CPU.
    """

    method: ClassVar[str]
    images_per_class: int = 10
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_option_types(self)
        require_positive(self, "images_per_class")
        require_not_negative(self, "seed")

    def check_images(self, image_shape: tuple[int, int, int], num_classes: int) -> None:  # noqa: B027 (optional)
        """Raise `InputError` where the options do not go with images of `(channels, height, width)`."""

    def distill(
        self,
        data: LabelledImages | PreprocessedImages,
        *,
        held_out: LabelledImages | PreprocessedImages | None = None,
        checkpoint: str | Path | None = None,
        progress: bool = False,
        on_record: Recorder | None = None,
    ) -> SyntheticSet:
        """Distil `data`, every class of it that has images, to `images_per_class` images a class.

        A class with fewer images than that gets as many as it has, with a warning.

        - `data`: raw images (the paper's default preprocessing is fitted on them), or preprocessed ones.
        - `held_out`: images of the same classes that were not distilled, raw or preprocessed as `data` is, to record
          accuracy on as the distillation goes; never used to change anything.
        - `checkpoint`: a file; the state is saved there from time to time, and if the file is there already the
          distillation goes on from it and ends in the same set. It stays when all is done, and gives the set again at
          once: remove it when the set is safe.
        - `progress`: show a progress bar with the time left.
        - `on_record`: called with the step and the set so far whenever a distiller that learns images records
          something, start and end included; not again for what a checkpoint holds already.

        Raises `InputError` when there are no images, all of them are constant, or the checkpoint belongs to another
        distillation.
        """
        require_a("data", data, LabelledImages, PreprocessedImages, hint=f"{AS_PIXELS}, or {AS_FLOATS}")
        if not len(data):
            raise InputError("there is nothing to distil: 0 images were given")
        if isinstance(data, LabelledImages):
            check_varied(data.images)
            data = default_preprocessing(data).apply(data)
        check_varied(data.images)
        check_device(self.device)
        self.check_images(data.image_shape, data.num_classes)
        data = data.to("cpu", torch.float32)
        held_out = checked_held_out(held_out, data)
        self._warn_of_small_classes(data)
        if on_record is not None and not callable(on_record):
            raise InputError(f"on_record is {shown(on_record)}; wanted a function of a step and a set")
        checkpoint = None if checkpoint is None else as_path(checkpoint, "checkpoint")
        return self._distill(
            data, held_out=held_out, checkpoint=checkpoint, progress=progress, on_record=on_record
        )

    def _warn_of_small_classes(self, data: PreprocessedImages) -> None:
        class_ids, counts = torch.unique(data.labels.cpu(), return_counts=True)
        small = counts < self.images_per_class
        if bool(small.any()):
            named = [f"{data.classes[c]!r} has {n}" for c, n in zip(class_ids[small], counts[small], strict=True)]
            warnings.warn(
                f"images_per_class is {self.images_per_class}, but {len(named)} classes have fewer images "
                f"({', '.join(named[:5])}{', ...' if len(named) > 5 else ''}): they get as many as they have",
                InputWarning,
                stacklevel=3,
            )

    @abstractmethod
    def _distill(
        self,
        data: PreprocessedImages,
        *,
        held_out: PreprocessedImages | None,
        checkpoint: str | Path | None,
        progress: bool,
        on_record: Recorder | None,
    ) -> SyntheticSet: ...

    def options(self) -> dict[str, Any]:
        """All options by name, JSON-able."""
        return asdict(self)

    def with_options(self: D, **changes: Any) -> D:
        """The same distiller with some options changed."""
        return replace(self, **changes)


def check_varied(images: np.ndarray | torch.Tensor | StreamedImages) -> None:
    """Raise `InputError` when all pixels of all images have one value."""
    first: float | None = None
    for start in range(0, len(images), CHECKED_AT_ONCE):
        chunk = images[start : start + CHECKED_AT_ONCE]
        low, high = float(chunk.min()), float(chunk.max())
        first = low if first is None else first
        if not low == high == first:
            return
    raise InputError(
        f"all pixels of all {len(images)} images have one value, {first:g}, so there is nothing to learn from; were "
        "the right images read, and not scaled or cut off to one value?"
    )


def _unknown(*sets: PreprocessedImages) -> bool:
    """Whether one of them does not say what it went through: streams of tensors are taken for pixels."""
    return any(isinstance(one.preprocessing, Identity) for one in sets)


def checked_held_out(
    held_out: LabelledImages | PreprocessedImages | None, data: PreprocessedImages
) -> PreprocessedImages | None:
    """`held_out` as `data` is preprocessed, or `None` for no images.

    Raises `InputError` when its images or classes are of another kind.
    """
    if held_out is None:
        return None
    require_a("held_out", held_out, LabelledImages, PreprocessedImages)
    if not len(held_out):
        return None
    if isinstance(held_out, LabelledImages):
        held_out = data.preprocessing.apply(held_out)
    if held_out.image_shape != data.image_shape or held_out.num_classes != data.num_classes:
        raise InputError(
            f"held_out has images of {held_out.image_shape} and {held_out.num_classes} classes, the data "
            f"{data.image_shape} and {data.num_classes}; wanted the same images and classes in both"
        )
    if not held_out.preprocessing.same_as(data.preprocessing) and not _unknown(held_out, data):
        raise InputError(
            "held_out was preprocessed in another way than the data; give it raw, or as data.preprocessing.apply(...)"
        )
    return held_out

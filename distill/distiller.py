"""The one verb: a Distiller turns labelled images into a SyntheticSet."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch

from distill.checks import check_device, check_option_types, require_not_negative, require_positive
from distill.datasets import LabelledImages
from distill.errors import InputError
from distill.preprocess import PreprocessedImages, default_preprocessing
from distill.synthetic import SyntheticSet

__all__ = ["Distiller", "Recorder"]

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
        held_out: PreprocessedImages | None = None,
        checkpoint: str | Path | None = None,
        progress: bool = False,
        on_record: Recorder | None = None,
    ) -> SyntheticSet:
        """Distil `data`, every class of it that has images, to `images_per_class` images a class.

        - `data`: raw images (the paper's default preprocessing is fitted on them), or preprocessed ones.
        - `held_out`: images of the same classes that were not distilled, to record accuracy on as the
          distillation goes; never used to change anything.
        - `checkpoint`: a file; the state is saved there from time to time, and if the file is there already the
          distillation goes on from it and ends in the same set. It stays when all is done, and gives the set again at
          once: remove it when the set is safe.
        - `progress`: show a progress bar with the time left.
        - `on_record`: called with the step and the set so far whenever a distiller that learns images records
          something, start and end included; not again for what a checkpoint holds already.

        Raises `InputError` when there are no images, a class has fewer than `images_per_class`, or the checkpoint
        belongs to another distillation.
        """
        if isinstance(data, LabelledImages):
            data = default_preprocessing(data).apply(data)
        if not len(data):
            raise InputError("there is nothing to distil: 0 images were given")
        check_device(self.device)
        self.check_images(data.image_shape, data.num_classes)
        data = data.to("cpu", torch.float32)
        held_out = checked_held_out(held_out, data)
        class_ids, counts = torch.unique(data.labels, return_counts=True)
        fewest = int(counts.argmin())
        if int(counts[fewest]) < self.images_per_class:
            raise InputError(
                f"images_per_class is {self.images_per_class}, but class {data.classes[int(class_ids[fewest])]!r} has "
                f"only {int(counts[fewest])} images; ask for at most that many"
            )
        return self._distill(
            data, held_out=held_out, checkpoint=checkpoint, progress=progress, on_record=on_record
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


def checked_held_out(held_out: PreprocessedImages | None, data: PreprocessedImages) -> PreprocessedImages | None:
    """`held_out`, or `None` for no images; raises `InputError` when its images or classes are of another kind."""
    if held_out is None or not len(held_out):
        return None
    if held_out.image_shape != data.image_shape or held_out.num_classes != data.num_classes:
        raise InputError(
            f"held_out has images of {held_out.image_shape} and {held_out.num_classes} classes, the data "
            f"{data.image_shape} and {data.num_classes}; wanted the same images and classes in both"
        )
    return held_out

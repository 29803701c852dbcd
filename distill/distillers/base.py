"""What every distiller is: a method with its hyper-parameters, and `distill`, which makes a `SyntheticSet`."""

import warnings
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from distill.accounting.observed import Observer
from distill.data.labelled import LabelledImages
from distill.distillers.run import Recorder, Run, Snapshots
from distill.errors import InputError, InputWarning
from distill.preprocess import PreprocessedImages, Preprocessing, default_preprocessing
from distill.preprocess.streamed import StreamedImages
from distill.runtime.checks import check_option_types, require_a, require_same_classes
from distill.sets.synthetic import SyntheticSet, describe
from distill.store import Store, as_store

__all__ = ["Distiller", "check_varied"]

AS_PIXELS = "LabelledImages(images, labels, classes) of uint8 pixels (n, height, width, channels)"
AS_FLOATS = "PreprocessedImages(images, labels, classes, preprocessing) of floats (n, channels, height, width)"
CHECKED_AT_ONCE = 500  # images

D = TypeVar("D", bound="Distiller")


@dataclass(frozen=True, kw_only=True)
class Distiller(ABC):
    """A method of distillation with its hyper-parameters, and the verb `distill`.

    A subclass is a frozen dataclass that names its `method` and defines `_distill`.
    """

    method: ClassVar[str]
    selects_real_images: ClassVar[bool] = False
    """Whether sets are real images, chosen one after the other: the first of each class are those to keep."""
    makes_labels: ClassVar[bool] = False
    """Whether soft labels are others than those that follow from the class ids, so that a memory has to hold them."""
    is_private: ClassVar[bool] = False
    """Whether sets come with a guarantee of differential privacy, and a ledger of what was spent."""

    def __post_init__(self) -> None:
        check_option_types(self)

    def check_images(self, image_shape: tuple[int, int, int], num_classes: int) -> None:  # noqa: B027 (optional)
        """Raise `InputError` where the options do not go with images of `(channels, height, width)`."""

    def distill(
        self,
        data: LabelledImages | PreprocessedImages,
        *,
        images_per_class: int = Run.images_per_class,
        seed: int = Run.seed,
        device: str = Run.device,
        held_out: LabelledImages | PreprocessedImages | None = None,
        store: str | Path | Store | None = None,
        progress: bool = False,
        on_record: Recorder | None = None,
        snapshots: Snapshots | None = None,
        on_release: Observer | None = None,
    ) -> SyntheticSet:
        """Distil `data`, every class of it that has images, to `images_per_class` images per class.

        A class with fewer images than that gets as many as it has, with a warning.

        - `data`: raw images (the paper's default preprocessing is fitted on them), or preprocessed ones.
        - `images_per_class`: 1 or more; 10 by default.
        - `seed`: every random choice comes from it, 0 or more, by default 0; the same seed gives the same set on the
          same machine.
        - `device`: where the work is done ("cpu", "cuda", "mps"); the set always comes back on the CPU.
        - `held_out`: images of the same classes that were not distilled, raw or preprocessed as `data` is, to record
          accuracy on as the distillation goes; never used to change anything.
        - `store`: a folder, or a `Store`. The state is saved there from time to time; a distillation that was stopped
          resumes from it and ends in the same set. What is saved stays when all is done, and gives the set again at
          once: remove it when the set is safe.
        - `progress`: show a progress bar with the time left.
        - `on_record`: called with the step and the set so far whenever a distiller that learns images records
          something, start and end included; not again for what a checkpoint holds already.
        - `snapshots`: steps at which a distiller that learns images shows the set so far, with the seconds of
          distilling until then.
        - `on_release`: called with an `ObservedRelease` in each step of a private method that learns images step by
          step: what an attacker sees, for audits of its guarantee.

        Raises `InputError` when there are no images, all of them are constant, an argument makes no sense, or what the
        store holds belongs to a distillation with other options or data.

        >>> from distill import Random, load_images
        >>> Random().distill(load_images("digits"), images_per_class=2, seed=1)
        SyntheticSet(20 images of 1x8x8, 10 classes, by random)
        """
        require_a("data", data, LabelledImages, PreprocessedImages, hint=f"{AS_PIXELS}, or {AS_FLOATS}")
        if not len(data):
            raise InputError("the data set is empty (0 images)")
        asked = Run(
            images_per_class=images_per_class,
            seed=seed,
            device=device,
            store=as_store(store),
            progress=progress,
            on_record=on_record,
            snapshots=snapshots,
            on_release=on_release,
        )
        if on_release is not None and not self.is_private:
            raise InputError(f"on_release was given to {self.method}, which has no noisy sums; use a private method")
        self.check_run(asked)
        if isinstance(data, LabelledImages):
            check_varied(data.images)
            data = self.preprocessing_for(data).apply(data)
        check_varied(data.images)
        self.check_images(data.image_shape, data.num_classes)
        data = data.to("cpu", torch.float32)
        run = replace(asked, held_out=checked_held_out(held_out, data))
        self.check_data(data, run)
        return self._distill(data, run)

    def check_run(self, run: Run) -> None:  # noqa: B027 (optional)
        """Raise `InputError` where the options do not go with the arguments of a run."""

    def preprocessing_for(self, data: LabelledImages) -> Preprocessing:
        """The preprocessing of raw images: the paper's, fitted on `data`."""
        return default_preprocessing(data)

    def check_data(self, data: PreprocessedImages, run: Run) -> None:
        """Warn or raise `InputError` where preprocessed images do not go with the method or the arguments of a run."""
        warn_of_small_classes(data, run.images_per_class)

    @abstractmethod
    def _distill(self, data: PreprocessedImages, run: Run) -> SyntheticSet:
        """Distil preprocessed float32 images on the CPU; everything has been checked."""

    def options(self) -> dict[str, Any]:
        """All hyper-parameters by name, JSON-able."""
        return asdict(self)

    def with_options(self: D, **changes: Any) -> D:
        """The same distiller with some hyper-parameters changed."""
        return replace(self, **changes)

    def made_by(self, run: Run, *, started_from: list[int], history: list[dict[str, float]]) -> dict[str, Any]:
        """The `made_by` of a set: the method, all options, and what was recorded."""
        options = {**run.options(), **self.options()}
        return describe(self.method, options, started_from=started_from, history=history)


def warn_of_small_classes(data: PreprocessedImages, images_per_class: int) -> None:
    """Warn about classes that have fewer images than requested."""
    class_ids, counts = torch.unique(data.labels.cpu(), return_counts=True)
    small = counts < images_per_class
    if bool(small.any()):
        named = [f"{data.classes[c]!r} has {n}" for c, n in zip(class_ids[small], counts[small], strict=True)]
        warnings.warn(
            f"images_per_class is {images_per_class}, but {len(named)} classes have fewer images "
            f"({', '.join(named[:5])}{', ...' if len(named) > 5 else ''}): all their images are used",
            InputWarning,
            stacklevel=4,
        )


def check_varied(images: np.ndarray | torch.Tensor | StreamedImages) -> None:
    """Raise `InputError` when all pixels of all images have the same value."""
    first: float | None = None
    for start in range(0, len(images), CHECKED_AT_ONCE):
        chunk = images[start : start + CHECKED_AT_ONCE]
        low, high = float(chunk.min()), float(chunk.max())
        first = low if first is None else first
        if not low == high == first:
            return
    raise InputError(
        f"all pixels of all {len(images)} images have the same value, {first:g}, so there is nothing to learn; check "
        "that the right images were read, and that they were not scaled or clipped to one value"
    )


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
            f"{data.image_shape} and {data.num_classes}; expected the same images and classes in both"
        )
    require_same_classes("held_out", held_out.classes, "the data", data.classes)
    if not held_out.preprocessing.same_as(data.preprocessing):
        raise InputError(
            "held_out was not preprocessed like the data; give it raw, or as data.preprocessing.apply(...), and a "
            f"DistilledBuffer the preprocessing of its stream (held_out has {held_out.preprocessing.kind}, the data "
            f"{data.preprocessing.kind})"
        )
    return held_out

"""Random real images: the baseline that every distillation has to beat."""

from dataclasses import dataclass
from typing import ClassVar

from distill.distillers.base import Distiller
from distill.distillers.initialize import choose_per_class
from distill.distillers.run import Run
from distill.distillers.selection import selected_images
from distill.preprocess import PreprocessedImages
from distill.runtime.seeds import Purpose
from distill.sets.synthetic import SyntheticSet

__all__ = ["Random"]


@dataclass(frozen=True, kw_only=True)
class Random(Distiller):
    """Random real images of each class, with initial labels: where FRePo with the same seed starts."""

    method: ClassVar[str] = "random"
    selects_real_images: ClassVar[bool] = True

    def _distill(self, data: PreprocessedImages, run: Run) -> SyntheticSet:
        chosen = choose_per_class(data.labels, run.images_per_class, run.generator(Purpose.START))
        return selected_images(self, data, chosen, run)

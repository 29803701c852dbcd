"""Random real images: the baseline that every distillation has to beat."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from distill.distillers.base import Distiller, Recorder
from distill.distillers.chosen import chosen_images
from distill.distillers.initialize import choose_per_class
from distill.preprocess import PreprocessedImages
from distill.runtime.seeds import generator_for
from distill.sets.synthetic import SyntheticSet

__all__ = ["Random"]


@dataclass(frozen=True, kw_only=True)
class Random(Distiller):
    """Random real images of each class, with initial labels: where FRePo with the same seed starts."""

    method: ClassVar[str] = "random"

    def _distill(
        self,
        data: PreprocessedImages,
        *,
        held_out: PreprocessedImages | None,
        checkpoint: str | Path | None,
        progress: bool,
        on_record: Recorder | None,
    ) -> SyntheticSet:
        chosen = choose_per_class(data.labels, self.images_per_class, generator_for(self.seed, 0))
        return chosen_images(self, data, chosen)

"""Synthetic sets of selected real images."""

from torch import Tensor

from distill.distillers.base import Distiller
from distill.distillers.run import Run
from distill.preprocess import PreprocessedImages
from distill.sets.synthetic import SyntheticSet, initial_labels

__all__ = ["selected_images"]


def selected_images(distiller: Distiller, data: PreprocessedImages, chosen: Tensor, run: Run) -> SyntheticSet:
    """The real images of `data` at positions `chosen` `(n,)`, selected by `distiller`, with initial labels."""
    class_ids = data.labels[chosen]
    return SyntheticSet(
        data.images[chosen].clone(),
        initial_labels(class_ids, data.num_classes),
        class_ids,
        data.classes,
        data.preprocessing,
        distiller.made_by(run, started_from=chosen.tolist(), history=[]),
    )

"""Distilled sets in a store, each with what it was made from, so that another run finds them again."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch

from distill import Distiller, PreprocessedImages, SyntheticSet
from distill.fingerprint import tolerant_fingerprint
from distill.preprocess import KeptElsewhere
from distill.store import MadeFrom, Store

__all__ = ["cached", "describe_source"]


def cached(
    store: Store, name: str, made_from: MadeFrom, data: PreprocessedImages, make: Callable[[Store], SyntheticSet]
) -> SyntheticSet:
    """The set `name` if it is in the store and was made from the same, else what `make` gives, which is kept there.

    `make` takes a store of its own, for what is of no use any more when the set is there. Raises `InputError` when the
    entry was made with other options or from other images.
    """
    entry = store.load(name, made_from)
    if entry is not None:
        images, labels, class_ids = (entry.tensors[key] for key in ("images", "labels", "class_ids"))
        made_by = entry.metadata["made_by"]
        return SyntheticSet(images, labels, class_ids, data.classes, data.preprocessing, made_by)
    unfinished = store.within(name)
    made = make(unfinished)
    # A ZCA matrix takes 19 MB; the stream has it anyway.
    store.save(name, made_from, *replace(made, preprocessing=KeptElsewhere()).content())
    unfinished.clear()
    return made


def describe_source(
    index: int, distiller: Distiller, data: PreprocessedImages, asked: Mapping[int, int], *, seed: int
) -> MadeFrom:
    """What a kept set must have been made from to be used again: options and data, but not the device.

    `asked`: images to distil of each class. Pixels are compared with a tolerance: whitening differs in its last bits
    from machine to machine.
    """
    options = {
        "experience": index,
        "method": distiller.method,
        "seed": seed,
        **distiller.options(),
        "classes": torch.unique(data.labels).tolist(),
        "counts": torch.bincount(data.labels).tolist(),
        "num_classes": data.num_classes,
        "shape": list(data.images.shape),
        "images_per_class": sorted(map(list, asked.items())),
        "preprocessing": data.preprocessing.kind,
    }
    return MadeFrom(options, tolerant_fingerprint(data))

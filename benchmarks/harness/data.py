"""The images that a benchmark works on: training images, those that accuracy is measured on, their fingerprints."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.options import DataOptions
from distill import InputError, InputWarning, LabelledImages, Preprocessing, load_images
from distill.distillers.base import check_varied
from distill.fingerprint import data_fingerprint, file_fingerprint
from distill.preprocess import default_preprocessing
from distill.store import MadeFrom, Store

__all__ = ["check_classes", "check_counts", "fingerprints", "kept_preprocessing", "load_data"]


def load_data(options: DataOptions, *, held_out: int = 0) -> tuple[LabelledImages, LabelledImages]:
    """Training images, and images to evaluate on: the test set, or `held_out` training images per class."""
    where: dict[str, Any] = {
        "data_dir": options.data_dir, "resolution": options.resolution, "cache_dir": options.cache_dir
    }  # fmt: skip
    train = load_images(options.dataset, split="train", **where)
    check_varied(train.images)
    if not held_out:
        test = load_images(options.dataset, split="test", **where)
        check_classes(train, test)
        return train, test
    kept_out = np.zeros(len(train), bool)
    for class_id in range(train.num_classes):
        kept_out[np.flatnonzero(train.labels == class_id)[:held_out]] = True
    left, fix = train.subset(~kept_out), "give a smaller --held-out"
    check_classes(left, train, left_by=f", {held_out} of each held out", fix=fix)
    return left, train.subset(kept_out)


def fingerprints(train: LabelledImages, test: LabelledImages, *, files: Iterable[Path] = ()) -> dict[str, str]:
    """Fingerprints of all data that a run depends on, by name; `files`: further data."""
    splits = {"training": train, "test": test}
    found = {f"{name} {of}": value for name, split in splits.items() for of, value in data_fingerprint(split).items()}
    return found | {f"file {file}": file_fingerprint(file) for file in files}


def check_classes(
    train: LabelledImages,
    test: LabelledImages,
    *,
    left_by: str = "",
    fix: str = "add some, or remove these classes",
) -> None:
    """Raise `InputError` where a class has no training or no test image, for any of the programs."""
    for kind, data in (("training", train), ("test", test)):
        counts = np.bincount(data.labels, minlength=data.num_classes)
        if absent := [data.classes[class_id] for class_id in np.flatnonzero(counts == 0)]:
            raise InputError(
                f"{len(absent)} classes of {data.name} have no {kind} image{left_by}: {', '.join(absent[:5])}; {fix}"
            )


def check_counts(train: LabelledImages, images_per_class: int) -> None:
    """Warn when classes have fewer images than are asked for, of which all are used then."""
    counts = np.bincount(train.labels, minlength=train.num_classes)
    if counts.min() < images_per_class:
        warnings.warn(
            f"--images-per-class is {images_per_class}, but {int((counts < images_per_class).sum())} classes of "
            f"{train.name} have fewer training images (class {train.classes[counts.argmin()]!r} has {counts.min()}): "
            "all their images are used",
            InputWarning,
            stacklevel=2,
        )


def kept_preprocessing(store: Store, name: str, data: LabelledImages) -> Preprocessing:
    """The paper's preprocessing fitted on `data`; kept in `store` under `name`, because whitening takes a while."""
    made_from = MadeFrom(data=data_fingerprint(data))
    if entry := store.load(name, made_from):
        return Preprocessing.from_state(entry.metadata["kind"], entry.tensors)
    fitted = default_preprocessing(data)
    store.save(name, made_from, fitted.state(), {"kind": fitted.kind})
    return fitted

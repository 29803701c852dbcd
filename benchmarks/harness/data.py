"""The images that a benchmark works on: training images, those that accuracy is measured on, their fingerprints."""

import argparse
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from distill import InputError, InputWarning, LabelledImages, Preprocessing, load_images
from distill.distillers.base import check_varied
from distill.fingerprint import data_fingerprint, file_fingerprint
from distill.preprocess import default_preprocessing
from distill.tensor_files import read_tensors, write_tensors

__all__ = ["check_classes", "check_counts", "fingerprints", "for_channels", "kept_preprocessing", "load_parts"]


def load_parts(arguments: argparse.Namespace) -> tuple[LabelledImages, LabelledImages]:
    """Training images, and those that accuracy is measured on: the test set, or held-out training images."""
    where = {
        "data_dir": arguments.data_dir,
        "resolution": arguments.resolution,
        "cache_dir": getattr(arguments, "cache_dir", None),
    }
    train = load_images(arguments.dataset, split="train", **where)
    check_varied(train.images)
    if not getattr(arguments, "held_out", 0):
        test = load_images(arguments.dataset, split="test", **where)
        check_classes(train, test)
        return train, test
    held_out = np.zeros(len(train), bool)
    for class_id in range(train.num_classes):
        held_out[np.flatnonzero(train.labels == class_id)[: arguments.held_out]] = True
    check_classes(train.subset(~held_out), train, left_by=f", {arguments.held_out} of each held out")
    return train.subset(~held_out), train.subset(held_out)


def fingerprints(train: LabelledImages, test: LabelledImages, *, files: Iterable[Path] = ()) -> dict[str, str]:
    """Fingerprints of all data that a run depends on, by what they are of; `files`: data besides the two parts."""
    parts = {"training": train, "test": test}
    found = {f"{name} {of}": value for name, part in parts.items() for of, value in data_fingerprint(part).items()}
    return found | {f"file {file}": file_fingerprint(file) for file in files}


def check_classes(train: LabelledImages, test: LabelledImages, *, left_by: str = "") -> None:
    """Raise `InputError` where a class has no training or no test image, as every program here does."""
    for kind, data in (("training", train), ("test", test)):
        counts = np.bincount(data.labels, minlength=data.num_classes)
        if absent := [data.classes[class_id] for class_id in np.flatnonzero(counts == 0)]:
            raise InputError(
                f"{len(absent)} classes of {data.name} have no {kind} image{left_by}: {', '.join(absent[:5])}; add "
                "some, or leave these classes out"
            )


def check_counts(train: LabelledImages, images_per_class: int) -> None:
    """Warn when classes have fewer images than are asked for, so that they get as many as they have."""
    counts = np.bincount(train.labels, minlength=train.num_classes)
    if counts.min() < images_per_class:
        warnings.warn(
            f"--images-per-class is {images_per_class}, but {int((counts < images_per_class).sum())} classes of "
            f"{train.name} have fewer training images (class {train.classes[counts.argmin()]!r} has {counts.min()}): "
            "they get as many as they have",
            InputWarning,
            stacklevel=2,
        )


def for_channels(preset: Mapping[str, Any], data: LabelledImages) -> dict[str, Any]:
    """A method's preset as it goes with `data`: the published setting mirrors RGB images only."""
    return {**preset, "mirror": preset["mirror"] and data.images.shape[-1] == 3} if "mirror" in preset else {**preset}


def kept_preprocessing(path: Path, data: LabelledImages) -> Preprocessing:
    """The paper's preprocessing fitted on `data`; kept at `path` and found there again, for whitening takes a while."""
    if path.exists():
        state, metadata = read_tensors(path)
        return Preprocessing.from_state(metadata["kind"], state)
    fitted = default_preprocessing(data)
    write_tensors(path, fitted.state(), {"kind": fitted.kind})
    return fitted

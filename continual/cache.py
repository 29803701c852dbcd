"""Distilled sets in a folder, each with what it was made from, so that another run finds them again."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from distill import Distiller, InputError, PreprocessedImages, SyntheticSet
from distill.preprocess import KeptElsewhere
from distill.runtime.seeds import generator_for

__all__ = ["cached", "describe_source"]

SKETCHES = 4
# Root mean square difference of pixels: whitened ones differ in their last bits from machine to machine, and a single
# image that was changed among 50 000 makes more than twice this.
TOLERANCE = 1e-3


def cached(
    path: Path | None, made_from: dict[str, Any], data: PreprocessedImages, make: Callable[[], SyntheticSet]
) -> SyntheticSet:
    """The set at `path` if it is there and was made from the same, else what `make` gives, which is kept there.

    Raises `InputError` when the file was made with other options or from other images.
    """
    if path is not None and path.exists():
        found = SyntheticSet.load(path)
        check_source(path, found.made_by.get("made_from", {}), made_from, data)
        return replace(found, classes=data.classes, preprocessing=data.preprocessing)
    made = make()
    made = replace(made, made_by={**made.made_by, "made_from": made_from})
    if path is not None:
        # A ZCA matrix takes 19 MB; the stream has it anyway.
        replace(made, preprocessing=KeptElsewhere()).save(path)
        for checkpoint in path.parent.glob(f"{path.stem}.checkpoint*"):
            checkpoint.unlink()
    return made


def describe_source(
    index: int, distiller: Distiller, data: PreprocessedImages, asked: Mapping[int, int]
) -> dict[str, Any]:
    """What a cached set must have been made from to be used again: options and data, but not the device.

    `asked`: images to distil of each class.
    """
    source = {
        "experience": index,
        "method": distiller.method,
        **{name: value for name, value in distiller.options().items() if name != "device"},
        "classes": torch.unique(data.labels).tolist(),
        "counts": torch.bincount(data.labels).tolist(),
        "num_classes": data.num_classes,
        "images": list(data.images.shape),
        "asked": sorted(map(list, asked.items())),
        "preprocessing": data.preprocessing.kind,
        "labels": fingerprint(data.labels),
        "sketch": sketch(data.images[:], data.labels),
    }
    return json.loads(json.dumps(source))  # as it will be when it is read from a file


def fingerprint(labels: Tensor) -> str:
    """What tells these labels from any others; unlike pixels they are the same on every machine."""
    return hashlib.blake2b(labels.to(torch.int64).contiguous().numpy().tobytes(), digest_size=16).hexdigest()


def sketch(images: Tensor, labels: Tensor) -> list[float]:
    """A few numbers that change with any image or label: sums of all pixels under random signs.

    Sets that differ by `d` per pixel (root mean square) differ here by about `d * sqrt(number of pixels)`.
    """
    flat = images.flatten(1).float()
    generator = generator_for(len(images), flat.shape[1])
    sums = []
    for _ in range(SKETCHES):
        columns = torch.randint(0, 2, (flat.shape[1],), generator=generator).float() * 2 - 1
        rows = torch.randint(0, 2, (len(flat),), generator=generator).double() * 2 - 1
        sums.append(float((flat @ columns).double() @ (rows * (1 + labels.double() / 7))))
    return sums


def check_source(path: Path, found: dict[str, Any], wanted: dict[str, Any], data: PreprocessedImages) -> None:
    """Raise `InputError` when the set at `path` was made from something else."""
    if found and "sketch" not in found:
        raise InputError(f"{path} was made by another version of this toolkit; remove it or choose another cache_dir")
    other = [name for name in wanted if name not in ("sketch", "labels") and found.get(name) != wanted[name]]
    if other:
        differences = ", ".join(f"{name} {found.get(name)} instead of {wanted[name]}" for name in other)
        raise InputError(f"{path} was made with {differences}; remove it or choose another cache_dir")
    if found.get("labels", wanted["labels"]) != wanted["labels"]:  # sets of earlier versions lack them
        raise InputError(f"{path} was made from images with other labels; remove it or choose another cache_dir")
    pixels = len(data) * math.prod(data.image_shape)
    allowed = TOLERANCE * pixels**0.5 * (1 + int(data.labels.max()) / 7)
    if any(abs(a - b) > allowed for a, b in zip(found["sketch"], wanted["sketch"], strict=True)):
        raise InputError(f"{path} was made from other images; remove it or choose another cache_dir")

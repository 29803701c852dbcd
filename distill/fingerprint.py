"""Fingerprints of data: the same for the same images, labels and classes, and for nothing else."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch

from distill.data.labelled import LabelledImages
from distill.data.pixels import positions_in_chunks
from distill.errors import InputError
from distill.preprocess import PreprocessedImages
from distill.preprocess.streamed import StreamedImages

__all__ = ["data_fingerprint", "file_fingerprint", "fingerprint"]

CHUNK = 64 << 20  # bytes taken at a time, so that a memory map is never read as a whole


def data_fingerprint(data: LabelledImages | PreprocessedImages) -> dict[str, str]:
    """The fingerprints of "images", "labels" and "classes", as 32 hexadecimal digits each.

    Every pixel and every label counts, also of images that are streamed or memory-mapped. What is streamed counts as
    its pixels and its preprocessing, and so differs from the tensor that these give.
    """
    labels = data.labels.cpu().numpy() if isinstance(data.labels, torch.Tensor) else data.labels
    return {
        "images": digest(content(data.images)),
        "labels": digest(array_content(labels)),
        "classes": digest([repr(tuple(map(str, data.classes))).encode()]),
    }


def fingerprint(data: LabelledImages | PreprocessedImages) -> str:
    """One fingerprint of all, to tell one data set from another."""
    return digest(part.encode() for part in data_fingerprint(data).values())


def file_fingerprint(path: str | Path) -> str:
    """The fingerprint of a file's bytes, or of all files in a folder and below, their names included.

    Raises `InputError` when one cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return digest(part for file in files for part in (os.fsencode(file.relative_to(path)), *file_content(file)))
        return digest(file_content(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def file_content(path: Path) -> Iterator[bytes]:
    """The bytes of a file, a chunk at a time, and how many there are."""
    with path.open("rb") as file:
        yield str(os.fstat(file.fileno()).st_size).encode()
        yield from iter(lambda: file.read(CHUNK), b"")


def digest(parts: Iterable[bytes | np.ndarray]) -> str:
    """Of all parts, one after the other."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        found.update(part if isinstance(part, bytes) else part.data)
    return found.hexdigest()


def content(images: np.ndarray | torch.Tensor | StreamedImages) -> Iterator[bytes | np.ndarray]:
    """All that decides what the images are, as bytes."""
    if isinstance(images, np.ndarray):
        yield from array_content(images)
    elif isinstance(images, torch.Tensor):
        yield f"{images.dtype} {tuple(images.shape)}".encode()
        yield from array_content(images.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy())
    else:
        yield f"{images.preprocessing.kind} {tuple(images.shape)}".encode()  # the options say which float type
        for tensor in images.preprocessing.state().values():
            yield from array_content(tensor.cpu().numpy())
        positions = np.arange(len(images)) if images.positions is None else images.positions
        for chunk in positions_in_chunks(positions, images.shape[1:]):
            yield np.ascontiguousarray(images.pixels[chunk])


def array_content(array: np.ndarray) -> Iterator[bytes | np.ndarray]:
    """Type, shape and values, a chunk at a time."""
    yield f"{array.dtype.str} {array.shape}".encode()
    array = np.atleast_1d(array)
    rows = max(1, CHUNK // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield np.ascontiguousarray(array[start : start + rows])

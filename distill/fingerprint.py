"""Fingerprints of data: equal for equal images, labels and classes, and different otherwise.

Whitened pixels differ in their last bits from machine to machine. What is to be found again on another machine is
told by a few sums of its pixels instead, which `distill.store.Store` compares with a tolerance.
"""

import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.data.labelled import LabelledImages
from distill.data.pixels import positions_in_chunks
from distill.errors import InputError
from distill.preprocess import PreprocessedImages
from distill.preprocess.streamed import StreamedImages
from distill.runtime.seeds import generator_for

__all__ = ["data_fingerprint", "file_fingerprint", "fingerprint", "tolerant_fingerprint"]

SKETCHES = 8
# Root mean square difference of pixels: whitened ones differ by less from machine to machine, and a single image that
# was replaced among 50 000 of its kind makes about 6 times this in each sum.
TOLERANCE = 1e-3
AT_ONCE = 500  # images
CHUNK = 64 << 20  # bytes read at a time, so that a memory map is never loaded as a whole


def data_fingerprint(data: LabelledImages | PreprocessedImages) -> dict[str, str]:
    """The fingerprints of "images", "labels" and "classes", as 32 hexadecimal digits each.

    Every pixel and every label counts, also of streamed or memory-mapped images. Streamed images count as their pixels
    and their preprocessing, so their fingerprint differs from that of the same images as a tensor.
    """
    labels = data.labels.cpu().numpy() if isinstance(data.labels, torch.Tensor) else data.labels
    return {
        "images": digest(content(data.images)),
        "labels": labels_digest(labels),
        "classes": classes_digest(data.classes),
    }


def fingerprint(data: LabelledImages | PreprocessedImages) -> str:
    """One fingerprint of images, labels and classes together: 32 hexadecimal digits.

    >>> from distill import load_images
    >>> digits = load_images("digits")
    >>> fingerprint(digits) == fingerprint(digits.subset(range(len(digits))))
    True
    >>> fingerprint(digits) == fingerprint(digits.subset(range(100)))
    False
    """
    return digest(value.encode() for value in data_fingerprint(data).values())


def tolerant_fingerprint(data: PreprocessedImages) -> dict[str, Any]:
    """As `data_fingerprint`, but the same for pixels that differ in their last bits; for a `Store` to compare.

    "images" are sums of all pixels under random weights of either sign, which change with any image of any class, and
    with the order of the images: two data sets that differ by `d` per pixel (root mean square) differ here by about
    `d * sqrt(number of pixels)`. They are computed in float64, whatever the precision of other products is.
    """
    count, pixels = len(data), math.prod(data.image_shape)
    generator = generator_for(count, pixels)
    columns = random_signs(pixels, generator)
    # Of different size, so that two images that changed places do not cancel.
    rows = random_signs(count, generator) * (0.5 + torch.rand(count, SKETCHES, generator=generator).double())
    chunks = (chunk.flatten(1).double().cpu() @ columns for chunk in data.images.split(AT_ONCE))
    sums = sum((chunk * own).sum(0) for chunk, own in zip(chunks, rows.split(AT_ONCE), strict=True))
    images = {"sums": torch.as_tensor(sums).tolist(), "tolerance": TOLERANCE * math.sqrt(count * pixels)}
    labels = labels_digest(data.labels.cpu().numpy())
    return {"images": images, "labels": labels, "classes": classes_digest(data.classes)}


def labels_digest(labels: np.ndarray) -> str:
    """The fingerprint of class ids."""
    return digest(array_content(labels))


def classes_digest(classes: Sequence[str]) -> str:
    """The fingerprint of the names of classes."""
    return digest([repr(tuple(map(str, classes))).encode()])


def random_signs(count: int, generator: torch.Generator) -> torch.Tensor:
    """1 or -1 for each of `count` things in each sum, float64 `(count, SKETCHES)`."""
    return torch.randint(0, 2, (count, SKETCHES), generator=generator).double() * 2 - 1


def file_fingerprint(path: str | Path) -> str:
    """The fingerprint of a file's bytes, or of all files in a folder and below, their names included.

    Raises `InputError` when one cannot be read.
    """
    path = Path(path)
    try:
        if path.is_dir():
            files = sorted(file for file in path.rglob("*") if file.is_file())
            return digest(
                chunk for file in files for chunk in (os.fsencode(file.relative_to(path)), *file_content(file))
            )
        return digest(file_content(path))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error


def file_content(path: Path) -> Iterator[bytes]:
    """The bytes of a file, a chunk at a time, and how many there are."""
    with path.open("rb") as file:
        yield str(os.fstat(file.fileno()).st_size).encode()
        yield from iter(lambda: file.read(CHUNK), b"")


def digest(chunks: Iterable[bytes | np.ndarray]) -> str:
    """The fingerprint of all chunks, one after the other."""
    found = hashlib.blake2b(digest_size=16)
    for chunk in chunks:
        found.update(chunk if isinstance(chunk, bytes) else chunk.data)
    return found.hexdigest()


def content(images: np.ndarray | torch.Tensor | StreamedImages) -> Iterator[bytes | np.ndarray]:
    """Everything that determines the images, as bytes."""
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

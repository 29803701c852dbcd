"""Labelled images from an .npz file."""

import warnings
from pathlib import Path

import numpy as np

from distill.data.array_files import NpzArchive, open_npz
from distill.data.bit_depth import FEW, HALF, MOST, levels, middle
from distill.data.splits import Arrays, Split
from distill.errors import InputError, InputWarning

__all__ = ["ROUNDING", "load_npz", "out_of_range"]

ROUNDING = 1e-3  # a step of float16 beside 1; less than half a grey level, so that clipping it changes no pixel
REQUIRED = ("x_train", "y_train", "x_test", "y_test")


def load_npz(path: Path, split: Split) -> Arrays:
    """Read one split of an .npz file with the arrays `x_train`, `y_train`, `x_test`, `y_test` and maybe `classes`.

    Images are uint8 or floats in [0, 1] (rounded to steps of 1/255), of shape `(n, height, width, channels)` with
    1 or 3 channels or `(n, height, width)`. Floats outside by at most `ROUNDING` are clipped; floats of which rounding
    leaves few distinct values (`distill.data.bit_depth`) are refused. Labels are integers from 0 of shape `(n,)` or
    `(n, 1)`. Without `classes` the names are "0" to the largest label, and each label must occur. Of the other split
    the labels are checked, and shape and type of the images, which are not read. Warns about arrays of other names,
    which are ignored.

    Raises `InputError` when the file is missing, damaged or holds anything else.
    """
    with open_npz(path) as archive:
        missing = [key for key in REQUIRED if key not in archive.names]
        if missing:
            raise InputError(
                f"{path} has no {', '.join(missing)}; expected {', '.join(REQUIRED)}, "
                f"found {', '.join(archive.names) or 'nothing'}"
            )
        if others := [key for key in archive.names if key not in (*REQUIRED, "classes")]:
            warnings.warn(f"ignored unknown arrays in {path}: {', '.join(others)}", InputWarning, stacklevel=3)
        _check_headers(archive)
        labels = {key: archive.read(key).reshape(-1) for key in ("y_train", "y_test")}
        classes = _classes(archive, labels)
        images = _to_uint8(archive.read(f"x_{split}"), f"x_{split} of {path}")
    return Arrays(images if images.ndim == 4 else images[..., None], labels[f"y_{split}"], classes)


def _check_headers(archive: NpzArchive) -> None:
    """Check types and shapes, before megabytes of pixels are read."""
    path, shapes = archive.path, {}
    for split in ("train", "test"):
        x, y = f"x_{split}", f"y_{split}"
        (image_shape, image_type), (label_shape, label_type) = archive.header(x), archive.header(y)
        if image_type != np.uint8 and image_type.kind != "f":
            hint = "; divide by the largest value that its pixels can have" if image_type.kind in "iu" else ""
            raise InputError(f"{x} of {path} is {image_type}; expected uint8, or floats in [0, 1]{hint}")
        channels_first = len(image_shape) == 4 and image_shape[1] in (1, 3)
        if len(image_shape) not in (3, 4) or (len(image_shape) == 4 and image_shape[-1] not in (1, 3)):
            raise InputError(
                f"{x} of {path} has shape {image_shape}; expected (n, height, width, channels) with 1 or 3 channels, "
                f"or (n, height, width)" + ("; transpose it with (0, 2, 3, 1)" if channels_first else "")
            )
        if 0 in image_shape:
            raise InputError(f"{x} of {path} has shape {image_shape}, so no pixels; expected at least one image")
        if label_type.kind not in "iu":
            raise InputError(f"{y} of {path} is {label_type}; expected integers from 0, indices into the classes")
        if label_shape not in (image_shape[:1], (image_shape[0], 1)):
            raise InputError(
                f"{y} of {path} has shape {label_shape}; expected {image_shape[:1]}, one label for each image of {x}"
            )
        # (n, height, width) and (n, height, width, 1) are the same images.
        shapes[split] = image_shape[1:] if len(image_shape) == 4 else (*image_shape[1:], 1)
    if shapes["train"] != shapes["test"]:
        raise InputError(
            f"{path} has training images of shape {shapes['train']} and test images of shape {shapes['test']}; "
            "expected one shape (height, width, channels): resize or convert one split"
        )


def _to_uint8(images: np.ndarray, what: str) -> np.ndarray:
    if images.dtype == np.uint8:
        return images
    if not np.isfinite(images).all():
        bad = int((~np.isfinite(images).reshape(len(images), -1).all(1)).sum())
        raise InputError(f"{what}: {bad} of {len(images)} images hold NaN or infinite pixels; remove or correct them")
    low, high = float(images.min()), float(images.max())
    if span := out_of_range(low, high):
        raise InputError(f"{what} runs from {span}; expected floats in [0, 1] or uint8: rescale it")
    rounded = np.rint(images.clip(0, 1) * 255).astype(np.uint8)
    _check_levels(images, levels(rounded), what)
    return rounded


def _check_levels(images: np.ndarray, counts: np.ndarray, what: str) -> None:
    """Refuse floats of which rounding leaves few values; warn where it leaves less than half of 256, or few for most.

    `counts`: how often each of the 256 values occurs.
    """
    left, most = int(np.count_nonzero(counts)), int(np.count_nonzero(counts[middle(counts)]))
    if left >= HALF and most >= FEW:
        return
    held, often = np.unique(images, return_counts=True)
    span = f"{images.min():.9g} to {images.max():.9g}"
    text = f"{what} runs from {span} and holds {len(held)} different values, of which "
    out = "spread it over [0, 1] (was it divided by 255 twice?), or save it as uint8 to keep it so"
    if left < HALF and len(held) >= 2 * left:
        text += f"rounding to 8 bits keeps only {left}; {out}"
        if left < FEW:
            raise InputError(text)
        warnings.warn(text, InputWarning, stacklevel=4)
    elif most < FEW and len(held[middle(often)]) >= 2 * most:
        text += f"rounding to 8 bits keeps {left}, and only {most} for {MOST:.0%} of the pixels; {out}"
        warnings.warn(text, InputWarning, stacklevel=4)


def out_of_range(low: float, high: float) -> str:
    """The range `low` to `high`, with enough digits, if it exceeds [0, 1] by more than rounding; else no text."""
    if low >= -ROUNDING and high <= 1 + ROUNDING:
        return ""
    return f"{low:.9g} to {high:.9g}"


def _classes(archive: NpzArchive, labels: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Class names that fit the labels of both splits."""
    path = archive.path
    largest = max(int(ids.max()) for ids in labels.values())
    for key, ids in labels.items():
        if ids.min() < 0:
            raise InputError(f"{key} of {path} holds the label {ids.min()}; expected labels from 0")
    lowest = min(int(ids.min()) for ids in labels.values())
    if "classes" not in archive.names:
        total = sum(len(ids) for ids in labels.values())
        if largest >= max(total, 256):  # a wild label would make millions of names
            raise InputError(
                f"{path} holds the label {largest} but only {total} images; number the labels from 0 without gaps, "
                "or add an array `classes` of names"
            )
        used = np.unique(np.concatenate(list(labels.values())))
        if lowest > 0:
            raise InputError(
                f"labels of {path} start at {lowest} and end at {largest}; expected labels from 0: subtract {lowest}, "
                f"or add an array `classes` of {largest + 1} names"
            )
        if len(used) <= largest:
            gaps = sorted(set(range(largest)) - set(used.tolist()))
            raise InputError(
                f"labels of {path} have gaps: of 0 to {largest}, {len(gaps)} occur in neither split "
                f"({', '.join(map(str, gaps[:5]))}{', ...' if len(gaps) > 5 else ''}); number them without gaps, or "
                f"add an array `classes` of {largest + 1} names"
            )
        return tuple(str(label) for label in range(largest + 1))

    shape, dtype = archive.header("classes")
    if dtype.kind != "U" or len(shape) != 1:
        raise InputError(f"classes of {path} is {dtype} of shape {shape}; expected one string per class")
    names = tuple(archive.read("classes").tolist())
    if len(set(names)) < len(names):
        raise InputError(f"classes of {path} holds a name twice; expected {len(names)} different names")
    if largest >= len(names):
        raise InputError(
            f"{path} holds the label {largest}, but `classes` has {len(names)} names: "
            + ("labels start at 1: subtract 1" if lowest == 1 and largest == len(names) else "add the others")
        )
    return names

"""Distilled sets that others saved, as sets of ours: images, labels, class names and a stated preprocessing."""

import hashlib
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from distill.data.npz import out_of_range
from distill.errors import InputError, InputWarning
from distill.files import as_path
from distill.preprocess import Identity, KeptElsewhere, Preprocessing, Standardize
from distill.runtime.checks import class_names, require_a, require_one_of, require_whole
from distill.sets.foreign_files import ImagesAndLabels, read_images_and_labels
from distill.sets.foreign_folders import folder_sha256, read_class_folders
from distill.sets.synthetic import SyntheticSet, describe, initial_labels

__all__ = ["Layout", "import_set", "parse_preprocessing"]

Layout = Literal["auto", "nchw", "nhwc"]
CHANNELS = (1, 3)
FORMS = "identity, standardize:mean=M,M,M;std=S,S,S (one number a channel), or a .safetensors file of a saved set"


def import_set(
    path: str | Path,
    *,
    preprocessing: Preprocessing | str,
    pixels: bool = False,
    labels: str | Path | None = None,
    classes: Sequence[str] | None = None,
    layout: Layout = "auto",
    channels: int | None = None,
    name: str | None = None,
) -> SyntheticSet:
    """Read a distilled set from an .npz, .npy, .pt or .pth file of another program; no pickled code is run.

    Or from a folder of class folders of image files, which are pixels.

    - `preprocessing`: what the images have been through, which no such file says: a `Preprocessing`, such as
      `SyntheticSet.load(file).preprocessing`, or text for `parse_preprocessing`. It stays with the set, and
      evaluation applies it to the real test images. Guessed wrongly, accuracies are low, not errors.
    - `pixels`: the images are raw pixels, uint8 or floats in [0, 1], and `preprocessing` is still to be applied.
    - `labels`: a second file for the labels (MTT: images_best.pt and labels_best.pt).
    - `classes`: names of all classes of the problem; default: the file's, or "0" to the number of classes - 1.
    - `layout`: of images of four dimensions; "auto" looks for 1 or 3 channels.
    - `channels`: how many are wanted, 1 or 3. Grey images of a folder become RGB, and RGB ones without colours grey; a
      file whose images have another number is refused. Default: as they are.
    - `name`: what to call the set in `made_by`; default: the file's name without its ending.

    Labels are class ids `(n,)`, which become initial soft labels, or soft labels `(n, C)`, taken as they are, the
    largest of a row being its class. Files of FRePo (`image`, `label`), KIP (`images`, `labels`), DC, DSA and DM
    (`{"data": [[images, labels], ...]}`, the last pair) and MTT are understood.

    Raises `InputError` when a file cannot be read, lacks images or labels, or does not fit what is stated.
    """
    path, labels = as_path(path), None if labels is None else as_path(labels, "labels")
    classes = _checked_options(path, preprocessing, labels, classes, layout, channels, name)
    found, layout, pixels = _read(path, labels, classes, layout, channels, pixels)
    images = _channels_first(found.images, layout, path)
    if channels is not None and images.shape[1] != channels:
        raise InputError(f"images of {path} have {images.shape[1]} channels; wanted {channels}")
    if found.labels.shape[:1] != images.shape[:1]:
        raise InputError(
            f"{path} has images of shape {tuple(found.images.shape)} and labels of shape "
            f"{tuple(found.labels.shape)}; wanted one label for each image"
        )
    soft, class_ids, names = _soft_labels(found.labels, found.classes if classes is None else classes, path)
    stated = preprocessing
    if isinstance(preprocessing, str):
        preprocessing = parse_preprocessing(preprocessing, channels=images.shape[1])
    images = _preprocessed(images, preprocessing, pixels=pixels, path=path)
    options: dict[str, Any] = {"file": path.name, "sha256": _sha256(path)}
    if labels is not None:
        options |= {"labels_file": labels.name, "labels_sha256": _sha256(labels)}
    options |= {"preprocessing": stated if isinstance(stated, str) else stated.kind, "pixels": pixels}
    made_by = describe("imported", options, name=path.stem if name is None else name)
    return SyntheticSet(images, soft, class_ids, names, preprocessing, made_by)


def _checked_options(
    path: Path, preprocessing: Any, labels: Path | None, classes: Any, layout: Any, channels: Any, name: Any
) -> tuple[str, ...] | None:
    """`classes` as a tuple; raises `InputError` for options of another kind than `import_set` takes."""
    require_a("preprocessing", preprocessing, Preprocessing, str, hint=FORMS)
    require_one_of("layout", layout, get_args(Layout))
    if channels is not None:
        require_whole("channels", channels, least=1)
    require_a("name", name, str, type(None))
    if path.is_dir() and (labels is not None or layout == "nchw"):
        raise InputError(f"{path} is a folder, whose class folders say the labels; leave out labels and layout")
    names = None if classes is None else class_names(classes)
    if names == ():
        raise InputError("classes are empty; wanted the names of all classes, or None to number them")
    return names


def _read(
    path: Path,
    labels: Path | None,
    classes: tuple[str, ...] | None,
    layout: Layout,
    channels: int | None,
    pixels: bool,
) -> tuple[ImagesAndLabels, Layout, bool]:
    """What a file or folder holds, how its images lie, and whether they are pixels."""
    if path.is_dir():
        return read_class_folders(path, classes=classes, channels=channels), "nchw", True
    return read_images_and_labels(path, labels), layout, pixels


def parse_preprocessing(text: str, *, channels: int) -> Preprocessing:
    """The preprocessing that `text` states, for images of so many channels.

    `identity`; `standardize:mean=0.49,0.48,0.45;std=0.25,0.24,0.26`, one number for each channel, of pixels in
    [0, 1]; or the path of a `.safetensors` set of ours, whose preprocessing is taken.

    Raises `InputError` for anything else.
    """
    if text == Identity.kind:
        return Identity()
    if text.endswith(".safetensors"):
        return SyntheticSet.load(text).preprocessing
    kind, _, rest = text.partition(":")
    if kind != Standardize.kind:
        raise InputError(f"preprocessing is {text!r}; wanted {FORMS}")
    given = dict(part.split("=", 1) for part in rest.split(";") if "=" in part)
    if sorted(key.strip() for key in given) != ["mean", "std"] or rest.count(";") != 1:
        raise InputError(f"preprocessing is {text!r}; wanted a mean and a std: standardize:mean=M,M,M;std=S,S,S")
    values = {key.strip(): _numbers(numbers, f"{key.strip()} of {text!r}", channels) for key, numbers in given.items()}
    if min(values["std"]) <= 0:
        raise InputError(f"std of {text!r} is {min(values['std']):g}; wanted more than 0")
    return Standardize(torch.tensor(values["mean"]), torch.tensor(values["std"]))


def _numbers(text: str, what: str, count: int) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError as error:
        raise InputError(f"{what} is no list of numbers; wanted {count}, with commas between") from error
    if len(numbers) != count:
        raise InputError(f"{what} has {len(numbers)} numbers; wanted {count}, one for each channel")
    if not all(math.isfinite(number) for number in numbers):
        raise InputError(f"{what} holds NaN or infinite numbers")
    return numbers


def _channels_first(images: torch.Tensor, layout: Layout, path: Path) -> torch.Tensor:
    """Images of shape `(n, channels, height, width)`, of any type."""
    shape = tuple(images.shape)
    if images.ndim == 3:
        images, layout = images.unsqueeze(1), "nchw"
    if images.ndim != 4 or 0 in shape:
        raise InputError(
            f"images of {path} have shape {shape}; wanted at least one image, as (n, channels, height, width), "
            "(n, height, width, channels) or (n, height, width)"
        )
    if layout == "auto":
        first, last = images.shape[1] in CHANNELS, images.shape[3] in CHANNELS
        if first and last:
            raise InputError(f"images of {path} have shape {shape}, which reads both ways; say layout: nchw or nhwc")
        layout = "nhwc" if last else "nchw"
    if layout == "nhwc":
        images = images.permute(0, 3, 1, 2)
    if images.shape[1] not in CHANNELS:
        raise InputError(
            f"images of {path} have shape {shape}, so {images.shape[1]} channels ({layout}); wanted 1 or 3 channels"
        )
    return images.contiguous()


def _preprocessed(
    images: torch.Tensor, preprocessing: Preprocessing, *, pixels: bool, path: Path
) -> torch.Tensor:
    """Float images that are, or now have been, preprocessed in the stated way."""
    if images.dtype == torch.uint8:
        if not pixels:
            raise InputError(
                f"images of {path} are uint8, so raw pixels; say so with `pixels`, and the stated preprocessing "
                f"({preprocessing.kind}) is applied to them"
            )
        images = images.float() / 255
    elif not images.is_floating_point():
        raise InputError(f"images of {path} are {images.dtype}; wanted floats, or uint8 pixels")
    images = images.float()
    if not bool(torch.isfinite(images).all()):
        bad = int((~torch.isfinite(images).flatten(1).all(1)).sum())
        raise InputError(f"{bad} of {len(images)} images of {path} hold NaN or infinite values; remove or mend them")
    if pixels:
        if span := out_of_range(float(images.min()), float(images.max())):
            raise InputError(
                f"images of {path} run from {span}; wanted pixels in [0, 1]: rescale or clip them, or leave out "
                "`pixels` if they have been preprocessed already"
            )
        images = images.clamp(0, 1)
    _check_fits(preprocessing, images)
    return preprocessing.forward(images) if pixels else images


def _check_fits(preprocessing: Preprocessing, images: torch.Tensor) -> None:
    """Raise `InputError` unless the preprocessing is for images of this shape, and is there at all."""
    if isinstance(preprocessing, KeptElsewhere):
        raise InputError(KeptElsewhere.missing)
    if reason := preprocessing.misfit(images.shape[1:]):
        raise InputError(
            f"the stated preprocessing ({preprocessing.kind}) is not for images of shape {tuple(images.shape[1:])} "
            f"(channels, height, width), but {reason}; wanted one that was fitted on images of that shape"
        )


def _soft_labels(
    labels: torch.Tensor, classes: Sequence[str] | None, path: Path
) -> tuple[torch.Tensor, torch.Tensor, tuple[str, ...]]:
    """Soft labels `(n, C)`, class ids `(n,)` and C class names."""
    whole = not labels.is_floating_point() and not labels.is_complex() and labels.dtype != torch.bool
    if whole and labels.ndim == 2 and labels.shape[1] == 1:  # as Keras keeps class ids
        labels = labels[:, 0]
    if labels.ndim == 1 and whole:
        class_ids = labels.long()
        names = _class_names(classes, class_ids, path)
        return initial_labels(class_ids, len(names)), class_ids, names
    if labels.ndim != 2 or labels.shape[1] == 0 or labels.is_complex():
        raise InputError(
            f"labels of {path} are {labels.dtype} of shape {tuple(labels.shape)}; wanted class ids, integers of "
            "shape (n,), or soft labels, floats of shape (n, classes)"
        )
    labels = labels.float()
    if not bool(torch.isfinite(labels).all()):
        raise InputError(f"labels of {path} hold NaN or infinite values; remove or mend them")
    names = _checked_names(classes) or tuple(str(i) for i in range(labels.shape[1]))
    if len(names) != labels.shape[1]:
        raise InputError(f"{len(names)} class names were given, but labels of {path} have {labels.shape[1]} columns")
    return labels, labels.argmax(1), names


def _class_names(classes: Sequence[str] | None, class_ids: torch.Tensor, path: Path) -> tuple[str, ...]:
    """Names that fit class ids."""
    low, high = int(class_ids.min()), int(class_ids.max())
    used = torch.unique(class_ids)
    names = _checked_names(classes)
    if low < 0:
        raise InputError(f"labels of {path} hold the class id {low}; wanted class ids from 0")
    if not names and high >= max(len(class_ids), 256):  # a wild label would make millions of names
        raise InputError(f"labels of {path} hold the class id {high}, for {len(class_ids)} images; name all classes")
    if names and high >= len(names):
        raise InputError(
            f"labels of {path} hold the class id {high}, but {len(names)} class names were given"
            + ("; they start at 1: subtract 1" if low == 1 and high == len(names) else "")
        )
    if not names and low > 0:
        raise InputError(
            f"labels of {path} start at {low} and end at {high}; wanted class ids from 0: subtract {low}, or name all "
            f"{high + 1} classes"
        )
    if not names and len(used) <= high:
        gaps = sorted(set(range(high)) - set(used.tolist()))
        warnings.warn(
            f"labels of {path} have gaps: no image has the class id {', '.join(map(str, gaps[:5]))}"
            f"{', ...' if len(gaps) > 5 else ''}; taken for classes of which the set has no image",
            InputWarning,
            stacklevel=4,
        )
    return names or tuple(str(i) for i in range(high + 1))


def _checked_names(classes: Sequence[str] | None) -> tuple[str, ...]:
    if isinstance(classes, str):
        raise InputError(f"classes are the one text {classes!r}; wanted a list of names")
    names = tuple(classes or ())
    if len(set(names)) < len(names):
        raise InputError(f"classes hold a name twice; wanted {len(names)} different names")
    return names


def _sha256(path: Path) -> str:
    return folder_sha256(path) if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()

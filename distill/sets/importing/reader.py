"""Distilled sets of other programs as a `SyntheticSet`: images, labels, class names and a stated preprocessing."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from distill.errors import InputError
from distill.files import as_path
from distill.preprocess import Preprocessing
from distill.runtime.checks import class_names, require_a, require_one_of, require_whole
from distill.sets.importing.class_folders import folder_sha256, read_class_folders
from distill.sets.importing.files import ImagesAndLabels, read_images_and_labels
from distill.sets.importing.labels import soft_labels_of
from distill.sets.importing.preprocessing import FORMS, parse_preprocessing, preprocessed
from distill.sets.synthetic import SyntheticSet, describe

__all__ = ["Layout", "import_set"]

Layout = Literal["auto", "nchw", "nhwc"]
CHANNELS = (1, 3)


def import_set(
    path: str | Path,
    *,
    preprocessing: Preprocessing | str,
    pixels: bool | None = None,
    labels: str | Path | None = None,
    classes: Sequence[str] | None = None,
    layout: Layout = "auto",
    channels: int | None = None,
    name: str | None = None,
) -> SyntheticSet:
    """Read a distilled set from an .npz, .npy, .pt or .pth file of another program, without running pickled code.

    Or from a folder of class folders of image files, which are raw pixels.

    - `preprocessing`: the preprocessing of the images, which no such file states: a `Preprocessing`, such as
      `SyntheticSet.load(file).preprocessing`, or text for `parse_preprocessing`. It becomes that of the set, and
      evaluation applies it to the real test images. A wrong one causes low accuracies, not an error.
    - `pixels`: whether the images are raw pixels, uint8 or floats in [0, 1], to which `preprocessing` is applied.
      Default: those of a folder are, those of a file are not.
    - `labels`: a second file with the labels (MTT: images_best.pt and labels_best.pt).
    - `classes`: names of all classes of the problem; default: the file's, or "0" to the number of classes - 1.
    - `layout`: of images of four dimensions, "nchw" or "nhwc"; "auto": by which axis has 1 or 3 channels.
    - `channels`: the number of channels, 1 or 3. Grey images of a folder become RGB, and RGB ones without colours grey;
      a file whose images have another number is refused. Default: as they are.
    - `name`: the name of the set in `made_by`; default: that of the file, without its extension.

    Labels are class ids `(n,)`, which become initial soft labels, or soft labels `(n, C)`, which are kept; the class of
    an image is then its largest. Reads the files of FRePo (`image`, `label`), KIP (`images`, `labels`), DC, DSA and DM
    (`{"data": [[images, labels], ...]}`, of which the last pair is taken) and MTT.

    Raises `InputError` when a file cannot be read, lacks images or labels, or does not fit what is stated.

        >>> import numpy as np
        >>> np.savez("published.npz", images=np.zeros((2, 8, 8, 1), np.float32), labels=np.array([0, 1]))
        >>> import_set("published.npz", preprocessing="identity", pixels=True)
        SyntheticSet(2 images of 1x8x8, 2 classes, by imported)
    """
    path, labels = as_path(path), None if labels is None else as_path(labels, "labels")
    classes = _checked_options(path, preprocessing, pixels, labels, classes, layout, channels, name)
    found, layout, pixels = _read(path, labels, classes, layout, channels, bool(pixels))
    images = _channels_first(found.images, layout, path)
    if channels is not None and images.shape[1] != channels:
        raise InputError(f"images of {path} have {images.shape[1]} channels; expected {channels}")
    if found.labels.shape[:1] != images.shape[:1]:
        raise InputError(
            f"{path} has images of shape {tuple(found.images.shape)} and labels of shape "
            f"{tuple(found.labels.shape)}; expected one label for each image"
        )
    soft, class_ids, names = soft_labels_of(found.labels, found.classes if classes is None else classes, path)
    stated = preprocessing
    if isinstance(preprocessing, str):
        preprocessing = parse_preprocessing(preprocessing, channels=images.shape[1])
    images = preprocessed(images, preprocessing, pixels=pixels, path=path)
    options: dict[str, Any] = {"file": path.name, "sha256": _sha256(path)}
    if labels is not None:
        options |= {"labels_file": labels.name, "labels_sha256": _sha256(labels)}
    options |= {"preprocessing": stated if isinstance(stated, str) else stated.kind, "pixels": pixels}
    made_by = describe("imported", options, name=path.stem if name is None else name)
    return SyntheticSet(images, soft, class_ids, names, preprocessing, made_by)


def _checked_options(
    path: Path, preprocessing: Any, pixels: Any, labels: Path | None, classes: Any, layout: Any, channels: Any,
    name: Any,
) -> tuple[str, ...] | None:
    """`classes` as a tuple; raises `InputError` for options of another kind than `import_set` takes."""
    require_a("preprocessing", preprocessing, Preprocessing, str, hint=FORMS)
    require_one_of("layout", layout, get_args(Layout))
    if channels is not None:
        require_whole("channels", channels, least=1)
    require_a("name", name, str, type(None))
    require_a("pixels", pixels, bool, type(None))
    if path.is_dir() and (labels is not None or layout != "auto"):
        raise InputError(f"{path} is a folder, whose class folders are the labels; leave out labels and layout")
    if path.is_dir() and pixels is False:
        raise InputError(f"pixels is False, but {path} is a folder of image files, which are pixels; leave it out")
    names = None if classes is None else class_names(classes)
    if names == ():
        raise InputError("classes are empty; expected the names of all classes, or None to number them")
    return names


def _read(
    path: Path,
    labels: Path | None,
    classes: tuple[str, ...] | None,
    layout: Layout,
    channels: int | None,
    pixels: bool,
) -> tuple[ImagesAndLabels, Layout, bool]:
    """What a file or folder holds, the layout of its images, and whether they are pixels."""
    if path.is_dir():
        return read_class_folders(path, classes=classes, channels=channels), "nchw", True
    return read_images_and_labels(path, labels), layout, pixels


def _channels_first(images: torch.Tensor, layout: Layout, path: Path) -> torch.Tensor:
    """Images of shape `(n, channels, height, width)`, of any type."""
    shape = tuple(images.shape)
    if images.ndim == 3:
        images, layout = images.unsqueeze(1), "nchw"
    if images.ndim != 4 or 0 in shape:
        raise InputError(
            f"images of {path} have shape {shape}; expected at least one image, as (n, channels, height, width), "
            "(n, height, width, channels) or (n, height, width)"
        )
    if layout == "auto":
        first, last = images.shape[1] in CHANNELS, images.shape[3] in CHANNELS
        if first and last:
            raise InputError(f"images of {path} have shape {shape}, which fits both layouts; give layout: nchw or nhwc")
        layout = "nhwc" if last else "nchw"
    if layout == "nhwc":
        images = images.permute(0, 3, 1, 2)
    if images.shape[1] not in CHANNELS:
        raise InputError(
            f"images of {path} have shape {shape}, so {images.shape[1]} channels ({layout}); expected 1 or 3 channels"
        )
    return images.contiguous()


def _sha256(path: Path) -> str:
    try:
        return folder_sha256(path) if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error

"""Labelled images by name, from a folder of class folders, or from an .npz file."""

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from distill.data.decode import resize_arrays
from distill.data.folders import load_folder, plain_name
from distill.data.named import DATASETS, load_named
from distill.data.npz import load_npz
from distill.data.splits import Split
from distill.errors import InputError, shown
from distill.files import as_path
from distill.runtime.checks import class_names, positions, require_a, require_whole

__all__ = ["DATASETS", "LabelledImages", "load_images"]


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """A labelled image set as it is on disk, before any preprocessing.

    - `images`: uint8 array of shape `(n, height, width, channels)`, 1 or 3 channels.
    - `labels`: int64 array of shape `(n,)`, class ids in `0 .. len(classes) - 1`; integers of any type, lists of them
      and shape `(n, 1)` are accepted and converted.
    - `classes`: the names of all classes of the problem in label order, also of those with no image here:
      a subset keeps the classes of the whole.
    - `name`: the name of the set, for results; default "unnamed".

    Raises `InputError` when shapes, types or label range are wrong.

        >>> import numpy as np
        >>> data = LabelledImages(np.zeros((4, 8, 8, 1), np.uint8), [0, 1, 1, 0], ("cat", "dog"))
        >>> len(data), data.num_classes, data.labels.dtype
        (4, 2, dtype('int64'))
        >>> len(data.subset(data.labels == 1))
        2
    """

    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    name: str = "unnamed"

    def __post_init__(self) -> None:
        images, labels = _array(self.images, "images"), _array(self.labels, "labels")
        if labels.ndim == 2 and labels.shape[1] == 1:  # as Keras keeps them
            labels = labels[:, 0]
        if not labels.size:  # an empty list is one of floats
            labels = labels.astype(np.int64)
        object.__setattr__(self, "classes", class_names(self.classes))
        require_a("name", self.name, str)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] not in (1, 3):
            raise InputError(
                f"images are {images.dtype} of shape {images.shape}; expected uint8 of shape "
                "(n, height, width, channels) with 1 or 3 channels"
            )
        if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise InputError(
                f"labels are {labels.dtype} of shape {labels.shape}; expected integers of shape {images.shape[:1]}, "
                "one for each image"
            )
        if len(labels) and (labels.min() < 0 or labels.max() >= len(self.classes)):
            raise InputError(
                f"labels run from {labels.min()} to {labels.max()}, but there are {len(self.classes)} classes: "
                f"expected 0 to {len(self.classes) - 1}"
                + ("; they start at 1: subtract 1" if labels.min() == 1 and labels.max() == len(self.classes) else "")
            )
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels.astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        """Number of classes of the whole problem."""
        return len(self.classes)

    def subset(self, indices: np.ndarray | Sequence[int]) -> "LabelledImages":
        """The images at `indices` (positions or a boolean mask), with the classes of the whole problem.

        Raises `InputError` when indices are out of range or a mask has another length.
        """
        chosen = positions(indices, len(self))
        return LabelledImages(self.images[chosen], self.labels[chosen], self.classes, self.name)


def _array(given: Any, name: str) -> np.ndarray:
    if isinstance(given, np.ndarray):
        return given
    try:
        return np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths; tensors on a GPU
        raise InputError(f"{name} are a {type(given).__name__} that is no array; expected one NumPy array") from error


def load_images(
    source: str | Path,
    *,
    split: Split = "train",
    data_dir: str | Path | None = None,
    resolution: int | None = None,
    cache_dir: str | Path | None = None,
) -> LabelledImages:
    """The training or test split of a labelled image set, checked, and the same each time.

    - `source`: one of `DATASETS`; or the path of an .npz file (`distill.data.npz.load_npz`) or of a folder of
      class folders (`distill.data.folders.load_folder`). A name wins over a folder of that name: write `./mnist`.
    - `split`: "train" or "test".
    - `data_dir`: the folder where data sets known by name are, or are downloaded to; `None`: the environment variable
      `FREPO_DATA`, or `data` in the current folder.
    - `resolution`: height and width of the images. The largest central square of an image is resized to it, by area
      means (to enlarge, bilinearly), as in the released FRePo code; images of ImageNet-1K are resized whole, with
      changed proportions, like those of ImageNet64 (Chrabaszcz et al. 2017), which that code uses. `None`: as on
      disk, except tiny-imagenet and imagenet 64, cub200 32, imagenette and imagewoof 128.
    - `cache_dir`: the folder for decoded images (see `distill.data.decoded`), for data folders that are read-only;
      `None`: the environment variable `FREPO_CACHE`, or `cache` in the data folder.

    Images of published folders (tiny-imagenet, cub200, imagenette, imagewoof, imagenet) and of folders that are
    resized are a read-only memory map.

    Raises `InputError` when the source is unknown, missing, damaged or of another form.

        >>> digits = load_images("digits", split="test")
        >>> digits.images.shape, digits.images.dtype, digits.num_classes
        ((450, 8, 8, 1), dtype('uint8'), 10)
    """
    if not isinstance(split, str) or split not in ("train", "test"):
        raise InputError(f"unknown split {shown(split)}; expected 'train' or 'test'")
    if resolution is not None:
        require_whole("resolution", resolution, least=1)
    folder = _place(data_dir, "data_dir", "FREPO_DATA", "data")
    cache = _place(cache_dir, "cache_dir", "FREPO_CACHE", folder / "cache")
    if isinstance(source, str) and source in DATASETS:
        return LabelledImages(*load_named(source, split, folder, cache=cache, resolution=resolution), name=source)
    path = as_path(source, "source")
    if not str(source) or not os.path.exists(path):  # Path("") is the current folder
        raise _not_found(str(source))
    if path.is_dir():
        found = load_folder(path, split, resolution=resolution, cache=cache)
        return LabelledImages(*found, name=plain_name(path.resolve()))
    if path.suffix.lower() == ".npz":
        found = load_npz(path, split)
        images = found.images if resolution is None else resize_arrays(found.images, resolution)
        return LabelledImages(images, found.labels, found.classes, name=plain_name(path.with_suffix("")))
    raise InputError(f"{path} is neither a folder nor an .npz file; expected one of them, or one of {_known()}")


def _place(given: Any, name: str, variable: str, default: str | Path) -> Path:
    """The folder that is given, or the one in the environment, or the default."""
    is_given = given is not None and not (isinstance(given, str) and not given)
    return as_path(given if is_given else os.environ.get(variable) or default, name)


def _not_found(source: str) -> InputError:
    if os.sep in source or Path(source).suffix:
        return InputError(f"{source} does not exist; expected a folder, an .npz file, or one of {_known()}")
    close = difflib.get_close_matches(source.lower(), DATASETS, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return InputError(f"no data set, folder or file is called {source!r}; known data sets: {_known()}{hint}")


def _known() -> str:
    return ", ".join(DATASETS)

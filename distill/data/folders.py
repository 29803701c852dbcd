"""Labelled images from a folder of class folders."""

import hashlib
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from distill.data.decode import DecodeSettings, decode, is_image
from distill.data.decoded import cached_images
from distill.data.image_scan import scan_images
from distill.data.skipped_files import SkippedFiles
from distill.data.splits import Arrays, Split, chosen_for_test
from distill.errors import InputError, InputWarning

__all__ = ["Files", "class_files", "decode_all", "find_splits", "flatten", "load_folder", "plain_name"]

TEST_FRACTION = 0.2

Files = tuple[list[Path], np.ndarray]


def load_folder(folder: Path, split: Split, *, resolution: int | None = None, cache: Path) -> Arrays:
    """Read one split of a folder of class folders.

    Either `folder/train/<class>/*` and `folder/test/<class>/*` (or `val` where there is no `test`), or
    `folder/<class>/*`, of which a fifth of each class, always the same, is the test split. The classes are the names
    of the class folders in sorted order; files are taken in sorted order, all that Pillow reads. Hidden files are left
    out; everything else that is not read is counted and named in a warning: other files, broken links, folders
    within class folders, images outside of them, and folders beside those of the two splits.

    The set has one channel when every image of both splits is grey (with or without alpha), and is RGB otherwise.
    Grey images of more than 8 bits are all scaled alike (`distill.data.image_scan.scan_images`). For other modes and
    bit depths see `distill.data.decode.decode`.

    - `resolution`: height and width to resize the largest central square of each image to, decoded once into the
      folder `cache`; `None`: all images have the same size already.

    Raises `InputError` when there is no class folder, one is empty, the splits differ in classes, image sizes differ
    and no resolution is given, or an image cannot be read.
    """
    classes, splits = find_splits(folder)
    files, labels = splits[split]
    if not files:
        raise InputError(
            f"{folder} has too few images to hold out a test split; expected 2 or more in a class, or folders train/ "
            "and test/"
        )
    both = [file for some, _ in splits.values() for file in some]
    if resolution is not None and cache.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"decoded images would be written to {cache}, inside the folder of images {folder}, where they would be "
            "taken for a class; choose another folder for them (cache_dir=..., --cache-dir or FREPO_CACHE)"
        )

    def settings() -> DecodeSettings:
        return scan_images(both, one_size=resolution is None, name=str(folder))

    if resolution is None:
        return Arrays(decode_all(files, settings()), labels, classes)
    images = cached_images(
        files,
        name=f"{_cache_name(folder)}-{split}",
        folder=cache,
        resolution=resolution,
        look=settings,
        others=both,
    )
    return Arrays(images, labels, classes)


def plain_name(path: Path) -> str:
    """The name of a file or folder as text that can be printed, whatever bytes it consists of."""
    return os.fsencode(path.name).decode("utf-8", "backslashreplace")


def decode_all(files: list[Path], settings: DecodeSettings) -> np.ndarray:
    """Images of one size as uint8 `(n, height, width, channels)`."""
    images = np.stack([decode(file, settings.mode, white=settings.white) for file in files])
    return images if settings.mode == "RGB" else images[..., None]


def find_splits(folder: Path) -> tuple[tuple[str, ...], dict[Split, Files]]:
    """Class names, and files and labels of both splits, as `load_folder` finds them."""
    tests = [folder / name for name in ("test", "val") if (folder / name).is_dir()]
    if not ((folder / "train").is_dir() and tests):
        by_class = class_files(folder)
        files, labels = flatten(by_class)
        mask = chosen_for_test(labels, TEST_FRACTION)
        splits: dict[Split, Files] = {
            "train": ([files[i] for i in np.flatnonzero(~mask)], labels[~mask]),
            "test": ([files[i] for i in np.flatnonzero(mask)], labels[mask]),
        }
        return tuple(by_class), splits

    if all(_holds_images_alone(place) for place in (folder / "train", tests[0])):
        raise InputError(
            f"{folder} has the folders train and {tests[0].name}, which look like splits but contain images instead of "
            f"class folders; if train and {tests[0].name} are classes, rename one of them (train-images, say), "
            f"otherwise sort their images into train/<class> and {tests[0].name}/<class>"
        )
    unread = [entry.name for entry in _visible(folder) if entry.is_dir() and entry.name not in ("train", tests[0].name)]
    if unread:
        warnings.warn(
            f"{folder} has the folders train and {tests[0].name}, which are read, and {', '.join(unread)}, which are "
            "not; move images to be read into the first two",
            InputWarning,
            stacklevel=2,
        )
    train, test = class_files(folder / "train"), class_files(tests[0])
    if list(train) != list(test):
        alone = ", ".join(sorted(set(train) ^ set(test)))
        raise InputError(f"{folder / 'train'} and {tests[0]} have different class folders: only one has {alone}")
    return tuple(train), {"train": flatten(train), "test": flatten(test)}


def _holds_images_alone(folder: Path) -> bool:
    entries = list(_visible(folder))
    return any(is_image(entry) for entry in entries) and not any(entry.is_dir() for entry in entries)


def class_files(folder: Path, *, inner: str = "") -> dict[str, list[Path]]:
    """The image files of each class folder of `folder` (of the folder `inner` within it), both in sorted order.

    Warns about what is not read. Raises `InputError` when there is no class folder, or one without images.
    """
    by_class, skipped = {}, SkippedFiles(folder)
    for class_folder in _visible(folder):
        if not class_folder.is_dir():
            skipped.add_beside_classes(class_folder)
            continue
        place = class_folder / inner
        entries = list(_visible(place))
        files = [entry for entry in entries if is_image(entry)]
        if not files:
            own = SkippedFiles(place, [entry for entry in entries if not is_image(entry)])
            raise InputError(
                f"the class folder {place} holds no images that Pillow reads{f' ({own})' if own else ''}; add some or "
                "remove it"
                + ("; for folders of a split, expected train/ and test/ (or val/) in one folder" if own.folders else "")
            )
        skipped.add(*(entry for entry in entries if not is_image(entry)))
        by_class[plain_name(class_folder)] = files
    if not by_class:
        raise InputError(
            f"{folder} holds no class folders; expected a folder of images for each class"
            + (f" (found {skipped})" if skipped else "")
        )
    skipped.warn()
    return by_class


def _visible(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}") from error
    return (entry for entry in entries if not entry.name.startswith("."))


def flatten(by_class: dict[str, list[Path]]) -> Files:
    """All files, class after class, and the class id of each."""
    files = [file for some in by_class.values() for file in some]
    return files, np.repeat(np.arange(len(by_class)), [len(some) for some in by_class.values()])


def _cache_name(folder: Path) -> str:
    """A readable name that differs for folders of the same name in different places."""
    place = folder.resolve()
    return f"{place.name[:60]}-{hashlib.sha256(str(place).encode(errors='surrogateescape')).hexdigest()[:8]}"

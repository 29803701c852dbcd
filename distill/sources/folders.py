"""Labelled images from a folder of class folders."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from distill.errors import InputError
from distill.sources.cache import cached_images
from distill.sources.decode import EXTENSIONS, GREY, Mode, decode, unreadable
from distill.sources.parts import Arrays, Part, chosen_for_test

__all__ = ["Files", "class_files", "find_parts", "flatten", "load_folder"]

TEST_FRACTION = 0.2

Files = tuple[list[Path], np.ndarray]


def load_folder(folder: Path, part: Part, *, resolution: int | None = None, cache: Path) -> Arrays:
    """Read one part of a folder of class folders.

    Either `folder/train/<class>/*` and `folder/test/<class>/*` (or `val` where there is no `test`), or
    `folder/<class>/*`, of which a fifth of each class, always the same, is the test part. The classes are the names
    of the class folders in sorted order; files are taken in sorted order, hidden ones and those that are no images
    are left out, and folders within class folders are not entered.

    The set has one channel when every image of both parts is grey (with or without alpha), and is RGB otherwise.
    Other modes and bit depths: see `distill.sources.decode.decode`.

    - `resolution`: wanted height and width: the largest square in the middle of each image is resized to it, and kept
      in the folder `cache`. `None`: all images have one size already.

    Raises `InputError` when there is no class folder, one is empty, the parts differ in classes, image sizes differ
    and no resolution is given, or an image cannot be read.
    """
    classes, parts = find_parts(folder)
    files, labels = parts[part]
    if not files:
        raise InputError(
            f"{folder} has too few images to hold out a test part; wanted 2 or more in a class, or folders train/ "
            "and test/"
        )
    both = [file for some, _ in parts.values() for file in some]
    if resolution is not None and cache.resolve().is_relative_to(folder.resolve()):
        raise InputError(
            f"decoded images would be kept in {cache}, within the folder of images {folder}, where they would be taken "
            "for a class; set --data-dir or FREPO_DATA to another folder"
        )
    if resolution is None:
        mode = _common_mode(both, one_size=True)
        images = np.stack([decode(file, mode) for file in files])
        return Arrays(images if mode == "RGB" else images[..., None], labels, classes)
    images = cached_images(
        files,
        name=f"{_cache_name(folder)}-{part}",
        folder=cache,
        resolution=resolution,
        mode=lambda: _common_mode(both, one_size=False),
        others=both,
    )
    return Arrays(images, labels, classes)


def find_parts(folder: Path) -> tuple[tuple[str, ...], dict[Part, Files]]:
    """Class names, and files and labels of both parts, as `load_folder` finds them."""
    tests = [folder / name for name in ("test", "val") if (folder / name).is_dir()]
    if not ((folder / "train").is_dir() and tests):
        by_class = class_files(folder)
        files, labels = flatten(by_class)
        mask = chosen_for_test(labels, TEST_FRACTION)
        parts: dict[Part, Files] = {
            "train": ([files[i] for i in np.flatnonzero(~mask)], labels[~mask]),
            "test": ([files[i] for i in np.flatnonzero(mask)], labels[mask]),
        }
        return tuple(by_class), parts

    train, test = class_files(folder / "train"), class_files(tests[0])
    if list(train) != list(test):
        alone = ", ".join(sorted(set(train) ^ set(test)))
        raise InputError(f"{folder / 'train'} and {tests[0]} have different class folders; only in one: {alone}")
    return tuple(train), {"train": flatten(train), "test": flatten(test)}


def class_files(folder: Path, *, inner: str = "") -> dict[str, list[Path]]:
    """The image files of each class folder of `folder` (of the folder `inner` within it), both in sorted order."""
    by_class = {}
    for class_folder in _visible(folder):
        if class_folder.is_dir():
            place = class_folder / inner
            files = [f for f in _visible(place) if f.suffix.lower() in EXTENSIONS and f.is_file()]
            if not files:
                nested = any(entry.is_dir() for entry in _visible(place))
                raise InputError(
                    f"the class folder {place} holds no images ({_extensions()}); add some or remove it"
                    + ("; for folders of a split, wanted train/ and test/ (or val/) side by side" if nested else "")
                )
            by_class[class_folder.name] = files
    if not by_class:
        raise InputError(f"{folder} holds no class folders; wanted a folder of images for each class")
    return by_class


def _visible(folder: Path) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(f"cannot read {folder}: {error.strerror or error}") from error
    return (entry for entry in entries if not entry.name.startswith("."))


def _extensions() -> str:
    return ", ".join(sorted(extension[1:] for extension in EXTENSIONS))


def flatten(by_class: dict[str, list[Path]]) -> Files:
    """All files, class after class, and the position of each one's class."""
    files = [file for some in by_class.values() for file in some]
    return files, np.repeat(np.arange(len(by_class)), [len(some) for some in by_class.values()])


def _cache_name(folder: Path) -> str:
    """Readable, and different for folders of one name in different places."""
    place = folder.resolve()
    return f"{place.name[:60]}-{hashlib.sha256(str(place).encode(errors='surrogateescape')).hexdigest()[:8]}"


def _common_mode(files: list[Path], *, one_size: bool) -> Mode:
    """Mode "L" when all images are grey, "RGB" otherwise; reads their headers alone, and checks that sizes agree."""
    grey, first_size = True, None
    for file in files:
        try:
            with Image.open(file) as image:
                mode, size = image.mode, image.size
        except Exception as error:  # damaged bytes raise whatever they lead to: OSError, SyntaxError, struct.error, ...
            raise unreadable(file, error) from error
        first_size = first_size or size
        if one_size and size != first_size:
            raise InputError(
                f"images differ in size: {files[0]} is {first_size[0]}x{first_size[1]}, {file} is {size[0]}x{size[1]} "
                "(width x height); give the size to resize them to (resolution=..., --resolution on the command line)"
            )
        grey = grey and mode in GREY
    return "L" if grey else "RGB"

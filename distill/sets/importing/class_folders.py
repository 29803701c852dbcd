"""Images and class ids from a folder of class folders of image files."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from distill.data.folders import class_files, decode_all, flatten
from distill.data.image_scan import scan_images
from distill.errors import InputError
from distill.sets.importing.files import ImagesAndLabels

__all__ = ["folder_sha256", "read_class_folders"]


def read_class_folders(
    folder: Path, *, classes: Sequence[str] | None = None, channels: int | None = None
) -> ImagesAndLabels:
    """The images of `folder/<class>/*`: uint8 `(n, channels, height, width)`, class after class, with class ids.

    - `classes`: names of all classes of the problem. Class folders have these names, or their numbers from 0, with or
      without leading zeros; `None`: the names of the folders in sorted order.
    - `channels`: 1 or 3; `None`: 1 where all files are grey.

    Raises `InputError` when there is no class folder, one has another name or no image, an image cannot be read, sizes
    differ, or colours would be lost.
    """
    by_class = class_files(folder)
    files, positions = flatten(by_class)
    settings = scan_images(files, one_size=True, name=str(folder))
    images = decode_all(files, settings)
    if channels == 3:
        images = np.broadcast_to(images, (*images.shape[:3], 3))
    elif channels == 1:
        if bool((images != images[..., :1]).any()):
            raise InputError(f"images of {folder} have colours; expected grey ones, of 1 channel")
        images = images[..., :1]
    names = tuple(by_class)
    wanted = names if classes is None else tuple(classes)
    ids = np.array([_class_id(name, wanted, folder) for name in names], np.int64)
    if len(set(ids.tolist())) < len(ids):
        raise InputError(f"two class folders of {folder} are of the same class; expected one folder for each")
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    return ImagesAndLabels(pixels, torch.from_numpy(ids[positions]), wanted)


def folder_sha256(folder: Path) -> str:
    """A checksum of the names and contents of the images in class folders."""
    digest = hashlib.sha256()
    for file in flatten(class_files(folder))[0]:
        content = file.read_bytes()
        digest.update(f"{file.parent.name}/{file.name} {len(content)}\n".encode(errors="surrogateescape"))
        digest.update(content)
    return digest.hexdigest()


def _class_id(name: str, classes: tuple[str, ...], folder: Path) -> int:
    if name in classes:
        return classes.index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    raise InputError(
        f"{folder} has the class folder {name!r}, which is none of the {len(classes)} classes "
        f"({', '.join(classes[:3])}, ...); expected folders of these names, or of numbers from 0 to {len(classes) - 1}"
    )

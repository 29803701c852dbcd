"""Published data sets of image files: Tiny ImageNet, CUB-200-2011, Imagenette, Imagewoof and ImageNet-1K."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.data.decode import Fit, is_image
from distill.data.decoded import cached_images
from distill.data.folders import Files, class_files, find_splits, flatten
from distill.data.splits import Arrays, Split
from distill.data.wordnet import IMAGENETTE, IMAGEWOOF, read_words, readable
from distill.errors import InputError, InputWarning

__all__ = ["LAYOUTS", "Layout", "load_layout"]

Found = tuple[tuple[str, ...], Files]  # class names, and files and labels of one split


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the files of a published set of RGB images are arranged, once unpacked.

    - `resolution`: the paper's. `fit`: how images that are not square are made square, as in the released FRePo code,
      which crops the sets that it resizes itself, and uses the ImageNet of Chrabaszcz et al. 2017, who do not crop.
    - `folders`: the folders in the data folder that may hold it, with the shorter side of their images (`None`: any).
    - `find`: classes, files and labels of one split in such a folder.
    - `published`: the address to download it from.
    """

    resolution: int
    fit: Fit = "crop"
    folders: dict[str, int | None]
    find: Callable[[Path, Split], Found]
    published: str

    def place(self, data_dir: Path, resolution: int) -> Path | None:
        """The folder to read: that of the smallest images that need no enlarging; `None` if there is no folder."""
        there = [name for name in self.folders if (data_dir / name).is_dir()]
        enough = [name for name in there if (self.folders[name] or resolution) >= resolution]
        return data_dir / [*enough, *reversed(there)][0] if there else None


def load_layout(
    layout: Layout, name: str, split: Split, data_dir: Path, resolution: int | None, cache: Path
) -> Arrays | None:
    """One split of the set, resized and cached in the folder `cache`; `None` where it is not on disk.

    Raises `InputError` when files are missing or damaged.
    """
    wanted = resolution or layout.resolution
    folder = layout.place(data_dir, wanted)
    if folder is None:
        return None
    classes, (files, labels) = layout.find(folder, split)
    images = cached_images(
        files, name=f"{name}-{split}", folder=cache, resolution=wanted, fit=layout.fit
    )
    return Arrays(images, labels, classes)


def _find_tiny(folder: Path, split: Split) -> Found:
    """`train/<wnid>/images/*.JPEG`; `val/images` with `val_annotations.txt` is the test split: `test` has no labels."""
    by_class = class_files(folder / "train", inner="images")
    names = readable(by_class, read_words(folder / "words.txt"))
    if split == "train":
        return names, flatten(by_class)
    rows = _rows(folder / "val" / "val_annotations.txt", columns=2, separator="\t")
    answers = folder / "val" / "val_annotations.txt"
    files = [folder / "val" / "images" / row[0] for row in rows]
    labels = _labels([row[1] for row in rows], list(by_class), answers)
    _warn_of_unlisted(folder / "val" / "images", files, answers)
    return names, (files, labels)


def _find_cub(folder: Path, split: Split) -> Found:
    """The tables `classes.txt`, `images.txt`, `image_class_labels.txt` and `train_test_split.txt`, and `images/`."""
    classes, images, classes_of, in_train = (
        dict(_rows(folder / f"{table}.txt", columns=2, separator=" "))
        for table in ("classes", "images", "image_class_labels", "train_test_split")
    )
    wanted = "1" if split == "train" else "0"
    if homeless := [key for key in images if in_train.get(key) not in ("0", "1")]:
        raise InputError(
            f"{folder / 'train_test_split.txt'} puts {len(homeless)} images of images.txt in neither split "
            f"({images[homeless[0]]}, ...); unpack it again"
        )
    chosen = [key for key in images if in_train.get(key) == wanted]
    labels = _labels([classes_of.get(key, "none") for key in chosen], list(classes), folder / "image_class_labels.txt")
    if not chosen:
        raise InputError(f"{folder / 'train_test_split.txt'} puts no image of images.txt in the {split} split")
    names = tuple(name.split(".", 1)[-1].replace("_", " ") for name in classes.values())  # 001.Laysan_Albatross
    return names, ([folder / "images" / images[key] for key in chosen], labels)


def _find_fastai(names: dict[str, str]) -> Callable[[Path, Split], Found]:
    """`train/<wnid>/*` and `val/<wnid>/*`, with `names` of the classes."""

    def find(folder: Path, split: Split) -> Found:
        wnids, splits = find_splits(folder)
        return readable(wnids, names), splits[split]

    return find


def _find_imagenet(folder: Path, split: Split) -> Found:
    """`train/<wnid>/*`, and `val/<wnid>/*`, or all of `val/*` with the answers in Kaggle's `LOC_val_solution.csv`."""
    inner = folder / "ILSVRC" / "Data" / "CLS-LOC"  # how Kaggle packs it
    images = inner if inner.is_dir() else folder
    by_class = class_files(images / "train")
    names = readable(by_class, read_words(folder / "words.txt", folder / "LOC_synset_mapping.txt"))
    if split == "train":
        return names, flatten(by_class)
    flat = (images / "val").is_dir() and not any(entry.is_dir() for entry in (images / "val").iterdir())
    if not flat:
        held_out = class_files(images / "val")
        files, positions = flatten(held_out)
        return names, (files, _labels(list(held_out), list(by_class), images / "val")[positions])
    answers = folder / "LOC_val_solution.csv"
    if not answers.is_file():
        raise InputError(
            f"{images / 'val'} holds images without class folders, and {answers}, which says what they show, is "
            "missing; add it (from Kaggle's imagenet-object-localization-challenge) or sort the images into a folder "
            "for each class"
        )
    rows = sorted(_rows(answers, columns=2, separator=",")[1:])  # the first line is a header
    labels = _labels([row[1].split(" ")[0] for row in rows], list(by_class), answers)
    files = [images / "val" / f"{row[0]}.JPEG" for row in rows]
    _warn_of_unlisted(images / "val", files, answers)
    return names, (files, labels)


def _warn_of_unlisted(folder: Path, listed: list[Path], table: Path) -> None:
    """Warn about images in `folder` that a table does not list, so that their classes are unknown."""
    there = {entry for entry in folder.iterdir() if is_image(entry)} if folder.is_dir() else set()
    if unlisted := sorted(there - set(listed)):
        named = ", ".join(file.name for file in unlisted[:3])
        warnings.warn(
            f"skipped in {folder}: {len(unlisted)} images that {table.name} does not list ({named}"
            f"{', ...' if len(unlisted) > 3 else ''})",
            InputWarning,
            stacklevel=3,
        )


def _rows(table: Path, *, columns: int, separator: str) -> list[list[str]]:
    """The first `columns` entries of each line of a table."""
    try:
        lines = table.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot read {table}: {reason}; unpack it again") from error
    rows = [line.split(separator)[:columns] for line in lines if line.strip()]
    short = [row for row in rows if len(row) < columns]
    if short or not rows:
        what = f"the line {short[0][0]!r} has no {columns} entries" if short else "it is empty"
        raise InputError(f"{table} is damaged: {what}; unpack it again")
    return rows


def _labels(keys: list[str], known: list[str], table: Path) -> np.ndarray:
    """The position of each key among those `known`."""
    positions = {key: position for position, key in enumerate(known)}
    unknown = [key for key in keys if key not in positions]
    if unknown:
        raise InputError(f"{table} names the class {unknown[0]!r}, which is none of the {len(known)} classes")
    return np.array([positions[key] for key in keys], dtype=np.int64)


def _fastai(base: str, names: dict[str, str]) -> Layout:
    """Imagenette or Imagewoof; the released FRePo code takes the 160 px archive."""
    return Layout(
        resolution=128,
        folders={f"{base}-160": 160, f"{base}-320": 320, base: None},
        find=_find_fastai(names),
        published=f"https://s3.amazonaws.com/fast-ai-imageclas/{base}-160.tgz",
    )


LAYOUTS = {
    "tiny-imagenet": Layout(
        resolution=64,
        folders={"tiny-imagenet-200": None},
        find=_find_tiny,
        published="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    ),
    "cub200": Layout(
        resolution=32,
        folders={"CUB_200_2011": None},
        find=_find_cub,
        published="https://data.caltech.edu/records/65de6-vp158",
    ),
    "imagenette": _fastai("imagenette2", IMAGENETTE),
    "imagewoof": _fastai("imagewoof2", IMAGEWOOF),
    "imagenet": Layout(
        resolution=64,
        fit="squash",
        folders={"imagenet": None},
        find=_find_imagenet,
        published="https://www.image-net.org/download.php",
    ),
}

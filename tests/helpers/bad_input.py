"""Data sets, saved sets and options that people get wrong, each made in a folder, with a part of what is said of it."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

Make = Callable[[Path], Any]


# -- .npz files --------------------------------------------------------------------------------------------------------


def arrays(**changes: Any) -> dict[str, Any]:
    """A valid set of 4 classes, 40 training and 20 test images, with some arrays changed or (`None`) left out."""
    generator = np.random.default_rng(0)
    given = {"x_train": generator.integers(0, 256, (40, 8, 8), dtype=np.uint8), "y_train": np.arange(40) % 4,
             "x_test": generator.integers(0, 256, (20, 8, 8), dtype=np.uint8), "y_test": np.arange(20) % 4}  # fmt: skip
    return {name: value for name, value in {**given, **changes}.items() if value is not None}


def npz(**changes: Any) -> Make:
    def make(folder: Path) -> Path:
        np.savez(folder / "d.npz", **arrays(**changes))
        return folder / "d.npz"

    return make


def raw(content: bytes, name: str = "d.npz") -> Make:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


def cut(folder: Path) -> Path:
    path = npz()(folder)
    path.write_bytes(path.read_bytes()[:700])
    return path


def floats(low: float, high: float, *, bad: float | None = None) -> np.ndarray:
    values = np.linspace(low, high, 40 * 64).reshape(40, 8, 8)
    if bad is not None:
        values[3, 2, 1] = bad
    return values


def labels(first: int, *, step: int = 1) -> dict[str, np.ndarray]:
    return {"y_train": first + step * (np.arange(40) % 4), "y_test": first + step * (np.arange(20) % 4)}


UINT8 = np.uint8
NPZ: dict[str, tuple[Make, str]] = {
    "missing": (lambda folder: folder / "no.npz", "no.npz does not exist"),
    "empty": (raw(b""), "d.npz is damaged or no .npz file"),
    "text": (raw(b"hello"), "d.npz is damaged or no .npz file"),
    "cut off": (cut, "is damaged"),
    "another ending": (raw(b"hello", "d.csv"), "d.csv is neither a folder nor an .npz file"),
    "no arrays": (raw(b"PK\x05\x06" + bytes(18)), "d.npz has no x_train, y_train, x_test, y_test; .*found nothing"),
    "no test part": (npz(x_test=None, y_test=None), "has no x_test, y_test; expected"),
    "no labels": (npz(y_train=None), "has no y_train; expected"),
    "16 bits": (npz(x_train=np.zeros((40, 8, 8), np.uint16)), "is uint16; expected uint8, or floats"),
    "int64": (npz(x_train=np.zeros((40, 8, 8), int)), "is int64; expected uint8, or floats"),
    "bool": (npz(x_train=np.zeros((40, 8, 8), bool)), "is bool; expected uint8"),
    "complex": (npz(x_train=np.zeros((40, 8, 8), complex)), "is complex128; expected uint8"),
    "text pixels": (npz(x_train=np.full((40, 8, 8), "a")), "expected uint8, or floats"),
    "objects": (npz(x_train=np.array([None] * 40)), "holds Python objects"),
    "NaN": (npz(x_train=floats(0, 1, bad=np.nan)), "1 of 40 images hold NaN or infinite"),
    "infinite": (npz(x_train=floats(0, 1, bad=np.inf)), "1 of 40 images hold NaN or infinite"),
    "0 to 255": (npz(x_train=floats(0, 255)), "runs from 0 to 255; expected floats"),
    "-1 to 1": (npz(x_train=floats(-1, 1)), "runs from -1 to 1; expected floats"),
    "just above 1": (npz(x_train=floats(0, 1.00123456)), "runs from 0 to 1.00123456; expected floats"),
    "flat": (npz(x_train=np.zeros((40, 64), UINT8)), r"shape \(40, 64\); expected \(n, height"),
    "channels first": (npz(x_train=np.zeros((40, 3, 8, 8), UINT8)), "transpose it with"),
    "2 channels": (npz(x_train=np.zeros((40, 8, 8, 2), UINT8)), "with 1 or 3 channels"),
    "4 channels": (npz(x_train=np.zeros((40, 8, 8, 4), UINT8)), "with 1 or 3 channels"),
    "5 axes": (npz(x_train=np.zeros((40, 8, 8, 3, 1), UINT8)), r"expected \(n, height, width, channels\)"),
    "one number": (npz(x_train=UINT8(3)), r"expected \(n, height, width, channels\)"),
    "no images": (npz(x_train=np.zeros((0, 8, 8), UINT8), y_train=np.zeros(0, int)), "at least one image"),
    "no pixels": (npz(x_train=np.zeros((40, 0, 8), UINT8)), "so no pixels"),
    "another size in test": (npz(x_test=np.zeros((20, 9, 8), UINT8)), "expected one shape"),
    "colour in test": (npz(x_test=np.zeros((20, 8, 8, 3), UINT8)), "expected one shape"),
    "too few labels": (npz(y_train=np.arange(39) % 4), "one label for each image"),
    "one-hot labels": (npz(y_train=np.eye(4, dtype=int)[np.arange(40) % 4]), "one label for each image"),
    "float labels": (npz(y_train=np.zeros(40)), "is float64; expected integers"),
    "text labels": (npz(y_train=np.full(40, "cat")), "expected integers"),
    "object labels": (npz(y_train=np.array([None] * 40)), "holds Python objects"),
    "labels below 0": (npz(**labels(-1)), "holds the label -1; expected labels from 0"),
    "labels from 1": (npz(**labels(1)), "start at 1 and end at 4; .* subtract 1"),
    "labels with gaps": (npz(**labels(0, step=2)), r"have gaps: of 0 to 6, 3 occur in neither split \(1, 3, 5\)"),
    "a wild label": (npz(y_train=np.r_[np.arange(39) % 4, 10**9]), "holds the label 1000000000 but only 60 images"),
    "labels from 1 with names": (npz(**labels(1), classes=np.array(list("abcd"))), "start at 1: subtract 1"),
    "too few names": (npz(classes=np.array(["a", "b"])), "`classes` has 2 names: add the others"),
    "number names": (npz(classes=np.arange(4)), "expected one string"),
    "a name twice": (npz(classes=np.array(["a", "a", "b", "c"])), "holds a name twice"),
    "one name": (npz(classes=np.array("abcd")), "expected one string"),
}
# Refused by every program, before anything is trained or distilled.
DISTILLED: dict[str, tuple[Make, str]] = {
    "no test image of a class": (npz(y_test=np.arange(20) % 3), "1 classes of d have no test image: 3"),
    "no training image of a class": (npz(y_train=np.arange(40) % 3), "1 classes of d have no training image: 3"),
    "constant": (npz(x_train=np.full((40, 8, 8), 7, UINT8)), "all pixels of all 40 images have the same value, 7"),
    "constant floats": (npz(x_train=np.zeros((40, 8, 8))), "all pixels of all 40 images have the same value, 0"),
}


# -- folders of images -------------------------------------------------------------------------------------------------


def picture(path: Path, *, side: int = 8, mode: str = "L", seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    shades = np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(shades).convert(mode).save(path)
    return path


def classes(folder: Path, names: str = "abcd", *, count: int = 10) -> Path:
    for name in names:
        for i in range(count):
            picture(folder / name / f"{i}.png", seed=ord(name) + i)
    return folder


def with_file(name: str, content: bytes | np.ndarray) -> Make:
    def make(folder: Path) -> Path:
        path = classes(folder / "set") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            Image.fromarray(content).save(path)
        return folder / "set"

    return make


def empty(folder: Path) -> Path:
    (folder / "set").mkdir()
    return folder / "set"


def empty_class(folder: Path) -> Path:
    (classes(folder / "set") / "e").mkdir()
    return folder / "set"


def files_alone(folder: Path) -> Path:
    for i in range(4):
        picture(folder / "set" / f"{i}.png")
    return folder / "set"


def links_to_nowhere(folder: Path) -> Path:
    (folder / "set" / "a").mkdir(parents=True)
    for i in range(3):
        (folder / "set" / "a" / f"{i}.png").symlink_to(folder / "nowhere")
    return folder / "set"


def parts_of_other_classes(folder: Path) -> Path:
    classes(folder / "set" / "train", "ab")
    classes(folder / "set" / "test", "ac")
    return folder / "set"


def another_size(folder: Path) -> Path:
    picture(classes(folder / "set") / "a" / "x.png", side=9)
    return folder / "set"


def dark_deep_colours(folder: Path) -> Path:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + np.full((8, 3), 4095, ">u2").tobytes()) * 8
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return with_file("a/x.png", b"\x89PNG\r\n\x1a\n" + parts)(folder)


FOLDERS: dict[str, tuple[Make, str]] = {
    "missing folder": (lambda folder: folder / "nowhere", "nowhere does not exist"),
    "empty folder": (empty, "holds no class folders"),
    "empty class": (empty_class, "class folder .*e holds no images"),
    "files without folders": (
        files_alone,
        r"holds no class folders; .*\(found 4 images outside of class folders: 0.png",
    ),
    "links to nowhere": (links_to_nowhere, "holds no images that Pillow reads .*3 broken links: 0.png, 1.png, 2.png"),
    "other classes in test": (parts_of_other_classes, "different class folders: only one has b, c"),
    "another size": (another_size, "images differ in size: .*give the size"),
    "no image at all": (with_file("a/x.png", b"hello"), "cannot read the image .*x.png"),
    "empty file": (with_file("a/x.png", b""), "cannot read the image .*x.png"),
    "half a file": (
        with_file("a/x.png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x08\0\0\0\x08\x08\0\0\0\0"),
        "cannot read",
    ),
    "float pixels": (with_file("a/x.tif", np.zeros((8, 8), np.float32)), "x.tif .*floats of unknown range"),
    "deep and negative": (
        with_file("a/x.tif", np.full((8, 8), -3, np.int32)),
        "run from -3 to -3; expected values from 0",
    ),
    "dark deep colours": (dark_deep_colours, "16 bits per channel and use 16 of the 256 values"),
    "train alone": (lambda folder: classes(folder / "set" / "train").parent, "expected train/ and test/"),
}

# Taken, with a warning that names what is not as it was given.
TOLD: dict[str, tuple[Make, str]] = {
    "other endings": (with_file("a/notes.txt", b"x"), "skipped in .*set: 1 files that are no images: a/notes.txt"),
    "a deeper folder": (with_file("a/more/x.png", b"x"), "skipped in .*set: 1 folders within class folders: a/more"),
    "an image outside": (with_file("x.png", b"x"), "skipped in .*set: 1 images outside of class folders: x.png"),
    "12 bits": (with_file("a/x.png", np.full((8, 8), 4000, np.uint16)), "more than 8 bits .* 4095 to white"),
}


# -- saved sets --------------------------------------------------------------------------------------------------------

DIGITS = [str(digit) for digit in range(10)]
FINE = {"images": torch.linspace(-1, 1, 640).view(10, 1, 8, 8), "labels": torch.eye(10), "class_ids": torch.arange(10)}
META: dict[str, Any] = {"format": 1, "classes": DIGITS, "preprocessing": "identity", "made_by": {"method": "hand"}}
SCALE = {"preprocessing.mean": torch.zeros(1), "preprocessing.std": torch.ones(1)}
WHITE = {**SCALE, "preprocessing.centre": torch.zeros(64), "preprocessing.triangle": torch.ones(64 * 65 // 2)}


def ours(*, meta: dict[str, Any] | None = None, **changes: Any) -> Make:
    """A file of this toolkit, tensors and metadata changed by hand; `None` leaves one out."""

    def make(folder: Path) -> Path:
        tensors = {name.replace("__", "."): t for name, t in {**FINE, **changes}.items() if t is not None}
        metadata = {name: json.dumps(value) for name, value in {**META, **(meta or {})}.items() if value != "left out"}
        save_file({name: t.contiguous() for name, t in tensors.items()}, folder / "s.safetensors", metadata=metadata)
        return folder / "s.safetensors"

    return make


def state(tensors: dict[str, torch.Tensor], **changes: torch.Tensor | None) -> dict[str, Any]:
    changed = {**tensors, **{f"preprocessing.{name}": tensor for name, tensor in changes.items()}}
    return {name.replace(".", "__"): tensor for name, tensor in changed.items()}


STANDARD, ZCA, CHECKERBOARD = ({"preprocessing": kind} for kind in ("standardize", "zca", "checkerboard-zca"))
NAN = torch.full((10, 1, 8, 8), torch.nan)
OURS: dict[str, tuple[Make, str]] = {
    "no file": (lambda folder: folder / "no.safetensors", "there is no such file"),
    "empty set file": (raw(b"", "s.safetensors"), "s.safetensors is damaged or no safetensors file"),
    "text set file": (raw(b"hello" * 9, "s.safetensors"), "s.safetensors is damaged or no safetensors file"),
    "no metadata": (
        ours(meta=dict.fromkeys(META, "left out")),
        "is no synthetic set .*it lacks classes, preprocessing",
    ),
    "a later format": (ours(meta={"format": 9}), "is no synthetic set of format 1: format 9"),
    "no images": (ours(images=None), "it lacks images"),
    "no labels": (ours(labels=None), "it lacks labels"),
    "images of whole numbers": (
        ours(images=torch.zeros(10, 1, 8, 8, dtype=torch.int32)),
        "expected floats of 16, 32 or 64",
    ),
    "images of 8 bits": (
        ours(images=torch.zeros(10, 1, 8, 8).to(torch.float8_e4m3fn)),
        "expected floats of 16, 32 or 64",
    ),
    "NaN images": (ours(images=NAN), "hold NaN or infinite"),
    "flat images": (ours(images=torch.zeros(10, 64)), r"expected \(n, channels, height, width\)"),
    "images of no size": (ours(images=torch.zeros(10, 1, 0, 8)), r"expected \(n, channels, height, width\)"),
    "other count": (ours(images=torch.zeros(9, 1, 8, 8)), r"labels have shape \(10, 10\); expected \(9, 10\)"),
    "labels of fewer classes": (ours(labels=torch.zeros(10, 9)), r"labels have shape \(10, 9\); expected \(10, 10\)"),
    "infinite labels": (ours(labels=torch.full((10, 10), torch.inf)), "hold NaN or infinite"),
    "class ids out of range": (ours(class_ids=torch.arange(10) + 1), "class ids run from 1 to 10; expected 0 to 9"),
    "class ids of floats": (ours(class_ids=torch.zeros(10)), "class_ids are torch.float32; expected torch.int64"),
    "class ids in a table": (ours(class_ids=torch.zeros(10, 2, dtype=torch.int64)), r"class_ids have shape \(10, 2\)"),
    "one text of classes": (ours(meta={"classes": "0123456789"}), "classes is the single string"),
    "numbers for classes": (ours(meta={"classes": list(range(10))}), "classes hold 0, a int; expected strings"),
    "no classes": (ours(meta={"classes": None}), "classes is None; expected a list of names"),
    "fewer classes": (ours(meta={"classes": DIGITS[:9]}), r"labels have shape \(10, 10\); expected \(10, 9\)"),
    "made by a list": (ours(meta={"made_by": [1]}), "made_by is a list; expected Mapping"),
    "unknown preprocessing": (ours(meta={"preprocessing": "magic"}), "unknown preprocessing 'magic'; known"),
    "preprocessing a number": (ours(meta={"preprocessing": 3}), "unknown preprocessing 3; known"),
    "preprocessing without state": (ours(meta=STANDARD), "nothing is not the state of a preprocessing 'standardize'"),
    "kept elsewhere": (
        ours(meta={"preprocessing": "kept-elsewhere"}),
        "the preprocessing of this set is not in its file",
    ),
    "std of 0": (ours(meta=STANDARD, **state(SCALE, std=torch.zeros(1))), "std above 0"),
    "mean of NaN": (ours(meta=STANDARD, **state(SCALE, mean=torch.full((1,), torch.nan))), "mean .* NaN or infinite"),
    "mean of whole numbers": (
        ours(meta=STANDARD, **state(SCALE, mean=torch.zeros(1).int())),
        "mean .* expected floats of 1",
    ),
    "std of 3 channels": (ours(meta=STANDARD, **state(SCALE, std=torch.ones(3))), "one mean and one std for each"),
    "all of 3 channels": (
        ours(meta=STANDARD, **state(SCALE, mean=torch.zeros(3), std=torch.ones(3))), "for 3 channels, images have 1"),
    "cut-off whitening": (
        ours(meta=ZCA, **state(WHITE, triangle=torch.ones(2079))),
        "triangle .* is cut off: 2079 values",
    ),
    "whitening of another size": (
        ours(meta=ZCA, **state(WHITE, triangle=torch.ones(10))),
        "zca is for images of 4 values",
    ),
    "cut-off centre": (ours(meta=ZCA, **state(WHITE, centre=torch.zeros(63))), "zca is for images of 64 values"),
    "infinite whitening": (
        ours(meta=ZCA, **state(WHITE, triangle=torch.full((2080,), torch.inf))), "triangle .* NaN or infinite"),
    "singular whitening": (ours(meta=ZCA, **state(WHITE)), "the matrix of the preprocessing 'zca' is singular"),
    "stride of 0": (ours(meta=CHECKERBOARD, **state(WHITE, stride=torch.tensor(0))), "stride .* expected a whole"),
    "stride of NaN": (
        ours(meta=CHECKERBOARD, **state(WHITE, stride=torch.tensor(torch.nan))),
        "stride .* expected a whole",
    ),
    "stride that does not fit": (
        ours(meta=CHECKERBOARD, **state(WHITE, stride=torch.tensor(3))), "of 576 values and sides that 3 divides"),
    "other images than the data": (
        ours(images=torch.zeros(10, 1, 9, 8)),
        r"images of \(1, 9, 8\), digits 10 .* name the",
    ),
    "colour images": (ours(images=torch.zeros(10, 3, 8, 8)), r"images of \(3, 8, 8\), digits 10 .* name the"),
    "other classes": (
        ours(meta={"classes": [f"c{i}" for i in range(10)]}),
        "classes .c0, c1, c2, .* name the --dataset",
    ),
}  # fmt: skip
# Altered by hand, but still as good as before.
OURS_FINE: dict[str, Make] = {
    "made_by null": ours(meta={"made_by": None}),
    "no made_by": ours(meta={"made_by": "left out"}),
    "half precision": ours(images=FINE["images"].half(), labels=FINE["labels"].half()),
    "bfloat16": ours(images=FINE["images"].bfloat16(), labels=FINE["labels"].bfloat16()),
    "double precision": ours(images=FINE["images"].double(), labels=FINE["labels"].double()),
    "class ids of int32": ours(class_ids=torch.arange(10, dtype=torch.int32)),
}


def saved(name: str = "t.pt", **content: Any) -> Make:
    def make(folder: Path) -> Path:
        torch.save(content, folder / name)
        return folder / name

    return make


IMAGES = torch.linspace(0, 1, 640).view(10, 1, 8, 8)
THEIRS: dict[str, tuple[Make, str]] = {
    "no such file": (lambda folder: folder / "no.pt", "there is no such file"),
    "unknown ending": (raw(b"x", "t.bin"), "cannot import .*t.bin; expected a file that ends in"),
    "empty pt": (raw(b"", "t.pt"), "t.pt is damaged or no file of torch.save"),
    "text pt": (raw(b"hello", "t.pt"), "t.pt is damaged or no file of torch.save"),
    "empty npz": (raw(b"", "t.npz"), "t.npz is damaged or no .npz file"),
    "no labels there": (saved(images=IMAGES), "has no labels: found images"),
    "no images there": (saved(labels=torch.arange(10)), "has no images: found labels"),
    "fewer labels": (saved(images=IMAGES, labels=torch.arange(9)), "expected one label for each image"),
    "labels that start at 1": (
        saved(images=IMAGES, labels=torch.arange(1, 11)),
        "start at 1 and end at 10; .*subtract 1",
    ),
    "labels that start below 0": (saved(images=IMAGES, labels=torch.arange(10) - 1), "hold the class id -1"),
    "a class id too large": (
        saved(images=IMAGES, labels=torch.arange(10) * 100),
        "hold the class id 900, for 10 images",
    ),
    "NaN there": (saved(images=NAN, labels=torch.arange(10)), "10 of 10 images .* hold NaN"),
    "whole numbers": (saved(images=IMAGES.int(), labels=torch.arange(10)), "are torch.int32; expected floats, or"),
    "uint8 without saying pixels": (
        saved(images=IMAGES.byte(), labels=torch.arange(10)),
        "are uint8, so raw pixels; say so",
    ),
    "five axes": (saved(images=IMAGES[None], labels=torch.arange(10)), "have shape .* expected at least one image"),
    "five channels": (saved(images=torch.zeros(10, 5, 8, 8), labels=torch.arange(10)), "5 channels .* expected 1 or 3"),
    "soft labels of NaN": (saved(images=IMAGES, labels=torch.full((10, 10), torch.nan)), "labels .* hold NaN"),
    "soft labels of other classes": (
        saved(images=IMAGES, labels=torch.zeros(10, 7)),
        "has 7 classes .* name the --dataset",
    ),
    "text labels there": (saved(images=IMAGES, labels=["a"] * 10), "expected one array of numbers"),
    "a set's folder without classes": (empty, "holds no class folders"),
    "a set's folder of other classes": (
        lambda folder: classes(folder / "set"),
        "class folder 'a', which is none of the 10",
    ),
    "a set's folder with bytes for an image": (with_file("0/x.png", b"hello"), "cannot read the image"),
}  # fmt: skip
PIXELS: dict[str, tuple[Make, str]] = {
    "pixels of 0 to 255": (saved(images=IMAGES * 255, labels=torch.arange(10)), "run from 0 to 255; expected pixels"),
    "pixels just above 1": (saved(images=IMAGES * 1.0015, labels=torch.arange(10)), r"run from 0 to 1.0015\d*; exp"),
}


# -- records of attacks ------------------------------------------------------------------------------------------------


def records(**changes: Any) -> Make:
    def make(folder: Path) -> Path:
        generator = np.random.default_rng(0)
        given = {f"{side}_outputs": generator.normal(size=(12, 3)) for side in ("members", "non_members")}
        given |= {f"{side}_labels": np.arange(12) % 3 for side in ("members", "non_members")}
        kept = {name: value for name, value in {**given, **changes}.items() if value is not None}
        np.savez(folder / "r.npz", **kept)
        return folder / "r.npz"

    return make


RECORDS: dict[str, tuple[Make, str]] = {
    "records missing": (lambda folder: folder / "no.npz", "cannot read .*no.npz"),
    "records empty": (raw(b"", "r.npz"), "r.npz"),
    "records of text": (raw(b"hello", "r.npz"), "r.npz"),
    "no outputs": (records(members_outputs=None), "members_outputs"),
    "outputs of NaN": (records(members_outputs=np.full((12, 3), np.nan)), "NaN"),
    "flat outputs": (records(members_outputs=np.zeros(12)), "shape"),
    "label out of range": (records(members_labels=np.arange(12)), "label"),
    "fewer labels than outputs": (records(members_labels=np.zeros(5, int)), "shape"),
    "other classes outside": (records(non_members_outputs=np.zeros((12, 4))), "classes"),
    "unknown kind of outputs": (records(outputs=np.array("magic")), "outputs is 'magic'"),
}

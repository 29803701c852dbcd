"""Every source of images, on tiny data, and the text of every error."""

import gzip
import os
import re
import shutil
import socket
import struct
import warnings
import zlib
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets
from PIL import Image

from distill import Random
from distill.data import levels, named
from distill.data.labelled import DATASETS, LabelledImages, load_images
from distill.data.splits import chosen_for_test
from distill.errors import InputError, InputWarning

SHARED = Path(__file__).parents[2] / "shared" / "data"


def arrays(n_train=6, n_test=4, shape=(5, 4, 3), classes=("cat", "dog")):
    """The arrays of a small, valid .npz file."""
    generator = np.random.default_rng(3)
    return {
        "x_train": generator.integers(0, 256, (n_train, *shape), dtype=np.uint8),
        "y_train": np.arange(n_train) % len(classes),
        "x_test": generator.integers(0, 256, (n_test, *shape), dtype=np.uint8),
        "y_test": np.arange(n_test) % len(classes),
        "classes": np.array(classes),
    }


def save(folder, content):
    path = folder / "tiny.npz"
    np.savez(path, **content)
    return path


def picture(path, *, mode="L", size=(4, 3), color=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)
    return path


def fails(source, message, **options):
    """`load_images` raises an `InputError` of one line that holds the regular expression `message`."""
    with pytest.raises(InputError, match=message) as caught:
        load_images(source, **options)
    assert "\n" not in str(caught.value)


# Sources in general


def test_unknown_name_lists_the_known_ones_and_suggests_the_nearest():
    fails("CIFAR-100", r"called 'CIFAR-100'; known data sets: cifar100, .*digits, .*; did you mean 'cifar100'\?")
    fails("zzz", f"known data sets: {', '.join(DATASETS)}$")
    assert DATASETS[:5] == ("cifar100", "cifar10", "mnist", "fmnist", "digits")
    fails("", "known data sets")


def test_missing_path_and_wrong_kind_of_file(tmp_path):
    fails(tmp_path / "none.npz", "none.npz does not exist")
    fails("~nosuchuser/" + "a" * 5000, "does not exist")
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    fails(text, r"notes.txt is neither a folder nor an .npz file")


def test_unknown_split():
    fails("digits", "unknown split 'val'; wanted 'train' or 'test'", split="val")


def test_a_name_wins_over_a_folder_unless_written_as_a_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(2):
        picture(tmp_path / "digits" / "a" / f"{i}.png")
    assert load_images("digits").num_classes == 10
    assert load_images("./digits").classes == ("a",)
    assert load_images(Path("digits")).classes == ("a",)


# Digits


def test_digits_split_is_stratified_disjoint_and_always_the_same(tmp_path):
    from sklearn.datasets import load_digits

    train, test = (load_images("digits", split=part, data_dir=tmp_path) for part in ("train", "test"))
    assert train.name == "digits"
    assert train.classes == test.classes == tuple("0123456789")
    assert train.images.shape[1:] == (8, 8, 1)
    assert len(train) + len(test) == 1797
    counts = np.bincount(load_digits().target)
    assert np.abs(np.bincount(test.labels) - counts / 4).max() <= 0.5

    pixels = np.rint(load_digits().images * 255 / 16).astype(np.uint8)
    both = np.concatenate([train.images, test.images])[..., 0]
    assert sorted(image.tobytes() for image in both) == sorted(image.tobytes() for image in pixels)

    again = load_images("digits", split="test", data_dir=tmp_path)
    assert np.array_equal(again.images, test.images)
    assert np.array_equal(again.labels, test.labels)


def test_loading_leaves_the_global_random_state_alone():
    before = np.random.get_state()[1].copy()
    load_images("digits")
    assert np.array_equal(np.random.get_state()[1], before)


@pytest.mark.parametrize("count", [1, 2, 3, 10])
def test_held_out_keeps_images_of_each_class_on_both_sides(count):
    labels = np.repeat([0, 1], count)
    mask = chosen_for_test(labels, 0.2)
    for label in (0, 1):
        assert mask[labels == label].sum() == (0 if count == 1 else max(1, round(count / 5)))


# Files of .npz


def test_npz_parts_names_and_labels(tmp_path):
    content = arrays()
    path = save(tmp_path, content)
    for part in ("train", "test"):
        data = load_images(path, split=part)
        assert isinstance(data, LabelledImages)
        assert np.array_equal(data.images, content[f"x_{part}"])
        assert np.array_equal(data.labels, content[f"y_{part}"])
        assert data.labels.dtype == np.int64
        assert (data.classes, data.name) == (("cat", "dog"), "tiny")


def test_npz_without_classes_numbers_them_over_both_parts(tmp_path):
    content = arrays()
    del content["classes"]
    content["y_test"] = np.array([0, 1, 2, 3], dtype=np.uint8)
    assert load_images(save(tmp_path, content)).classes == ("0", "1", "2", "3")


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz_floats_are_rounded_to_steps_of_one_255th(tmp_path, dtype):
    content = arrays()
    floats = {**content, "x_train": (content["x_train"] / 255).astype(dtype)}
    assert np.array_equal(load_images(save(tmp_path, floats)).images, content["x_train"])


def test_npz_of_one_channel_may_leave_the_channel_axis_out(tmp_path):
    content = arrays(shape=(5, 4))
    assert np.array_equal(load_images(save(tmp_path, content)).images[..., 0], content["x_train"])
    content["x_test"] = content["x_test"][..., None]
    assert load_images(save(tmp_path, content), split="test").images.shape == (4, 5, 4, 1)


def floats(low, high):
    return np.linspace(low, high, 6 * 60).reshape(6, 5, 4, 3)


BAD_NPZ = {
    "no images": ({"x_test": np.zeros((0, 5, 4, 3), np.uint8), "y_test": np.zeros(0, int)}, r"x_test .* at least one"),
    "no pixels": ({"x_train": np.zeros((6, 0, 4, 3), np.uint8)}, r"\(6, 0, 4, 3\), so no pixels"),
    "int images": ({"x_train": np.zeros((6, 5, 4, 3), int)}, "x_train of .* is int64; wanted uint8, or floats"),
    "flat images": ({"x_train": np.zeros((6, 60), np.uint8)}, r"shape \(6, 60\); wanted \(n, height, width,"),
    "channels first": ({"x_train": np.zeros((6, 3, 5, 4), np.uint8)}, r"transpose it with \(0, 2, 3, 1\)"),
    "shapes": ({"x_test": np.zeros((4, 5, 5, 3), np.uint8)}, r"\(5, 4, 3\) and test images of shape \(5, 5, 3\)"),
    "channels": ({"x_test": np.zeros((4, 5, 4), np.uint8)}, r"test images of shape \(5, 4, 1\).*resize or convert"),
    "mixed shapes": ({"x_train": np.array([None] * 6)}, "x_train of .* holds Python objects.*all have one shape"),
    "object labels": ({"y_test": np.array([None] * 4)}, "y_test of .* holds Python objects"),
    "object names": ({"classes": np.array(["a", None])}, "classes of .* holds Python objects.*text for classes"),
    "NaN": ({"x_train": np.full((6, 5, 4, 3), np.nan)}, "6 of 6 images hold NaN or infinite pixels"),
    "0 to 255": ({"x_train": floats(0, 255)}, r"runs from 0 to 255; wanted floats in \[0, 1\]"),
    "-1 to 1": ({"x_train": floats(-1, 1)}, r"runs from -1 to 1; wanted floats in \[0, 1\]"),
    "float labels": ({"y_train": np.zeros(6)}, "y_train of .* is float64; wanted integers from 0"),
    "negative": ({"y_test": np.array([0, 1, -1, 0])}, "y_test of .* holds the label -1; wanted labels from 0"),
    "too large": ({"y_test": np.array([0, 1, 2, 0])}, "holds the label 2, but `classes` has 2 names"),
    "count": ({"y_train": np.zeros(5, int)}, r"y_train .* shape \(5,\); wanted \(6,\), one label for each image"),
    "two columns": ({"y_train": np.zeros((6, 2), int)}, r"y_train .* shape \(6, 2\); wanted \(6,\)"),
    "a bit above 1": ({"x_train": floats(0, 1.0012)}, r"runs from 0 to 1.0012; wanted floats in \[0, 1\]"),
    "a bit below 0": ({"x_train": floats(-0.00100001, 1)}, r"runs from -0.00100001 to 1; wanted"),
    "narrow": ({"x_train": floats(0, 0.02)}, "runs from 0 to 0.02 and holds 360 .* leave 6; spread it over .*uint8"),
    "divided twice": ({"x_train": floats(0, 1 / 255)}, r"to 0.00392156863 and .* leave 2; .*divided by 255 twice\?"),
    "narrow amid": ({"x_train": floats(0.5, 0.55)}, "runs from 0.5 to 0.55 and .* leave 13"),
    "one hot": ({"x_train": np.append(floats(0, 0.02).flat[:-1], 1).reshape(6, 5, 4, 3)}, "to 1 and .* leave 7; sp"),
    "16 bits": ({"x_train": np.zeros((6, 5, 4, 3), np.uint16)}, "is uint16; wanted uint8, .*; divide by the largest"),
    "labels from 1": ({"y_train": np.array([1, 2] * 3), "y_test": np.array([1, 2] * 2)}, "start at 1: subtract 1"),
    "number names": ({"classes": np.arange(2)}, "classes of .* is int64 .*; wanted one text"),
    "same names": ({"classes": np.array(["cat", "cat"])}, "classes of .* holds a name twice"),
}


@pytest.mark.parametrize("case", BAD_NPZ)
def test_bad_npz(tmp_path, case):
    change, message = BAD_NPZ[case]
    fails(save(tmp_path, arrays() | change), message)


UNNAMED_LABELS = {
    "from 1": (np.arange(1, 7), r"labels of .* start at 1 and end at 6; .* from 0: subtract 1, or .* 7 names"),
    "from 3": (np.arange(3, 9), "labels of .* start at 3 and end at 8"),
    "gaps": (np.array([0, 1, 4, 4, 0, 6]), r"have gaps: of 0 to 6, 3 occur in neither split \(2, 3, 5\); number them"),
}


@pytest.mark.parametrize("case", UNNAMED_LABELS)
def test_labels_without_names_that_start_late_or_have_gaps_are_named_as_that(tmp_path, case):
    labels, message = UNNAMED_LABELS[case]
    content = arrays() | {"y_train": labels, "y_test": labels[[0, 1, 0, 1]]}
    del content["classes"]
    fails(save(tmp_path, content), message)


def test_labels_of_named_classes_may_have_gaps(tmp_path):
    content = arrays() | {"y_train": np.array([0, 2] * 3), "classes": np.array(["a", "b", "c"])}
    assert load_images(save(tmp_path, content)).labels.tolist() == [0, 2] * 3


def test_other_arrays_are_named(tmp_path):
    content = arrays() | {"x_val": np.zeros((2, 5, 4, 3), np.uint8), "y_val": np.zeros(2, int)}
    with pytest.warns(InputWarning, match=r"left out of .*tiny.npz: the arrays x_val, y_val$"):
        assert len(load_images(save(tmp_path, content))) == 6


def test_labels_in_a_column_are_labels(tmp_path):
    content = arrays()
    column = content | {f"y_{part}": content[f"y_{part}"][:, None] for part in ("train", "test")}
    assert load_images(save(tmp_path, column)).labels.tolist() == content["y_train"].tolist()


@pytest.mark.parametrize(("low", "high"), [(0, np.nextafter(np.float32(1), np.float32(2))), (-1e-3, 1.001)])
def test_floats_a_rounding_step_outside_are_clipped(tmp_path, low, high):
    images = floats(0, 1)
    images.flat[0], images.flat[-1] = low, high
    loaded = load_images(save(tmp_path, arrays() | {"x_train": images})).images
    assert np.array_equal(loaded, np.rint(floats(0, 1) * 255).astype(np.uint8))


def test_floats_that_lose_more_than_half_of_the_levels_are_told(tmp_path):
    path = save(tmp_path, arrays() | {"x_train": floats(0, 0.4)})
    with pytest.warns(InputWarning, match=r"x_train of .* runs from 0 to 0.4 and .* leave 103; spread it"):
        assert load_images(path).images.max() == 102


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("steps", [1, 2, 16, 255])
def test_floats_of_few_values_that_rounding_keeps_are_taken(tmp_path, steps):
    images = np.rint(floats(0, 1) * steps) / steps
    loaded = load_images(save(tmp_path, arrays() | {"x_train": images})).images
    assert np.array_equal(loaded, np.rint(images * 255).astype(np.uint8))
    dark = np.arange(360).reshape(6, 5, 4, 3) % 6 / np.float32(255)  # six levels of uint8, none lost
    assert load_images(save(tmp_path, arrays() | {"x_train": dark})).images.max() == 5


def test_npz_with_a_wild_label_and_no_names(tmp_path):
    content = arrays() | {"y_train": np.array([0, 1, 2, 3, 4, 10**12])}
    del content["classes"]
    fails(save(tmp_path, content), "holds the label 1000000000000 but only 10 images")


def test_npz_without_a_key(tmp_path):
    content = arrays()
    del content["y_test"]
    fails(save(tmp_path, content), "has no y_test; wanted x_train, y_train, x_test, y_test, found x_train, y_train")


def test_npz_that_is_something_else(tmp_path):
    path = tmp_path / "set.npz"
    path.write_text("hello")
    fails(path, "set.npz is damaged or no .npz file")
    path.write_bytes(b"")
    fails(path, "set.npz is damaged or no .npz file")
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    fails(path, "set.npz holds a single array")


def test_npz_cut_short_or_damaged_anywhere_is_an_input_error(tmp_path):
    path = tmp_path / "tiny.npz"
    np.savez_compressed(path, **arrays())
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    fails(path, "is damaged")

    pixels = whole.index(b"x_train.npy") + 200
    path.write_bytes(whole[:pixels] + bytes(8) + whole[pixels + 8 :])
    fails(path, "cannot read x_train of .*: the file is damaged; copy or write it again")

    for position in range(0, len(whole), 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 0x55]) + whole[position + 1 :])
        try:
            load_images(path)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017 (damage to a date or to the other part may go unnoticed)


# Folders


def test_folder_with_train_and_test(tmp_path):
    folder = tmp_path / "pets"
    for value, (part, name, file) in enumerate(
        [("train", "dog", "b.png"), ("train", "dog", "a.PNG"), ("train", "cat", "c.bmp"), ("test", "cat", "d.png"),
         ("test", "dog", "e.tif")]
    ):  # fmt: skip
        picture(folder / part / name / file, color=value)
    (folder / "train" / "dog" / ".hidden.png").write_text("not an image")
    (folder / "train" / "dog" / "labels.txt").write_text("not an image")
    (folder / "train" / ".cache").mkdir()
    (folder / "README.md").write_text("not a class")

    with pytest.warns(InputWarning, match=r"train: 1 files that are no images: dog/labels.txt$"):
        train, test = load_images(folder), load_images(folder, split="test")
    assert (train.classes, train.name) == (("cat", "dog"), "pets")
    assert train.images.shape == (3, 3, 4, 1)
    assert train.images[:, 0, 0, 0].tolist() == [2, 1, 0]  # cat/c, dog/a, dog/b
    assert train.labels.tolist() == [0, 1, 1]
    assert test.images[:, 0, 0, 0].tolist() == [3, 4]


def test_folder_with_val_in_place_of_test(tmp_path):
    for part in ("train", "val"):
        picture(tmp_path / part / "a" / "0.png", color=len(part))
    assert load_images(tmp_path, split="test").images.max() == len("val")


def test_folder_of_classes_holds_out_a_fifth_of_each(tmp_path):
    for name, count in (("a", 10), ("b", 5)):
        for i in range(count):
            picture(tmp_path / name / f"{i:02}.png", color=i + 100 * (name == "b"))
    train, test = load_images(tmp_path), load_images(tmp_path, split="test")
    assert np.bincount(train.labels).tolist() == [8, 4]
    assert np.bincount(test.labels).tolist() == [2, 1]
    shades = np.concatenate([train.images[:, 0, 0, 0], test.images[:, 0, 0, 0]])
    assert sorted(shades.tolist()) == [*range(10), *range(100, 105)]
    assert np.array_equal(load_images(tmp_path, split="test").images, test.images)


def test_grey_of_every_kind_is_one_channel(tmp_path):
    picture(tmp_path / "a" / "1.png", mode="1", color=1)
    picture(tmp_path / "a" / "2.png", mode="L", color=100)
    Image.fromarray(np.full((3, 4), 65535 // 5, np.uint16)).save(tmp_path / "a" / "3.png")
    picture(tmp_path / "a" / "4.png", mode="LA", color=(60, 255))
    picture(tmp_path / "a" / "5.png", mode="LA", color=(60, 0))
    for part in ("train", "test"):
        shutil.copytree(tmp_path / "a", tmp_path / "set" / part / "a")
    with pytest.warns(InputWarning, match=r"2 grey images of .*set have more than 8 bits .* of 13107 to 13107"):
        images = load_images(tmp_path / "set").images
    assert images.shape == (5, 3, 4, 1)
    assert images[:, 0, 0, 0].tolist() == [255, 100, 204, 60, 255]


def test_one_colour_image_in_either_part_makes_the_set_rgb(tmp_path):
    picture(tmp_path / "train" / "a" / "1.png", color=7)
    Image.fromarray(np.full((3, 4), 65535, np.uint16)).save(tmp_path / "train" / "a" / "2.png")
    picture(tmp_path / "train" / "a" / "3.png", mode="RGBA", color=(1, 2, 3, 0))
    palette = Image.new("P", (4, 3), 0)
    palette.putpalette([10, 20, 30])
    palette.save(tmp_path / "train" / "a" / "4.png")
    palette.save(tmp_path / "train" / "a" / "5.gif", transparency=0)
    picture(tmp_path / "test" / "a" / "1.png", mode="RGB", color=(1, 2, 3))
    with pytest.warns(InputWarning, match="1 grey images .* more than 8 bits .* 65535 to white"):
        images = load_images(tmp_path).images
    assert images[:, 0, 0].tolist() == [[7] * 3, [255] * 3, [255] * 3, [10, 20, 30], [255] * 3]
    with pytest.warns(InputWarning, match="more than 8 bits"):
        assert load_images(tmp_path, split="test").images[0, 0, 0].tolist() == [1, 2, 3]


def test_bad_folders(tmp_path):
    fails(tmp_path, "holds no class folders")
    picture(tmp_path / "a" / "0.png")
    fails(tmp_path, "too few images to hold out a test split", split="test")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("no image")
    fails(tmp_path, r"folder .*b holds no images that Pillow reads \(1 files that .*: notes.txt\); add some")


def test_folder_of_a_split_without_its_other_part(tmp_path):
    picture(tmp_path / "train" / "a" / "0.png")
    fails(tmp_path, r"train holds no images .* wanted train/ and test/ \(or val/\) side by side")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("names", [("car", "test", "train"), ("test", "train"), ("car", "train", "val")])
def test_classes_named_like_the_parts_are_told_the_way_out(tmp_path, names):
    for i, name in enumerate(names):
        for j in range(3):
            picture(tmp_path / name / f"{j}.png", color=i)
    test = next(name for name in names if name in ("test", "val"))
    message = rf"folders train and {test}, .* no class folders; if train and {test} are classes, rename one of them"
    fails(tmp_path, message)
    (tmp_path / "train").rename(tmp_path / "train-images")
    assert load_images(tmp_path).num_classes == len(names)


def test_parts_with_different_classes(tmp_path):
    for name in ("train/a", "train/b", "test/a", "test/c"):
        picture(tmp_path / name / "0.png")
    fails(tmp_path, "train and .*test have different class folders: only one has b, c")


def test_images_of_different_sizes_are_named_also_across_parts(tmp_path):
    picture(tmp_path / "train" / "a" / "0.png")
    picture(tmp_path / "test" / "a" / "1.png", size=(4, 4))
    fails(tmp_path, r"differ in size: .*0.png is 4x3, .*1.png is 4x4 \(width x height\); give the size .*--resolution")


def test_unreadable_images_are_named(tmp_path):
    file = tmp_path / "train" / "a" / "0.png"
    picture(tmp_path / "test" / "a" / "0.png", size=(64, 64))
    picture(file, size=(64, 64), color=3)
    file.write_bytes(file.read_bytes()[:60])  # the header is whole, the pixels are not
    fails(tmp_path, "cannot read the image .*0.png .*; repair or remove it")
    file.write_bytes(b"hello")
    fails(tmp_path, "cannot read the image .*0.png .*; repair or remove it")
    Image.fromarray(np.zeros((64, 64), np.float32)).save(file.with_suffix(".tif"))
    file.unlink()
    fails(tmp_path, "0.tif .*floats of unknown range; save it with 8 or 16 bits, or the set as an .npz of floats")


# What is left out of a folder, and deep images


def two_classes(folder, *, ending=".png", count=4):
    for name in ("a", "b"):
        for i in range(count):
            picture(folder / name / f"{i}{ending}", color=40 * i + 1)
    return folder


PILLOW_WRITES = (  # noqa: SIM905 (shorter)
    ".png .apng .ppm .pgm .pnm .jfif .jpe .jpg .jpeg .JPG .bmp .dib .gif .tif .tiff .webp .tga .pcx .sgi "
    ".jp2 .ico"
).split()


@pytest.mark.parametrize("ending", PILLOW_WRITES)
def test_all_that_pillow_reads_is_read(tmp_path, ending):
    side = 16  # the least that every format keeps
    for name in ("a", "b"):
        for i in range(4):
            picture(tmp_path / name / f"{i}{ending}", size=(side, side), mode="L" if ending != ".ico" else "RGB")
    assert len(load_images(tmp_path)) + len(load_images(tmp_path, split="test")) == 8


def test_folder_of_mixed_endings_loses_none(tmp_path):
    for i, ending in enumerate([".png", ".ppm", ".jfif", ".jpe"] * 5):
        picture(tmp_path / "a" / f"{i:02}{ending}", color=i)
    assert len(load_images(tmp_path)) + len(load_images(tmp_path, split="test")) == 20


def deeper(folder):
    picture(folder / "a" / "more" / "0.png")


def broken_link(folder):
    (folder / "a" / "gone.png").symlink_to(folder / "nowhere.png")


def broken_class(folder):
    (folder / "c").symlink_to(folder / "nowhere")


LEFT_OUT = {
    "other ending": (lambda f: (f / "a" / "0.raw").write_bytes(b"x"), "1 files that are no images: a/0.raw"),
    "no ending": (lambda f: (f / "b" / "scan").write_bytes(b"x"), "1 files that are no images: b/scan"),
    "many": (
        lambda f: [(f / "b" / f"{i}.npy").write_bytes(b"x") for i in range(7)],
        "7 files .*: b/0.npy, b/1.npy, b/2.npy, ...",
    ),
    "a film": (lambda f: (f / "a" / "0.mpg").write_bytes(b"x"), "1 files that are no images: a/0.mpg"),
    "deeper folder": (deeper, "1 folders within class folders: a/more"),
    "broken link": (broken_link, "1 broken links: a/gone.png"),
    "broken link to a class": (broken_class, "1 broken links: c"),
    "outside": (lambda f: picture(f / "0.png"), "1 images outside of class folders: 0.png"),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_left_out_of_a_folder_is_counted_and_named(tmp_path, case):
    add, message = LEFT_OUT[case]
    add(two_classes(tmp_path / "set"))
    with pytest.warns(InputWarning, match=rf"left out of .*set: {message}$"):
        assert len(load_images(tmp_path / "set")) == 6


def test_names_that_are_no_utf8_can_be_printed_and_drawn(tmp_path):
    folder = two_classes(tmp_path / os.fsdecode(b"s\xe9t"))
    (folder / "a").rename(folder / os.fsdecode(b"caf\xe9"))
    data = load_images(folder)
    assert data.classes == ("b", "caf\\xe9")
    assert data.name == "s\\xe9t"
    Random().distill(data, images_per_class=1).plot(tmp_path / "images.png")
    with pytest.raises(InputError, match="which is no text in UTF-8"):
        LabelledImages(data.images, data.labels, ("b", os.fsdecode(b"caf\xe9")))


def test_links_to_images_and_folders_are_followed(tmp_path):
    two_classes(tmp_path / "real")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "c").symlink_to(tmp_path / "real" / "a")
    (tmp_path / "set" / "d").mkdir()
    for i in range(4):
        (tmp_path / "set" / "d" / f"{i}.png").symlink_to(tmp_path / "real" / "b" / f"{i}.png")
    assert load_images(tmp_path / "set").labels.tolist() == [0, 0, 0, 1, 1, 1]


def test_a_third_part_is_named(tmp_path):
    for part in ("train", "test", "val", "extra"):
        two_classes(tmp_path / part)
    with pytest.warns(InputWarning, match="has the folders train and test, which are read, and extra, val, which"):
        assert len(load_images(tmp_path)) == 8


def test_pages_after_the_first_are_told(tmp_path):
    two_classes(tmp_path)
    first, second = (Image.new("L", (4, 3), shade) for shade in (9, 200))
    first.save(tmp_path / "a" / "9.tif", save_all=True, append_images=[second])
    with pytest.warns(InputWarning, match=r"1 files of .* hold several images or frames \(9.tif, ...\)"):
        assert load_images(tmp_path).images.max() < 200


def deep(folder, values, *, dtype=np.uint16, ending=".png"):
    for name in ("a", "b"):
        for i, value in enumerate(values):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((3, 4), value, dtype)).save(folder / name / f"{i}{ending}")
    return folder


@pytest.mark.parametrize(("dtype", "ending"), [(np.uint16, ".png"), (np.uint16, ".tif"), (np.int32, ".tif")])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("resolution", [None, 2])
def test_deep_images_are_scaled_by_what_the_whole_set_holds(tmp_path, dtype, ending, bits, resolution):
    values = [0, 2**bits // 4, 2**bits // 2, 3 * 2**bits // 4, 2**bits - 1]
    deep(tmp_path / "set", values, dtype=dtype, ending=ending)
    shades = []
    message = rf"which fit in {bits} bits: all are scaled alike, {2**bits - 1} to white"
    with pytest.warns(InputWarning, match=message):  # noqa: PT031
        for part in ("train", "test"):
            data = load_images(tmp_path / "set", split=part, resolution=resolution, cache_dir=tmp_path / "cache")
            shades += data.images[:, 0, 0, 0].tolist()
    assert sorted(shades) == sorted([round(255 * value / (2**bits - 1)) for value in values] * 2)


def test_what_was_said_of_decoded_images_is_said_again_where_they_are_found(tmp_path):
    deep(tmp_path / "set", [0, 4000, 77])
    for _ in range(3):
        with pytest.warns(InputWarning, match=r"which fit in 12 bits"):
            load_images(tmp_path / "set", resolution=2, cache_dir=tmp_path / "cache")
    picture(tmp_path / "set" / "a" / "9.png")
    with pytest.warns(InputWarning, match=r"which fit in 12 bits"):
        load_images(tmp_path / "set", resolution=2, cache_dir=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 2  # what is out of date is removed


def test_photographs_that_ask_to_be_turned_are_told(tmp_path):
    two_classes(tmp_path, ending=".jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (4, 3), 9).save(tmp_path / "a" / "9.jpg", exif=exif)
    with pytest.warns(InputWarning, match=r"1 files of .* ask to be rotated \(EXIF orientation; 9.jpg\), which"):
        assert load_images(tmp_path).images.shape[1:] == (3, 4, 1)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".avif", ".tif"])
@pytest.mark.parametrize("way", [1, 3, 6])
def test_files_of_every_format_that_ask_to_be_turned_are_told(tmp_path, ending, way):
    exif = Image.Exif()
    exif[0x0112] = way
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8] = 255
    try:
        for i in range(3):
            picture(tmp_path / "a" / f"{i}{ending}", size=(16, 16))
            Image.fromarray(pixels).save(tmp_path / "a" / f"{i}{ending}", exif=exif)
    except (OSError, ValueError, KeyError):
        pytest.skip(f"Pillow writes no {ending} here")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        top = load_images(tmp_path).images[0, :6, :6].mean()
    done = "Pillow does as it reads" if ending == ".tif" else "is not done; rotate"
    assert [done in str(warning.message) for warning in caught] == [True] * (way != 1)
    if way == 3:  # upside down
        assert top < 60 if ending == ".tif" else top > 200


def test_orientation_behind_the_pixels_of_a_png_is_told(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(3):
        file = picture(tmp_path / "a" / f"{i}.png")
        Image.new("L", (4, 3), 9).save(file, exif=exif)
        content = file.read_bytes()
        start = content.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        file.write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    with pytest.warns(InputWarning, match=r"3 files of .* ask to be rotated \(EXIF orientation; 0.png\)"):
        load_images(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("damaged", [b"MM\0*\0\0\0", b"garbage", b"II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_data_do_not_spoil_an_image(tmp_path, damaged):
    for i in range(3):
        picture(tmp_path / "a" / f"{i}.png")
        Image.new("L", (4, 3), 9).save(tmp_path / "a" / f"{i}.png", exif=b"Exif\0\0" + damaged)
    assert load_images(tmp_path).images.max() == 9


def test_deeper_integers_keep_their_levels(tmp_path):
    deep(tmp_path, [0, 2**20, 2**21 - 1], dtype=np.int32, ending=".tif")
    with pytest.warns(InputWarning, match="21 bits"):
        both = [load_images(tmp_path, split=part).images[:, 0, 0, 0] for part in ("train", "test")]
    assert sorted(np.concatenate(both).tolist()) == [0, 0, 128, 128, 255, 255]


def test_deep_images_below_0_are_refused(tmp_path):
    deep(tmp_path, [-5, 3, 7], dtype=np.int32, ending=".tif")
    fails(tmp_path, "6 grey images of .* more than 8 bits and run from -5 to 7; wanted values from 0: shift them")


def png_of_16_bits(path, values):
    """An RGB file of 16 bits a channel, which Pillow reads but cannot write."""
    raw_png(path, b"".join(b"\0" + row.astype(">u2").tobytes() for row in values), values.shape, bits=16, kind=2)


SPOILT = {  # values of deep images, and what is said of them
    "one hot pixel": (np.append(np.arange(0, 4096, 3), 65535), "hold 1367 .* of 0 to 65535, .* leave 18 with 65535 as"),
    "starts late": (np.arange(32640, 32896), "hold 256 different values of 32640 to 32895, .* leave 2 with 65535"),
    "24 bits": (np.append(np.arange(500), 2**24 - 1), "hold 501 different values .* leave 2 with 16777215 as white"),
}


@pytest.mark.parametrize("resolution", [None, 2])
@pytest.mark.parametrize("case", SPOILT)
def test_deep_images_of_which_8_bits_would_leave_little_are_refused(tmp_path, case, resolution):
    values, message = SPOILT[case]
    for i in range(3):
        picture(tmp_path / "set" / "a" / f"{i}.tif")
        pixels = np.resize(values, (40, 40)).astype(np.int32 if values.max() > 65535 else np.uint16)
        Image.fromarray(pixels).save(tmp_path / "set" / "a" / f"{i}.tif")
    message = f"3 grey images of .* {message}.*; correct single pixels .*, shift .*, or save .* with 8 bits"
    fails(tmp_path / "set", message, resolution=resolution, cache_dir=tmp_path / "cache")


def test_levels_left_of_deep_images_are_named(tmp_path):
    for i in range(3):
        picture(tmp_path / "a" / f"{i}.png")
        Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(tmp_path / "a" / f"{i}.png")
    with pytest.warns(InputWarning, match=r"4095 to white \(255\), which leaves 256 of 4096 different values; save"):
        load_images(tmp_path)


def test_many_hot_pixels_are_told_by_the_levels_of_the_others(tmp_path):
    for i in range(3):
        values = np.arange(64 * 1024).reshape(256, 256) % 4096
        values.flat[:250] = np.linspace(4096, 65535, 250)
        picture(tmp_path / "a" / f"{i}.png")
        Image.fromarray(values.astype(np.uint16)).save(tmp_path / "a" / f"{i}.png")
    with pytest.warns(InputWarning, match=r"different values \(99% of the pixels in 17 alone\); save them with 8 bits"):
        load_images(tmp_path)


def test_floats_of_which_most_pixels_keep_few_levels_are_told(tmp_path):
    images = np.linspace(0, 0.02, 6 * 10000).reshape(6, 100, 100, 1)
    images.flat[:200] = np.linspace(0, 1, 200)
    path = save(tmp_path, arrays(shape=(100, 100, 1)) | {"x_train": images})
    with pytest.warns(InputWarning, match=r"x_train of .* leave \d+, and 99% of the pixels 6 alone; spread it over"):
        load_images(path)


def test_values_too_many_to_keep_are_kept_to_fewer_bits(monkeypatch):
    monkeypatch.setattr(levels, "KEPT", 100)
    values = levels.Values()
    for start in range(7, 3007, 30):
        values.add(np.arange(start, start + 30))
    kept, counts = values.all()
    assert kept.tolist() == list(range(0, 3007, 32))
    assert counts.tolist() == [25] + [32] * 92 + [31]
    assert (values.low, values.high, values.shift) == (7, 3006, 5)


def raw_png(path, rows, shape, *, bits, kind, transparent=b""):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", shape[1], shape[0], bits, kind, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear = chunk(b"tRNS", transparent) if transparent else b""
    pixels = chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + clear + pixels + chunk(b"IEND", b""))


@pytest.mark.parametrize(("most", "refused"), [(4095, True), (65535, False)])
def test_colours_of_16_bits_are_told_or_refused_where_little_would_be_left(tmp_path, most, refused):
    for name in ("a", "b"):
        for i in range(3):
            png_of_16_bits(tmp_path / name / f"{i}.png", np.full((3, 4, 3), most))
    if refused:
        fails(tmp_path, "6 colour images of .* have 16 bits a channel and use 16 of the 256 .*; save them with 8 bits")
        return
    with pytest.warns(InputWarning, match="6 colour images of .* 16 bits a channel; the upper 8 are read"):
        assert load_images(tmp_path).images.min() == 255


def test_one_bright_pixel_does_not_hide_dark_colours_of_16_bits(tmp_path):
    for i in range(3):
        values = np.arange(4096 * 3 // 4).reshape(32, 32, 3)
        values[0, 0, 0] = 65535
        png_of_16_bits(tmp_path / "a" / f"{i}.png", values)
    fails(tmp_path, "3 colour images of .* have 16 bits a channel and use 13 of the 256 .*; save them with 8 bits")


TRANSPARENT = {  # bits, kind of PNG, the value of a dark and of a bright pixel as they lie in the file
    "grey 1": (1, 0, b"\x40", 0, 1),
    "grey 2": (2, 0, b"\x70", 1, 3),
    "grey 4": (4, 0, b"\x3f", 3, 15),
    "grey 8": (8, 0, b"\x03\xff", 3, 255),
    "grey 16": (16, 0, b"\x03\x00\xff\xff", 0x0300, 0xFFFF),
    "colour 8": (8, 2, b"\x03\x03\x03\xff\xff\xff", 3, 255),
    "colour 16": (16, 2, b"\x03\x00" * 3 + b"\xff" * 6, 0x0300, 0xFFFF),
}


@pytest.mark.filterwarnings("ignore::distill.InputWarning")
@pytest.mark.parametrize("case", TRANSPARENT)
def test_the_transparent_value_of_a_png_becomes_white_at_every_depth(tmp_path, case):
    bits, kind, row, dark, bright = TRANSPARENT[case]
    for i, value in enumerate((dark, bright, dark)):
        transparent = struct.pack(">H", value) * (3 if kind == 2 else 1)
        raw_png(tmp_path / "a" / f"{i}.png", b"\0" + row, (1, 2), bits=bits, kind=kind, transparent=transparent)
    parts = [load_images(tmp_path, split=part).images[:, 0, :, 0] for part in ("train", "test")]
    left = sorted(np.concatenate(parts).tolist())
    assert left[1:] == [[255, 255], [255, 255]]
    assert left[0][0] < 128
    assert left[0][1] == 255


def test_a_transparent_value_of_deep_images_does_not_set_their_scale(tmp_path):
    for i in range(3):
        values = np.array([[0, 2047, 4095, 65535]], np.uint16)
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / "a" / f"{i}.png", transparency=65535)
    with pytest.warns(InputWarning, match="hold values of 0 to 4095, which fit in 12 bits"):
        assert load_images(tmp_path).images[0, 0, :, 0].tolist() == [0, 127, 255, 255]


def test_scattered_bright_values_do_not_hide_how_few_levels_the_others_have(tmp_path):
    for i in range(3):
        values = np.arange(150 * 150 * 3).reshape(150, 150, 3) % 4096
        values.flat[:256] = np.arange(256) << 8
        png_of_16_bits(tmp_path / "a" / f"{i}.png", values)
    with pytest.warns(InputWarning, match=r"which leaves 256 of 256 values \(99% of the pixels in 16 alone\)$"):
        load_images(tmp_path)


# Where decoded images are kept


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_decoded_images_are_kept_where_that_is_asked_for(tmp_path, monkeypatch, how):
    two_classes(tmp_path / "data" / "set")
    if how == "environment":
        monkeypatch.setenv("FREPO_CACHE", str(tmp_path / "elsewhere"))
    cache_dir = tmp_path / "elsewhere" if how == "argument" else None
    data = load_images(tmp_path / "data" / "set", data_dir=tmp_path / "data", resolution=2, cache_dir=cache_dir)
    assert len(data) == 6
    assert len(list((tmp_path / "elsewhere").iterdir())) == 1
    assert not (tmp_path / "data" / "cache").exists()


# Known names on disk


@pytest.mark.parametrize("name", DATASETS)
def test_an_npz_in_the_data_folder_comes_first(tmp_path, name, monkeypatch):
    np.savez(tmp_path / f"{name}.npz", **arrays())
    data = load_images(name, data_dir=tmp_path)
    assert (data.name, data.classes) == (name, ("cat", "dog"))
    monkeypatch.setenv("FREPO_DATA", str(tmp_path))
    assert len(load_images(name, split="test")) == 4


def write_idx(file, values):
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    file.parent.mkdir(parents=True, exist_ok=True)
    content = header + values.astype(np.uint8).tobytes()
    file.write_bytes(gzip.compress(content) if file.suffix == ".gz" else content)
    return file


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_mnist_in_torchvisions_layout(tmp_path, ending):
    raw = tmp_path / "MNIST" / "raw"
    images = np.arange(3 * 28 * 28).reshape(3, 28, 28) % 256
    write_idx(raw / f"train-images-idx3-ubyte{ending}", images)
    write_idx(raw / f"train-labels-idx1-ubyte{ending}", np.array([3, 1, 9]))
    data = load_images("mnist", data_dir=tmp_path)
    assert np.array_equal(data.images[..., 0], images)
    assert data.labels.tolist() == [3, 1, 9]
    assert data.classes[9] == "9 - nine"


def test_damaged_mnist(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    images = write_idx(raw / "train-images-idx3-ubyte", np.zeros((3, 28, 28)))
    labels = write_idx(raw / "train-labels-idx1-ubyte", np.array([3, 1]))
    fails("mnist", "do not belong together: 3 images and 2 labels up to 3; remove both", data_dir=tmp_path)
    images.write_bytes(images.read_bytes()[:-5])
    fails("mnist", "train-images-idx3-ubyte is damaged: 2363 bytes instead of 2368; remove it", data_dir=tmp_path)
    images.write_bytes(labels.read_bytes())
    fails("mnist", "train-images-idx3-ubyte is no idx file of 3 dimensions", data_dir=tmp_path)
    images.unlink()
    packed = write_idx(raw / "train-images-idx3-ubyte.gz", np.zeros((3, 28, 28)))
    packed.write_bytes(packed.read_bytes()[:-9])
    fails("mnist", "cannot read .*train-images-idx3-ubyte.gz", data_dir=tmp_path)


def test_damaged_cifar(tmp_path):
    (tmp_path / "cifar-100-python").mkdir()
    fails("cifar100", "cifar-100-python is damaged or incomplete .*; remove it to download it again", data_dir=tmp_path)


# Downloads


@pytest.fixture
def no_debian(tmp_path, monkeypatch):
    monkeypatch.setattr(named, "DEBIAN_FMNIST", tmp_path / "no-debian")


@pytest.mark.usefixtures("no_debian")
@pytest.mark.parametrize("error", [URLError("no network"), TimeoutError("timed out"), RuntimeError("File\ncorrupted")])
@pytest.mark.parametrize(
    ("name", "class_name", "place"),
    [("cifar100", "CIFAR100", "cifar-100-python"), ("cifar10", "CIFAR10", "cifar-10-batches-py"),
     ("mnist", "MNIST", "MNIST/raw"), ("fmnist", "FashionMNIST", "FashionMNIST/raw, .*no-debian")],
)  # fmt: skip
def test_failed_download_names_what_was_looked_for_and_leaves_nothing(
    tmp_path, monkeypatch, name, class_name, place, error
):
    def download(self):
        half = Path(self.root) / "MNIST" / "raw" / "train-images-idx3-ubyte"
        half.parent.mkdir(parents=True)
        half.write_bytes(b"half")
        assert socket.getdefaulttimeout() == named.NETWORK_TIMEOUT
        raise error

    monkeypatch.setattr(getattr(torchvision.datasets, class_name), "download", download)
    data_dir = tmp_path / "new" / "data"
    where = f"{re.escape(str(data_dir))}/{name}.npz, .*{place}"
    fails(name, rf"no {name} on disk \(looked for {where}\), .* failed .*--dataset digits", data_dir=data_dir)
    assert not list(data_dir.iterdir())
    assert socket.getdefaulttimeout() is None


def test_data_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("no folder")
    fails("mnist", "no mnist on disk .*its download failed .*File exists", data_dir=tmp_path / "file")


def test_download_is_kept(tmp_path, monkeypatch):
    def download(self):
        for part in ("train", "t10k"):
            write_idx(Path(self.raw_folder) / f"{part}-images-idx3-ubyte", np.zeros((2, 28, 28)))
            write_idx(Path(self.raw_folder) / f"{part}-labels-idx1-ubyte", np.array([0, 9]))

    monkeypatch.setattr(torchvision.datasets.MNIST, "download", download)
    assert len(load_images("mnist", data_dir=tmp_path)) == 2
    monkeypatch.undo()
    assert load_images("mnist", split="test", data_dir=tmp_path).labels.tolist() == [0, 9]
    assert [entry.name for entry in tmp_path.iterdir()] == ["MNIST"]


# Real data


@pytest.mark.skipif(not named.DEBIAN_FMNIST.is_dir(), reason="needs Debian's dataset-fashion-mnist")
def test_fmnist_of_debian(tmp_path):
    data = load_images("fmnist", split="test", data_dir=tmp_path)
    assert data.images.shape == (10000, 28, 28, 1)
    assert data.classes[data.labels[0]] == "Ankle boot"
    assert np.bincount(data.labels).tolist() == [1000] * 10


@pytest.mark.skipif(not (SHARED / "MNIST").is_dir(), reason="needs ../shared/data/MNIST")
def test_mnist_as_torchvision_reads_it():
    data = load_images("mnist", split="test", data_dir=SHARED)
    original = torchvision.datasets.MNIST(SHARED, train=False)
    assert np.array_equal(data.images[..., 0], original.data.numpy())
    assert np.array_equal(data.labels, original.targets.numpy())


@pytest.mark.skipif(not (SHARED / "cifar100.npz").is_file(), reason="needs ../shared/data/cifar100.npz")
def test_cifar100_of_the_shared_data():
    data = load_images("cifar100", split="test", data_dir=SHARED)
    assert data.images.shape == (10000, 32, 32, 3)
    assert np.bincount(data.labels).tolist() == [100] * 100
    assert data.classes[0] == "apple"

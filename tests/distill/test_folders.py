"""Labelled images from folders of class folders: what is read, and what is left out."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from distill import Random
from distill.data.labelled import LabelledImages, load_images
from distill.errors import InputError, InputWarning
from tiny_sources import fails, picture, two_classes


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
    fails(tmp_path, r"train holds no images .* expected train/ and test/ \(or val/\) in one folder")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("names", [("car", "test", "train"), ("test", "train"), ("car", "train", "val")])
def test_classes_named_like_the_parts_are_told_the_way_out(tmp_path, names):
    for i, name in enumerate(names):
        for j in range(3):
            picture(tmp_path / name / f"{j}.png", color=i)
    test = next(name for name in names if name in ("test", "val"))
    message = rf"{test}, .* instead of class folders; if train and {test} are classes, rename one of them"
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
    with pytest.warns(InputWarning, match=rf"skipped in .*set: {message}$"):
        assert len(load_images(tmp_path / "set")) == 6


def test_names_that_are_no_utf8_can_be_printed_and_drawn(tmp_path):
    folder = two_classes(tmp_path / os.fsdecode(b"s\xe9t"))
    (folder / "a").rename(folder / os.fsdecode(b"caf\xe9"))
    data = load_images(folder)
    assert data.classes == ("b", "caf\\xe9")
    assert data.name == "s\\xe9t"
    Random().distill(data, images_per_class=1).plot(tmp_path / "images.png")
    with pytest.raises(InputError, match="which is not valid UTF-8"):
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

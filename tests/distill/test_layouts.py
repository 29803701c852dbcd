"""Published folders of image files: found, decoded once, kept, and decoded again when something changes."""

import os
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image

from distill.data import decoded as cache
from distill.data import layouts
from distill.data.decode import decode, resize_arrays
from distill.data.labelled import load_images
from distill.data.layouts import LAYOUTS
from distill.data.wordnet import IMAGENETTE, IMAGEWOOF, readable
from distill.errors import InputError, InputWarning
from distill.tensor_files import ARRAY, map_array, write_tensors

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)
WNIDS = ["n01440764", "n02102040", "n02979186"]


def picture(path, color=RED, *, size=(64, 64), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)
    return path


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def fails(source, message, **options):
    """`load_images` raises an `InputError` of one line that holds the regular expression `message`."""
    with pytest.raises(InputError, match=message) as caught:
        load_images(source, **options)
    assert "\n" not in str(caught.value)


def tiny(data_dir):
    folder = data_dir / "tiny-imagenet-200"
    for wnid, color in zip(WNIDS, (RED, GREEN, BLUE), strict=True):
        for i in range(2):
            picture(folder / "train" / wnid / "images" / f"{wnid}_{i}.JPEG", color)
        write(folder / "train" / wnid / f"{wnid}_boxes.txt", "boxes")
    for i, color in enumerate((BLUE, RED)):
        picture(folder / "val" / "images" / f"val_{i}.JPEG", color)
    annotations = folder / "val" / "val_annotations.txt"
    write(annotations, "val_0.JPEG\tn02979186\t0\t0\t9\t9", "val_1.JPEG\tn01440764\t1\t1\t2\t2")
    write(folder / "wnids.txt", *WNIDS[::-1])
    write(folder / "words.txt", "n00000001\tentity", "n01440764\ttench, Tinca tinca", "n02102040\tspaniel",
          "n02979186\tspaniel")  # fmt: skip
    return folder


def cub(data_dir):
    folder = data_dir / "CUB_200_2011"
    names = ["001.Black_footed_Albatross", "002.Laysan_Albatross"]
    files = [f"{names[0]}/a.jpg", f"{names[0]}/b.jpg", f"{names[1]}/c.jpg", f"{names[1]}/d.jpg"]
    for file, color in zip(files, (RED, GREEN, BLUE, RED), strict=True):
        picture(folder / "images" / file, color, size=(70, 50))
    write(folder / "classes.txt", *(f"{i + 1} {name}" for i, name in enumerate(names)))
    write(folder / "images.txt", *(f"{i + 1} {file}" for i, file in enumerate(files)))
    write(folder / "image_class_labels.txt", "1 1", "2 1", "3 2", "4 2")
    write(folder / "train_test_split.txt", "1 1", "2 0", "3 0", "4 1")
    return folder


def fastai(data_dir, base="imagenette2-160", wnids=tuple(IMAGENETTE), size=(160, 140)):
    for i, wnid in enumerate(wnids):
        for part in ("train", "val"):
            picture(data_dir / base / part / wnid / f"{part}_{i}.JPEG", (10 * i, 0, 0), size=size)
    return data_dir / base


def imagenet(data_dir, *, inner="", flat=False):
    folder = data_dir / "imagenet" / inner
    for wnid, color in zip(WNIDS, (RED, GREEN, BLUE), strict=True):
        picture(folder / "train" / wnid / f"{wnid}_7.JPEG", color, size=(90, 70))
        place = folder / "val" if flat else folder / "val" / wnid
        picture(place / f"ILSVRC2012_val_0000000{WNIDS.index(wnid)}.JPEG", color, size=(90, 70))
    return data_dir / "imagenet"


def near(images, colors):
    """Whether each image is of one colour, as near as JPEG keeps it."""
    return np.abs(images.astype(int) - np.array(colors)[:, None, None]).max() <= 4


# What is found


def test_tiny_imagenet(tmp_path):
    tiny(tmp_path)
    train, test = (load_images("tiny-imagenet", split=part, data_dir=tmp_path) for part in ("train", "test"))
    assert train.classes == test.classes == ("tench", "spaniel (n02102040)", "spaniel (n02979186)")
    assert (train.name, train.images.shape, train.images.dtype) == ("tiny-imagenet", (6, 64, 64, 3), np.uint8)
    assert train.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert near(train.images, [RED, RED, GREEN, GREEN, BLUE, BLUE])
    assert test.labels.tolist() == [2, 0]
    assert near(test.images, [BLUE, RED])


def test_cub200(tmp_path):
    cub(tmp_path)
    train, test = (load_images("cub200", split=part, data_dir=tmp_path) for part in ("train", "test"))
    assert train.classes == ("Black footed Albatross", "Laysan Albatross")
    assert train.images.shape == (2, 32, 32, 3)
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1], [0, 1])
    assert near(train.images, [RED, RED])
    assert near(test.images, [GREEN, BLUE])


@pytest.mark.parametrize(
    ("name", "base", "names"), [("imagenette", "imagenette2-320", IMAGENETTE), ("imagewoof", "imagewoof2", IMAGEWOOF)]
)
def test_imagenette_and_imagewoof(tmp_path, name, base, names):
    fastai(tmp_path, base, tuple(names))
    for part in ("train", "test"):
        data = load_images(name, split=part, data_dir=tmp_path)
        assert data.images.shape == (10, 128, 128, 3)
        assert data.classes == tuple(names.values())
        assert near(data.images, [(10 * i, 0, 0) for i in range(10)])


def test_the_smallest_archive_that_need_not_be_enlarged_is_read(tmp_path):
    sizes = {"imagenette2-160": (160, 160), "imagenette2-320": (320, 330), "imagenette2": (400, 500)}
    for base, size in sizes.items():
        fastai(tmp_path, base, size=size)
    place = LAYOUTS["imagenette"].place
    wanted = {128: "imagenette2-160", 160: "imagenette2-160", 224: "imagenette2-320", 512: "imagenette2"}
    assert {resolution: place(tmp_path, resolution).name for resolution in wanted} == wanted
    shutil.rmtree(tmp_path / "imagenette2")
    assert place(tmp_path, 512).name == "imagenette2-320"


@pytest.mark.parametrize(("inner", "flat"), [("", False), ("ILSVRC/Data/CLS-LOC", True), ("", True)])
def test_imagenet_in_class_folders_or_as_kaggle_packs_it(tmp_path, inner, flat):
    folder = imagenet(tmp_path, inner=inner, flat=flat)
    write(folder / "LOC_synset_mapping.txt", *(f"{wnid} name {i}, other" for i, wnid in enumerate(WNIDS)))
    if flat:
        fails("imagenet", "holds images without class folders, and .*LOC_val_solution.csv.* missing; add it",
              split="test", data_dir=tmp_path)  # fmt: skip
        rows = [f"ILSVRC2012_val_0000000{i},{WNIDS[i]} 1 2 3 4 " for i in (2, 0, 1)]
        write(folder / "LOC_val_solution.csv", "ImageId,PredictionString", *rows)
    for part in ("train", "test"):
        data = load_images("imagenet", split=part, data_dir=tmp_path)
        assert data.images.shape == (3, 64, 64, 3)
        assert data.classes == ("name 0", "name 1", "name 2")
        assert data.labels.tolist() == [0, 1, 2]
        assert near(data.images, [RED, GREEN, BLUE])


def test_all_classes_of_imagenet_have_names_without_a_list_of_words():
    names = readable([f"n{i:08}" for i in range(1000)], {})
    assert (names[0], names[999], len(set(names))) == ("tench", "toilet tissue", 1000)
    assert readable(["n1", "n2"], {}) == ("n1", "n2")


@pytest.mark.parametrize(
    ("name", "looked_for", "published"),
    [("tiny-imagenet", "tiny-imagenet-200", "cs231n.stanford.edu"), ("cub200", "CUB_200_2011", "data.caltech.edu"),
     ("imagewoof", "imagewoof2-160, .*imagewoof2-320, .*imagewoof2", "imagewoof2-160.tgz"),
     ("imagenet", "imagenet", "image-net.org")],
)  # fmt: skip
def test_a_missing_set_names_its_folder_and_where_it_is_published(tmp_path, name, looked_for, published):
    fails(name, rf"no {name} on disk \(looked for .*{name}.npz, .*{looked_for}\); it is published at .*{published}.*: "
          "unpack it there, or set --data-dir or FREPO_DATA", data_dir=tmp_path)  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_imagenette_is_downloaded_in_the_size_that_is_needed(tmp_path, monkeypatch):
    sizes = []

    def download(self):
        sizes.append(self._size)
        fastai(Path(self.root), self._size_root.name)

    monkeypatch.setattr(torchvision.datasets.Imagenette, "_download", download)
    assert len(load_images("imagenette", data_dir=tmp_path)) == 10
    assert len(load_images("imagenette", data_dir=tmp_path, split="test")) == 10
    assert sizes == ["160px"]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["cache", "imagenette2-160"]
    load_images("imagenette", data_dir=tmp_path / "larger", resolution=200)
    assert sizes == ["160px", "320px"]


# What is damaged


def test_damaged_tables(tmp_path):
    folder = tiny(tmp_path)
    annotations = folder / "val" / "val_annotations.txt"
    write(annotations, "val_0.JPEG\tn99999999")
    fails("tiny-imagenet", "names the class 'n99999999', which is none of the 3", split="test", data_dir=tmp_path)
    annotations = folder / "val" / "val_annotations.txt"
    write(annotations, "val_0.JPEG")
    fails("tiny-imagenet", "damaged: the line 'val_0.JPEG' has no 2 entries", split="test", data_dir=tmp_path)
    (folder / "val" / "val_annotations.txt").write_bytes(b"\xff\xfe\x00")
    fails("tiny-imagenet", "cannot read .*val_annotations.txt.*unpack it again", split="test", data_dir=tmp_path)
    (folder / "val" / "val_annotations.txt").unlink()
    fails("tiny-imagenet", "cannot read .*val_annotations.txt: No such file", split="test", data_dir=tmp_path)

    folder = cub(tmp_path)
    write(folder / "train_test_split.txt", "1 1", "2 1", "3 1", "4 1")
    fails("cub200", "train_test_split.txt puts no image .* in the test split", split="test", data_dir=tmp_path)
    (folder / "classes.txt").write_text("")
    fails("cub200", "classes.txt is damaged: it is empty", data_dir=tmp_path)


def test_a_missing_or_unreadable_image_is_named_and_nothing_is_kept(tmp_path):
    folder = tiny(tmp_path)
    file = folder / "val" / "images" / "val_1.JPEG"
    file.write_bytes(file.read_bytes()[:300])
    fails("tiny-imagenet", r"cannot read the image .*val_1.JPEG .*; repair or", split="test", data_dir=tmp_path)
    file.unlink()
    fails("tiny-imagenet", r"cannot read the image .*val_1.JPEG .*No such file", split="test", data_dir=tmp_path)
    assert not list((tmp_path / "cache").iterdir())


def test_images_that_no_table_names_are_told_or_refused(tmp_path):
    picture(tiny(tmp_path) / "val" / "images" / "val_9.JPEG")
    with pytest.warns(InputWarning, match=r"skipped in .*images: 1 images that val_annotations.txt .* \(val_9.JPEG\)"):
        assert len(load_images("tiny-imagenet", split="test", data_dir=tmp_path)) == 2
    write(cub(tmp_path) / "train_test_split.txt", "1 1", "2 0", "3 0")
    fails("cub200", r"puts 1 images of images.txt in neither split \(002.*d.jpg, ...\)", data_dir=tmp_path)


def test_an_empty_class_folder_is_named(tmp_path):
    folder = tiny(tmp_path)
    (folder / "train" / "n09999999" / "images").mkdir(parents=True)
    fails("tiny-imagenet", "the class folder .*n09999999/images holds no images", data_dir=tmp_path)
    fastai(tmp_path)
    shutil.rmtree(tmp_path / "imagenette2-160" / "val" / "n03888257")
    fails("imagenette", "different class folders: only one has n03888257", data_dir=tmp_path)


# Modes and sizes


def test_images_of_every_mode_become_rgb(tmp_path):
    folder = imagenet(tmp_path) / "train" / WNIDS[0]
    for file in folder.iterdir():
        file.unlink()
    picture(folder / "1.png", 77, mode="L")
    palette = Image.new("P", (64, 64), 0)
    palette.putpalette([10, 20, 30])
    palette.save(folder / "2.png")
    picture(folder / "3.png", (9, 9, 9, 0), mode="RGBA")
    Image.fromarray(np.full((64, 64), 65535 // 5, np.uint16)).save(folder / "4.png")
    picture(folder / "5.jpg", (0, 255, 255, 0), mode="CMYK")
    picture(folder / "6.png", 1, mode="1")
    images = load_images("imagenet", data_dir=tmp_path).images[:6]
    assert near(images, [(77,) * 3, (10, 20, 30), (255,) * 3, (51,) * 3, (255, 0, 0), (255,) * 3])


def stripes(width, height):
    """Columns, or rows where the image is higher than wide, that grow brighter; in three channels."""
    ramp = np.arange(max(width, height), dtype=np.uint8)
    image = np.broadcast_to(ramp if width >= height else ramp[:, None], (height, width))
    return np.repeat(image[..., None], 3, axis=2)


def test_crop_takes_the_middle_square_and_squash_all_of_the_image(tmp_path):
    for width, height in ((96, 32), (32, 96)):
        file = tmp_path / "image.png"
        Image.fromarray(stripes(width, height)).save(file)
        cropped, squashed = (decode(file, "RGB", resolution=16, fit=fit)[..., 0] for fit in ("crop", "squash"))
        line, whole = (image[0] if width > height else image[:, 0] for image in (cropped, squashed))
        assert np.abs(line - (32.5 + 2 * np.arange(16))).max() <= 0.5  # means of two columns each
        assert np.abs(whole - (2.5 + 6 * np.arange(16))).max() <= 0.5  # of six
    (tmp_path / "image.png").unlink()


def test_shrinking_takes_means_over_areas_and_growing_is_smooth():
    images = np.random.default_rng(0).integers(0, 256, (3, 12, 8, 1), dtype=np.uint8)
    means = images[:, 2:10].reshape(3, 4, 2, 4, 2).mean((2, 4))
    assert np.abs(resize_arrays(images, 4)[..., 0] - means).max() <= 1
    larger = resize_arrays(np.array([[0, 100], [0, 100]], np.uint8)[None, ..., None], 8)
    assert larger.shape == (1, 8, 8, 1)
    assert (np.diff(larger[0, 0, :, 0].astype(int)) >= 0).all()
    assert len(np.unique(larger)) > 2
    assert resize_arrays(images[:, :8], 8).base is images


def test_imagenet_is_squashed_and_the_others_are_cropped():
    assert {name: layout.fit for name, layout in LAYOUTS.items() if layout.fit != "crop"} == {"imagenet": "squash"}


def test_resolution_of_sets_that_are_no_files(tmp_path):
    assert load_images("digits", resolution=16).images.shape[1:] == (16, 16, 1)
    content = {"x_train": np.zeros((2, 9, 7, 3), np.uint8), "y_train": np.arange(2)}
    np.savez(tmp_path / "s.npz", **content, x_test=content["x_train"], y_test=content["y_train"])
    assert load_images(tmp_path / "s.npz", resolution=4).images.shape == (2, 4, 4, 3)
    np.savez(tmp_path / "cub200.npz", **content, x_test=content["x_train"], y_test=content["y_train"])
    assert load_images("cub200", data_dir=tmp_path).images.shape == (2, 9, 7, 3)
    assert load_images("cub200", data_dir=tmp_path, resolution=4).images.shape == (2, 4, 4, 3)
    fails("digits", "resolution is 0; expected 1 or more", resolution=0)


def test_a_folder_of_images_of_different_sizes_is_resized(tmp_path):
    folder = tmp_path / "pets"
    picture(folder / "train" / "a" / "0.png", 7, mode="L", size=(20, 30))
    picture(folder / "train" / "b" / "1.png", 9, mode="L", size=(50, 10))
    picture(folder / "test" / "a" / "2.png", 11, mode="L", size=(8, 8))
    picture(folder / "test" / "b" / "3.png", 13, mode="L", size=(9, 8))
    fails(folder, r"differ in size: .* 20x30, .* 50x10 .*give the size .*resolution=.*--resolution", data_dir=tmp_path)
    fails(folder, "written to .*pets/cache, inside the .*pets, .*--cache-dir or FREPO", data_dir=folder, resolution=8)
    train = load_images(folder, data_dir=tmp_path, resolution=8)
    assert train.images.shape == (2, 8, 8, 1)
    assert train.images[:, 0, 0, 0].tolist() == [7, 9]
    picture(folder / "test" / "b" / "3.png", RED, size=(9, 8))  # a colour image in the other part
    assert load_images(folder, data_dir=tmp_path, resolution=8).images.shape == (2, 8, 8, 3)
    assert load_images(folder, split="test", data_dir=tmp_path, resolution=8).images[:, 0, 0, 0].tolist() == [11, 250]


# The cache


@pytest.fixture
def decoded(monkeypatch):
    """The files that are decoded from now on."""
    files = []

    def spy(file, *args, **named):
        files.append(file)
        return decode(file, *args, **named)

    monkeypatch.setattr(cache, "decode", spy)
    return files


def test_the_second_load_decodes_nothing(tmp_path, decoded):
    tiny(tmp_path)
    first = load_images("tiny-imagenet", data_dir=tmp_path)
    assert len(decoded) == 6
    again = load_images("tiny-imagenet", data_dir=tmp_path)
    assert len(decoded) == 6
    assert isinstance(again.images, np.memmap)
    assert not again.images.flags.writeable
    assert np.array_equal(first.images, again.images)
    assert load_images("tiny-imagenet", data_dir=tmp_path, resolution=32).images.shape == (6, 32, 32, 3)
    assert len(decoded) == 12
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.parametrize("change", ["content", "time", "name", "one more"])
def test_files_that_change_are_decoded_again_and_the_outdated_is_removed(tmp_path, decoded, change):
    folder = tiny(tmp_path) / "train" / WNIDS[0] / "images"
    load_images("tiny-imagenet", data_dir=tmp_path)
    load_images("tiny-imagenet", data_dir=tmp_path, resolution=8)
    old = folder / f"{WNIDS[0]}_0.JPEG"
    if change == "content":
        picture(old, BLUE)
    elif change == "time":
        os.utime(old, ns=(0, 0))
    elif change == "name":
        old.rename(folder / "other.JPEG")
    else:
        picture(folder / "a.JPEG", GREEN)
    decoded.clear()
    images = load_images("tiny-imagenet", data_dir=tmp_path).images
    assert len(decoded) == len(images) == (7 if change == "one more" else 6)
    assert near(images[:1], [{"content": BLUE, "one more": GREEN}.get(change, RED)])
    assert sorted(file.stem.split("-")[3] for file in (tmp_path / "cache").iterdir()) == ["64", "8"]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("how", ["rewritten", "renamed", "copied"])
def test_files_of_one_size_and_time_that_change_places_are_told_apart(tmp_path, monkeypatch, big, how):
    monkeypatch.setattr(cache, "READ_WHOLE", 0 if big else cache.READ_WHOLE)
    pets = tmp_path / "pets"
    pairs = [(pets / "a" / f"{i}.bmp", pets / "b" / f"{i}.bmp") for i in range(3)]
    for a, b in pairs:
        for file, color in ((a, 200), (b, 20)):
            os.utime(picture(file, color, mode="L"), ns=(10**18, 10**18))
    assert load_images(pets, data_dir=tmp_path, resolution=8).images[:, 0, 0, 0].tolist() == [200, 200, 20, 20]
    for a, b in pairs:
        if how == "rewritten":
            first, second = a.read_bytes(), b.read_bytes()
            a.write_bytes(second)
            b.write_bytes(first)
            for file in (a, b):
                os.utime(file, ns=(10**18, 10**18))
        else:
            move = shutil.move if how == "renamed" else shutil.copy2
            for old, new in ((a, tmp_path / "kept"), (b, a), (tmp_path / "kept", b)):
                move(old, new)
    assert load_images(pets, data_dir=tmp_path, resolution=8).images[:, 0, 0, 0].tolist() == [20, 20, 200, 200]


def test_files_that_change_while_they_are_decoded_are_not_kept(tmp_path, monkeypatch):
    first, *_ = [picture(tmp_path / "pets" / "a" / f"{i}.png", 10 * i, mode="L") for i in range(5)]

    def change(file, *args, **named):
        pixels = decode(file, *args, **named)
        whole = picture(tmp_path / f"{threading.get_ident()}.png", 200, mode="L")
        whole.replace(first)  # at once: other threads decode meanwhile
        return pixels

    monkeypatch.setattr(cache, "decode", change)
    fails(tmp_path / "pets", "files of .* changed while they were decoded; load", data_dir=tmp_path, resolution=8)
    assert not list((tmp_path / "cache").iterdir())
    monkeypatch.undo()
    assert load_images(tmp_path / "pets", data_dir=tmp_path, resolution=8).images.max() == 200


@pytest.mark.parametrize("damage", ["short", "long", "empty", "garbage", "pickle", "shape", "type"])
def test_a_damaged_cache_file_is_made_again(tmp_path, decoded, damage):
    tiny(tmp_path)
    whole = np.array(load_images("tiny-imagenet", data_dir=tmp_path).images)
    (file,) = (tmp_path / "cache").iterdir()
    content, (_, metadata) = file.read_bytes(), map_array(file)
    changed = {"short": content[:-1], "long": content + b"0", "empty": b"", "garbage": b"0" * len(content)}
    if damage in changed:
        file.write_bytes(changed[damage])
    else:
        array = {"pickle": np.array([None]), "shape": whole[:5], "type": whole.astype(np.int16)}[damage]
        if damage == "pickle":
            with file.open("wb") as opened:
                np.save(opened, array, allow_pickle=True)
        else:
            write_tensors(file, {ARRAY: torch.from_numpy(array)}, metadata)
    decoded.clear()
    assert np.array_equal(load_images("tiny-imagenet", data_dir=tmp_path).images, whole)
    assert len(decoded) == 6
    assert file.read_bytes() == content


def test_a_cache_that_cannot_be_written_or_a_full_disk(tmp_path, monkeypatch):
    tiny(tmp_path)
    (tmp_path / "cache").write_text("no folder")
    fails("tiny-imagenet", "store is the file .*cache; expected a folder; .*FREPO_CACHE", data_dir=tmp_path)
    (tmp_path / "cache").unlink()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    fails("tiny-imagenet", "cannot write .*tiny-imagenet.*: No space left on device", data_dir=tmp_path)
    assert not list((tmp_path / "cache").iterdir())


def test_folders_of_one_name_in_different_places_are_kept_apart(tmp_path, decoded):
    for place, color in (("x", 7), ("y", 9)):
        for i in range(2):
            os.utime(picture(tmp_path / place / "pets" / "a" / f"{i}.png", color, mode="L"), ns=(0, 0))
    shades = [load_images(tmp_path / p / "pets", data_dir=tmp_path, resolution=8).images.max() for p in "xyxy"]
    assert shades == [7, 9, 7, 9]
    assert len(decoded) == 2


def test_every_layout_has_a_name_and_a_paper_resolution():
    assert {name: layout.resolution for name, layout in LAYOUTS.items()} == {
        "tiny-imagenet": 64, "cub200": 32, "imagenette": 128, "imagewoof": 128, "imagenet": 64
    }  # fmt: skip
    assert layouts.LAYOUTS is LAYOUTS

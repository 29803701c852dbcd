"""SyntheticSet: what it accepts, its parts, its files and its pictures."""

import json
import stat

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import DataLoader

from distill import ZCA, Identity, InputError, Random, Standardize, SyntheticSet
from distill.sets.synthetic import initial_labels
from distill.tensor_files import content_of, read_tensors, write_tensors

CLASSES = ("ape", "bee", "cat")


def a_set(class_ids=(0, 0, 1, 2), *, seed=0, preprocessing=None, classes=CLASSES, shape=(1, 4, 4), **made_by):
    ids = torch.tensor(class_ids)
    images = torch.randn(len(ids), *shape, generator=torch.Generator().manual_seed(seed))
    return SyntheticSet(images, initial_labels(ids, len(classes)), ids, classes, preprocessing or Identity(), made_by)


def fields(**changes):
    whole = a_set()
    return {name: changes.get(name, getattr(whole, name)) for name in whole.__dataclass_fields__}


# -- what it accepts -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"soft_labels": torch.zeros(4, 2)}, r"labels have shape \(4, 2\); expected \(4, 3\) for 4 images of 3"),
        ({"soft_labels": torch.zeros(3, 3)}, r"labels have shape \(3, 3\); expected \(4, 3\)"),
        ({"soft_labels": torch.zeros(4)}, r"labels have shape \(4,\); expected \(4, 3\)"),
        ({"class_ids": torch.zeros(3).long()}, r"class_ids have shape \(3,\); expected \(4,\) for 4 images"),
        ({"images": torch.zeros(4, 16)}, r"images have shape \(4, 16\); expected \(n, channels, height, width\)"),
        ({"images": torch.full((4, 1, 4, 4), torch.nan)}, "NaN or infinite"),
        ({"soft_labels": torch.full((4, 3), torch.inf)}, "NaN or infinite"),
        ({"class_ids": torch.tensor([0, 1, 2, 3])}, "class ids run from 0 to 3; expected 0 to 2"),
        ({"class_ids": torch.tensor([0, 1, 2, -1])}, "class ids run from -1 to 2; expected 0 to 2"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_was_given_and_wanted(changes, message):
    with pytest.raises(InputError, match=message):
        SyntheticSet(**fields(**changes))


@pytest.mark.parametrize(
    "changes",
    [{"images": torch.zeros(4, 1, 4, 4, dtype=torch.uint8)}, {"class_ids": torch.zeros(4)}],
    ids=["uint8 images", "float class ids"],
)
def test_wrong_types_are_refused(changes):
    with pytest.raises(InputError, match=next(iter(changes))):
        SyntheticSet(**fields(**changes))


def test_wrong_shape_of_class_ids_is_told_with_the_right_number_of_classes():
    with pytest.raises(InputError, match="4 images of 3 classes"):
        SyntheticSet(**fields(class_ids=torch.zeros(3).long()))


def test_sets_can_be_compared_and_hashed():
    one, other = a_set(), a_set()
    assert one == one
    assert (one == other) in (True, False)
    assert hash(one) == hash(one)


def test_initial_labels_are_those_of_the_paper():
    # (one-hot - 1/C) / sqrt(C / 10)
    labels = initial_labels(torch.tensor([1]), 40)
    assert labels.dtype == torch.float32
    assert labels[0, 1].item() == pytest.approx((1 - 1 / 40) / 2)
    assert labels[0, 0].item() == pytest.approx(-1 / 80)


def test_repr_says_size_classes_and_method():
    assert repr(a_set(method="herding")) == "SyntheticSet(4 images of 1x4x4, 3 classes, by herding)"


# -- parts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("indices", [torch.tensor([3, 0]), torch.tensor([True, False, False, True])])
def test_subset_takes_positions_or_a_mask(indices):
    whole = a_set(method="m")
    part = whole.subset(indices)
    assert torch.equal(part.images, whole.images[indices])
    assert torch.equal(part.labels, whole.labels[indices])
    assert torch.equal(part.class_ids, whole.class_ids[indices])
    assert (part.classes, part.made_by, len(part)) == (CLASSES, {"method": "m"}, 2)


def test_empty_subset_is_a_set():
    empty = a_set().subset(torch.zeros(4, dtype=torch.bool))
    assert len(empty) == 0
    assert empty.num_classes == 3
    assert empty.pixels().shape == (0, 4, 4, 1)


def test_concatenate_keeps_the_order_and_lists_how_parts_were_made():
    one, other = a_set((0, 1), method="a"), a_set((2,), seed=1, method="b")
    whole = SyntheticSet.concatenate([one, other])
    assert torch.equal(whole.images, torch.cat([one.images, other.images]))
    assert torch.equal(whole.labels, torch.cat([one.labels, other.labels]))
    assert whole.class_ids.tolist() == [0, 1, 2]
    assert whole.made_by == {"parts": [{"method": "a"}, {"method": "b"}]}


def test_concatenate_of_one_is_that_one():
    whole = SyntheticSet.concatenate([a_set(method="a")])
    assert torch.equal(whole.images, a_set().images)
    assert whole.made_by == {"method": "a"}


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (a_set(classes=("ape", "bee", "cow")), "other classes or image shapes"),
        (a_set(shape=(1, 4, 5)), "other classes or image shapes"),
        (a_set(preprocessing=Standardize(torch.zeros(1), torch.ones(1))), "different preprocessing .identity, stand"),
    ],
    ids=["classes", "shape", "preprocessing"],
)
def test_sets_that_do_not_belong_together_are_not_concatenated(other, message):
    with pytest.raises(InputError, match=message):
        SyntheticSet.concatenate([a_set(), other])


def test_sets_of_one_kind_of_preprocessing_fitted_on_other_images_are_not_concatenated():
    dark, bright = (a_set(preprocessing=Standardize(torch.tensor([m]), torch.ones(1))) for m in (0.1, 0.9))
    with pytest.raises(InputError, match="preprocessing"):
        SyntheticSet.concatenate([dark, bright])


def test_nothing_to_concatenate_is_an_input_error():
    with pytest.raises(InputError, match="0 synthetic sets"):
        SyntheticSet.concatenate([])


def test_data_loader_of_torch_gives_every_image_with_its_soft_label():
    whole = a_set()
    batches = list(DataLoader(whole, batch_size=3))
    assert [len(images) for images, _ in batches] == [3, 1]
    assert torch.equal(torch.cat([images for images, _ in batches]), whole.images)
    assert torch.equal(torch.cat([labels for _, labels in batches]), whole.labels)


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Identity, Standardize, ZCA])
def test_load_gives_back_what_was_saved(kind, make_images, tmp_path):
    images = make_images(channels=3)
    preprocessing = Identity() if kind is Identity else kind.fit(images)
    made = Random().distill(preprocessing.apply(images), images_per_class=2)
    loaded = SyntheticSet.load(made.save(tmp_path / "new" / "folder" / "set.safetensors"))
    assert type(loaded.preprocessing) is kind
    for name in ("images", "labels", "class_ids"):
        assert torch.equal(getattr(loaded, name), getattr(made, name))
    assert (loaded.classes, loaded.made_by) == (made.classes, made.made_by)
    given, found = made.preprocessing.state(), loaded.preprocessing.state()
    assert given.keys() == found.keys()
    assert all(torch.equal(given[name], found[name]) for name in given)
    assert torch.equal(loaded.pixels(), made.pixels())
    assert torch.equal(loaded.preprocessing.apply(images).images, made.preprocessing.apply(images).images)


def test_non_contiguous_and_shared_tensors_can_be_saved(tmp_path):
    ids = torch.tensor([0, 1, 2])
    shared = torch.rand(3, 4, 4, 3)
    made = SyntheticSet(shared.permute(0, 3, 1, 2), shared[:, :3, 0, 0], ids, CLASSES, Identity())
    loaded = SyntheticSet.load(made.save(tmp_path / "s.safetensors"))
    assert torch.equal(loaded.images, made.images)
    assert torch.equal(loaded.labels, made.labels)


def test_class_names_and_origin_survive_in_any_script(tmp_path):
    made = a_set(classes=("naïve", "日本", 'a "b"\n'), method="m", history=[{"step": 0, "loss": 0.25}], none=None)
    loaded = SyntheticSet.load(made.save(tmp_path / "ü.safetensors"))
    assert loaded.classes == made.classes
    assert loaded.made_by == made.made_by


def test_saving_again_replaces_the_file(tmp_path):
    a_set(seed=1).save(tmp_path / "s.safetensors")
    a_set(seed=2).save(tmp_path / "s.safetensors")
    assert torch.equal(SyntheticSet.load(tmp_path / "s.safetensors").images, a_set(seed=2).images)
    assert [path.name for path in tmp_path.iterdir()] == ["s.safetensors"]


def test_saved_file_can_be_read_by_others(tmp_path):
    path = a_set().save(tmp_path / "s.safetensors")
    plain = tmp_path / "plain"
    plain.write_text("")
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


@pytest.mark.parametrize("left", [0, 7, 40, -1], ids=lambda left: f"{left} bytes")
def test_damaged_file_is_an_input_error_that_names_it(tmp_path, left):
    path = a_set().save(tmp_path / "s.safetensors")
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=f"{path} is damaged"):
        SyntheticSet.load(path)


def test_missing_file_is_an_input_error_that_names_it(tmp_path):
    with pytest.raises(InputError, match=f"cannot read {tmp_path / 'none.safetensors'}"):
        SyntheticSet.load(tmp_path / "none.safetensors")
    with pytest.raises(InputError, match=f"cannot read {tmp_path}"):
        SyntheticSet.load(tmp_path)


def test_other_files_are_input_errors_that_name_them(tmp_path):
    text, weights, foreign = tmp_path / "text", tmp_path / "weights", tmp_path / "foreign"
    text.write_text(json.dumps({"images": []}))
    save_file({"weight": torch.zeros(2)}, weights)
    save_file({"weight": torch.zeros(2)}, foreign, metadata={"format": "pt"})  # as others write them
    for path in (text, foreign):
        with pytest.raises(InputError, match=str(path)):
            SyntheticSet.load(path)
    with pytest.raises(InputError, match=f"{weights} is no synthetic set of format 1: it lacks class_ids, classes"):
        SyntheticSet.load(weights)


def rewritten(path, drop=(), **metadata):
    """The file with some tensors gone and some metadata changed."""
    tensors, old = read_tensors(path)
    return write_tensors(path, {n: t for n, t in tensors.items() if n not in drop}, old | metadata)


def test_file_of_a_later_format_is_refused(tmp_path):
    path = rewritten(a_set().save(tmp_path / "s"), format=2)
    with pytest.raises(InputError, match=f"{path} is no synthetic set of format 1: format 2"):
        SyntheticSet.load(path)


def test_file_of_an_unknown_preprocessing_is_refused(tmp_path):
    path = rewritten(a_set().save(tmp_path / "s"), preprocessing="sepia")
    known = "checkerboard-zca, identity, kept-elsewhere, standardize, zca"
    with pytest.raises(InputError, match=f"unknown preprocessing 'sepia'; known: {known}"):
        SyntheticSet.load(path)


def test_file_whose_preprocessing_lacks_a_part_is_refused(tmp_path):
    made = a_set(preprocessing=Standardize(torch.zeros(1), torch.ones(1)))
    path = rewritten(made.save(tmp_path / "s"), drop=["preprocessing.std"])
    with pytest.raises(InputError, match=str(path)):
        SyntheticSet.load(path)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()], ids=["OSError",
                         "KeyboardInterrupt"])
@pytest.mark.parametrize("before", [True, False], ids=["replacing", "new"])
def test_write_that_fails_leaves_nothing_half_written(tmp_path, monkeypatch, error, before):
    path = tmp_path / "s.safetensors"
    if before:
        a_set(seed=1).save(path)

    def fail(tensor):
        if tensor.ndim < 4:  # the images are written already
            raise error
        return content_of(tensor)

    with monkeypatch.context() as patch:
        patch.setattr("distill.tensor_files.content_of", fail)
        stopped = isinstance(error, KeyboardInterrupt)
        message = "^$" if stopped else f"cannot write {path}: No space left"
        with pytest.raises(KeyboardInterrupt if stopped else InputError, match=message):
            a_set(seed=2).save(path)
    assert list(tmp_path.iterdir()) == ([path] if before else [])
    if before:
        assert torch.equal(SyntheticSet.load(path).images, a_set(seed=1).images)


@pytest.mark.parametrize("write", [SyntheticSet.save, SyntheticSet.plot])
def test_folder_that_cannot_be_written_is_an_input_error(tmp_path, write):
    (tmp_path / "file").write_text("no folder")  # also root cannot make a folder below a file
    with pytest.raises(InputError, match=r"cannot write .*file/s.png"):
        write(a_set(), tmp_path / "file" / "s.png")


# -- pictures ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 8), (1, 28)])
@pytest.mark.parametrize("kind", [Identity, Standardize])
def test_pixels_of_real_images_are_the_originals(kind, channels, side, make_images):
    images = make_images(channels=channels, height=side, width=side, noise=80)
    preprocessing = Identity() if kind is Identity else kind.fit(images)
    made = Random().distill(preprocessing.apply(images), images_per_class=4)
    pixels = made.pixels()
    assert pixels.dtype == torch.uint8
    assert np.array_equal(pixels.numpy(), images.images[made.made_by["started_from"]])


@pytest.mark.parametrize("seed", range(3))
def test_pixels_of_whitened_images_are_the_originals_within_a_grey_level(seed, make_images):
    images = make_images(channels=3, noise=80, seed=seed)
    made = Random().distill(ZCA.fit(images).apply(images), images_per_class=4)
    originals = images.images[made.made_by["started_from"]]
    assert np.abs(made.pixels().numpy().astype(int) - originals).max() <= 1


def test_pixels_beyond_black_and_white_are_clipped():
    images = torch.tensor([-3.0, 0.0, 0.5, 7.0]).view(4, 1, 1, 1)
    ids = torch.zeros(4, dtype=torch.long)
    made = SyntheticSet(images, torch.zeros(4, 3), ids, CLASSES, Identity())
    assert made.pixels().flatten().tolist() == [0, 0, 128, 255]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_plot_writes_a_picture(tmp_path, channels, suffix):
    path = a_set(shape=(channels, 4, 4)).plot(tmp_path / "new" / f"images{suffix}")
    with Image.open(path) as picture:
        picture.load()
        assert picture.width > 50
        assert np.asarray(picture.convert("L")).std() > 0
    assert list(path.parent.iterdir()) == [path]


def test_plot_has_a_row_for_each_class_and_a_column_for_each_image(tmp_path):
    def size(synthetic, **options):
        with Image.open(synthetic.plot(tmp_path / "p.png", **options)) as picture:
            return picture.size

    few, many = a_set((0, 0, 1)), a_set((0, 0, 0, 1, 2, 2))
    assert size(few) < size(many)
    assert size(many, images_per_class=2)[0] == size(few)[0]
    assert size(many, max_classes=2)[1] == size(few)[1]


@pytest.mark.parametrize(("classes", "rows", "columns"), [(2, 1, 2), (10, 1, 10), (13, 2, 10), (50, 2, 10)])
def test_plot_of_one_image_a_class_is_a_gallery(tmp_path, monkeypatch, classes, rows, columns):
    monkeypatch.setattr("distill.sets.synthetic.GALLERY", 20)
    names = tuple(f"a class with a long name, {i}" for i in range(classes))
    made = a_set(range(classes), classes=names)
    with Image.open(made.plot(tmp_path / "p.png")) as picture:
        assert picture.size == (round(0.95 * columns * 120), round(1.05 * rows * 120))


def test_plot_draws_classes_of_different_counts_and_an_empty_set(tmp_path):
    for made in (a_set((0, 0, 0, 2)), a_set().subset(torch.zeros(4, dtype=torch.bool))):
        with Image.open(made.plot(tmp_path / "p.png")) as picture:
            picture.verify()


def test_plot_takes_class_names_with_dollars_as_they_are(tmp_path):
    a_set(classes=("$\\oops$", "a_b", "ü")).plot(tmp_path / "p.png")


@pytest.mark.parametrize("name", ["images", "images.foo"])
def test_plot_to_a_name_without_a_known_ending_writes_a_picture_or_says_why_not(tmp_path, name):
    try:
        path = a_set().plot(tmp_path / name)
    except InputError as error:
        assert name in str(error)  # noqa: PT017 (either outcome will do)
        assert not list(tmp_path.iterdir())
    else:
        assert list(tmp_path.iterdir()) == [path]
        with Image.open(path) as picture:
            picture.verify()


def test_plot_that_fails_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(self, file, **options):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", fail)
    with pytest.raises(InputError, match=r"cannot write .*p.png: No space left on device"):
        a_set().plot(tmp_path / "p.png")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_initial_labels_of_no_size_are_refused(scale):
    with pytest.raises(InputError, match=r"scale is .*; expected more than 0, finite"):
        initial_labels(torch.tensor([0, 1]), 2, scale=scale)


@pytest.mark.parametrize(
    ("made_by", "message"),
    [
        ({"history": [1, 2]}, "history in made_by is \\[1, 2\\]; expected a list with a mapping for each record"),
        ({"history": [{"step": 0, "loss": "low"}]}, "history in made_by has loss 'low'; expected a number"),
        ({"options": [1]}, "options in made_by is \\[1\\]; expected a mapping"),
        ({"started_from": ["a"]}, "started_from in made_by is \\['a'\\]; expected a list of positions"),
        ({"parts": [{"history": 3}]}, "history in made_by is 3; expected a list"),
    ],
    ids=range(5),
)
def test_how_a_set_was_made_is_checked(tmp_path, made_by, message):
    tensors, metadata = a_set().content()
    path = write_tensors(tmp_path / "s.safetensors", tensors, {**metadata, "made_by": made_by})
    with pytest.raises(InputError, match=f"s.safetensors holds no valid synthetic set: {message}"):
        SyntheticSet.load(path)

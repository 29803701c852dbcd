"""import_set: sets that other programs saved, and files that want to run code."""

import hashlib
import pickle
import re

import numpy as np
import pytest
import torch
from PIL import Image

from distill import Identity, InputError, InputWarning, Random, Standardize, SyntheticSet, TrainingRecipe, evaluate
from distill.preprocess import KeptElsewhere
from distill.sets.importing import import_set, parse_preprocessing
from distill.sets.synthetic import initial_labels

IDS = torch.tensor([0, 1, 1, 2])
SOFT = torch.tensor([[0.9, 0.1, -0.2], [0.1, 0.7, 0.6], [0.0, 0.3, 0.1], [-0.1, 0.2, 0.4]])
GREY = "standardize:mean=0.5;std=0.25"
RGB = "standardize:mean=0.49,0.48,0.45;std=0.25,0.24,0.26"


def images(*shape, seed=0):
    return torch.randn(shape or (4, 3, 8, 8), generator=torch.Generator().manual_seed(seed))


def npz(folder, **arrays):
    np.savez(folder / "set.npz", **{key: np.asarray(value) for key, value in arrays.items()})
    return folder / "set.npz"


def pt(folder, content, name="set.pt"):
    torch.save(content, folder / name)
    return folder / name


def refused(message, path, **options):
    with pytest.raises(InputError, match=message) as error:
        import_set(path, **{"preprocessing": "identity"} | options)
    assert "\n" not in str(error.value)
    return str(error.value)


# -- the files of others -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image_key", "label_key"),
    [("images", "labels"), ("image", "label"), ("x", "y"), ("x_distilled", "y_distilled"), ("data", "targets"),
     ("x_proto", "y_proto"), ("Images", "Labels")],
)
@pytest.mark.parametrize("save", [npz, lambda folder, **arrays: pt(folder, arrays)], ids=["npz", "pt"])
def test_usual_names_are_found(tmp_path, save, image_key, label_key):
    made = import_set(save(tmp_path, **{image_key: images(), label_key: SOFT}), preprocessing="identity")
    assert torch.equal(made.images, images())
    assert torch.equal(made.labels, SOFT)
    assert made.class_ids.tolist() == [0, 1, 1, 2]
    assert made.classes == ("0", "1", "2")


def test_last_experiment_of_dc_counts_and_its_numpy_accuracies_do_no_harm(tmp_path):
    # VICO-UoE/DatasetCondensation main.py: [[images, labels], ...], and accuracies that are NumPy numbers.
    data = [[images(seed=1), IDS], [images(seed=2), IDS]]
    path = pt(tmp_path, {"data": data, "accs_all_exps": {"ConvNet": [np.float64(0.4), np.float32(0.5)]}})
    made = import_set(path, preprocessing=RGB)
    assert torch.equal(made.images, images(seed=2))
    assert torch.equal(made.labels, initial_labels(IDS, 3))
    assert made.class_ids.tolist() == IDS.tolist()


def test_safe_globals_are_as_they_were_after_reading(tmp_path):
    before = set(torch.serialization.get_safe_globals())
    import_set(pt(tmp_path, (images(), IDS)), preprocessing="identity")
    assert set(torch.serialization.get_safe_globals()) == before


def test_mtt_keeps_images_and_labels_in_two_files(tmp_path):
    learned = images().requires_grad_()
    path, labels = pt(tmp_path, learned, "images_best.pt"), pt(tmp_path, IDS, "labels_best.pt")
    made = import_set(path, labels=labels, preprocessing="identity", name="MTT")
    assert not made.images.requires_grad
    assert torch.equal(made.images, images())
    assert made.made_by["name"] == "MTT"
    assert made.made_by["options"]["labels_sha256"] == hashlib.sha256(labels.read_bytes()).hexdigest()
    refused(r"images_best.pt holds one array of shape \(4, 3, 8, 8\); expected images and labels: .* as `labels`", path)


@pytest.mark.parametrize("pair", [tuple, list])
def test_pair_of_images_and_labels(tmp_path, pair):
    made = import_set(pt(tmp_path, pair([images(), SOFT]), "set.pth"), preprocessing="identity")
    assert torch.equal(made.labels, SOFT)


def test_images_and_labels_in_two_npy_files(tmp_path):
    np.save(tmp_path / "x.npy", images().numpy())
    np.save(tmp_path / "y.npy", IDS.numpy())
    made = import_set(tmp_path / "x.npy", labels=tmp_path / "y.npy", preprocessing="identity")
    assert torch.equal(made.images, images())


def test_how_it_came_here_is_remembered_and_saved(tmp_path):
    path = npz(tmp_path, images=images(), labels=IDS)
    made = import_set(path, preprocessing=RGB)
    assert made.made_by == {
        "method": "imported",
        "name": "set",
        "options": {
            "file": "set.npz",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "preprocessing": RGB,
            "pixels": False,
        },
    }
    loaded = SyntheticSet.load(made.save(tmp_path / "s.safetensors"))
    assert loaded.made_by == made.made_by
    assert loaded.preprocessing.same_as(made.preprocessing)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_floats_of_any_width_become_float32(tmp_path, dtype):
    made = import_set(pt(tmp_path, (images().to(dtype), SOFT.to(dtype))), preprocessing="identity")
    assert made.images.dtype == made.labels.dtype == torch.float32


def test_big_endian_arrays_are_read(tmp_path):
    made = import_set(npz(tmp_path, x=images().numpy().astype(">f4"), y=IDS.numpy().astype(">i8")),
                      preprocessing="identity")
    assert torch.equal(made.images, images())


# -- layout ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("layout", ["auto", "nhwc"])
def test_channels_last_becomes_channels_first(tmp_path, channels, layout):
    path = npz(tmp_path, images=images(4, channels, 8, 6).permute(0, 2, 3, 1), labels=IDS)
    made = import_set(path, preprocessing="identity", layout=layout)
    assert torch.equal(made.images, images(4, channels, 8, 6))


def test_three_dimensions_are_one_channel(tmp_path):
    made = import_set(npz(tmp_path, x=images(4, 8, 8), y=IDS), preprocessing=GREY)
    assert made.images.shape == (4, 1, 8, 8)


def test_layout_that_reads_both_ways_must_be_said(tmp_path):
    path = npz(tmp_path, images=images(4, 3, 5, 3), labels=IDS)
    refused(r"shape \(4, 3, 5, 3\), which fits both layouts; give layout: nchw or nhwc", path)
    assert import_set(path, preprocessing="identity", layout="nchw").images.shape == (4, 3, 5, 3)
    assert import_set(path, preprocessing="identity", layout="nhwc").images.shape == (4, 3, 3, 5)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((4, 192), {}, r"have shape \(4, 192\); expected at least one image, as \(n, channels, height, width\)"),
        ((0, 3, 8, 8), {}, r"have shape \(0, 3, 8, 8\); expected at least one image"),
        ((4, 8, 8, 2), {}, r"shape \(4, 8, 8, 2\), so 8 channels \(nchw\); expected 1 or 3 channels"),
        ((4, 3, 8, 8), {"layout": "nhwc"}, r"so 8 channels \(nhwc\); expected 1 or 3 channels"),
        ((4, 3, 8, 8), {"layout": "chwn"}, "layout is 'chwn'; expected one of auto, nchw, nhwc"),
    ],
)
def test_wrong_shapes_are_refused(tmp_path, shape, options, message):
    refused(message, npz(tmp_path, images=images(*shape), labels=IDS), **options)


# -- preprocessing -----------------------------------------------------------------------------------------------------


def test_preprocessing_stated_for_preprocessed_images_stays_and_is_not_applied(tmp_path, make_images):
    real = make_images(channels=3)
    other = Random().distill(Standardize.fit(real).apply(real), images_per_class=2)
    path = npz(tmp_path, images=other.images, labels=other.labels)
    for stated in (other.preprocessing, str(other.save(tmp_path / "other.safetensors"))):
        made = import_set(path, preprocessing=stated)
        assert torch.equal(made.images, other.images)
        assert made.preprocessing.same_as(other.preprocessing)
        assert torch.equal(made.pixels(), other.pixels())


def test_pixels_are_preprocessed_as_stated(tmp_path):
    raw = torch.randint(0, 256, (4, 3, 8, 8), dtype=torch.uint8)
    standardize = parse_preprocessing(RGB, channels=3)
    for given in (raw, raw.float() / 255):
        made = import_set(pt(tmp_path, (given, IDS)), preprocessing=RGB, pixels=True)
        assert torch.equal(made.images, standardize.forward(raw.float() / 255))
        assert torch.equal(made.pixels().permute(0, 3, 1, 2), raw)


def test_imported_set_can_be_evaluated(tmp_path, make_images):
    train, test = make_images(channels=1), make_images(channels=1, seed=1)
    real = Standardize.fit(train).apply(train)
    path = npz(tmp_path, images=real.images.permute(0, 2, 3, 1), labels=real.labels)
    made = import_set(path, preprocessing=real.preprocessing, classes=train.classes)
    recipe = TrainingRecipe(width=8, depth=2, train_steps=60, warmup_steps=5, learning_rate=3e-3, augment=False)
    assert evaluate(made, made.preprocessing.apply(test), recipe=recipe, networks=1).network[0] > 0.6


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        (torch.zeros(4, 3, 8, 8, dtype=torch.uint8), {}, r"are uint8, so raw pixels; say so with `pixels`.*identity"),
        (torch.zeros(4, 3, 8, 8, dtype=torch.int64), {}, "are torch.int64; expected floats, or uint8 pixels"),
        (torch.full((4, 3, 8, 8), 255.0), {"pixels": True}, r"run from 255 to 255; expected pixels in \[0, 1\]"),
        (torch.full((4, 3, 8, 8), -0.5), {"pixels": True}, r"run from -0.5 to -0.5; .* or leave out `pixels`"),
        (torch.full((4, 3, 8, 8), torch.nan), {}, "4 of 4 images of .* hold NaN or infinite values"),
        (images(), {"preprocessing": KeptElsewhere()}, "the preprocessing of this set is not in its file"),
        (images(4, 1, 8, 8), {"preprocessing": parse_preprocessing(RGB, channels=3)},
         r"preprocessing \(standardize\) is not for images of shape \(1, 8, 8\)"),
        (images(), {"preprocessing": GREY.replace(".5;", ".5,.5;")}, "mean of .* has 2 numbers; expected 3, one for"),
    ],
)
def test_images_that_do_not_fit_what_is_stated_are_refused(tmp_path, given, options, message):
    refused(message, pt(tmp_path, (given, IDS)), **options)


def test_whitening_of_another_size_is_refused(tmp_path, make_images):
    from distill import ZCA

    zca = ZCA.fit(make_images(channels=3, height=6, width=6))
    refused(r"preprocessing \(zca\) is not for images of shape \(3, 8, 8\)", pt(tmp_path, (images(), IDS)),
            preprocessing=zca)


def test_text_of_a_preprocessing():
    assert isinstance(parse_preprocessing("identity", channels=3), Identity)
    made = parse_preprocessing("standardize: std=0.2,0.3,0.4; mean=0.1,0.2,0.3", channels=3)
    assert isinstance(made, Standardize)
    assert torch.equal(made.mean, torch.tensor([0.1, 0.2, 0.3]))
    assert torch.equal(made.std, torch.tensor([0.2, 0.3, 0.4]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "preprocessing is ''; expected identity, standardize:mean=M"),
        ("zca", "preprocessing is 'zca'; expected identity, .* or a .safetensors file"),
        ("standardize", "expected a mean and a std: standardize:mean"),
        ("standardize:mean=1", "expected a mean and a std"),
        ("standardize:mean=1;std=1;zca=1", "expected a mean and a std"),
        ("standardize:mean=1;std=1;mean=2", "expected a mean and a std"),
        ("standardize:mean=a;std=1", "mean of .* is no list of numbers; expected 1"),
        ("standardize:mean=1,2;std=1", "mean of .* has 2 numbers; expected 1, one for each channel"),
        ("standardize:mean=nan;std=1", "mean of .* holds NaN"),
        ("standardize:mean=1;std=0", "std of .* is 0; expected more than 0"),
        ("none.safetensors", "cannot read none.safetensors: there is no such file"),
    ],
)
def test_text_that_states_no_preprocessing_is_refused(text, message):
    with pytest.raises(InputError, match=message):
        parse_preprocessing(text, channels=1)


# -- labels and classes ------------------------------------------------------------------------------------------------


def test_class_names_are_those_given_or_those_of_the_file(tmp_path):
    path = npz(tmp_path, x=images(), y=IDS, classes=["ape", "bee", "cat"])
    assert import_set(path, preprocessing="identity").classes == ("ape", "bee", "cat")
    made = import_set(path, preprocessing="identity", classes=[f"c{i}" for i in range(5)])
    assert made.classes == ("c0", "c1", "c2", "c3", "c4")
    assert torch.equal(made.labels, initial_labels(IDS, 5))


@pytest.mark.parametrize("labels", [IDS.to(torch.uint8), IDS.int(), IDS.unsqueeze(1)], ids=["uint8", "int32", "column"])
def test_class_ids_of_any_integer_type(tmp_path, labels):
    assert torch.equal(import_set(npz(tmp_path, x=images(), y=labels), preprocessing="identity").class_ids, IDS)


def test_one_hot_labels_are_soft_labels(tmp_path):
    made = import_set(npz(tmp_path, x=images(), y=torch.eye(3).long()[IDS]), preprocessing="identity")
    assert torch.equal(made.labels, torch.eye(3)[IDS])


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        (IDS[:3], None, r"images of shape \(4, 3, 8, 8\) and labels of shape \(3,\); expected one label for each"),
        (IDS.float(), None, r"are torch.float32 of shape \(4,\); expected class ids, integers of shape \(n,\), or"),
        (torch.zeros(4, 2, 2), None, r"of shape \(4, 2, 2\); expected class ids"),
        (IDS - 1, None, "hold the class id -1; expected class ids from 0"),
        (IDS * 10**9, None, "hold the class id 2000000000, for 4 images; name all classes"),
        (IDS, ["a", "b"], "hold the class id 2, but 2 class names were given"),
        (SOFT, ["a", "b"], "2 class names were given, but labels of .* have 3 columns"),
        (SOFT, ["a", "b", "a"], "classes hold a name twice; expected 3 different names"),
        (SOFT, "abc", "classes is the single string 'abc'; expected a list of names"),
        (torch.full((4, 3), torch.inf), None, "labels of .* hold NaN or infinite values"),
    ],
)
def test_labels_that_do_not_fit_are_refused(tmp_path, labels, classes, message):
    refused(message, npz(tmp_path, images=images(), labels=labels), classes=classes)


# -- files that cannot be used -----------------------------------------------------------------------------------------


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return exec, (f"open({str(self.path)!r}, 'w').write('ran')",)


@pytest.fixture
def payload(tmp_path):
    made = Payload(tmp_path / "ran")
    yield made
    assert not made.path.exists(), "the payload ran"


def test_payload_would_run_if_it_were_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Payload(tmp_path / "ran")))
    assert (tmp_path / "ran").exists()


def test_malicious_pt_is_refused_and_does_not_run(tmp_path, payload):
    for content in (payload, {"images": images(), "labels": IDS, "more": payload}, (images(), payload)):
        told = refused(r"holds pickled objects \(.*exec\), which are not read because they can run code",
                       pt(tmp_path, content))
        assert "numpy.savez(file, images=images, labels=labels)" in told


def test_payload_behind_the_numbers_of_numpy_does_not_run(tmp_path, payload):
    refused("holds pickled objects", pt(tmp_path, {"data": [[images(), IDS]], "accs": [np.float64(1), payload]}))
    array = np.array([payload], dtype=object)
    refused("holds pickled objects", pt(tmp_path, {"images": images(), "labels": IDS, "accs": array}))


def test_labels_file_is_no_way_in_either(tmp_path, payload):
    refused("labels.pt holds pickled objects", pt(tmp_path, images()), labels=pt(tmp_path, payload, "labels.pt"))


@pytest.mark.parametrize("name", ["set.npz", "set.npy", "set.pt"])
def test_plain_pickle_under_any_name_does_not_run(tmp_path, payload, name):
    (tmp_path / name).write_bytes(pickle.dumps(payload))
    refused(f"{name} (is damaged or no|holds pickled objects)", tmp_path / name)


def test_malicious_npz_is_refused_and_does_not_run(tmp_path, payload):
    np.savez(tmp_path / "set.npz", images=np.array([payload], dtype=object), labels=IDS.numpy(), allow_pickle=True)
    refused("images of .*set.npz holds Python objects, which are not read because they can run code; expected one",
            tmp_path / "set.npz")


def test_missing_arrays_are_named_with_what_was_found(tmp_path):
    refused(r"has no labels: found images, weights; expected one of labels, label, y",
            npz(tmp_path, images=images(), weights=IDS))
    refused("has no images: found y; expected one of images, image, x", pt(tmp_path, {"y": IDS}))
    refused("has no images: found nothing", pt(tmp_path, {}))
    refused("holds a list of 3; expected images and labels", pt(tmp_path, [images(), IDS, IDS]))


def test_arrays_that_are_no_numbers_are_refused(tmp_path):
    refused("labels of .* are <U1; expected one array of numbers", npz(tmp_path, images=images(), labels=list("abca")))
    refused("labels of .* are dict; expected one array of numbers", pt(tmp_path, {"images": images(), "labels": {}}))


@pytest.mark.parametrize("name", ["set.npz", "set.pt"])
@pytest.mark.parametrize("left", [0, 10, 300, -30])
def test_damaged_files_are_input_errors_that_name_them(tmp_path, name, left):
    arrays = {"images": images(), "labels": IDS}
    path = npz(tmp_path, **arrays) if name.endswith("npz") else pt(tmp_path, arrays)
    path.write_bytes(path.read_bytes()[:left])
    refused(f"{re.escape(str(path))} is damaged or no", path)


def test_missing_and_foreign_files_are_input_errors_that_name_them(tmp_path):
    refused(f"cannot read {tmp_path / 'none.pt'}: there is no such file", tmp_path / "none.pt")
    refused("cannot import set.pkl; expected a file that ends in .npz, .npy, .pt, .pth", "set.pkl")


def test_arrays_that_are_not_taken_are_named(tmp_path):
    given = npz(tmp_path, images=images(), x_syn=images(), labels=IDS, y=IDS)
    with pytest.warns(InputWarning, match=r"more than one array of images: images is taken, x_syn left out"):
        import_set(given, preprocessing="identity")


# -- folders of class folders --------------------------------------------------------------------------------------


def class_folders(path, images, names, *, mode=None):
    """Image files of `(n, height, width[, 3])`, `names[i]` being the class folder of image `i`."""
    for i, (image, name) in enumerate(zip(images, names, strict=True)):
        (path / name).mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(image)
        (picture if mode is None else picture.convert(mode)).save(path / name / f"{i}.png")
    return path


@pytest.mark.parametrize("names", [["a", "c", "c"], ["0", "2", "2"], ["000", "02", "02"]])
def test_folder_of_class_folders_is_a_set(tmp_path, names):
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), dtype=np.uint8)
    given = class_folders(tmp_path / "set", images, names)
    synthetic = import_set(given, preprocessing="identity", classes=["a", "b", "c"])
    assert torch.equal(synthetic.pixels(), torch.from_numpy(images))
    assert synthetic.class_ids.tolist() == [0, 2, 2]
    assert torch.equal(synthetic.labels, initial_labels(synthetic.class_ids, 3))
    assert len(synthetic.made_by["options"]["sha256"]) == 64


def test_folder_names_its_classes_where_nobody_else_does(tmp_path):
    given = class_folders(tmp_path / "set", np.zeros((2, 4, 4), np.uint8), ["cat", "dog"])
    assert import_set(given, preprocessing="identity").classes == ("cat", "dog")


def test_grey_folders_become_rgb_and_colourless_ones_grey_where_that_is_wanted(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4), dtype=np.uint8)
    for mode, channels in (("L", 3), ("RGB", 1)):
        given = class_folders(tmp_path / mode, images, ["0", "1"], mode=mode)
        synthetic = import_set(given, preprocessing="identity", channels=channels)
        assert synthetic.images.shape[1] == channels
        assert torch.equal(synthetic.pixels()[..., 0], torch.from_numpy(images))


BAD_FOLDERS = {
    "a name that is none": (["a", "x"], {"classes": ["a", "b"]}, "class folder 'x', which is none of the 2 classes"),
    "a number too large": (["0", "2"], {"classes": ["a", "b"]}, "class folder '2', which is none of the 2 classes"),
    "a class twice": (["a", "0"], {"classes": ["a", "b"]}, "two class folders of .*set are of the same class"),
    "labels": (["a", "b"], {"labels": "labels.pt"}, "is a folder, whose class folders are the labels; leave"),
    "colours": (["a", "b"], {"channels": 1}, "images of .*set have colours; expected grey ones"),
}


@pytest.mark.parametrize("case", BAD_FOLDERS)
def test_folders_that_do_not_fit_are_refused(tmp_path, case):
    names, options, message = BAD_FOLDERS[case]
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    given = class_folders(tmp_path / "set", images, names)
    with pytest.raises(InputError, match=message):
        import_set(given, preprocessing="identity", **options)


# -- values a step outside, ids that start late ----------------------------------------------------------------------


@pytest.mark.parametrize(("beyond", "refused"), [(1e-7, False), (2**-10, False), (2**-9, True)])
def test_pixels_a_rounding_step_outside_are_clipped(tmp_path, beyond, refused):
    images = torch.linspace(-beyond, 1 + beyond, 2 * 16, dtype=torch.float64).view(2, 1, 4, 4)
    torch.save({"images": images, "labels": torch.tensor([0, 1])}, tmp_path / "set.pt")
    if refused:
        with pytest.raises(InputError, match=r"run from -0.001953125 to 1.00195312; expected pixels in \[0, 1\]"):
            import_set(tmp_path / "set.pt", preprocessing="identity", pixels=True)
        return
    images = import_set(tmp_path / "set.pt", preprocessing="identity", pixels=True).images
    assert (float(images.min()), float(images.max())) == (0, 1)


def test_class_ids_that_start_at_1_or_have_gaps_are_told(tmp_path):
    images = torch.zeros(3, 1, 4, 4)
    torch.save({"images": images, "labels": torch.tensor([1, 2, 3])}, tmp_path / "late.pt")
    torch.save({"images": images, "labels": torch.tensor([0, 3, 3])}, tmp_path / "gaps.pt")
    with pytest.raises(InputError, match=r"labels of .* start at 1 and end at 3; expected class ids from 0: subtract"):
        import_set(tmp_path / "late.pt", preprocessing="identity")
    with pytest.raises(InputError, match=r"hold the class id 3, .* they start at 1: subtract 1"):
        import_set(tmp_path / "late.pt", preprocessing="identity", classes=["a", "b", "c"])
    with pytest.warns(InputWarning, match="labels of .* have gaps: no image has the class id 1, 2; assumed"):
        assert import_set(tmp_path / "gaps.pt", preprocessing="identity").num_classes == 4


@pytest.mark.parametrize("options", [{"layout": "nhwc"}, {"layout": "nchw"}, {"pixels": False}], ids=str)
def test_what_a_folder_of_files_leaves_no_choice_of_is_refused(tmp_path, options):
    given = class_folders(tmp_path / "set", np.zeros((2, 4, 4), np.uint8), ["cat", "dog"])
    with pytest.raises(InputError, match=r"set is a folder"):
        import_set(given, preprocessing="identity", **options)
    assert import_set(given, preprocessing="identity", pixels=True).made_by["options"]["pixels"]

"""Labelled images from .npz files."""


import numpy as np
import pytest

from distill.data.labelled import LabelledImages, load_images
from distill.errors import InputError, InputWarning
from tiny_sources import arrays, fails, save


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
    "int images": ({"x_train": np.zeros((6, 5, 4, 3), int)}, "x_train of .* is int64; expected uint8, or floats"),
    "flat images": ({"x_train": np.zeros((6, 60), np.uint8)}, r"shape \(6, 60\); expected \(n, height, width,"),
    "channels first": ({"x_train": np.zeros((6, 3, 5, 4), np.uint8)}, r"transpose it with \(0, 2, 3, 1\)"),
    "shapes": ({"x_test": np.zeros((4, 5, 5, 3), np.uint8)}, r"\(5, 4, 3\) and test images of shape \(5, 5, 3\)"),
    "channels": ({"x_test": np.zeros((4, 5, 4), np.uint8)}, r"test images of shape \(5, 4, 1\).*resize or convert"),
    "mixed shapes": ({"x_train": np.array([None] * 6)}, "x_train of .* holds Python objects.*all have one shape"),
    "object labels": ({"y_test": np.array([None] * 4)}, "y_test of .* holds Python objects"),
    "object names": ({"classes": np.array(["a", None])}, "classes of .* holds Python objects.*text for classes"),
    "NaN": ({"x_train": np.full((6, 5, 4, 3), np.nan)}, "6 of 6 images hold NaN or infinite pixels"),
    "0 to 255": ({"x_train": floats(0, 255)}, r"runs from 0 to 255; expected floats in \[0, 1\]"),
    "-1 to 1": ({"x_train": floats(-1, 1)}, r"runs from -1 to 1; expected floats in \[0, 1\]"),
    "float labels": ({"y_train": np.zeros(6)}, "y_train of .* is float64; expected integers from 0"),
    "negative": ({"y_test": np.array([0, 1, -1, 0])}, "y_test of .* holds the label -1; expected labels from 0"),
    "too large": ({"y_test": np.array([0, 1, 2, 0])}, "holds the label 2, but `classes` has 2 names"),
    "count": ({"y_train": np.zeros(5, int)}, r"y_train .* shape \(5,\); expected \(6,\), one label for each image"),
    "two columns": ({"y_train": np.zeros((6, 2), int)}, r"y_train .* shape \(6, 2\); expected \(6,\)"),
    "a bit above 1": ({"x_train": floats(0, 1.0012)}, r"runs from 0 to 1.0012; expected floats in \[0, 1\]"),
    "a bit below 0": ({"x_train": floats(-0.00100001, 1)}, r"runs from -0.00100001 to 1; expected"),
    "narrow": ({"x_train": floats(0, 0.02)}, "from 0 to 0.02 and holds 360 .* keeps only 6; spread it over .*uint8"),
    "divided twice": ({"x_train": floats(0, 1 / 255)}, r"to 0.00392156863 and .* keeps only 2; .* by 255 twice\?"),
    "narrow amid": ({"x_train": floats(0.5, 0.55)}, "runs from 0.5 to 0.55 and .* keeps only 13"),
    "one hot": ({"x_train": np.append(floats(0, 0.02).flat[:-1], 1).reshape(6, 5, 4, 3)}, "to 1 and .* only 7; sp"),
    "16 bits": ({"x_train": np.zeros((6, 5, 4, 3), np.uint16)}, "is uint16; expected uint8, .*; divide by the largest"),
    "labels from 1": ({"y_train": np.array([1, 2] * 3), "y_test": np.array([1, 2] * 2)}, "start at 1: subtract 1"),
    "number names": ({"classes": np.arange(2)}, "classes of .* is int64 .*; expected one string per class"),
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
    with pytest.warns(InputWarning, match=r"ignored unknown arrays in .*tiny.npz: x_val, y_val$"):
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
    with pytest.warns(InputWarning, match=r"x_train of .* runs from 0 to 0.4 and .* keeps only 103; spread it"):
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
    fails(save(tmp_path, content), "has no y_test; expected x_train, y_train, x_test, y_test, found x_train, y_train")


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

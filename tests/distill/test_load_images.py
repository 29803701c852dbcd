"""Sources of images by name and by path, downloads, and the text of every error."""

import gzip
import re
import socket
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torchvision.datasets

from distill.data import named
from distill.data.labelled import DATASETS, load_images
from distill.data.splits import chosen_for_test
from tiny_sources import arrays, fails, picture, two_classes

SHARED = Path(__file__).parents[2] / "shared" / "data"


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
    fails("digits", "unknown split 'val'; expected 'train' or 'test'", split="val")


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

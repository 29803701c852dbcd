"""Well-known data sets by name: found on disk, downloaded by torchvision, or bundled with scikit-learn."""

import gzip
import http.client
import os
import shutil
import socket
import tempfile
import textwrap
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from distill.data.decode import resize_arrays
from distill.data.layouts import LAYOUTS, load_layout
from distill.data.npz import load_npz
from distill.data.splits import Arrays, Split, chosen_for_test
from distill.errors import InputError

# torchvision and scikit-learn take seconds to import, so they are imported where they are needed.

__all__ = ["DATASETS", "load_named"]

# By name: torchvision's class, and the folder under its root that it reads.
CIFAR = {"cifar100": ("CIFAR100", "cifar-100-python"), "cifar10": ("CIFAR10", "cifar-10-batches-py")}
MNIST = {"mnist": ("MNIST", "MNIST/raw"), "fmnist": ("FashionMNIST", "FashionMNIST/raw")}
DATASETS = (*CIFAR, *MNIST, "digits", *LAYOUTS)

DEBIAN_FMNIST = Path("/usr/share/datasets/fashion-mnist")  # of the package dataset-fashion-mnist
DIGITS_TEST_FRACTION = 0.25
NETWORK_TIMEOUT = 10.0  # seconds without an answer


def load_named(name: str, split: Split, data_dir: Path, *, cache: Path, resolution: int | None = None) -> Arrays:
    """Read one split of the set `name`, one of `DATASETS`, downloading it into `data_dir` when it is not on disk.

    On disk means `<data_dir>/<name>.npz`, torchvision's own files in `data_dir`, a published folder of
    `distill.data.layouts` there or, for fmnist, Debian's package. Of the published folders only Imagenette is
    downloaded.

    - `cache`: the folder for decoded images of published folders.
    - `resolution`: height and width of the images; `None`: as on disk, for published folders the paper's.

    Raises `InputError` when files are damaged, or when there are none and the download fails.
    """
    if (data_dir / f"{name}.npz").is_file():
        found: Arrays | None = load_npz(data_dir / f"{name}.npz", split)
    elif name == "digits":
        found = _load_digits(split)
    else:
        found = _find(name, split, data_dir, resolution, cache)
        if found is None:
            _download(name, data_dir, resolution)
            found = _find(name, split, data_dir, resolution, cache)
    if found is None:
        raise InputError(f"the download of {name} into {data_dir} is incomplete; remove {_places(name, data_dir)[0]}")
    return found if resolution is None else found._replace(images=resize_arrays(found.images, resolution))


def _load_digits(split: Split) -> Arrays:
    """1797 grey 8x8 images of 10 classes; scikit-learn's 17 grey levels are scaled to 0 to 255."""
    levels, labels = _digits()
    images = np.rint(levels * (255 / 16)).astype(np.uint8)[..., None]
    chosen = chosen_for_test(labels, DIGITS_TEST_FRACTION) == (split == "test")
    return Arrays(images[chosen], labels[chosen], tuple(str(digit) for digit in range(10)))


@lru_cache(maxsize=1)  # load_named has a `cache` of its own
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """Images and labels of both splits, from a table of text, which is slow to read."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return digits.images, digits.target


def _places(name: str, data_dir: Path) -> list[Path]:
    """Folders that may hold the original files."""
    if name in LAYOUTS:
        return [data_dir / folder for folder in LAYOUTS[name].folders]
    places = [data_dir / (CIFAR | MNIST)[name][1]]
    return [*places, DEBIAN_FMNIST] if name == "fmnist" else places


def _find(name: str, split: Split, data_dir: Path, resolution: int | None, cache: Path) -> Arrays | None:
    """The split from its original files, or `None` where they are not on disk."""
    if name in LAYOUTS:
        return load_layout(LAYOUTS[name], name, split, data_dir, resolution, cache)
    if name in CIFAR:
        return _load_cifar(name, split, data_dir)
    for folder in _places(name, data_dir):
        prefix = "train" if split == "train" else "t10k"
        images = _plain_or_gz(folder / f"{prefix}-images-idx3-ubyte")
        labels = _plain_or_gz(folder / f"{prefix}-labels-idx1-ubyte")
        if images and labels:
            return _load_mnist(name, images, labels)
    return None


def _load_cifar(name: str, split: Split, data_dir: Path) -> Arrays | None:
    class_name, base = CIFAR[name]
    if not (data_dir / base).is_dir():
        return None
    import torchvision.datasets

    try:  # torchvision checks checksums before it unpickles anything
        data = getattr(torchvision.datasets, class_name)(data_dir, train=split == "train", download=False)
    except (OSError, RuntimeError) as error:
        raise InputError(
            f"{data_dir / base} is damaged or incomplete ({_one_line(error)}); remove it to download it again"
        ) from error
    return Arrays(data.data, np.asarray(data.targets), tuple(data.classes))


def _load_mnist(name: str, image_file: Path, label_file: Path) -> Arrays:
    import torchvision.datasets

    classes = tuple(getattr(torchvision.datasets, MNIST[name][0]).classes)
    images, labels = _read_idx(image_file, 3), _read_idx(label_file, 1)
    if len(images) != len(labels) or labels.max(initial=0) >= len(classes) or not len(images):
        raise InputError(
            f"{image_file} and {label_file} do not belong together: {len(images)} images and {len(labels)} labels up "
            f"to {labels.max(initial=0)}; remove both to download them again"
        )
    return Arrays(images[..., None], labels, classes)


def _plain_or_gz(file: Path) -> Path | None:
    candidates = (file, file.with_name(f"{file.name}.gz"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read_idx(file: Path, dimensions: int) -> np.ndarray:
    """MNIST's format: two zero bytes, type 8 (uint8), number of dimensions, each as big-endian uint32, then pixels."""
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {file}: {error}; remove it to download it again") from error
    start = 4 + 4 * dimensions
    if content[:4] != bytes([0, 0, 8, dimensions]) or len(content) < start:
        raise InputError(f"{file} is no idx file of {dimensions} dimensions; remove it to download it again")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    expected = start + int(np.prod(shape, dtype=object))
    if len(content) != expected:
        raise InputError(
            f"{file} is damaged: {len(content)} bytes instead of {expected}; remove it to download it again"
        )
    # A copy, because bytes cannot be written to and torch warns of such arrays.
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()


def _download(name: str, data_dir: Path, resolution: int | None) -> None:
    """Let torchvision download and unpack `name` in a temporary folder, then move the files where it looks for them.

    torchvision takes any unpacked MNIST file for complete, so an interrupted download must not leave any.
    Raises `InputError` that says where to get the set when the download fails or torchvision offers none.
    """
    looked_for = ", ".join(map(str, [data_dir / f"{name}.npz", *_places(name, data_dir)]))
    if name in LAYOUTS and name != "imagenette":
        raise InputError(
            f"no {name} on disk (looked for {looked_for}); it is published at {LAYOUTS[name].published}: unpack it "
            "there, or set --data-dir or FREPO_DATA to the folder that holds it"
        )
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".download-", dir=data_dir) as folder, _network_timeout():
            for file in _downloaded(name, data_dir, Path(folder), resolution):
                target = data_dir / file.relative_to(folder)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)
    except (OSError, RuntimeError, http.client.HTTPException) as error:
        raise InputError(
            f"no {name} on disk (looked for {looked_for}), and its download failed "
            f"({_one_line(error)}); put it there, set --data-dir or FREPO_DATA to the folder that holds it, or use "
            "--dataset digits, which needs no download"
        ) from error


def _downloaded(name: str, data_dir: Path, staging: Path, resolution: int | None) -> list[Path]:
    """The files or folders of `name`, downloaded and unpacked by torchvision in `staging`."""
    import torchvision.datasets

    if name == "imagenette":
        size = "160px" if (resolution or 0) <= 160 else "320px" if (resolution or 0) <= 320 else "full"
        torchvision.datasets.Imagenette(staging, size=size, download=True)
        return sorted(entry for entry in staging.iterdir() if entry.is_dir())
    class_name, base = (CIFAR | MNIST)[name]
    dataset = getattr(torchvision.datasets, class_name)
    if name in CIFAR and (data_dir / dataset.filename).is_file():
        shutil.copy(data_dir / dataset.filename, staging)  # torchvision unpacks it if its checksum is right
    dataset(staging, download=True)
    return sorted((staging / base).iterdir())


@contextmanager
def _network_timeout() -> Iterator[None]:
    """Set a timeout, since torchvision sets none: a network that drops packets would block for minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _one_line(error: Exception) -> str:
    return textwrap.shorten(str(error), 200) or type(error).__name__

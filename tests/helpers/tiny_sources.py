"""Small sources of labelled images: .npz files and folders of class folders."""

import numpy as np
import pytest
from PIL import Image

from distill.data.labelled import load_images
from distill.errors import InputError


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


def two_classes(folder, *, ending=".png", count=4):
    for name in ("a", "b"):
        for i in range(count):
            picture(folder / name / f"{i}{ending}", color=40 * i + 1)
    return folder

"""Fingerprints of data: equal for equal data, whatever holds them, and for nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch

from distill import Identity, InputError, LabelledImages, PreprocessedImages
from distill.fingerprint import data_fingerprint, file_fingerprint, fingerprint, tolerant_fingerprint
from distill.store import same


def changed(data: LabelledImages, part: str) -> LabelledImages:
    images, labels, classes = data.images.copy(), data.labels.copy(), data.classes
    if part == "images":
        images[-1, -1, -1, -1] ^= 1
    elif part == "labels":
        labels[-1] = (labels[-1] + 1) % 3
    else:
        classes = classes[::-1]
    return LabelledImages(images, labels, classes, data.name)


@pytest.mark.parametrize("part", ["images", "labels", "classes"])
def test_a_change_shows_in_its_part_and_in_the_whole(make_images, part):
    data = make_images()
    other = changed(data, part)
    before, after = data_fingerprint(data), data_fingerprint(other)
    assert {name for name in before if before[name] != after[name]} == {part}
    assert fingerprint(data) != fingerprint(other)
    preprocessed = [fingerprint(Identity().apply(images)) for images in (data, other)]
    assert preprocessed[0] != preprocessed[1]


def test_equal_data_are_equal_in_memory_on_disk_and_in_any_order_of_axes(make_images, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.fingerprint.CHUNK", 100)
    data = make_images()
    np.save(tmp_path / "images.npy", data.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    turned = np.asfortranarray(data.images)
    found = [
        fingerprint(LabelledImages(images, data.labels.astype(dtype), data.classes, "other name"))
        for images, dtype in ((data.images, np.int64), (mapped, np.uint8), (turned, np.int32))
    ]
    assert len(set(found)) == 1


def test_shape_and_type_count():
    def of(images: torch.Tensor) -> str:
        return fingerprint(PreprocessedImages(images, torch.zeros(len(images)).long(), ("a",), Identity()))

    zeros = torch.zeros(2, 1, 4, 8)
    assert len({of(zeros), of(zeros.transpose(2, 3)), of(zeros.half()), of(zeros[:0]), of(zeros[:1])}) == 5


def test_a_file_is_known_by_its_bytes(tmp_path: Path):
    one, other = tmp_path / "one", tmp_path / "other"
    one.write_bytes(b"set")
    other.write_bytes(b"set")
    assert file_fingerprint(one) == file_fingerprint(other)
    other.write_bytes(b"sets")
    assert file_fingerprint(one) != file_fingerprint(other)
    with pytest.raises(InputError, match=r"cannot read .*nowhere: No such file"):
        file_fingerprint(tmp_path / "nowhere")


def test_a_folder_is_known_by_the_names_and_bytes_of_its_files(tmp_path: Path):
    (tmp_path / "class").mkdir()
    file = tmp_path / "class" / "0.png"
    found = []
    for content in (b"a", b"b"):
        file.write_bytes(content)
        found.append(file_fingerprint(tmp_path))
    file.rename(file.with_name("1.png"))
    found.append(file_fingerprint(tmp_path))
    (tmp_path / "class" / "2.png").touch()
    found.append(file_fingerprint(tmp_path))
    assert len(set(found)) == 4
    (tmp_path / "class" / "2.png").unlink()
    assert file_fingerprint(tmp_path) == found[2]


# -- pixels that differ in their last bits ----------------------------------------------------------------------------


def sums_differ(one: torch.Tensor, other: torch.Tensor, labels: torch.Tensor) -> bool:
    """Whether the tolerant fingerprints of these images do not pass as the same."""
    classes = tuple(map(str, range(100)))
    found = [
        tolerant_fingerprint(PreprocessedImages(images, labels, classes, Identity()))["images"]
        for images in (one, other)
    ]
    return not same(*found)


def many() -> tuple[torch.Tensor, torch.Tensor]:
    """Fifty thousand images of a hundred classes."""
    images = torch.randn(50_000, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    return images, torch.arange(50_000) % 100


@pytest.mark.parametrize("class_id", [0, 1, 50, 99])
def test_one_image_of_any_class_that_was_replaced_is_noticed(class_id):
    images, labels = many()
    for position in torch.nonzero(labels == class_id).squeeze(1)[::100].tolist():
        changed = images.clone()
        changed[position] = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(1 + position))
        assert sums_differ(images, changed, labels), position


def test_images_that_changed_places_are_noticed():
    images, labels = many()
    for position in range(0, 1000, 100):
        order = torch.arange(len(images))
        order[[position, position + 1]] = order[[position + 1, position]]
        assert sums_differ(images, images[order], labels), position


def test_last_bits_of_many_images_are_not_noticed():
    images, labels = many()
    jittered = images + 1e-4 * torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    assert not sums_differ(images, jittered, labels)

"""Distilled sets that a buffer saves, and finds again."""

import pytest
import torch

from continual import DistilledBuffer, class_incremental
from continual.scenario import labelled_dataset
from distill import Distiller, Identity, InputError, PreprocessedImages, Standardize, SyntheticSet
from distill.sets.synthetic import initial_labels
from distillers import DISTILLERS
from tiny_streams import CLASSES, C, First, images, stream


def test_a_cached_set_is_not_taken_for_images_with_other_labels(tmp_path) -> None:
    """Two labels changed places, and the images are so alike that no sum of pixels tells."""
    alike = 1e-6 * torch.randn(60, 1, 4, 4)
    labels = torch.arange(60) % C
    swapped = labels.clone()
    swapped[[0, 1]] = labels[[1, 0]]

    def policy() -> DistilledBuffer:
        return DistilledBuffer(First(), images_per_class=1, num_classes=C, store=tmp_path)

    policy().update_from_dataset(labelled_dataset(alike, labels))
    policy().update_from_dataset(labelled_dataset(alike, labels))
    with pytest.raises(InputError, match=r"with other options or data \(other labels\); use those"):
        policy().update_from_dataset(labelled_dataset(alike, swapped))


def test_cached_experiences_are_not_distilled_again(tmp_path) -> None:
    benchmark = class_incremental(images(), images(12), steps=3)
    preprocessing = Standardize(torch.zeros(1), torch.ones(1))
    first, again = First(), First()
    options = {"images_per_class": 2, "classes": CLASSES, "preprocessing": preprocessing, "store": tmp_path / "cache"}
    made, found = DistilledBuffer(first, **options), DistilledBuffer(again, device="cpu:0", **options)
    for policy in (made, found):
        for experience in benchmark.train_stream:
            policy.post_adapt(None, experience)
    assert len(first.shown) == 3
    assert again.shown == []
    assert made.synthetic is not None
    assert found.synthetic is not None
    assert torch.equal(made.synthetic.images, found.synthetic.images)
    assert torch.equal(made.synthetic.labels, found.synthetic.labels)
    assert made.synthetic.made_by == found.synthetic.made_by
    assert found.synthetic.preprocessing is preprocessing
    files = sorted(path.name for path in (tmp_path / "cache").iterdir())
    assert files == [f"experience-{k}.safetensors" for k in range(3)]
    assert SyntheticSet.load(tmp_path / "cache" / files[0]).preprocessing.kind == "kept-elsewhere"  # a ZCA takes 19 MB
    assert first.shown[1]["store"].folder == tmp_path / "cache" / "experience-1"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"strength": 2.0}, r"experience-0.safetensors was made with .* \(strength was 1.0, now 2.0\)"),
        ({"images_per_class": 3}, r"images_per_class was \[\[0, 2\], .*, now \[\[0, 3\], "),
        ({"seed": 1}, r"\(seed was \d+, now \d+\)"),
    ],
)
def test_a_cache_of_other_options_is_refused(tmp_path, changes: dict, message: str) -> None:
    experience = stream(images())[0]
    DistilledBuffer(First(), images_per_class=2, num_classes=C, store=tmp_path).post_adapt(None, experience)
    distiller = First(strength=changes.pop("strength", 1.0))
    other = DistilledBuffer(distiller, **{"images_per_class": 2, **changes}, num_classes=C, store=tmp_path)
    with pytest.raises(InputError, match=message):
        other.post_adapt(None, experience)


def test_a_cache_of_other_data_is_refused(tmp_path) -> None:
    distiller = First()
    DistilledBuffer(distiller, images_per_class=2, num_classes=C, store=tmp_path).post_adapt(None, stream(images())[0])
    other = stream(images(seed=1))[0]
    with pytest.raises(InputError, match=r"was made with other options or data \(other images\)"):
        DistilledBuffer(distiller, images_per_class=2, num_classes=C, store=tmp_path).post_adapt(None, other)
    other = stream(images(labels=torch.tensor([0, 0, 1, 1])))[0]
    with pytest.raises(InputError, match=r"classes was \[0, 1, 2, 3, 4, 5\], now \[0, 1\]"):
        DistilledBuffer(distiller, images_per_class=2, num_classes=C, store=tmp_path).post_adapt(None, other)
    data = images()
    foreign = SyntheticSet(data.images, initial_labels(data.labels, C), data.labels, CLASSES, Identity())
    foreign.save(tmp_path / "experience-0.safetensors")
    with pytest.raises(InputError, match="was made by another version of this toolkit, or is not an entry of"):
        DistilledBuffer(distiller, images_per_class=2, num_classes=C, store=tmp_path).post_adapt(None, stream(data)[0])


def test_a_cache_notices_one_image_and_one_label_that_changed(tmp_path) -> None:
    """Anywhere in the data, not only where a sample was taken; last bits may differ from machine to machine."""
    data = images(600)
    policy = lambda: DistilledBuffer(First(), images_per_class=2, num_classes=C, store=tmp_path)  # noqa: E731
    policy().post_adapt(None, stream(data)[0])
    jittered = data.images + 1e-6 * torch.randn(data.images.shape)
    policy().post_adapt(None, stream(PreprocessedImages(jittered, data.labels, CLASSES, Identity()))[0])
    changed = data.images.clone()
    changed[123] += 0.5
    with pytest.raises(InputError, match=r"was made with other options or data \(other images\)"):
        policy().post_adapt(None, stream(PreprocessedImages(changed, data.labels, CLASSES, Identity()))[0])
    swapped = data.labels.clone()
    swapped[[10, 11]] = swapped[[11, 10]]
    with pytest.raises(InputError, match=r"was made with other options or data \(other labels\)"):
        policy().post_adapt(None, stream(PreprocessedImages(data.images, swapped, CLASSES, Identity()))[0])


def test_a_cache_of_another_version_is_refused(tmp_path) -> None:
    data = images()
    made_by = {"made_from": {"experience": 0, "pixels": [0.0]}}
    old = SyntheticSet(data.images, initial_labels(data.labels, C), data.labels, CLASSES, Identity(), made_by)
    old.save(tmp_path / "experience-0.safetensors")
    with pytest.raises(InputError, match="was made by another version of this toolkit, or is not an entry of"):
        DistilledBuffer(First(), num_classes=C, store=tmp_path).post_adapt(None, stream(data)[0])


@pytest.mark.parametrize("distiller", DISTILLERS, ids=lambda distiller: distiller.method)
def test_a_store_serves_classes_of_different_size(tmp_path, distiller: Distiller) -> None:
    """Each group of classes that gets another number of images is distilled from other images, in the same store."""
    labels = torch.tensor([0] * 9 + [1] * 9 + [2] * 2)
    drawn = torch.randn(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(0))
    delivered = stream(PreprocessedImages(drawn, labels, CLASSES, Identity()))[0]
    kept, plain = (
        DistilledBuffer(distiller, images_per_class=3, num_classes=C, store=store) for store in (tmp_path, None)
    )
    for policy in (kept, plain):
        policy.post_adapt(None, delivered)
    assert kept.synthetic.class_ids.tolist().count(2) == 2
    assert torch.equal(kept.synthetic.images, plain.synthetic.images)
    assert [path.name for path in tmp_path.iterdir()] == ["experience-0.safetensors"]

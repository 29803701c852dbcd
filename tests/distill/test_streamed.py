"""Streamed images give what the tensor of all gives, everywhere a tensor is used."""

import numpy as np
import pytest
import torch

from distill import (
    DM,
    DSA,
    KIP,
    MTT,
    ZCA,
    Distiller,
    FRePo,
    Herding,
    HerdingTeacher,
    Identity,
    InputError,
    PreprocessedImages,
    Random,
    Standardize,
    SyntheticSet,
    TrainingRecipe,
    evaluate,
)
from distill.data import pixels as pixel_chunks
from distill.fingerprint import fingerprint
from distill.preprocess import CheckerboardZCA, streamed
from distill.preprocess.streamed import StreamedImages, is_large

KINDS = [Identity, Standardize, ZCA, CheckerboardZCA]
TINY = {"width": 4, "depth": 2}


def same_pixel_by_pixel(kind):
    return kind in (Identity, Standardize)


def made(distiller: Distiller, data, **arguments) -> SyntheticSet:
    """A set of two images per class, unless `arguments` say otherwise."""
    return distiller.distill(data, **{"images_per_class": 2, **arguments})


@pytest.fixture
def images(make_images):
    return make_images((20, 20, 20), channels=3)


@pytest.fixture
def mapped(images, tmp_path):
    """The same images in a read-only memory map."""
    np.save(tmp_path / "images.npy", images.images)
    return type(images)(np.load(tmp_path / "images.npy", mmap_mode="r"), images.labels, images.classes, images.name)


def both(kind, data, source=None):
    """The tensor and the stream of one set."""
    preprocessing = Identity() if kind is Identity else kind.fit(data)
    return preprocessing.apply(data, stream=False), preprocessing.apply(source or data, stream=True)


def close(kind, found, expected):
    assert (found.shape, found.dtype, found.device) == (expected.shape, expected.dtype, expected.device)
    tolerance = 0 if same_pixel_by_pixel(kind) else 1e-5
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_way_to_index_gives_what_the_tensor_gives(kind, dtype, images, mapped, monkeypatch):
    monkeypatch.setattr(pixel_chunks, "CHUNK_VALUES", 8 * 8 * 3 * 7)
    whole, stream = (data.to("cpu", dtype) for data in both(kind, images, mapped))
    assert isinstance(whole.images, torch.Tensor)
    assert isinstance(stream.images, StreamedImages)
    tensor, found = whole.images, stream.images
    for name in ("shape", "ndim", "dtype", "device"):
        assert getattr(found, name) == getattr(tensor, name)
    assert found.is_floating_point()
    assert len(found) == len(tensor)
    assert stream.image_shape == whole.image_shape
    mask = whole.labels == 1
    for index in (torch.tensor([5, 0, 59, 5, -1]), mask, torch.zeros(0, dtype=torch.int64), torch.zeros_like(mask),
                  slice(None), slice(3, 50, 4), slice(-5, None), slice(9, 3)):  # fmt: skip
        close(kind, found[index], tensor[index])
    for size in (7, 30, 60, 100):
        parts, expected = list(found.split(size)), tensor.split(size)
        assert len(parts) == len(expected)
        for one, other in zip(parts, expected, strict=True):
            close(kind, one, other)
    empty = stream.images.select(slice(0, 0))
    assert [len(part) for part in empty.split(5)] == [len(part) for part in tensor[:0].split(5)]
    assert torch.isfinite(found[:]).all()


def test_selections_of_selections_stay_streamed_and_share_the_pixels(images):
    whole, stream = both(Standardize, images)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    selected = stream.images.select(order[:40]).select(torch.arange(40) % 3 == 0).select(slice(2, 9))
    assert torch.equal(selected[:], whole.images[order[:40]][torch.arange(40) % 3 == 0][2:9])
    assert selected.pixels is stream.images.pixels


def test_wrong_indices_are_errors(images):
    stream = both(Standardize, images)[1].images
    with pytest.raises(IndexError, match=r"index is torch.float32 of shape \(2,\); expected int64 or bool"):
        stream[torch.tensor([0.0, 1.0])]
    with pytest.raises(IndexError, match=r"of shape \(1, 1\)"):
        stream[torch.tensor([[0]])]
    with pytest.raises(IndexError, match="the mask has 3 entries for 60 images"):
        stream[torch.tensor([True, False, True])]
    with pytest.raises(IndexError):
        stream[torch.tensor([60])]


def test_size_decides_unless_the_caller_does(images, monkeypatch):
    preprocessing = Standardize.fit(images)
    assert isinstance(preprocessing.apply(images).images, torch.Tensor)
    monkeypatch.setattr(streamed, "STREAM_ABOVE", 4 * images.images.size - 1)
    assert isinstance(preprocessing.apply(images).images, StreamedImages)
    assert isinstance(preprocessing.apply(images, stream=False).images, torch.Tensor)
    monkeypatch.undo()
    assert not is_large((2**30, 1, 1, 1))
    assert is_large((2**30 + 1, 1, 1, 1))
    assert is_large((1_281_167, 3, 64, 64))


def test_a_subset_is_a_tensor_where_it_is_small(images, monkeypatch):
    whole, stream = both(Standardize, images)
    small = stream.subset(whole.labels == 2)
    assert isinstance(small.images, torch.Tensor)
    assert torch.equal(small.images, whole.subset(whole.labels == 2).images)
    assert torch.equal(small.labels, torch.full((20,), 2))
    monkeypatch.setattr(streamed, "STREAM_ABOVE", 4 * 8 * 8 * 3 * 30)
    large = stream.subset(torch.arange(5, 45))
    assert isinstance(large.images, StreamedImages)
    assert torch.equal(large.images[:], whole.images[5:45])
    assert torch.equal(large.labels, whole.labels[5:45])


def test_moving_where_it_is_already_gives_the_same_object(images):
    stream = both(Standardize, images)[1]
    assert stream.to("cpu", torch.float32) is stream
    assert stream.to("cpu", torch.float64).images.pixels is stream.images.pixels


def test_a_preprocessing_with_nan_is_refused(images):
    with pytest.raises(InputError, match=r"mean of the preprocessing 'standardize' holds NaN or infinite"):
        Standardize(torch.tensor([0.0, torch.nan, 0.0]), torch.ones(3))
    broken = Standardize.fit(images)
    broken.mean[1] = torch.nan
    with pytest.raises(InputError, match=r"the preprocessing holds NaN or infinite values \(mean\); fit it again"):
        broken.apply(images, stream=True)


def test_labels_of_a_streamed_set_are_checked(images):
    stream = both(Standardize, images)[1]
    with pytest.raises(InputError, match=r"labels have shape \(5,\); expected \(60,\)"):
        PreprocessedImages(stream.images, stream.labels[:5], stream.classes, stream.preprocessing)


def test_fingerprints_tell_streamed_sets_apart(images, mapped, make_images):
    preprocessing = Standardize.fit(images)
    stream = preprocessing.apply(images, stream=True)
    found = fingerprint(stream)
    assert fingerprint(preprocessing.apply(mapped, stream=True)) == found
    assert fingerprint(stream.to("cpu", torch.float64)) == found  # the options say which it is
    other = make_images((20, 20, 20), channels=3, noise=31)
    shifted = Standardize(preprocessing.mean + 0.1, preprocessing.std)
    relabelled = PreprocessedImages(stream.images, stream.labels.flip(0), stream.classes, preprocessing)
    reordered = PreprocessedImages(
        stream.images.select(torch.arange(60).flip(0)), stream.labels, stream.classes, preprocessing
    )
    sets = [preprocessing.apply(other, stream=True), shifted.apply(images, stream=True), relabelled, reordered]
    assert len({found, *map(fingerprint, sets)}) == 5


@pytest.mark.parametrize("changed", [0, 1, 2500, 4999])
def test_a_fingerprint_knows_every_image(changed):
    pixels = np.zeros((5000, 1, 1, 1), np.uint8)
    stream = PreprocessedImages(StreamedImages(pixels, Identity()), torch.zeros(5000).long(), ("0",), Identity())
    before = fingerprint(stream)
    pixels[changed] = 1
    assert fingerprint(stream) != before


# What uses images


METHODS = {
    "frepo": FRePo(steps=3, batch_size=20, pool_size=2, history_points=2, **TINY),
    "frepo in float64": FRePo(
        steps=3, batch_size=20, pool_size=2, history_points=2, dtype="float64", **TINY
    ),
    "dm": DM(steps=3, batch_size=5, **TINY),
    "dsa": DSA(iterations=2, batch_size=5, **TINY),
    "mtt": MTT(steps=2, student_steps=2, experts=1, latest_start=1, matched_epochs=1, learning_rate=1.0, **TINY),
    "kip": KIP(steps=3, batch_size=20),
    "herding": Herding(steps=3, batch_size=10, **TINY),
    "random": Random(),
    "herding-teacher": HerdingTeacher(steps=3, batch_size=10, **TINY),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", [Standardize, CheckerboardZCA])
def test_every_distiller_makes_the_same_of_a_streamed_set(method, kind, images, mapped, tmp_path):
    whole, stream = both(kind, images, mapped)
    expected = made(METHODS[method], whole)
    found = made(METHODS[method], stream, store=tmp_path)
    tolerance = 0 if same_pixel_by_pixel(kind) else 1e-3
    torch.testing.assert_close(found.images, expected.images, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(found.labels, expected.labels, rtol=tolerance, atol=tolerance)
    assert torch.equal(found.class_ids, expected.class_ids)
    again = made(METHODS[method], stream, store=tmp_path)
    assert torch.equal(found.images, again.images)


def test_a_checkpoint_of_another_streamed_set_is_refused(images, make_images, tmp_path):
    method = METHODS["frepo"]
    preprocessing = Standardize.fit(images)
    made(method, preprocessing.apply(images, stream=True), store=tmp_path)
    other = preprocessing.apply(make_images((20, 20, 20), channels=3, seed=5), stream=True)
    with pytest.raises(InputError, match=r"was made with other options or data \(other images"):
        made(method, other, store=tmp_path)


@pytest.mark.parametrize("count", [5, 200])  # of 600 images only a part is watched
def test_accuracy_on_streamed_held_out_images_is_recorded(count, images, make_images):
    preprocessing = Standardize.fit(images)
    data, test = preprocessing.apply(images), make_images((count,) * 3, channels=3, seed=4)
    expected, found = (
        made(METHODS["frepo"], data, held_out=preprocessing.apply(test, stream=stream)) for stream in (False, True)
    )
    assert found.made_by["history"] == expected.made_by["history"]
    assert "krr_accuracy" in found.made_by["history"][0]


def test_evaluation_on_streamed_test_images(images, make_images):
    preprocessing = Standardize.fit(images)
    synthetic = Random().distill(preprocessing.apply(images), images_per_class=3)
    test = make_images((250, 250, 250), channels=3, seed=4)
    recipe = TrainingRecipe(width=4, depth=2, train_steps=5)
    results = [
        evaluate(synthetic, preprocessing.apply(test, stream=stream), recipe=recipe, networks=1)
        for stream in (False, True)
    ]
    assert results[0] == results[1]

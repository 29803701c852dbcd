"""Preprocessing fitted in chunks, and the checkerboard whitening of large images."""

import copy

import numpy as np
import pytest
import torch

from distill import ZCA, FRePo, InputError, LabelledImages, Random, Standardize, SyntheticSet
from distill.data import pixels as pixel_chunks
from distill.preprocess import CheckerboardZCA, default_preprocessing, zca
from distill.preprocess.zca import from_grids, to_grids


def photographs(count=60, *, height=8, width=12, channels=3, seed=1):
    """uint8 images whose neighbours and channels are correlated."""
    drawn = np.random.default_rng(seed)
    pixels = 90 * drawn.random((count, 1, 1, 1)) + 60 * drawn.random((count, height, 1, 1))
    pixels = pixels + 60 * drawn.random((count, height, width, channels))
    return LabelledImages(pixels.astype(np.uint8), np.arange(count) % 3, ("a", "b", "c"))


def unit(data):
    return torch.from_numpy(np.array(data.images)).permute(0, 3, 1, 2).float() / 255


def read_only(data, folder):
    """The same images in a memory map."""
    np.save(folder / "images.npy", data.images)
    return LabelledImages(np.load(folder / "images.npy", mmap_mode="r"), data.labels, data.classes)


@pytest.fixture
def small_chunks(monkeypatch):
    monkeypatch.setattr(pixel_chunks, "CHUNK_VALUES", 8 * 12 * 3 * 7)


# Fits in chunks


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("kind", [Standardize, ZCA, CheckerboardZCA])
def test_fits_on_memory_maps_in_chunks_are_those_on_arrays_at_once(kind, tmp_path, monkeypatch):
    data = photographs()
    chunked = kind.fit(read_only(data, tmp_path)).state()
    monkeypatch.undo()
    whole = kind.fit(data).state()
    assert chunked.keys() == whole.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(chunked[name], tensor, rtol=1e-5, atol=1e-5)


def test_standardize_equals_the_mean_and_spread_of_all_pixels():
    data = photographs(500)
    std, mean = torch.std_mean(unit(data).double(), dim=(0, 2, 3), correction=0)
    fitted = Standardize.fit(data)
    torch.testing.assert_close(fitted.mean, mean.float(), rtol=1e-7, atol=0)
    torch.testing.assert_close(fitted.std, std.float(), rtol=1e-7, atol=0)


def test_a_constant_channel_is_only_centred():
    data = photographs()
    data.images[..., 1] = 77
    fitted = Standardize.fit(data)
    assert fitted.std[1] == 1
    assert torch.equal(fitted.apply(data).images[:, 1], torch.zeros(60, 8, 12))


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("kind", [ZCA, CheckerboardZCA])
@pytest.mark.parametrize("shade", [0, 77, 255])
def test_images_that_are_all_the_same_are_refused(kind, shade):
    data = LabelledImages(np.full((50, 8, 12, 3), shade, np.uint8), np.zeros(50, np.int64), ("a",))
    with pytest.raises(InputError, match="cannot fit a whitening on 50 images that are all the same"):
        kind.fit(data)


@pytest.mark.parametrize("kind", [Standardize, ZCA, CheckerboardZCA])
def test_no_images_are_refused(kind):
    with pytest.raises(InputError, match="cannot fit a preprocessing on 0 images"):
        kind.fit(photographs().subset([]))


def test_a_large_set_is_whitened_by_a_sample_that_is_always_the_same(monkeypatch):
    data = photographs(300)
    monkeypatch.setattr(zca, "FITTED_ON", 100)
    first, again = ZCA.fit(data), ZCA.fit(data)
    assert first.same_as(again)
    positions = zca._sample(300)
    assert len(np.unique(positions)) == 100
    assert (np.histogram(positions, 3, (0, 300))[0] > 20).all()
    sampled = data.subset(positions)
    expected = zca.fit_whitening(sampled, stride=1)
    standard = Standardize.fit(data)  # channel statistics are of all
    assert torch.equal(first.standardize.mean, standard.mean)
    torch.testing.assert_close(
        first.centre * standard.std.repeat_interleave(96) + standard.mean.repeat_interleave(96),
        expected.centre * expected.std.repeat_interleave(96) + expected.mean.repeat_interleave(96),
        rtol=0, atol=1e-6,
    )  # fmt: skip


def test_whitening_above_the_largest_size_names_the_alternatives():
    with pytest.raises(InputError, match=r"13824 x 13824; expected at most 12288 .*resolution=.*CheckerboardZCA"):
        ZCA.fit(photographs(2, height=72, width=64))


# Checkerboard


def reference_grids(image, stride):
    """The sub-grids of one image `(channels, height, width)`, written out."""
    return [image[:, i::stride, j::stride].reshape(-1) for i in range(stride) for j in range(stride)]


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_grids_are_every_strideth_pixel_and_can_be_put_back(stride):
    images = torch.arange(2 * 3 * 8 * 12).float().view(2, 3, 8, 12)
    grids = to_grids(images, stride)
    expected = torch.stack([grid for image in images for grid in reference_grids(image, stride)])
    assert torch.equal(grids, expected)
    assert torch.equal(from_grids(grids, images.shape, stride), images)


def test_checkerboard_equals_a_slow_reference():
    data = photographs()
    pixels = (unit(data).double() - unit(data).double().mean((0, 2, 3), keepdim=True)) / unit(data).double().std(
        (0, 2, 3), correction=0, keepdim=True
    )
    centred = pixels - pixels.mean(0)
    covariances = []  # of each of the four sub-grids
    for k in range(4):
        rows = torch.stack([reference_grids(image, 2)[k] for image in centred])
        covariances.append(rows.T @ rows / len(rows))
    covariance = torch.stack(covariances).mean(0)
    d = len(covariance)
    values, vectors = torch.linalg.eigh(covariance + 0.1 * covariance.trace() / d * torch.eye(d))
    whiten = vectors @ torch.diag(values**-0.5) @ vectors.T
    expected = torch.zeros_like(centred)
    for n, image in enumerate(centred):
        for k, grid in enumerate(reference_grids(image, 2)):
            i, j = divmod(k, 2)
            expected[n, :, i::2, j::2] = (whiten @ grid).view(3, 4, 6)

    fitted = CheckerboardZCA.fit(data)
    torch.testing.assert_close(fitted.forward(unit(data)).double(), expected, rtol=0, atol=1e-4)


def test_checkerboard_is_invertible_and_travels_by_its_state():
    data = photographs()
    fitted = CheckerboardZCA.fit(data)
    torch.testing.assert_close(fitted.inverse(fitted.forward(unit(data))), unit(data), rtol=0, atol=1e-5)
    again = CheckerboardZCA.from_state("checkerboard-zca", copy.deepcopy(fitted.state()))
    assert type(again) is CheckerboardZCA
    assert again.same_as(fitted)
    assert torch.equal(again.forward(unit(data)), fitted.forward(unit(data)))
    assert not fitted.same_as(ZCA.fit(data))


def test_the_mean_covariance_of_whitened_grids_is_nearly_one():
    drawn = np.random.default_rng(0).normal(0, 1, (4000, 4, 4, 3))
    drawn[..., 1] += drawn[..., 0]  # correlated channels
    drawn[:, 2:] += drawn[:, :2]  # and neighbours in a grid
    images = (128 + 25 * drawn).clip(0, 255).astype(np.uint8)
    data = LabelledImages(images, np.zeros(4000, np.int64), ("a",))
    fitted = CheckerboardZCA.fit(data)
    before = to_grids(fitted.standardize.forward(unit(data)) - fitted.centre.view(3, 4, 4), 2)
    after = to_grids(fitted.forward(unit(data)), 2)
    spectra = [torch.linalg.eigvalsh((grids.T @ grids / len(grids)).double()) for grids in (before, after)]
    ridge = 0.1 * spectra[0].mean()
    torch.testing.assert_close(spectra[1], spectra[0] / (spectra[0] + ridge), rtol=1e-3, atol=1e-3)
    assert spectra[1][-1] / spectra[1][0] < 0.2 * spectra[0][-1] / spectra[0][0]


@pytest.mark.parametrize(("side", "stride"), [(8, 2), (16, 2), (24, 4), (32, 4), (40, 8)])
def test_the_stride_keeps_grids_at_most_as_large_as_whitening_allows(side, stride, monkeypatch):
    monkeypatch.setattr(ZCA, "largest", 3 * 8 * 8)
    fitted = CheckerboardZCA.fit(photographs(10, height=side, width=side))
    assert fitted.stride == stride
    assert len(fitted.centre) == 3 * side**2
    assert fitted._whiten.shape == (3 * (side // stride) ** 2,) * 2


def test_sides_that_the_stride_does_not_divide_are_refused():
    message = "of 12x9 images takes every 2th pixel: expected sides that 2 divides; resize"
    with pytest.raises(InputError, match=message):
        CheckerboardZCA.fit(photographs(height=9))


def test_the_default_goes_by_channels_and_size(monkeypatch):
    assert type(default_preprocessing(photographs(channels=1))) is Standardize
    assert type(default_preprocessing(photographs())) is ZCA
    monkeypatch.setattr(ZCA, "largest", 8 * 12 * 3 - 1)
    assert type(default_preprocessing(photographs())) is CheckerboardZCA
    assert type(default_preprocessing(photographs(channels=1, height=9))) is Standardize
    with pytest.raises(InputError, match="12x9 images"):
        default_preprocessing(photographs(height=9))


def test_a_set_with_checkerboard_whitening_is_saved_and_loaded(tmp_path):
    data = photographs()
    fitted = CheckerboardZCA.fit(data)
    made = Random().distill(fitted.apply(data), images_per_class=4)
    loaded = SyntheticSet.load(made.save(tmp_path / "set.safetensors"))
    assert type(loaded.preprocessing) is CheckerboardZCA
    assert loaded.preprocessing.same_as(fitted)
    assert torch.equal(loaded.preprocessing.apply(data).images, fitted.apply(data).images)
    originals = data.images[made.made_by["started_from"]].astype(int)
    assert np.abs(loaded.pixels().numpy().astype(int) - originals).max() <= 1


def test_frepo_distils_checkerboard_images(monkeypatch):
    monkeypatch.setattr(ZCA, "largest", 3 * 8 * 8)
    data = photographs(height=16, width=16)
    made = FRePo(steps=2, batch_size=20, pool_size=2, width=4, depth=2).distill(data, images_per_class=2)
    assert made.preprocessing.kind == "checkerboard-zca"
    assert made.images.shape == (6, 3, 16, 16)

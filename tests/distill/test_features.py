"""Features of many images in chunks, and distilling with a random part of the set, against all at once."""

import pytest
import torch
from torch import Tensor

from distill import Distiller, FRePo, PreprocessedImages, SyntheticSet
from distill.distillers.features import features_of
from distill.distillers.frepo import FRePoState
from distill.distillers.run import Run
from distill.networks import Network, Norm, build_network
from distill.preprocess import default_preprocessing

TINY = FRePo(steps=3, batch_size=20, pool_size=2, width=4, depth=2, dtype="float64")


def made(distiller: Distiller, data, **arguments) -> SyntheticSet:
    """A set of four images per class, unless `arguments` say otherwise."""
    return distiller.distill(data, **{"images_per_class": 4, **arguments})


@pytest.fixture
def data(make_images) -> PreprocessedImages:
    images = make_images(channels=3)
    return default_preprocessing(images).apply(images)


def frozen(name: str, norm: Norm) -> Network:
    generator = torch.Generator().manual_seed(0)
    network = build_network(name, image_shape=(3, 32, 32), num_classes=3, width=4, norm=norm, generator=generator)
    network(torch.randn(6, 3, 32, 32, generator=generator))  # running statistics move away from 0 and 1
    return network.double().eval().requires_grad_(False)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "norm"), [("conv", "batch"), ("conv", "instance"), ("dcconv", "none"), ("resnet18", "batch")]
)
@pytest.mark.parametrize("chunk_size", [1, 3, 5, 6])
def test_features_and_gradient_in_chunks_are_those_of_all_at_once(name: str, norm: Norm, chunk_size: int) -> None:
    network, images = frozen(name, norm), normal(5, 3, 32, 32, seed=1).requires_grad_(True)
    whole = network.features(images)
    weighting = normal(*whole.shape, seed=2)
    (wanted,) = torch.autograd.grad((whole * weighting).sum(), images)
    chunked = features_of(network, images, chunk_size=chunk_size)
    (got,) = torch.autograd.grad((chunked * weighting).sum(), images)
    torch.testing.assert_close(chunked, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)
    with torch.no_grad():
        torch.testing.assert_close(features_of(network, images, chunk_size=chunk_size), whole, rtol=1e-12, atol=1e-12)


def test_of_chunks_no_graph_is_kept() -> None:
    network, images = frozen("conv", "batch"), normal(6, 3, 32, 32, seed=1).requires_grad_(True)
    kept: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda x: x):
        features_of(network, images, chunk_size=2)
    assert sum(kept) == images.numel()


@pytest.mark.parametrize("mirror", [False, True])
def test_a_distillation_in_chunks_ends_as_one_without(data, mirror: bool) -> None:
    whole, chunked = (
        made(TINY.with_options(mirror=mirror, chunk_size=size), data) for size in (1000, 5)
    )
    torch.testing.assert_close(chunked.images, whole.images, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(chunked.labels, whole.labels, rtol=1e-6, atol=1e-6)


# -- a random part of the distilled set a step ---------------------------------------------------------------------


def drawn(data: PreprocessedImages, size: int | None) -> tuple[FRePoState, Tensor, Tensor]:
    run = Run(images_per_class=4)
    state = TINY.start(TINY.prepare(data, run), run)
    return state, *state.sample(size)


@pytest.mark.parametrize("size", [None, 12, 13])
def test_all_of_the_set_takes_part_unless_it_is_larger_than_the_batch(data, size: int | None) -> None:
    state, images, labels = drawn(data, size)
    assert images is state.images
    assert labels is state.labels
    assert torch.equal(state.generator.get_state(), drawn(data, None)[0].generator.get_state())


def test_a_part_is_drawn_without_replacement_and_labels_stay_with_their_images(data) -> None:
    state, images, labels = drawn(data, 7)
    assert images.shape[0] == labels.shape[0] == 7
    flat = state.images.flatten(1)
    positions = [int((flat == image.flatten()).all(1).nonzero()) for image in images]
    assert len(set(positions)) == 7
    assert torch.equal(labels, state.labels[positions])
    again = state.sample(7)[0]
    assert not torch.equal(images, again)


def test_only_the_part_that_was_drawn_has_a_gradient(data) -> None:
    state, images, labels = drawn(data, 5)
    model, (images_t, labels_t) = state.pool.sample(), (data.images[:9].double(), normal(9, 3, seed=3))
    TINY.loss(model, images_t, labels_t, images, labels).backward()
    assert int((state.images.grad.flatten(1).abs().sum(1) > 0).sum()) == 5
    assert int((state.labels.grad.abs().sum(1) > 0).sum()) == 5


def test_a_distillation_by_parts_moves_all_images_and_is_another_one(data) -> None:
    start, more = made(TINY.with_options(steps=0), data), TINY.with_options(steps=12)
    whole, parts = (made(more.with_options(distilled_batch_size=size), data) for size in (None, 6))
    assert not torch.equal(whole.images, parts.images)
    assert bool((parts.images != start.images).flatten(1).any(1).all())

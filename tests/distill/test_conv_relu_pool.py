"""Convolution, ReLU and pooling at once, against the three one after the other."""

import itertools
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distill.networks import feature_maps as maps_module
from distill.networks.bfloat16_conv_relu_pool import TIMES_THE_CACHE, computes_in_bfloat16, faster_gradients
from distill.networks.conv_relu_pool import ConvReLUAvgPool2d
from distill.networks.feature_maps import convolution_gradients


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def plain(images: Tensor, weight: Tensor, bias: Tensor, padding: int) -> Tensor:
    return F.avg_pool2d(F.relu(F.conv2d(images, weight, bias, padding=padding)), 2)


def block(channels: int, out: int, padding: int, dtype: torch.dtype = torch.float64) -> ConvReLUAvgPool2d:
    layer = ConvReLUAvgPool2d(channels, out, 3, padding=padding).to(dtype)
    with torch.no_grad():
        layer.weight.copy_(normal(*layer.weight.shape, seed=1, dtype=dtype) / 3)
        layer.bias.copy_(normal(out, seed=2, dtype=dtype))
    return layer.to(memory_format=torch.channels_last)


def results(function, leaves: list[Tensor], needs: tuple[bool, ...]) -> list[Tensor]:
    """Output, and the gradients that are needed."""
    leaves = [leaf.detach().clone().requires_grad_(need) for leaf, need in zip(leaves, needs, strict=True)]
    pooled = function(*leaves)
    upstream = normal(*pooled.shape, seed=4).to(pooled.dtype)
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    return [pooled.detach(), *(torch.autograd.grad(pooled, wanted, upstream) if wanted else [])]


def at_once(layer: ConvReLUAvgPool2d, images: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (images,))


@pytest.mark.parametrize("images_at_a_time", [1, 2, 100])
@pytest.mark.parametrize(("channels", "padding"), [(1, 1), (1, 3), (3, 1), (4, 1), (5, 1), (3, 0)])
@pytest.mark.parametrize("sides", [(8, 8), (6, 10), (7, 8), (5, 5)])
def test_results_and_gradients_are_those_of_the_three_layers(
    monkeypatch, sides, channels: int, padding: int, images_at_a_time: int
) -> None:
    layer, images = block(channels, 6, padding), normal(5, channels, *sides, seed=3)
    maps = 6 * (sides[0] + 2 * padding - 2) * (sides[1] + 2 * padding - 2) * 8
    monkeypatch.setattr(maps_module, "CACHE", -(-images_at_a_time * maps // torch.get_num_threads()))
    shape = (5, 6, sides[0] + 2 * padding - 2, sides[1] + 2 * padding - 2)
    assert len(maps_module.chunks(shape, 8)) == -(-5 // images_at_a_time)
    leaves = [images, layer.weight, layer.bias]
    for needs in itertools.product([False, True], repeat=3):
        got = results(lambda *tensors: at_once(layer, *tensors), leaves, needs)
        wanted = results(lambda *tensors: plain(*tensors, padding), leaves, needs)
        for one, other in zip(got, wanted, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("channels", [3, 32])
def test_float32_stays_within_its_rounding(channels: int) -> None:
    layer, images = block(channels, 64, 1, torch.float32), normal(40, channels, 32, 32, seed=3, dtype=torch.float32)
    leaves = [images, layer.weight, layer.bias]
    got = results(lambda *tensors: at_once(layer, *tensors), leaves, (True, True, True))
    exact = results(lambda *tensors: plain(*tensors, 1), [leaf.double() for leaf in leaves], (True, True, True))
    rounded = results(lambda *tensors: plain(*tensors, 1), leaves, (True, True, True))
    for one, other, wanted in zip(got[1:], rounded[1:], exact[1:], strict=True):
        # ReLU's kink: where a map is 0 up to rounding, one way lets a gradient through and another does not.
        error, usual = (float((tensor.double() - wanted).norm() / wanted.norm()) for tensor in (one, other))
        assert error < max(2 * usual, 1e-5)


def test_a_kink_passes_nothing_back_as_in_torch() -> None:
    layer = block(2, 3, 1)
    with torch.no_grad():
        layer.bias.zero_()
    leaves = [torch.zeros(1, 2, 4, 4, dtype=torch.float64), layer.weight, layer.bias]
    got = results(lambda *tensors: at_once(layer, *tensors), leaves, (True, True, True))
    assert all(not tensor.any() for tensor in got)


@pytest.mark.parametrize("weights_too", [False, True])
def test_it_can_be_differentiated_twice(weights_too: bool) -> None:
    layer, images = block(3, 4, 1), normal(2, 3, 4, 4, seed=3).requires_grad_(True)
    layer.requires_grad_(weights_too)
    leaves = [images, *layer.parameters()] if weights_too else [images]
    seconds = []
    for function in (layer, lambda x: plain(x, layer.weight, layer.bias, 1)):
        first = torch.autograd.grad(function(images).pow(3).sum(), leaves, create_graph=True)
        seconds.append(torch.autograd.grad(sum(tensor.square().sum() for tensor in first), leaves))
    for got, wanted in zip(*seconds, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-10, atol=1e-12)


def test_nothing_but_a_byte_a_pixel_is_kept_where_weights_are_frozen() -> None:
    layer, images = block(3, 4, 1).requires_grad_(False), normal(2, 3, 8, 8, seed=3).requires_grad_(True)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda x: x):
        layer(images)
    assert sum(tensor.nbytes for tensor in kept if tensor is not layer.weight) == 2 * 4 * 8 * 8


def test_no_images_give_no_maps() -> None:
    assert block(3, 4, 1)(torch.empty(0, 3, 8, 8, dtype=torch.float64)).shape == (0, 4, 4, 4)


def test_images_may_lie_in_memory_in_any_way() -> None:
    layer, images = block(3, 4, 1), normal(4, 8, 3, 8, seed=3)
    odd = images.transpose(1, 2)[::2]
    torch.testing.assert_close(layer(odd), layer(odd.contiguous(memory_format=torch.channels_last)))


# -- in bfloat16 -------------------------------------------------------------------------------------------------------


@pytest.fixture
def in_bfloat16() -> Iterator[None]:
    """Float32 convolutions are computed in bfloat16, in a test."""
    conv = getattr(torch.backends.mkldnn, "conv", None)
    if conv is None or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("a processor or a torch without bfloat16 products")
    before, conv.fp32_precision = conv.fp32_precision, "bf16"
    yield
    conv.fp32_precision = before


def relative_error(one: Tensor, other: Tensor) -> float:
    return float((one - other).norm() / other.norm())


@pytest.mark.parametrize("images_at_a_time", [1, 2, 100])
@pytest.mark.parametrize(("channels", "padding"), [(1, 3), (3, 1), (32, 1)])
def test_bfloat16_results_are_those_of_float32_but_for_rounding(
    monkeypatch, in_bfloat16, channels: int, padding: int, images_at_a_time: int
) -> None:
    layer, images = block(channels, 16, padding, torch.float32), normal(20, channels, 12, 12, seed=3).float()
    maps = 16 * (10 + 2 * padding) ** 2 * 2
    monkeypatch.setattr(maps_module, "CACHE", -(-images_at_a_time * maps // torch.get_num_threads()))
    shape = (20, 16, 10 + 2 * padding, 10 + 2 * padding)
    parts = [len(maps_module.chunks(shape, 2, times=times)) for times in (1, TIMES_THE_CACHE)]
    assert parts == [-(-20 // images_at_a_time), -(-20 // (TIMES_THE_CACHE * images_at_a_time))]
    leaves = [images, layer.weight, layer.bias]
    for needs in itertools.product([False, True], repeat=3):
        got = results(lambda *tensors: at_once(layer, *tensors), leaves, needs)
        exact = results(lambda *tensors: plain(*tensors, padding), [leaf.double() for leaf in leaves], needs)
        assert [one.dtype for one in got] == [torch.float32] * len(exact)
        errors = [relative_error(one.double(), other) for one, other in zip(got, exact, strict=True)]
        # Rounding is 2**-9; some inputs of the ReLU near 0 change their sign. Above 0: it was bfloat16.
        assert all(1e-4 < error < 8e-2 for error in errors), errors
        assert errors[0] < 1e-2


def test_second_derivative_where_the_first_is_in_bfloat16(in_bfloat16) -> None:
    layer, images = block(3, 8, 1, torch.float32), normal(2, 3, 8, 8, seed=3).float().requires_grad_(True)

    def second(function) -> Tensor:
        (gradient,) = torch.autograd.grad(function(images).square().sum(), images, create_graph=True)
        return torch.autograd.grad(gradient.square().sum(), images)[0]

    exact = second(lambda images: plain(images, layer.weight, layer.bias, 1))
    assert relative_error(second(layer), exact) < 5e-2


def test_only_float32_images_on_a_processor_are_computed_in_bfloat16(in_bfloat16) -> None:
    assert computes_in_bfloat16(torch.ones(1))
    assert not computes_in_bfloat16(torch.ones(1).double())
    assert not computes_in_bfloat16(torch.ones(1, device="meta"))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 3e38])
def test_what_is_not_finite_stays_so_in_bfloat16(in_bfloat16, value: float) -> None:
    layer, images = block(3, 16, 1, torch.float32), normal(4, 3, 8, 8, seed=3).float()
    with torch.no_grad():
        # Of both signs, so that products with the largest numbers are infinities whose sum is NaN.
        layer.weight.copy_(torch.tensor([4.0, -4.0, 4.0]).view(1, 3, 1, 1).expand_as(layer.weight))
    images[1] = value
    assert layer(images).flatten(1).isnan().sum(1).tolist() == [0, 16 * 4 * 4, 0, 0]


@pytest.mark.parametrize(("count", "sides"), [(32, (8, 8)), (20, (4, 8)), (6, (2, 2)), (7, (8, 8)), (4, (8, 10))])
def test_gradients_of_images_side_by_side_are_those_of_each_by_itself(count: int, sides: tuple[int, int]) -> None:
    images, maps = normal(count, 5, *sides, seed=1), normal(count, 6, *sides, seed=2)
    weight = normal(6, 5, 3, 3, seed=3)
    for wanted in itertools.product([False, True], repeat=3):
        pairs = zip(
            faster_gradients(maps, images, weight, 1, wanted), convolution_gradients(maps, images, weight, 1, wanted),
            strict=True,
        )  # fmt: skip
        for needed, (got, expected) in zip(wanted, pairs, strict=True):
            assert (got is not None) == needed
            if needed:
                torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)

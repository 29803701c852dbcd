"""Our instance normalisation against torch's group normalisation."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from distill.networks.instance_norm import InstanceNorm2d


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def layer_of(channels: int) -> InstanceNorm2d:
    layer = InstanceNorm2d(channels).double()
    with torch.no_grad():
        layer.weight.copy_(normal(channels, seed=1))
        layer.bias.copy_(normal(channels, seed=2))
    return layer


def with_torch(layer: InstanceNorm2d, images: Tensor) -> Tensor:
    return F.group_norm(images, layer.num_groups, layer.weight, layer.bias, layer.eps)


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("shape", [(3, 4, 5, 6), (1, 1, 2, 2), (2, 3, 1, 1), (2, 5, 1, 7)])
def test_results_and_gradients_are_those_of_group_norm(shape, memory_format) -> None:
    layer, images = layer_of(shape[1]), (3 + normal(*shape, seed=3)).contiguous(memory_format=memory_format)
    for needs in itertools.product([False, True], repeat=2):
        results = []
        for function in (layer, lambda x: with_torch(layer, x)):
            leaf = images.clone().requires_grad_(needs[0])
            layer.requires_grad_(needs[1])
            wanted = [*([leaf] if needs[0] else []), *(layer.parameters() if needs[1] else [])]
            out = function(leaf)
            found = torch.autograd.grad(out, wanted, normal(*shape, seed=4)) if wanted else ()
            results.append((out.detach(), *found))
        for got, expected in zip(*results, strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("weights_too", [False, True])
def test_it_can_be_differentiated_twice(weights_too: bool) -> None:
    layer = layer_of(3).requires_grad_(weights_too)
    images = normal(2, 3, 4, 4, seed=3).contiguous(memory_format=torch.channels_last).requires_grad_(True)
    leaves = [images, *(layer.parameters() if weights_too else [])]
    seconds = []
    for function in (layer, lambda x: with_torch(layer, x)):
        first = torch.autograd.grad(function(images).pow(3).sum(), leaves, create_graph=True)
        seconds.append(torch.autograd.grad(sum(tensor.square().sum() for tensor in first), leaves))
    for got, wanted in zip(*seconds, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-8, atol=1e-8)


def test_no_images_give_no_maps_and_constant_images_become_the_shift() -> None:
    layer = layer_of(3)
    assert layer(torch.empty(0, 3, 4, 4, dtype=torch.float64)).shape == (0, 3, 4, 4)
    constant = torch.full((2, 3, 4, 4), 7.0, dtype=torch.float64).contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(layer(constant), layer.bias.detach().view(1, 3, 1, 1).expand(2, 3, 4, 4))


def test_images_whose_variance_overflows_become_nan() -> None:
    images = torch.full((1, 1, 2, 2), 1e30).contiguous(memory_format=torch.channels_last)
    images[0, 0, 0, 0] = -1e30
    assert bool(InstanceNorm2d(1)(images).isnan().all())

"""Layers of torch's own operations in place of those that are fast on CPUs, for `torch.func`."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from distill.networks.conv_relu_pool import ConvReLUAvgPool2d, ReLUAvgPool2d
from distill.networks.instance_norm import InstanceNorm2d

__all__ = ["plain_layers"]


@contextmanager
def plain_layers(network: nn.Module) -> Iterator[None]:
    """Within it, `network` computes with torch's own operations alone, which `torch.func` can transform.

    The weights are the same ones, and so are the results, up to rounding.

    >>> import torch
    >>> from torch.func import functional_call, grad
    >>> from distill.networks import build_network
    >>> generator = torch.Generator().manual_seed(0)
    >>> network = build_network("conv", image_shape=(1, 8, 8), num_classes=2, width=4, norm="none", generator=generator)
    >>> with plain_layers(network):
    ...     found = grad(lambda own: functional_call(network, own, (torch.ones(1, 1, 8, 8),)).sum())(
    ...         dict(network.named_parameters())
    ...     )
    >>> found["head.bias"]
    tensor([1., 1.])
    """
    fast = (ConvReLUAvgPool2d, ReLUAvgPool2d, InstanceNorm2d)
    layers = [layer for layer in network.modules() if isinstance(layer, fast)]
    for layer in layers:
        layer.fused = False
    try:
        yield
    finally:
        for layer in layers:
            layer.fused = True

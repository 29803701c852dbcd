"""Features of many images: in chunks, so that memory does not grow with them, and by all ranks together."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill.networks import Network
from distill.runtime.distributed import gathered_rows, own_rows

__all__ = ["features_of"]


def features_of(network: Network, images: Tensor, *, chunk_size: int) -> Tensor:
    """Features `(n, d)` of images `(n, channels, height, width)` by a `network` in inference mode, weights frozen.

    Differentiable in the images. More than `chunk_size` images go through the network in chunks, of which nothing is
    kept but the features: each chunk is computed again in the backward pass. The gradient is the same. Under
    `torchrun` each process computes its part of the rows, and every process has all of them.
    """
    own = own_rows(images)
    if len(own) <= chunk_size:
        features = network.features(own)
    elif own.requires_grad and torch.is_grad_enabled():
        features = _Recomputed.apply(own, network, chunk_size)
    else:
        features = torch.cat([network.features(chunk) for chunk in own.split(chunk_size)])
    return gathered_rows(features, len(images))


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, network: Network, chunk_size: int) -> Tensor:
        ctx.save_for_backward(images)
        ctx.network, ctx.chunk_size = network, chunk_size
        return torch.cat([network.features(chunk) for chunk in images.split(chunk_size)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (images,) = ctx.saved_tensors
        to_images = torch.empty_like(images)
        parts = (tensor.split(ctx.chunk_size) for tensor in (images, gradients[0], to_images))
        for chunk, gradient, result in zip(*parts, strict=True):
            with torch.enable_grad():
                leaf = chunk.detach().requires_grad_(True)
                result.copy_(torch.autograd.grad(ctx.network.features(leaf), leaf, gradient)[0])
        return to_images, None, None

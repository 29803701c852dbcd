"""Feature maps of a convolution: in parts that fit in the cache, before pooling, and its gradients."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["before_pool", "chunks", "convolution_gradients", "empty"]

CACHE = 2 << 20  # bytes per core that the output of a convolution may fill before it is pooled, to stay in the cache


def chunks(shape: tuple[int, ...], size: int) -> list[slice]:
    """All images of `(n, c, h, w)` maps, `size` bytes a number, in slices that fit in the cache."""
    n, c, h, w = shape
    count = max(1, CACHE * torch.get_num_threads() // (c * h * w * size))
    return [slice(start, min(start + count, n)) for start in range(0, n, count)]


def empty(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
    """An uninitialised tensor for maps `(n, c, h, w)`, channels last."""
    return torch.empty(shape, dtype=dtype or like.dtype, device=like.device, memory_format=torch.channels_last)


def before_pool(gradient: Tensor, positive: Tensor) -> Tensor:
    """Gradient of ReLU's input: a quarter of that of the pooled maps, `gradient`, where the input was positive."""
    n, c, h, w = positive.shape
    mask = positive.permute(0, 2, 3, 1).reshape(n, h // 2, 2, w // 2, 2, c)
    spread = gradient.permute(0, 2, 3, 1).reshape(n, h // 2, 1, w // 2, 1, c)
    if torch.is_grad_enabled():
        return (mask * spread).view(n, h, w, c).permute(0, 3, 1, 2)
    # A byte becomes a float several times as fast as a truth value does.
    return mask.view(torch.uint8).to(gradient.dtype).mul_(spread).view(n, h, w, c).permute(0, 3, 1, 2)


def convolution_gradients(
    maps: Tensor, images: Tensor, weight: Tensor, padding: int, wanted: tuple[bool, ...]
) -> tuple[Any, Any, Any]:
    """Gradients of images, weight and bias, `None` unless `wanted`, from that of the convolution's output."""
    return torch.ops.aten.convolution_backward(
        maps, images, weight, [len(weight)], [1, 1], [padding, padding], [1, 1], False, [0, 0], 1, list(wanted)
    )

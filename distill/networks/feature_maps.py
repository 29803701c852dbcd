"""Feature maps of a convolution: in parts that fit in the cache, before pooling, and its gradients."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["add_part", "before_pool", "chunks", "convolution_gradients", "empty", "empty_totals", "maps_and_pooled"]

CACHE = 2 << 20  # bytes per core that the output of a convolution may fill before it is pooled, to stay in the cache


def chunks(shape: tuple[int, ...], size: int, *, times: int = 1) -> list[slice]:
    """All images of `(n, c, h, w)` maps, `size` bytes a number, in slices that fit in the cache, or `times` as much."""
    n, c, h, w = shape
    count = max(1, times * CACHE * torch.get_num_threads() // (c * h * w * size))
    return [slice(start, min(start + count, n)) for start in range(0, n, count)]


def empty(like: Tensor, shape: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
    """An uninitialised tensor for maps `(n, c, h, w)`, channels last."""
    return torch.empty(shape, dtype=dtype or like.dtype, device=like.device, memory_format=torch.channels_last)


def maps_and_pooled(images: Tensor, weight: Tensor, padding: int) -> tuple[tuple[int, ...], Tensor]:
    """The shape of a 3x3 convolution's output, and an uninitialised tensor for the same, pooled 2x2."""
    n, _, *sides = images.shape
    shape = (n, len(weight), *(side + 2 * padding - 2 for side in sides))
    return shape, empty(images, (*shape[:2], shape[2] // 2, shape[3] // 2))


def empty_totals(
    like: Tensor, shape: tuple[int, ...], weight: Tensor, wanted: tuple[bool, ...]
) -> list[Tensor | None]:
    """Where the gradients of images of this `shape`, weight and bias are gathered, `None` unless `wanted`."""
    return [
        empty(like, shape) if wanted[0] else None,
        torch.zeros_like(weight) if wanted[1] else None,
        weight.new_zeros(len(weight)) if wanted[2] else None,
    ]


def add_part(totals: list[Tensor | None], rows: slice, found: tuple[Any, Any, Any]) -> None:
    """Put gradients found on some images into `totals`: into their `rows`, and added to those of weight and bias."""
    if totals[0] is not None:
        totals[0][rows] = found[0]
    for total, result in zip(totals[1:], found[1:], strict=True):
        if total is not None:
            total.add_(result)


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

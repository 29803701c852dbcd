"""Convolution, ReLU and average pooling whose products are in bfloat16, for processors that compute in it."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.networks.feature_maps import (
    add_part,
    before_pool,
    chunks,
    convolution_gradients,
    empty_totals,
    maps_and_pooled,
)  # fmt: skip
from distill.runtime.precision import float32_products

__all__ = ["BFloat16ConvReLUAvgPool2d", "computes_in_bfloat16"]

LARGE = 1e38  # below the largest float32, 3.4e38
NARROW = 8  # maps up to this width: the gradient of the weights is faster with images side by side
TOGETHER = 32  # so many images, or a part of them
TIMES_THE_CACHE = 8  # for maps that are kept: they leave the cache anyway, and gradients of many images are faster


def computes_in_bfloat16(images: Tensor) -> bool:
    """Whether convolutions of these images are computed in bfloat16 here: float32 ones on a CPU set to it."""
    return images.device.type == "cpu" and images.dtype == torch.float32 and float32_products("cpu") == "bfloat16"


class BFloat16ConvReLUAvgPool2d(torch.autograd.Function):
    """The three operations on float32 images, weights and results; what lies between is bfloat16.

    Torch's own switch for float32 convolutions leaves their tensors in float32: the gradient of the weights is then no
    faster, and the rest half as fast as with tensors of bfloat16, which are what the processor's matrix unit takes.
    Gradients of the weights are summed over chunks in float32. A second derivative is computed in float32.
    """

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: int, gradients: bool) -> Tensor:
        """Pooled maps `(n, out, h / 2, w / 2)`, float32. `gradients`: whether any may be asked for."""
        needs_backward = gradients and any(ctx.needs_input_grad)
        shape, pooled = maps_and_pooled(images, weight, padding)
        low, low_weight, low_bias = lowered(images), lowered(weight), bias.bfloat16()
        parts = chunks(shape, low.element_size(), times=TIMES_THE_CACHE if needs_backward else 1)
        rectify_, saved = rectifier_for(images, weight, bias), []
        for rows in parts:
            maps = rectify_(F.conv2d(low[rows], low_weight, low_bias, padding=padding))
            pooled[rows].copy_(F.avg_pool2d(maps, 2))
            if needs_backward:
                saved.append(positive_in_place(maps))
        if needs_backward:
            kept = (images, low) if ctx.needs_input_grad[1] else (None, None)
            ctx.save_for_backward(weight, low_weight, *kept, *saved)
            ctx.shape, ctx.parts, ctx.padding = images.shape, parts, padding
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Gradients of images, weight and bias, float32."""
        weight, low_weight, images, low, *saved = ctx.saved_tensors
        needs, padding = ctx.needs_input_grad[:3], ctx.padding
        if images is None:  # only its shape matters
            images, low = (kind.new_empty(1).expand(ctx.shape) for kind in (weight, low_weight))
        if torch.is_grad_enabled():  # for a second derivative
            positive = torch.cat([ones.bool() for ones in saved])
            maps = before_pool(gradients[0] * 0.25, positive)
            return *convolution_gradients(maps, images, weight, padding, needs), None, None
        totals = empty_totals(gradients[0], ctx.shape, weight, needs)
        # The mean of four is their sum with a quarter of the weights, and a quarter of what these get, to the last bit.
        gradient, quarter = lowered(gradients[0]), low_weight * 0.25
        for rows, ones in zip(ctx.parts, saved, strict=True):
            to_maps = F.interpolate(gradient[rows], scale_factor=2.0, mode="nearest")
            to_maps.view(torch.int16).mul_(ones)
            add_part(totals, rows, faster_gradients(to_maps, low[rows], quarter, padding, needs))
        for total in totals[1:]:
            if total is not None:
                total.mul_(0.25)
        return *totals, None, None


# Read as integers, the bits of bfloat16 numbers are in the order of the numbers, and negative for negative ones; and
# integers are several times as fast.


def rectifier_for(images: Tensor, weight: Tensor, bias: Tensor) -> Callable[[Tensor], Tensor]:
    """ReLU in place, for the bfloat16 maps of this convolution: the fast one if no map can be NaN, which it may lose.

    No sum of products is larger than the product of the norms of its vectors (Cauchy and Schwarz).
    """
    of_images, of_weight, of_bias = (torch.linalg.vector_norm(tensor) for tensor in (images, weight, bias))
    return rectified_bits_ if of_images * of_weight + of_bias < LARGE else Tensor.relu_  # NaN is not below


def rectified_bits_(maps: Tensor) -> Tensor:
    """ReLU in place of bfloat16 maps that are not NaN."""
    maps.view(torch.int16).clamp_min_(0)
    return maps


def positive_in_place(maps: Tensor) -> Tensor:
    """1 where `maps`, bfloat16 and not negative, are positive, else 0: int16, in the same memory.

    A number's bits times these are the number, or 0.
    """
    return maps.view(torch.int16).clamp_(0, 1)


def faster_gradients(
    maps: Tensor, images: Tensor, weight: Tensor, padding: int, wanted: tuple[bool, ...]
) -> tuple[Any, Any, Any]:
    """`convolution_gradients`, where that of the weights is faster another way if the maps are narrow.

    The processor's matrix unit sums over 32 pixels of a row at a time, which several narrow images fill together.
    """
    together = math.gcd(len(maps), TOGETHER)
    if not wanted[1] or padding != 1 or maps.shape[3] > NARROW or together == 1:
        return convolution_gradients(maps, images, weight, padding, wanted)
    to_images = None
    if wanted[0]:
        to_images = convolution_gradients(maps, images, weight, padding, (True, False, False))[0]
    wide, wide_images = side_by_side(maps, together), side_by_side(images, together)
    return to_images, *convolution_gradients(wide, wide_images, weight, padding, (False, *wanted[1:]))[1:]


def side_by_side(maps: Tensor, count: int) -> Tensor:
    """Maps `(n, c, h, w)` as `(n / count, c, h, count * (w + 1))`: `count` in a row, each followed by a column of 0."""
    n, c, h, w = maps.shape
    rows = maps.new_zeros(n // count, h, count, w + 1, c)
    rows[..., :w, :] = maps.permute(0, 2, 3, 1).reshape(n // count, count, h, w, c).transpose(1, 2)
    return rows.view(n // count, h, count * (w + 1), c).permute(0, 3, 1, 2)


def lowered(maps: Tensor) -> Tensor:
    """As bfloat16, channels last."""
    return maps.to(torch.bfloat16, memory_format=torch.channels_last)

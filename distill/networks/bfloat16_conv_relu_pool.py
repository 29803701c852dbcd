"""Convolution, ReLU and average pooling whose products are in bfloat16, for processors that compute in it."""

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
        saved = []
        for rows in parts:
            maps = F.conv2d(low[rows], low_weight, low_bias, padding=padding).relu_()
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
            add_part(totals, rows, convolution_gradients(to_maps, low[rows], quarter, padding, needs))
        for total in totals[1:]:
            if total is not None:
                total.mul_(0.25)
        return *totals, None, None


def positive_in_place(maps: Tensor) -> Tensor:
    """1 where `maps`, bfloat16 and not negative, are positive, else 0: int16, in the same memory.

    Their bits, read as integers, are in the order of the numbers, and integers are several times as fast: a number's
    bits times these are the number, or 0.
    """
    return maps.view(torch.int16).clamp_(0, 1)


def lowered(maps: Tensor) -> Tensor:
    """As bfloat16, channels last."""
    return maps.to(torch.bfloat16, memory_format=torch.channels_last)

"""Convolution, ReLU and average pooling in one operation, which takes most of FRePo's time on a CPU."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.networks.bfloat16_conv_relu_pool import BFloat16ConvReLUAvgPool2d, computes_in_bfloat16
from distill.networks.feature_maps import (
    add_part,
    before_pool,
    chunks,
    convolution_gradients,
    empty,
    empty_totals,
    maps_and_pooled,
)  # fmt: skip

__all__ = ["ConvReLUAvgPool2d", "ReLUAvgPool2d"]

FEW_CHANNELS = 4  # up to this many, the gradient of a convolution's input is faster as a matrix product


class ReLUAvgPool2d(nn.Module):
    """ReLU, then average pooling 2x2: `(n, c, h, w)` to `(n, c, h // 2, w // 2)`."""

    fused = True
    """Whether the fast operation is used where it can be; see `plain_layers`."""

    def forward(self, images: Tensor) -> Tensor:
        """Both in one operation if gradients are needed and sides are even."""
        if not self.fused:
            return F.avg_pool2d(F.relu(images), 2)
        if images.requires_grad and torch.is_grad_enabled() and images.shape[2] % 2 == images.shape[3] % 2 == 0:
            return _ReLUAvgPool2d.apply(images)
        return F.avg_pool2d(F.relu(images), 2)


class _ReLUAvgPool2d(torch.autograd.Function):
    # Saves one byte per pixel instead of four, and needs one pass backward.

    @staticmethod
    def forward(ctx: Any, images: Tensor) -> Tensor:
        lit = F.relu(images)
        ctx.save_for_backward(lit.bool())  # several times as fast as `images > 0`
        return F.avg_pool2d(lit, 2)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (positive,) = ctx.saved_tensors
        return before_pool(gradients[0] * 0.25, positive)


class ConvReLUAvgPool2d(nn.Conv2d):
    """Convolution 3x3 of stride 1, ReLU, average pooling 2x2: `(n, c, h, w)` to `(n, out, h' // 2, w' // 2)`.

    On a CPU a few images go through all three at a time, so that the output of the convolution, the largest tensor, is
    never written to memory. For the backward pass one byte per pixel of it is saved, and the input only if the weights
    need a gradient. The results are those of the three modules one after the other, up to rounding.
    """

    fused = True
    """Whether the fast operation is used where it can be; see `plain_layers`."""

    def forward(self, images: Tensor) -> Tensor:
        """All three in one operation on a CPU if sides are even."""
        if not self.fused:
            return F.avg_pool2d(F.relu(super().forward(images)), 2)
        padding = int(self.padding[0])
        even = images.shape[2] % 2 == images.shape[3] % 2 == 0  # and so are the maps' sides
        if images.device.type == "cpu" and even and len(images):
            fused = BFloat16ConvReLUAvgPool2d if computes_in_bfloat16(images) else _ConvReLUAvgPool2d
            return fused.apply(images, self.weight, self.bias, padding, torch.is_grad_enabled())
        return ReLUAvgPool2d()(super().forward(images))


class _ConvReLUAvgPool2d(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, padding: int, gradients: bool) -> Tensor:
        shape, pooled = maps_and_pooled(images, weight, padding)
        needs_backward = gradients and any(ctx.needs_input_grad)  # in here no gradient is ever enabled
        positive = empty(images, shape if needs_backward else (0, *shape[1:]), torch.bool)
        for rows in chunks(shape, images.element_size()):
            maps = F.conv2d(images[rows], weight, bias, padding=padding).relu_()
            if needs_backward:
                positive[rows].copy_(maps)  # several times as fast as `maps > 0`
            torch.ops.aten.avg_pool2d.out(maps, [2, 2], out=pooled[rows])
        if needs_backward:
            ctx.save_for_backward(images if ctx.needs_input_grad[1] else None, weight, positive)
            ctx.shape, ctx.padding = images.shape, padding
        return pooled

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, positive = ctx.saved_tensors
        needs, padding = ctx.needs_input_grad[:3], ctx.padding
        gradient = (gradients[0] * 0.25).contiguous(memory_format=torch.channels_last)
        if images is None:  # only its shape matters
            images = gradient.new_empty(1).expand(ctx.shape)
        if torch.is_grad_enabled():  # for a second derivative
            return *convolution_gradients(before_pool(gradient, positive), images, weight, padding, needs), None, None
        totals = empty_totals(gradient, ctx.shape, weight, needs)
        for rows in chunks(positive.shape, gradient.element_size()):
            maps = before_pool(gradient[rows], positive[rows])
            add_part(totals, rows, faster_gradients(maps, images[rows], weight, padding, needs))
        return *totals, None, None


def faster_gradients(
    maps: Tensor, images: Tensor, weight: Tensor, padding: int, wanted: tuple[bool, ...]
) -> tuple[Any, Any, Any]:
    """`convolution_gradients`, where that of the images is faster another way if they have few channels."""
    if not wanted[0] or images.shape[1] > FEW_CHANNELS:
        return convolution_gradients(maps, images, weight, padding, wanted)
    to_images = input_gradient(maps, weight, padding)
    if not any(wanted[1:]):
        return to_images, None, None
    return to_images, *convolution_gradients(maps, images, weight, padding, (False, *wanted[1:]))[1:]


def input_gradient(maps: Tensor, weight: Tensor, padding: int) -> Tensor:
    """Gradient of the input of a 3x3 convolution, from that of its output: a matrix product, and nine shifted sums."""
    n, out, h, w = maps.shape
    channels = weight.shape[1]
    columns = weight.permute(2, 3, 1, 0).reshape(9 * channels, out) @ maps.permute(0, 2, 3, 1).reshape(-1, out).T
    shifted = columns.view(3, 3, channels, n, h, w)
    padded = maps.new_zeros(channels, n, h + 2, w + 2)
    for i in range(3):
        for j in range(3):
            padded[:, :, i : i + h, j : j + w] += shifted[i, j]
    return padded[:, :, padding : h + 2 - padding, padding : w + 2 - padding].transpose(0, 1)

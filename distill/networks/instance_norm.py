"""Instance normalisation that is fast on CPUs, channels last."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill.networks.feature_maps import chunks

__all__ = ["InstanceNorm2d"]

ARRAYS = 3  # as large as the images that a pass has in use


class InstanceNorm2d(nn.GroupNorm):
    """Each channel of each image `(n, channels, h, w)` to mean 0 and variance 1, then a scale and shift a channel.

    `GroupNorm` with as many groups as channels, whose results it has up to rounding; on a CPU, channels last, it takes
    less than half of its time.
    """

    fused = True
    """Whether the fast operation is used where it can be; see `plain_layers`."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, channels)

    def forward(self, images: Tensor) -> Tensor:
        """The fast way on a CPU."""
        last = self.fused and images.device.type == "cpu" and images.is_contiguous(memory_format=torch.channels_last)
        if last and len(images):
            return _InstanceNorm.apply(images, self.weight, self.bias, self.eps)
        return super().forward(images)


class _InstanceNorm(torch.autograd.Function):
    # A few images at a time, so that the passes over them find them in the cache.

    @staticmethod
    def forward(ctx: Any, images: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        n, c, h, w = images.shape
        pixels, result = as_pixels(images), images.new_empty(n, h * w, c)
        mean, scale = pixels.new_empty(n, 1, c), pixels.new_empty(n, 1, c)
        for rows in chunks(images.shape, ARRAYS * images.element_size()):
            mean[rows] = pixels[rows].mean(1, keepdim=True)
            centred = torch.sub(pixels[rows], mean[rows], out=result[rows])
            variance = centred.square().mean(1, keepdim=True)
            scale[rows] = (variance + eps).rsqrt_().add_(variance * 0)  # NaN where it overflows: no constant image
            centred.mul_(scale[rows] * weight).add_(bias)
        ctx.save_for_backward(images, weight, bias, mean, scale)
        ctx.eps = eps
        return as_images(result, images)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        images, weight, bias, mean, scale = ctx.saved_tensors
        if torch.is_grad_enabled():  # for a second derivative
            needed = [tensor for tensor in (images, weight, bias) if tensor.requires_grad]
            again = F.group_norm(images, len(weight), weight, bias, ctx.eps)
            found = iter(torch.autograd.grad(again, needed, gradients[0], create_graph=True))
            return *(next(found) if tensor.requires_grad else None for tensor in (images, weight, bias)), None
        gradient, pixels = as_pixels(gradients[0]), as_pixels(images)
        size = gradient.shape[1]
        total, along = torch.empty_like(mean), torch.empty_like(mean)
        result = torch.empty_like(pixels) if ctx.needs_input_grad[0] else None
        for rows in chunks(images.shape, ARRAYS * images.element_size()):
            centred = pixels[rows] - mean[rows]
            total[rows] = gradient[rows].sum(1, keepdim=True)
            along[rows] = (gradient[rows] * centred).sum(1, keepdim=True)
            if result is not None:
                spread = torch.sub(gradient[rows], total[rows] / size, out=result[rows])
                spread.addcmul_(centred, scale[rows].square() * along[rows], value=-1 / size)
                spread.mul_(scale[rows] * weight)
        to_images = None if result is None else as_images(result, images)
        return to_images, (along * scale).sum((0, 1)), total.sum((0, 1)), None


def as_pixels(images: Tensor) -> Tensor:
    """Maps `(n, c, h, w)`, channels last, as `(n, h * w, c)`."""
    n, c, h, w = images.shape
    return images.permute(0, 2, 3, 1).reshape(n, h * w, c)


def as_images(pixels: Tensor, like: Tensor) -> Tensor:
    """The inverse of `as_pixels`."""
    n, c, h, w = like.shape
    return pixels.view(n, h, w, c).permute(0, 3, 1, 2)

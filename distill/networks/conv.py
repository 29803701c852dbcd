"""The paper's network, and that of dataset condensation: convolutions, each with average pooling."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from distill.errors import InputError
from distill.networks.base import Network, UniformNetwork
from distill.networks.conv_relu_pool import ConvReLUAvgPool2d, ReLUAvgPool2d
from distill.networks.norms import Norm, check_norm, check_size, make_norm

__all__ = ["Conv", "DCConv", "default_depth"]


def default_depth(side: int) -> int:
    """Blocks for images of side `side`: 3 for 28 and 32, 4 for 64, 5 for 128, fewer for smaller images."""
    return max(1, min(5, round(math.log2(max(side, 2))) - 2))


class Conv(Network):
    """The paper's network: blocks of `[norm unless first] -> conv 3x3 -> ReLU -> average pool 2x2`.

    Block `i` has `width * growth**i` channels. Norm stands before the convolution from the second block on
    (`norm_after=True`: after each convolution). A one-channel 28x28 input is padded by 3 in the first convolution,
    so that 28 becomes 32.
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        num_classes: int,
        width: int = 128,
        depth: int | None = None,
        norm: Norm = "batch",
        norm_after: bool = False,
        growth: int = 2,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        channels, height, side = image_shape
        depth = default_depth(min(height, side)) if depth is None else depth
        check_norm(norm)
        check_size(width, depth)
        wide = channels == 1 and (height, side) == (28, 28)
        if wide:
            height = side = 32
        if min(height, side) < 2**depth:
            raise InputError(f"images of {height}x{side} cannot be pooled {depth} times; expected a smaller depth")
        blocks: list[nn.Module] = []
        for block in range(depth):
            out = width * growth**block
            if block and not norm_after:
                blocks.append(make_norm(norm, channels))
            padding = 3 if wide and block == 0 else 1
            # skip_init: PyTorch's own initialisation would draw from the global generator.
            if norm_after:
                blocks.append(skip_init(nn.Conv2d, channels, out, 3, padding=padding))
                blocks += [make_norm(norm, out), ReLUAvgPool2d()]
            else:
                blocks.append(skip_init(ConvReLUAvgPool2d, channels, out, 3, padding=padding))
            channels, height, side = out, height // 2, side // 2
        self.blocks = nn.Sequential(*blocks)
        self.head = skip_init(nn.Linear, channels * height * side, num_classes)
        self.reset_parameters(generator)
        self.to(memory_format=torch.channels_last)  # twice as fast on CPUs

    def features(self, images: Tensor) -> Tensor:
        """Flattened output of the last pooling layer."""
        return self.blocks(images.contiguous(memory_format=torch.channels_last)).flatten(1)


class DCConv(UniformNetwork, Conv):
    """The ConvNet of dataset condensation (Zhao, Mopuri & Bilen 2021), in which DM and DSA match.

    Blocks of `conv 3x3 -> norm -> ReLU -> average pool 2x2`, all of `width` channels (published: 128, InstanceNorm),
    with PyTorch's default initialisation.
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        num_classes: int,
        width: int = 128,
        depth: int | None = None,
        norm: Norm = "instance",
        generator: torch.Generator,
    ) -> None:
        super().__init__(
            image_shape=image_shape,
            num_classes=num_classes,
            width=width,
            depth=depth,
            norm=norm,
            norm_after=True,
            growth=1,
            generator=generator,
        )

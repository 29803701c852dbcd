"""ResNet for small images."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import skip_init

from distill.errors import InputError
from distill.networks.base import UniformNetwork, scaled
from distill.networks.norms import Norm, check_norm, check_size, make_norm, norm_groups

__all__ = ["ResNet18", "ResidualBlock"]

STAGES = (64, 128, 256, 512)  # published channels of each stage of two blocks


class ResidualBlock(nn.Module):
    """`relu(norm(conv(relu(norm(conv(x))))) + x)`: `(n, channels, h, w)` to `(n, out, h / stride, w / stride)`.

    Where the shape changes, `x` passes a 1x1 convolution and a norm. Convolutions have no bias.
    """

    def __init__(self, channels: int, out: int, *, stride: int, norm: Norm) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            skip_init(nn.Conv2d, channels, out, 3, stride=stride, padding=1, bias=False),
            make_norm(norm, out),
            nn.ReLU(),
            skip_init(nn.Conv2d, out, out, 3, padding=1, bias=False),
            make_norm(norm, out),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            # Every other pixel, then stride 1, instead of a 1x1 convolution of stride 2: the same numbers, but with few
            # channels, channels last, oneDNN's gradient of the latter is wrong or crashes (uxlfoundation/oneDNN#6035).
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(1, stride), skip_init(nn.Conv2d, channels, out, 1, bias=False), make_norm(norm, out)
            )

    def forward(self, images: Tensor) -> Tensor:
        """Feature maps to feature maps, sides rounded up."""
        return F.relu(self.residual(images) + self.shortcut(images))


class ResNet18(UniformNetwork):
    """ResNet18 (He et al. 2016) as dataset condensation has it (Zhao, Mopuri & Bilen 2021).

    A 3x3 convolution of stride 1, four stages of two residual blocks with 64, 128, 256 and 512 channels at `width` 128
    (in proportion at others), each stage but the first at half the side of the one before; features are the means over
    each of the last maps. Published with BatchNorm ("ResNet18BN") and with InstanceNorm, and for 28x28 and 32x32;
    the mean is over the maps of larger images too.

    FRePo's released JAX code flattens the last maps, and normalises after the first convolution alone.
    """

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        num_classes: int,
        width: int = 128,
        norm: Norm = "batch",
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        check_norm(norm)
        check_size(width, None)
        channels = scaled(STAGES[0], width)
        blocks: list[nn.Module] = [
            skip_init(nn.Conv2d, image_shape[0], channels, 3, padding=1, bias=False),
            make_norm(norm, channels),
            nn.ReLU(),
        ]
        for stage, published in enumerate(STAGES):
            out = scaled(published, width)
            blocks.append(ResidualBlock(channels, out, stride=2 if stage else 1, norm=norm))
            blocks.append(ResidualBlock(out, out, stride=1, norm=norm))
            channels = out
        check_maps(image_shape, channels, norm)
        self.blocks = nn.Sequential(*blocks)
        self.head = skip_init(nn.Linear, channels, num_classes)
        self.reset_parameters(generator)
        self.to(memory_format=torch.channels_last)  # faster on CPUs

    def features(self, images: Tensor) -> Tensor:
        """Mean over each of the last maps."""
        return self.blocks(images.contiguous(memory_format=torch.channels_last)).mean((2, 3))


def check_maps(image_shape: tuple[int, int, int], channels: int, norm: Norm) -> None:
    """Raise `InputError` where `norm` would make the last maps of such images zero: one number is its own mean."""
    _, height, side = image_shape
    if norm in ("none", "batch") or max(height, side) > 8 or norm_groups(norm, channels) < channels:
        return
    raise InputError(
        f"images of {height}x{side} are 1x1 at the end of ResNet18, and norm {norm!r} makes each of these maps "
        "zero; expected norm none, batch or layer, or larger images"
    )

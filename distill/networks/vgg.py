"""VGG for small images."""

from typing import ClassVar

import torch

from distill.networks.norms import Norm
from distill.networks.stack import Layer, Stack

__all__ = ["VGG11"]


class VGG11(Stack):
    """VGG11 (Simonyan & Zisserman 2015) as dataset condensation has it (Zhao, Mopuri & Bilen 2021).

    Eight 3x3 convolutions of 64, 128, 256, 256 and four times 512 channels at `width` 128, in proportion at others;
    pooled five times, so that 32x32 becomes 1x1; one linear layer instead of three. Published with BatchNorm
    ("VGG11BN") and with InstanceNorm; larger images are flattened, where the published network takes only 32x32.

    FRePo's released JAX code has 128 channels in all eight.
    """

    layers: ClassVar[tuple[Layer, ...]] = (
        Layer(64, 3, pool=True),
        Layer(128, 3, pool=True),
        Layer(256, 3, pool=False),
        Layer(256, 3, pool=True),
        Layer(512, 3, pool=False),
        Layer(512, 3, pool=True),
        Layer(512, 3, pool=False),
        Layer(512, 3, pool=True),
    )

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        num_classes: int,
        width: int = 128,
        norm: Norm = "batch",
        generator: torch.Generator,
    ) -> None:
        super().__init__(
            image_shape=image_shape, num_classes=num_classes, width=width, norm=norm, generator=generator
        )

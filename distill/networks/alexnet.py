"""AlexNet for small images."""

from typing import ClassVar

import torch

from distill.networks.norms import Norm
from distill.networks.stack import Layer, Stack

__all__ = ["AlexNet"]


class AlexNet(Stack):
    """AlexNet (Krizhevsky et al. 2012) as dataset condensation has it (Zhao, Mopuri & Bilen 2021).

    Five convolutions of 128, 192, 256, 192 and 192 channels at `width` 128, in proportion at others; pooled after the
    first, second and last, so that 32x32 becomes 4x4; one linear layer. Published without normalisation; any `norm`
    stands between convolution and ReLU.
    """

    layers: ClassVar[tuple[Layer, ...]] = (
        Layer(128, 5, pool=True),
        Layer(192, 5, pool=True),
        Layer(256, 3, pool=False),
        Layer(192, 3, pool=False),
        Layer(192, 3, pool=True),
    )

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        num_classes: int,
        width: int = 128,
        norm: Norm = "none",
        generator: torch.Generator,
    ) -> None:
        super().__init__(
            image_shape=image_shape, num_classes=num_classes, width=width, norm=norm, generator=generator
        )

"""The base of AlexNet and VGG: a stack of convolutions, some of them with max pooling."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from distill.errors import InputError
from distill.networks.base import UniformNetwork, scaled
from distill.networks.norms import Norm, check_norm, check_size, make_norm

__all__ = ["Layer", "Stack"]


class Layer(NamedTuple):
    """One convolution: its published channels, the side of its kernel, and whether max pooling 2x2 follows."""

    channels: int
    kernel: int
    pool: bool


class Stack(UniformNetwork):
    """The `layers` one after the other: `conv -> norm -> ReLU [-> max pool 2x2]`, channels in proportion to `width`.

    Features are the flattened output of the last pooling. Images with sides of 28 to 31 are padded by 2 more in the
    first convolution, so that 28 becomes 32. (Published: grey images of any size, of which 28x28 is the only one.)
    """

    layers: ClassVar[tuple[Layer, ...]]

    def __init__(
        self,
        *,
        image_shape: tuple[int, int, int],
        num_classes: int,
        width: int = 128,
        norm: Norm,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        check_norm(norm)
        check_size(width, None)
        channels, *sides = image_shape
        extra = 2 if 28 <= min(sides) < 32 else 0
        pools = sum(layer.pool for layer in self.layers)
        height, side = (given + 2 * extra for given in sides)
        if min(height, side) < 2**pools:
            raise InputError(
                f"images of {sides[0]}x{sides[1]} cannot be pooled {pools} times, as {type(self).__name__} does; "
                "expected larger images or another network"
            )
        blocks: list[nn.Module] = []
        for layer in self.layers:
            out, padding = scaled(layer.channels, width), layer.kernel // 2 + (0 if blocks else extra)
            # skip_init: PyTorch's own initialisation would draw from the global generator.
            blocks += [skip_init(nn.Conv2d, channels, out, layer.kernel, padding=padding), make_norm(norm, out)]
            blocks += [nn.ReLU(), nn.MaxPool2d(2)] if layer.pool else [nn.ReLU()]
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.head = skip_init(nn.Linear, channels * (height >> pools) * (side >> pools), num_classes)
        self.reset_parameters(generator)
        self.to(memory_format=torch.channels_last)  # faster on CPUs

    def features(self, images: Tensor) -> Tensor:
        """Flattened output of the last pooling layer."""
        return self.blocks(images.contiguous(memory_format=torch.channels_last)).flatten(1)

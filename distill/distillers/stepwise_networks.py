"""Distillers that learn images step by step, by what networks compute of them."""

from dataclasses import dataclass

import torch

from distill.distillers.stepwise import StepwiseDistiller
from distill.networks import Network, Norm, check_network, network_of
from distill.runtime.checks import DTYPES, require_positive

__all__ = ["StepwiseInNetworks"]


@dataclass(frozen=True, kw_only=True)
class StepwiseInNetworks(StepwiseDistiller):
    """A method that learns images step by step in networks of one kind, which `build` draws."""

    network: str = "conv"
    """Network used for distillation: conv, conv-after, dcconv, alexnet, vgg11 or resnet18."""
    width: int = 128
    """Width of the network: channels of its first convolution."""
    depth: int | None = None
    """Number of blocks of the network. Default: depends on the resolution of the images."""
    norm: Norm = "batch"
    """Normalization of the network: "none", "batch", "instance", "layer" or "group"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "width")
        check_network(self.network, norm=self.norm, width=self.width, depth=self.depth)

    def check_images(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Raise `InputError` where the network or the codec does not go with the images."""
        super().check_images(image_shape, num_classes)
        self.build(image_shape, num_classes, torch.Generator())

    def build(
        self, image_shape: tuple[int, int, int], num_classes: int, generator: torch.Generator, *, device: str = "cpu"
    ) -> Network:
        """A freshly drawn network of these options, on `device`."""
        network = network_of(self, image_shape=image_shape, num_classes=num_classes, generator=generator)
        return network.to(device, DTYPES[self.dtype])

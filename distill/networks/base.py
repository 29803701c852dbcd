"""The base of every network: features, a linear head, and weights drawn from an explicit generator."""

import math
from abc import ABC, abstractmethod
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["Network", "UniformNetwork", "fan_in_uniform_", "lecun_normal_", "scaled"]

# 0.8796... is the standard deviation of a unit normal truncated at +-2, as in Flax's variance_scaling.
TRUNCATED_STD = 0.87962566103423978


class Network(nn.Module, ABC):
    """A network whose `features` are the input of its last linear layer `head`."""

    head: nn.Linear

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Images `(n, channels, height, width)` to features `(n, d)`."""

    def forward(self, images: Tensor) -> Tensor:
        """Images `(n, channels, height, width)` to logits `(n, num_classes)`."""
        return self.head(self.features(images))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw all parameters anew from `generator`, running statistics included."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                self.draw_layer(module, generator)
            elif hasattr(module, "reset_parameters") and module is not self:
                cast(nn.BatchNorm2d | nn.GroupNorm, module).reset_parameters()  # constants, nothing random

    def draw_layer(self, layer: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
        """Draw one layer anew: LeCun normal, zero bias, as Flax does."""
        lecun_normal_(layer.weight, generator)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


class UniformNetwork(Network):
    """A network with PyTorch's default initialisation, as in dataset condensation."""

    def draw_layer(self, layer: nn.Conv2d | nn.Linear, generator: torch.Generator) -> None:
        """Draw one layer anew: uniform in `+-1 / sqrt(fan_in)`, weight and bias."""
        fan_in = layer.weight[0].numel()
        fan_in_uniform_(layer.weight, fan_in, generator)
        if layer.bias is not None:
            fan_in_uniform_(layer.bias, fan_in, generator)


def lecun_normal_(weight: Tensor, generator: torch.Generator) -> None:
    """Truncated normal of variance `1 / fan_in`, Flax's default; drawn on the CPU so that devices agree."""
    std = 1 / math.sqrt(weight[0].numel()) / TRUNCATED_STD
    drawn = torch.empty(weight.shape)
    nn.init.trunc_normal_(drawn, std=std, a=-2 * std, b=2 * std, generator=generator)
    with torch.no_grad():
        weight.copy_(drawn)


def fan_in_uniform_(tensor: Tensor, fan_in: int, generator: torch.Generator) -> None:
    """Uniform in `+-1 / sqrt(fan_in)`, PyTorch's default of weight and bias; drawn on the CPU so that devices agree."""
    bound = 1 / math.sqrt(fan_in)
    with torch.no_grad():
        tensor.copy_(torch.empty(tensor.shape).uniform_(-bound, bound, generator=generator))


def scaled(channels: int, width: int) -> int:
    """The channels of a network of `width` that has `channels` at width 128: in proportion, at least 1."""
    return max(1, round(channels * width / 128))

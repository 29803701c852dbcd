"""The networks by name."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import torch

from distill.errors import InputError
from distill.networks.alexnet import AlexNet
from distill.networks.base import Network
from distill.networks.conv import Conv, DCConv
from distill.networks.names import unknown
from distill.networks.norms import Norm, check_norm, check_size
from distill.networks.resnet import ResNet18
from distill.networks.vgg import VGG11

__all__ = ["NETWORKS", "Entry", "build_network", "check_network", "default_norm", "network_of"]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """The builder of a network, its published normalisation, and whether it takes a depth."""

    build: Callable[..., Network]
    norm: Norm
    takes_depth: bool = False


NETWORKS = {
    "conv": Entry(build=Conv, norm="batch", takes_depth=True),
    "conv-after": Entry(build=partial(Conv, norm_after=True), norm="batch", takes_depth=True),
    "dcconv": Entry(build=DCConv, norm="instance", takes_depth=True),
    "alexnet": Entry(build=AlexNet, norm="none"),
    "vgg11": Entry(build=VGG11, norm="batch"),
    "resnet18": Entry(build=ResNet18, norm="batch"),
}


def check_network(name: str = "conv", *, norm: str = "none", width: int = 1, depth: int | None = None) -> None:
    """Raise `InputError` for a network, norm, width or depth that is unknown or invalid for images of any size."""
    if name not in NETWORKS:
        raise unknown("network", name, NETWORKS)
    check_norm(norm)
    check_size(width, depth)
    if depth is not None and not NETWORKS[name].takes_depth:
        free = ", ".join(other for other, entry in NETWORKS.items() if entry.takes_depth)
        raise InputError(f"depth is {depth}, but {name} has one depth only; leave depth out, or take one of {free}")


def default_norm(name: str) -> Norm:
    """The normalisation a network is published with.

    That of "conv" is for distilling; the paper evaluates it without. Dataset condensation has "vgg11" and "resnet18"
    with "instance" as well, and so, apparently, the "ResNet-DN" of the paper's Table 2.
    """
    check_network(name)
    return NETWORKS[name].norm


def build_network(
    name: str,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    width: int = 128,
    depth: int | None = None,
    norm: Norm = "batch",
    generator: torch.Generator,
) -> Network:
    """A network by name, with freshly drawn weights.

    "conv": norm before the convolution; "conv-after": norm after it; "dcconv": that of dataset condensation, norm
    after the convolution and constant width; "alexnet", "vgg11", "resnet18": those of cross-architecture tables.

    - `image_shape`: `(channels, height, width)`.
    - `width`: 128 is the published size of each network (channels of the first convolution: 64 in "vgg11" and
      "resnet18", 128 in the others); other widths are in proportion.
    - `depth`: number of blocks of the first three; `None`: by resolution.
    - `norm`: "none", "batch", "instance", "layer" or "group".
    - `generator`: what the weights are drawn from, on the CPU.

    Raises `InputError` for an unknown name or norm, and for images too small for the network.

        >>> network = build_network(
        ...     "conv", image_shape=(1, 8, 8), num_classes=10, width=4, generator=torch.Generator().manual_seed(0)
        ... )
        >>> network(torch.zeros(2, 1, 8, 8)).shape, network.features(torch.zeros(2, 1, 8, 8)).shape
        (torch.Size([2, 10]), torch.Size([2, 64]))
    """
    check_network(name, norm=norm, width=width, depth=depth)
    entry = NETWORKS[name]
    build = partial(entry.build, depth=depth) if entry.takes_depth else entry.build
    return build(image_shape=image_shape, num_classes=num_classes, width=width, norm=norm, generator=generator)


class NetworkOptions(Protocol):
    """Options of a recipe or of a method that say which network it uses."""

    @property
    def network(self) -> str: ...
    @property
    def width(self) -> int: ...
    @property
    def depth(self) -> int | None: ...
    @property
    def norm(self) -> Norm: ...


def network_of(
    options: NetworkOptions, *, image_shape: tuple[int, int, int], num_classes: int, generator: torch.Generator
) -> Network:
    """The network that `options` name, with freshly drawn weights; otherwise as `build_network`."""
    return build_network(
        options.network,
        image_shape=image_shape,
        num_classes=num_classes,
        width=options.width,
        depth=options.depth,
        norm=options.norm,
        generator=generator,
    )

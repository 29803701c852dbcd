"""Networks that give features and logits, drawn from an explicit generator.

- `registry`: the networks by name; `build_network`, and `network_of` options.
- `base`: what every network is; `stack`: what AlexNet and VGG share.
- `conv`, `alexnet`, `vgg`, `resnet`: the networks. `norms`, `instance_norm`, `conv_relu_pool`: their layers;
  `plain_layers`: these without the operations that are fast on CPUs.
"""

from distill.networks.alexnet import AlexNet
from distill.networks.base import Network, UniformNetwork, lecun_normal_
from distill.networks.conv import Conv, DCConv, default_depth
from distill.networks.conv_relu_pool import ConvReLUAvgPool2d, ReLUAvgPool2d
from distill.networks.norms import Norm
from distill.networks.plain_layers import plain_layers
from distill.networks.registry import NETWORKS, build_network, check_network, default_norm, network_of
from distill.networks.resnet import ResNet18
from distill.networks.vgg import VGG11

__all__ = [
    "NETWORKS",
    "VGG11",
    "AlexNet",
    "Conv",
    "ConvReLUAvgPool2d",
    "DCConv",
    "Network",
    "Norm",
    "ReLUAvgPool2d",
    "ResNet18",
    "UniformNetwork",
    "build_network",
    "check_network",
    "default_depth",
    "default_norm",
    "lecun_normal_",
    "network_of",
    "plain_layers",
]

"""Networks: one contract for all of them with every norm, and parity with plain functions on the same weights."""

import copy
import math
import random
import re
from collections.abc import Callable, Iterator
from typing import get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill import FRePo, InputError, TrainingRecipe
from distill.networks import NETWORKS, Network, Norm, build_network, check_network, default_norm
from distill.networks.base import scaled

NAMES = list(NETWORKS)
NORMS = get_args(Norm)
WITH_DEPTH = ("conv", "conv-after", "dcconv")
SHAPES = {"grey28": (1, 28, 28), "rgb32": (3, 32, 32), "rgb64": (3, 64, 64)}
WIDTH = 8

every_network = pytest.mark.parametrize("name", NAMES)
every_norm = pytest.mark.parametrize("norm", NORMS)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def build(name: str, norm: Norm = "batch", *, seed: int = 1, **options: object) -> Network:
    options = {"image_shape": SHAPES["rgb32"], "num_classes": 5, "width": WIDTH} | options
    return build_network(name, norm=norm, generator=generator(seed), **options)


def images(shape: tuple[int, int, int], n: int = 3, seed: int = 2) -> Tensor:
    return torch.randn(n, *shape, generator=generator(seed))


def shake(network: nn.Module, seed: int) -> None:
    """Move every weight, scale, shift and running statistic away from where it starts."""
    moved = generator(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.mul_(1 + 0.2 * torch.rand(tensor.shape, generator=moved)).add_(
                    0.05 * torch.rand(tensor.shape, generator=moved)
                )


def same(first: Network, other: Network) -> bool:
    a, b = first.state_dict(), other.state_dict()
    return list(a) == list(b) and all(torch.equal(a[name], b[name]) for name in a)


# -- the contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@every_norm
@every_network
def test_features_go_through_the_head_and_gradients_reach_the_images(name: str, norm: Norm, shape) -> None:
    network = build(name, norm, image_shape=shape).eval()
    leaf = images(shape).requires_grad_(True)
    features = network.features(leaf)
    assert features.shape == (3, network.head.in_features)
    logits = network(leaf)
    assert logits.shape == (3, 5)
    assert torch.equal(logits, network.head(features))
    assert torch.equal(logits, network(leaf)), "evaluation must be deterministic"
    logits.square().sum().backward()
    assert bool(torch.isfinite(leaf.grad).all())
    assert all(float(image.abs().sum()) > 0 for image in leaf.grad)


@every_norm
@every_network
def test_training_reaches_every_parameter(name: str, norm: Norm) -> None:
    network = build(name, norm).train()
    network(images(SHAPES["rgb32"])).square().sum().backward()
    assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in network.parameters())
    # Weights alone: a norm takes the bias before it away again, and its gradient with it.
    assert all(float(p.grad.abs().sum()) > 0 for key, p in network.named_parameters() if key.endswith("weight"))


@every_norm
@every_network
def test_weights_come_from_the_generator_alone(name: str, norm: Norm) -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    network = build(name, norm)
    network.reset_parameters(generator(1))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])
    assert same(network, build(name, norm))
    assert not torch.equal(network.head.weight, build(name, norm, seed=3).head.weight)


@every_norm
@every_network
def test_reset_parameters_makes_a_used_network_new(name: str, norm: Norm) -> None:
    network, drawn = build(name, norm), generator(7)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.fill_(3)
    state = drawn.get_state()
    network.reset_parameters(drawn)
    again = torch.Generator()
    again.set_state(state)
    options = {"image_shape": SHAPES["rgb32"], "num_classes": 5, "width": WIDTH}
    assert same(network, build_network(name, norm=norm, generator=again, **options))
    assert torch.equal(drawn.get_state(), again.get_state())


@every_network
def test_images_of_other_sizes_and_channels_pass(name: str) -> None:
    for shape in ((3, 28, 28), (1, 32, 32), (3, 30, 30), (2, 32, 48), (3, 128, 128)):
        network = build(name, default_norm(name), image_shape=shape, width=4).eval()
        assert network(images(shape, n=1)).shape == (1, 5)


@every_norm
@every_network
def test_width_1_has_at_least_one_channel_everywhere(name: str, norm: Norm) -> None:
    network = build(name, norm, width=1, num_classes=1)
    assert network(images(SHAPES["rgb32"])).shape == (3, 1)
    assert min(module.out_channels for module in network.modules() if isinstance(module, nn.Conv2d)) == 1


@pytest.mark.parametrize("width", [2, 8, 16])  # few channels take other paths in oneDNN, some of them broken
@every_network
def test_outputs_and_gradients_in_float32_are_those_in_float64(name: str, width: int) -> None:
    network = build(name, default_norm(name), image_shape=SHAPES["rgb64"], width=width, seed=2).train()
    precise = copy.deepcopy(network).double()
    batch = images(SHAPES["rgb64"], n=4)
    for model, inputs in ((network, batch), (precise, batch.double())):
        model(inputs).square().sum().backward()
    torch.testing.assert_close(network(batch).double(), precise(batch.double()), rtol=1e-3, atol=1e-4)
    largest = max(float(parameter.grad.norm()) for parameter in precise.parameters())
    for single, double in zip(network.parameters(), precise.parameters(), strict=True):
        error = float((single.grad.double() - double.grad).norm())
        # Where float32 falls on the other side of a ReLU's kink, gradients differ by per cents.
        assert error <= 0.1 * float(double.grad.norm()) + 1e-5 * largest


@every_network
def test_batch_norm_keeps_a_tenth_of_its_running_statistics(name: str) -> None:
    norms = [module for module in build(name).modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert {(norm.momentum, norm.eps) for norm in norms} == {(0.9, 1e-5)}


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("conv", "conv-after")])
def test_initial_weights_and_biases_are_pytorchs_default_of_their_fan_in(name: str) -> None:
    network = build(name, width=64)
    for module in (module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)):
        bound = 1 / math.sqrt(module.weight[0].numel())
        for tensor in (module.weight, module.bias):
            if tensor is None:
                continue
            values = tensor.detach().double()
            assert float(values.abs().max()) <= bound * (1 + 1e-6)
            # A uniform's fourth moment is 9/5 of its squared variance: five standard errors.
            allowed = 5 * math.sqrt(0.8 / values.numel())
            assert float(values.square().mean()) * 3 / bound**2 == pytest.approx(1, abs=allowed)


# -- the published sizes ----------------------------------------------------------------------------------------------


def conv(fan_in: int, out: int, kernel: int = 3, bias: bool = True) -> int:
    return fan_in * out * kernel * kernel + (out if bias else 0)


PARAMETERS = {
    # 128, 256, 512 channels on 4x4; norms over the first two.
    "conv": conv(3, 128) + conv(128, 256) + conv(256, 512) + 2 * (128 + 256) + (512 * 16 + 1) * 10,
    "conv-after": conv(3, 128) + conv(128, 256) + conv(256, 512) + 2 * (128 + 256 + 512) + (512 * 16 + 1) * 10,
    # 3584 + 2 * 147584 + 768 + 20490, the 320010 of dataset condensation's ConvNet
    "dcconv": 320_010,
    # 9728 + 614592 + 442624 + 442560 + 331968 + 30730
    "alexnet": conv(3, 128, 5) + conv(128, 192, 5) + conv(192, 256) + conv(256, 192) + conv(192, 192) + 30_730,
    # convolutions 9220480, norms 2 * (64 + 128 + 2 * 256 + 4 * 512) = 5504, linear 513 * 10
    "vgg11": 9_220_480 + 5504 + 5130,
    # stem 1856, stages 147968 + 525568 + 2099712 + 8393728, linear 5130
    "resnet18": 1856 + 147_968 + 525_568 + 2_099_712 + 8_393_728 + 5130,
}


@every_network
def test_the_published_size_has_the_published_number_of_parameters(name: str) -> None:
    network = build(name, default_norm(name), width=128, num_classes=10)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


def test_the_published_numbers_of_parameters_add_up() -> None:
    assert PARAMETERS["alexnet"] == 1_872_202
    vgg = conv(3, 64) + conv(64, 128) + conv(128, 256) + conv(256, 256) + conv(256, 512) + 3 * conv(512, 512)
    assert PARAMETERS["vgg11"] == vgg + 2 * (64 + 128 + 2 * 256 + 4 * 512) + (512 + 1) * 10 == 9_231_114

    def stage(fan_in: int, out: int) -> int:  # two blocks, and a shortcut where channels change
        shortcut = conv(fan_in, out, 1, bias=False) + 2 * out if fan_in != out else 0
        return conv(fan_in, out, bias=False) + 3 * conv(out, out, bias=False) + 4 * 2 * out + shortcut

    resnet = conv(3, 64, bias=False) + 2 * 64 + sum(stage(*at) for at in ((64, 64), (64, 128), (128, 256), (256, 512)))
    assert PARAMETERS["resnet18"] == resnet + 5130 == 11_173_962


CHANNELS = {
    "conv": [32, 64, 128],
    "conv-after": [32, 64, 128],
    "dcconv": [32, 32, 32],
    "alexnet": [32, 48, 64, 48, 48],
    "vgg11": [16, 32, 64, 64, 128, 128, 128, 128],
    "resnet18": [16, *[16] * 4, *[32] * 5, *[64] * 5, *[128] * 5],  # shortcuts of the last three stages included
}


@every_network
def test_width_32_has_a_quarter_of_the_published_channels(name: str) -> None:
    network = build(name, width=32)
    assert [m.out_channels for m in network.modules() if isinstance(m, nn.Conv2d)] == CHANNELS[name]


@pytest.mark.parametrize(("channels", "width", "wanted"), [(64, 1, 1), (192, 1, 2), (512, 1, 4), (64, 128, 64)])
def test_scaled_channels_are_in_proportion_and_at_least_one(channels: int, width: int, wanted: int) -> None:
    assert scaled(channels, width) == wanted


FEATURES = {  # at width 128, by shape
    "alexnet": {(1, 28, 28): 192 * 16, (3, 28, 28): 192 * 16, (3, 32, 32): 192 * 16, (3, 64, 64): 192 * 64},
    "vgg11": {(1, 28, 28): 512, (3, 31, 31): 512, (3, 32, 32): 512, (3, 64, 64): 512 * 4, (3, 128, 128): 512 * 16},
    "resnet18": {(1, 28, 28): 512, (3, 32, 32): 512, (3, 64, 64): 512, (3, 128, 128): 512},
}


@pytest.mark.parametrize("name", FEATURES)
def test_features_have_the_published_number_of_entries(name: str) -> None:
    for shape, entries in FEATURES[name].items():
        assert build(name, image_shape=shape, width=16).head.in_features == entries // 8


def test_default_norms_are_the_published_ones() -> None:
    assert {name: default_norm(name) for name in NAMES} == {
        "conv": "batch",
        "conv-after": "batch",
        "dcconv": "instance",
        "alexnet": "none",
        "vgg11": "batch",
        "resnet18": "batch",
    }


# -- parity with plain functions --------------------------------------------------------------------------------------


class Plain:
    """What a network's state dict computes, tensor after tensor, in functions of torch alone."""

    def __init__(self, network: Network, norm: Norm, training: bool) -> None:
        kept = (tensor.detach().clone() for name, tensor in network.state_dict().items() if "num_batches" not in name)
        self.tensors: Iterator[Tensor] = iter(kept)
        self.kind, self.training = norm, training

    def conv(self, x: Tensor, *, padding: int, stride: int = 1, bias: bool = True) -> Tensor:
        weight = next(self.tensors)
        return F.conv2d(x, weight, next(self.tensors) if bias else None, padding=padding, stride=stride)

    def norm(self, x: Tensor) -> Tensor:
        if self.kind == "none":
            return x
        weight, shift = next(self.tensors), next(self.tensors)
        if self.kind == "batch":
            mean, variance = next(self.tensors), next(self.tensors)
            return F.batch_norm(x, mean, variance, weight, shift, training=self.training)
        n, c, h, w = x.shape
        groups = {"instance": c, "layer": 1, "group": math.gcd(32, c)}[self.kind]
        maps = x.reshape(n, groups, -1)
        maps = (maps - maps.mean(2, keepdim=True)) / (maps.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
        return maps.reshape(n, c, h, w) * weight[:, None, None] + shift[:, None, None]

    def head(self, features: Tensor) -> Tensor:
        weight, bias = self.tensors
        return features @ weight.T + bias


def plain_alexnet(plain: Plain, x: Tensor, grey: bool) -> Tensor:
    x = F.max_pool2d(F.relu(plain.norm(plain.conv(x, padding=4 if grey else 2))), 2)
    x = F.max_pool2d(F.relu(plain.norm(plain.conv(x, padding=2))), 2)
    for _ in range(3):
        x = F.relu(plain.norm(plain.conv(x, padding=1)))
    return plain.head(F.max_pool2d(x, 2).flatten(1))


def plain_vgg11(plain: Plain, x: Tensor, grey: bool) -> Tensor:
    first = True
    for entry in (1, "M", 1, "M", 1, 1, "M", 1, 1, "M", 1, 1, "M"):
        if entry == "M":
            x = F.max_pool2d(x, 2)
        else:
            x = F.relu(plain.norm(plain.conv(x, padding=3 if grey and first else 1)))
            first = False
    return plain.head(x.flatten(1))


def plain_resnet18(plain: Plain, x: Tensor, grey: bool) -> Tensor:
    x = F.relu(plain.norm(plain.conv(x, padding=1, bias=False)))
    for stride in (1, 1, 2, 1, 2, 1, 2, 1):
        y = F.relu(plain.norm(plain.conv(x, padding=1, stride=stride, bias=False)))
        y = plain.norm(plain.conv(y, padding=1, bias=False))
        x = plain.norm(plain.conv(x, padding=0, stride=stride, bias=False)) if stride == 2 else x
        x = F.relu(y + x)
    assert x.shape[2:] == (4, 4)
    return plain.head(F.avg_pool2d(x, 4).flatten(1))


PLAIN: dict[str, Callable[[Plain, Tensor, bool], Tensor]] = {
    "alexnet": plain_alexnet,
    "vgg11": plain_vgg11,
    "resnet18": plain_resnet18,
}


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("shape", [SHAPES["grey28"], SHAPES["rgb32"]], ids=["grey28", "rgb32"])
@every_norm
@pytest.mark.parametrize("name", PLAIN)
def test_network_computes_what_plain_functions_do(name: str, norm: Norm, shape, training: bool) -> None:
    network = build(name, norm, image_shape=shape, width=24).double().train(training)  # vgg11: 12, 24, 48, 96 channels
    shake(network, seed=4)
    slow = Plain(network, norm, training)
    batch, leaf = (images(shape, n=4).double().requires_grad_(True) for _ in range(2))
    wanted = PLAIN[name](slow, leaf, shape[0] == 1)
    got = network(batch)
    torch.testing.assert_close(got, wanted, rtol=1e-9, atol=1e-9)
    upstream = torch.randn(wanted.shape, generator=generator(5), dtype=torch.float64)
    (wanted_gradient,) = torch.autograd.grad(wanted, leaf, upstream)
    (gradient,) = torch.autograd.grad(got, batch, upstream)
    assert float((gradient - wanted_gradient).norm()) <= 1e-9 * float(wanted_gradient.norm())


# -- what is refused --------------------------------------------------------------------------------------------------

KNOWN = "known: conv, conv-after, dcconv, alexnet, vgg11, resnet18"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet", f"unknown network 'resnet'; {KNOWN}; did you mean 'resnet18'?"),
        ("VGG", f"unknown network 'VGG'; {KNOWN}; did you mean 'vgg11'?"),
        ("AlexNet", f"unknown network 'AlexNet'; {KNOWN}; did you mean 'alexnet'?"),
        ("transformer", f"unknown network 'transformer'; {KNOWN}"),
    ],
)
def test_unknown_network_is_refused_with_the_known_and_the_nearest(name: str, message: str) -> None:
    for refusing in (lambda: check_network(name), lambda: build(name), lambda: default_norm(name)):
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            refusing()


def test_unknown_norm_is_refused_with_the_known_and_the_nearest() -> None:
    message = "unknown norm 'batchnorm'; known: none, batch, instance, layer, group; did you mean 'batch'?"
    for refusing in (lambda: check_network(norm="batchnorm"), lambda: build("vgg11", "batchnorm")):
        with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
            refusing()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WITH_DEPTH])
def test_depth_of_a_network_that_has_one_is_refused_at_the_door(name: str) -> None:
    message = f"^depth is 3, but {name} has one depth only; leave depth out, or take one of conv, conv-after, dcconv$"
    for refusing in (
        lambda: build(name, depth=3),
        lambda: TrainingRecipe(network=name, depth=3),
        lambda: FRePo(network=name, depth=3),
    ):
        with pytest.raises(InputError, match=message):
            refusing()


@pytest.mark.parametrize("name", WITH_DEPTH)
def test_depths_of_the_conv_family(name: str) -> None:
    for depth in range(1, 6):
        network = build(name, depth=depth, width=2)
        assert sum(isinstance(module, nn.Conv2d) for module in network.modules()) == depth
    with pytest.raises(InputError, match=r"^images of 32x32 cannot be pooled 6 times; expected a smaller depth$"):
        build(name, depth=6, width=2)


@every_network
def test_width_0_is_refused(name: str) -> None:
    message = "^a network of width 0 and depth None cannot be built; expected at least 1 of each$"
    with pytest.raises(InputError, match=message):
        build(name, width=0)


def test_images_too_small_to_be_pooled_are_refused() -> None:
    message = "cannot be pooled 5 times, as VGG11 does; expected larger images or another network$"
    for shape in ((1, 8, 8), (3, 27, 27), (3, 64, 16)):
        with pytest.raises(InputError, match=f"^images of {shape[1]}x{shape[2]} {message}"):
            build("vgg11", image_shape=shape)
    with pytest.raises(InputError, match=r"^images of 4x4 cannot be pooled 3 times, as AlexNet does; "):
        build("alexnet", image_shape=(1, 4, 4))
    assert build("alexnet", image_shape=(1, 8, 8)).head.in_features == scaled(192, WIDTH)


@pytest.mark.parametrize("norm", ["instance", "group"])
def test_resnet_refuses_norms_that_would_leave_nothing_of_the_digits(norm: Norm) -> None:
    message = rf"^images of 8x8 are 1x1 at the end of ResNet18, and norm '{norm}' makes each of these maps zero; exp"
    with pytest.raises(InputError, match=message):
        build("resnet18", norm, image_shape=(1, 8, 8))  # 32 channels in the end: as many groups
    assert build("resnet18", norm, image_shape=(1, 9, 9)).head.in_features == 32


@pytest.mark.parametrize("norm", ["none", "batch", "layer"])
def test_resnet_takes_the_digits_with_other_norms(norm: Norm) -> None:
    network = build("resnet18", norm, image_shape=(1, 8, 8)).eval()
    features = network.features(images((1, 8, 8))).detach()
    assert float((features[0] - features[1]).abs().max()) > 0

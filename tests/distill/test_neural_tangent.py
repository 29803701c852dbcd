"""The neural tangent kernel: against closed forms, wide networks, Monte Carlo and a slow reading of its recursion."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn import functional as F

from distill import InputError
from distill.training import neural_tangent
from distill.training.neural_tangent import NeuralTangentKernel, relu_moments

EVERY = [pytest.param(network, depth, id=f"{network}-{depth}") for network in ("fc", "conv") for depth in (1, 2, 3)]


def images(count: int, seed: int, shape: tuple[int, int, int] = (2, 4, 5)) -> Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# -- a ReLU between normal numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("degrees", [0, 1, 30, 60, 90, 120, 180])
def test_moments_of_unit_vectors_are_the_arc_cosine_kernels(degrees):
    """Cho & Saul 2009: `J_n / 2 pi`, with `J_0 = pi - t` and `J_1 = sin t + (pi - t) cos t`."""
    t = torch.tensor(math.radians(degrees), dtype=torch.float64)
    one = torch.ones((), dtype=torch.float64)
    lit, both_positive = relu_moments(t.cos(), one, one)
    assert float(lit) == pytest.approx(float(t.sin() + (math.pi - t) * t.cos()) / (2 * math.pi), abs=1e-9)
    assert float(both_positive) == pytest.approx((math.pi - float(t)) / (2 * math.pi), abs=1e-7)


def test_moments_are_those_of_a_million_draws():
    generator = torch.Generator().manual_seed(0)
    factor = torch.tensor([[1.5, 0.0], [0.4, 0.7]], dtype=torch.float64)
    drawn = torch.randn(1_000_000, 2, generator=generator, dtype=torch.float64) @ factor.T
    covariance = factor @ factor.T
    lit, both_positive = relu_moments(covariance[0, 1], covariance[0, 0], covariance[1, 1])
    assert float(lit) == pytest.approx(float(drawn.relu().prod(1).mean()), rel=5e-3)
    assert float(both_positive) == pytest.approx(float((drawn > 0).all(1).double().mean()), rel=5e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_moments_of_equal_numbers_are_exact_in_any_precision(dtype):
    variance = torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=dtype) * 9
    near = variance * (1 - torch.finfo(dtype).eps)  # as rounding leaves it
    lit, both_positive = relu_moments(near, variance, variance)
    assert bool((both_positive == 0.5).all())
    torch.testing.assert_close(lit, variance / 2)


def test_moments_of_what_is_always_0_are_0_and_so_are_their_gradients():
    zero = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    variance = torch.ones(1, dtype=torch.float64, requires_grad=True)
    lit, both_positive = relu_moments(zero, zero, variance)
    assert lit.tolist() == [0]
    gradients = torch.autograd.grad((lit + both_positive).sum(), (zero, variance))
    assert all(bool(gradient.isfinite().all()) for gradient in gradients)


# -- the kernel --------------------------------------------------------------------------------------------------------


def test_one_layer_without_biases_in_closed_form():
    """`|x| |y| / d (J_1 + cos t J_0) / pi`, of which `J_1` comes from the last layer and `J_0` from the first."""
    x, y = images(3, 0), images(4, 1)
    found = NeuralTangentKernel(bias_std=0.0)(x, y)
    flat_x, flat_y = x.flatten(1), y.flatten(1)
    lengths = flat_x.norm(dim=1)[:, None] * flat_y.norm(dim=1)
    cosine = flat_x @ flat_y.T / lengths
    t = cosine.acos()
    j0, j1 = math.pi - t, t.sin() + (math.pi - t) * cosine
    torch.testing.assert_close(found, 2 * lengths / flat_x.shape[1] * (j1 + cosine * j0) / math.pi)


@pytest.mark.parametrize("network", ["fc", "conv"])
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_without_biases_an_image_with_itself_has_its_squared_length_for_each_layer(network, depth):
    """With weights of variance 2, each layer keeps the squares and adds them once: `2 (depth + 1) |x|^2 / d`."""
    x = images(3, 0, (2, 1, 1))
    expected = 2 * (depth + 1) * x.square().mean((1, 2, 3))
    kernel = NeuralTangentKernel(network=network, depth=depth, bias_std=0.0)
    if network == "conv":  # of the nine pixels that a convolution sees, all but one are outside
        expected = expected / 9**depth
    torch.testing.assert_close(kernel(x, x).diagonal(), expected)


def slow_kernel(kernel: NeuralTangentKernel, x: Tensor, y: Tensor) -> float:
    """One entry by the recursion of Arora et al. (2019) with 2x2 covariance matrices, all pixels in loops."""
    conv = kernel.network == "conv"
    x, y = (x, y) if conv else (x.reshape(-1, 1, 1), y.reshape(-1, 1, 1))
    _, height, width = x.shape
    pair = torch.stack([x, y])
    weight, bias = kernel.weight_std**2, kernel.bias_std**2
    sigma = {(i, j): pair[:, :, i, j] @ pair[:, :, i, j].T / x.shape[0] for i in range(height) for j in range(width)}

    def mixed(of_pixels):
        if not conv:
            return of_pixels
        around = [(a, b) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        return {
            (i, j): sum(of_pixels[i + a, j + b] for a, b in around if (i + a, j + b) in of_pixels) / 9
            for i, j in of_pixels
        }

    sigma = {at: bias + weight * value for at, value in mixed(sigma).items()}
    theta = {at: value[0, 1] for at, value in sigma.items()}
    for layer in range(kernel.depth):
        new, scaled = {}, {}
        for at, value in sigma.items():
            root = value.diagonal().sqrt()
            cosine = (value / (root[:, None] * root)).clamp(-1, 1)
            angle = cosine.acos()
            new[at] = (angle.sin() + (math.pi - angle) * cosine) * root[:, None] * root / (2 * math.pi)
            scaled[at] = theta[at] * (math.pi - angle[0, 1]) / (2 * math.pi)
        if layer == kernel.depth - 1:
            mean = sum(value[0, 1] + scaled[at] for at, value in new.items()) / len(new)
            return float(bias + weight * mean)
        sigma = {at: bias + weight * value for at, value in mixed(new).items()}
        theta = {at: sigma[at][0, 1] + weight * value for at, value in mixed(scaled).items()}
    raise AssertionError


@pytest.mark.parametrize(("network", "depth"), EVERY)
def test_equals_a_slow_reading_of_the_recursion(network, depth):
    x, y = images(2, 0), images(2, 1)
    kernel = NeuralTangentKernel(network=network, depth=depth, weight_std=1.1, bias_std=0.3)
    expected = torch.tensor([[slow_kernel(kernel, a, b) for b in y] for a in x], dtype=torch.float64)
    torch.testing.assert_close(kernel(x, y), expected)


class WideNetwork(nn.Module):
    """A finite network of the kernel's kind, in the "ntk" parameterization: normal parameters, scaled when used."""

    def __init__(self, kernel: NeuralTangentKernel, shape: tuple[int, int, int], width: int, seed: int) -> None:
        super().__init__()
        self.kernel = kernel
        conv = kernel.network == "conv"
        generator = torch.Generator().manual_seed(seed)
        inputs = [shape[0] if conv else math.prod(shape), *[width] * (kernel.depth - 1)]
        shapes = [(width, size, 3, 3) if conv else (width, size) for size in inputs]
        shapes.append((1, width * (math.prod(shape[1:]) if conv else 1)))
        self.weights = nn.ParameterList(torch.randn(*one, generator=generator) for one in shapes)
        self.biases = nn.ParameterList(torch.randn(one[0], generator=generator) for one in shapes)

    def forward(self, image: Tensor) -> Tensor:
        conv = self.kernel.network == "conv"
        values = image[None] if conv else image.flatten()[None]
        for weight, bias in zip(list(self.weights)[:-1], list(self.biases)[:-1], strict=True):
            scaled = self.kernel.weight_std / math.sqrt(weight[0].numel()) * weight
            shift = self.kernel.bias_std * bias
            values = F.relu(F.conv2d(values, scaled, shift, padding=1) if conv else F.linear(values, scaled, shift))
        last = self.weights[-1]
        scaled = self.kernel.weight_std / math.sqrt(last[0].numel()) * last
        return F.linear(values.flatten(1), scaled, self.kernel.bias_std * self.biases[-1])[0, 0]


@pytest.mark.parametrize(("network", "depth", "width"), [("fc", 1, 2000), ("fc", 3, 1000), ("conv", 2, 256)])
def test_wide_networks_have_this_kernel(network, depth, width):
    shape = (1, 4, 4)
    kernel = NeuralTangentKernel(network=network, depth=depth, bias_std=0.5)
    x = images(3, 2, shape).float()
    found = []
    for seed in range(3):
        model = WideNetwork(kernel, shape, width, seed)
        parameters = {name: value.detach() for name, value in model.named_parameters()}
        gradient = jacrev(lambda given, image, model=model: functional_call(model, given, (image,)))
        jacobian = torch.cat([one.flatten(1) for one in vmap(gradient, (None, 0))(parameters, x).values()], 1)
        found.append(jacobian @ jacobian.T)
    torch.testing.assert_close(torch.stack(found).mean(0), kernel(x, x), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("network", "depth"), EVERY)
def test_gradients(network, depth):
    kernel = NeuralTangentKernel(network=network, depth=depth)
    x, y = images(2, 0, (1, 3, 3)).requires_grad_(True), images(2, 1, (1, 3, 3)).requires_grad_(True)
    assert torch.autograd.gradcheck(kernel, (x, y))
    assert torch.autograd.gradcheck(lambda same: kernel(same, same), (x,))  # also where the angle is 0


@pytest.mark.parametrize(("network", "depth"), EVERY)
def test_is_symmetric_and_positive_definite(network, depth):
    x = images(20, 0)
    found = NeuralTangentKernel(network=network, depth=depth)(x, x)
    torch.testing.assert_close(found, found.T)
    assert float(torch.linalg.eigvalsh(found).min()) > 0


@pytest.mark.parametrize("network", ["fc", "conv"])
def test_rows_one_after_the_other_give_the_same_kernel_and_gradient(network, monkeypatch):
    kernel = NeuralTangentKernel(network=network, depth=2)
    x, y = images(7, 0), images(3, 1).requires_grad_(True)
    whole = kernel(x, y)
    (expected,) = torch.autograd.grad(whole.square().sum(), y)
    monkeypatch.setattr(neural_tangent, "COVARIANCES", 2 * 3 * (20 if network == "conv" else 1))
    parts = kernel(x, y)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(parts.square().sum(), y)[0], expected, rtol=1e-10, atol=1e-10)
    assert kernel(x[:0], y).shape == (0, 3)


def test_float32_is_near_float64():
    x = images(30, 0, (1, 8, 8))
    kernel = NeuralTangentKernel(network="conv", depth=3)
    torch.testing.assert_close(kernel(x.float(), x.float()).double(), kernel(x, x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "vgg"}, "network is 'vgg'; expected one of fc, conv"),
        ({"depth": 0}, "depth is 0; expected more than 0"),
        ({"depth": 1.5}, "depth is 1.5; expected a whole number"),
        ({"weight_std": 0.0}, "weight_std is 0.0; expected more than 0"),
        ({"bias_std": -1.0}, "bias_std is -1.0; expected 0 or more"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        NeuralTangentKernel(**options)

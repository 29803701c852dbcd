"""The neural tangent kernel of infinitely wide ReLU networks, exact: fully connected, or of convolutions."""

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from distill.runtime.checks import check_option_types, require_choice, require_not_negative, require_positive

__all__ = ["NeuralTangentKernel", "TangentNetwork", "relu_moments"]

TangentNetwork = Literal["fc", "conv"]
COVARIANCES = 2**20  # of pairs of images and pixels at a time: more rows of the kernel are computed one after the other


@dataclass(frozen=True, kw_only=True)
class NeuralTangentKernel:
    """The neural tangent kernel of a ReLU network of infinite width.

    What gradient descent on the squared error makes of such a network is kernel ridge regression with this kernel. It
    is computed layer by layer: from the covariance of what two images are before a ReLU follow that behind it and the
    probability that both are positive there (`relu_moments`).

    Sources: Jacot, Gabriel & Hongler 2018, *Neural Tangent Kernel*; Arora et al. 2019, *On Exact Computation with an
    Infinitely Wide Neural Net*, for convolutions. Without pooling, pixels of an image are never added up, so that each
    pair of images needs the covariance of equal pixels alone.

    - `network`: "fc", `depth` fully connected layers of the flattened image; or "conv", `depth` convolutions 3x3,
      padded with zeros, after which all pixels are flattened. A ReLU follows each of them, then a linear layer.
    - `depth`: 1 or more.
    - `weight_std`, `bias_std`: standard deviations of the weights, times the root of their number, and of the biases:
      those of KIP. Each parameter is trained in units of them (the "ntk" parameterization).

    Raises `InputError` for options that make no sense.

    >>> kernel = NeuralTangentKernel(bias_std=0.0)
    >>> images = torch.tensor([[3.0, 4.0], [4.0, -3.0]]).view(2, 1, 1, 2)
    >>> kernel(images, images).round(decimals=3)  # of equal images: twice their squared length
    tensor([[50.0000,  7.9580],
            [ 7.9580, 50.0000]])
    """

    network: TangentNetwork = "fc"
    depth: int = 1
    weight_std: float = math.sqrt(2)
    bias_std: float = 0.1

    def __post_init__(self) -> None:
        check_option_types(self)
        require_choice(self, "network", get_args(TangentNetwork))
        require_positive(self, "depth", "weight_std")
        require_not_negative(self, "bias_std")

    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        """The kernel `(n, m)` of images `(n, channels, height, width)` and `(m, channels, height, width)`.

        Differentiable in both, once. Where it is large, rows are computed some at a time, and again in the backward
        pass, so that memory does not grow with `n`.
        """
        pixels = math.prod(one.shape[2:]) if self.network == "conv" else 1
        parts = one.split(max(1, COVARIANCES // max(len(other) * pixels, 1)))
        if len(parts) == 1:
            return self._rows(one, other)
        return torch.cat([checkpoint(self._rows, part, other, use_reentrant=False) for part in parts])

    def _rows(self, one: Tensor, other: Tensor) -> Tensor:
        covariance = self._affine(self._products(one, other))
        own = [self._affine(self._squares(images)) for images in (one, other)]
        tangent = covariance
        for layer in range(1, self.depth + 1):
            pair = own[0].unsqueeze(1).expand_as(covariance), own[1].unsqueeze(0).expand_as(covariance)
            lit, both_positive = relu_moments(covariance, *pair)
            tangent = tangent * both_positive
            if layer == self.depth:  # the linear layer, which sees all pixels
                lit, tangent = (of_pixels.flatten(2).mean(2) for of_pixels in (lit, tangent))
                return self.bias_std**2 + self.weight_std**2 * (lit + tangent)
            covariance = self._affine(lit)
            tangent = covariance + self.weight_std**2 * self._mixed(tangent)
            own = [self._affine(squares / 2) for squares in own]
        raise AssertionError("depth is at least 1")

    def _products(self, one: Tensor, other: Tensor) -> Tensor:
        """Mean products `(n, m, height, width)` over channels; for "fc" over all values `(n, m, 1, 1)`."""
        if self.network == "fc":
            return (one.flatten(1) @ other.flatten(1).T / math.prod(one.shape[1:]))[..., None, None]
        return torch.einsum("nchw,mchw->nmhw", one, other) / one.shape[1]

    def _squares(self, images: Tensor) -> Tensor:
        """Mean squares `(n, height, width)`; for "fc" `(n, 1, 1)`."""
        return images.square().mean((1, 2, 3))[:, None, None] if self.network == "fc" else images.square().mean(1)

    def _mixed(self, of_pixels: Tensor) -> Tensor:
        """What a layer of weights makes of covariances: of convolutions, the mean over 3x3 pixels, outside 0."""
        return _BoxMean.apply(of_pixels) if self.network == "conv" else of_pixels

    def _affine(self, of_pixels: Tensor) -> Tensor:
        return self.bias_std**2 + self.weight_std**2 * self._mixed(of_pixels)


def relu_moments(covariance: Tensor, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """`E[relu(u) relu(v)]` and `P(u > 0, v > 0)` of normal `u` and `v` of mean 0 (Cho & Saul 2009, orders 1 and 0).

    - `covariance`: of `u` and `v`; `one`, `other`: their variances; three tensors of one shape. Differentiable, once;
      where `u` and `v` are the same up to rounding, the probability counts as constant, which along equal inputs it is.

    >>> covariance = torch.tensor([1.0, 0.0, -1.0])
    >>> lit, both_positive = relu_moments(covariance, torch.ones(3), torch.ones(3))
    >>> lit.round(decimals=4), both_positive
    (tensor([0.5000, 0.1592, 0.0000]), tensor([0.5000, 0.2500, 0.0000]))
    """
    return _ReLUMoments.apply(covariance, one, other)


class _ReLUMoments(torch.autograd.Function):
    # With s = sqrt(one * other - covariance^2) and t the angle between u and v, from 0 to pi: E = (s + cov * (pi - t))
    # / 2 pi and P = (pi - t) / 2 pi; dE/dcov = P, dE/done = s / (4 pi one), dP/dcov = 1 / (2 pi s),
    # dP/done = -cov / (4 pi s one).

    @staticmethod
    def forward(ctx: Any, covariance: Tensor, one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
        squares = one * other
        sine = squares - covariance.square()
        sine = sine.masked_fill_(sine <= 8 * torch.finfo(sine.dtype).eps * squares, 0).sqrt_()
        both_positive = 0.5 - torch.atan2(sine, covariance) / (2 * math.pi)
        ctx.save_for_backward(covariance, one, other, sine, both_positive)
        return sine / (2 * math.pi) + covariance * both_positive, both_positive

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        covariance, one, other, sine, both_positive = ctx.saved_tensors
        to_lit, to_positive = gradients
        slope = (to_positive / sine).masked_fill_(sine == 0, 0) / (2 * math.pi)
        to_variances = (to_lit * sine / (2 * math.pi) - slope * covariance) / 2
        return (
            torch.addcmul(slope, to_lit, both_positive) if ctx.needs_input_grad[0] else None,
            *(
                (to_variances / variance).masked_fill_(variance == 0, 0) if needed else None
                for variance, needed in zip((one, other), ctx.needs_input_grad[1:], strict=True)
            ),
        )


class _BoxMean(torch.autograd.Function):
    # `avg_pool2d(of_pixels, 3, stride=1, padding=1)` in a third of its time: it is its own adjoint.

    @staticmethod
    def forward(ctx: Any, of_pixels: Tensor) -> Tensor:
        return box_mean(of_pixels)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return box_mean(gradients[0])


def box_mean(of_pixels: Tensor) -> Tensor:
    """Mean over 3x3 pixels around each of `(..., height, width)`, those outside being 0."""
    across = of_pixels.clone(memory_format=torch.contiguous_format)
    across[..., 1:] += of_pixels[..., :-1]
    across[..., :-1] += of_pixels[..., 1:]
    total = across.clone()
    total[..., 1:, :] += across[..., :-1, :]
    total[..., :-1, :] += across[..., 1:, :]
    return total.div_(9)

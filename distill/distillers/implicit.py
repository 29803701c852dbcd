"""Meta-gradient through trained features by the implicit function theorem, as in RCIG (Loo et al. 2023)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from distill.distillers.model_pool import PoolModel
from distill.networks import Network
from distill.training.kernel_ridge import krr_dual
from distill.training.loop import train

__all__ = ["InnerProblem", "conjugate_gradient", "implicit_gradient", "implicit_loss"]

Weights = dict[str, Tensor]


class InnerProblem:
    """What features are trained for on a distilled set, while the ridge regression on them is always solved.

    The loss is `(tr(Y^T (K + lambda I)^-1 Y) + |theta - theta_0|^2) / 2`: by lambda, what a ridge regression on
    features of weights theta and a decay of theta towards `theta_0` of the model leave of the labels Y.

    - `network`: in inference mode; its weights are theta_0, all but those of the head.
    """

    def __init__(self, network: Network, *, regularization: float) -> None:
        self.network, self.regularization = _Features(network), regularization
        named = dict(self.network.named_parameters())
        self.start: Weights = {name: named[name].detach() for name in named if not name.startswith("network.head.")}

    def features(self, weights: Mapping[str, Tensor], images: Tensor) -> Tensor:
        """Features `(n, d)` by the network with these weights."""
        return functional_call(self.network, dict(weights), (images,))

    def loss(self, weights: Mapping[str, Tensor], images: Tensor, labels: Tensor) -> Tensor:
        """The loss of weights on a set; twice differentiable in all of them."""
        features = self.features(weights, images).double()
        dual = krr_dual(features @ features.T, labels.double(), regularization=self.regularization)
        moved = torch.stack([(weights[name] - start).square().sum() for name, start in self.start.items()]).sum()
        return 0.5 * ((labels.double() * dual).sum() + moved)

    def trained(self, images: Tensor, labels: Tensor, *, steps: int, learning_rate: float) -> Weights:
        """Weights after `steps` of Adam from those of the model, which does not change."""
        weights = {name: start.clone().requires_grad_(True) for name, start in self.start.items()}
        optimizer = torch.optim.Adam(weights.values(), lr=learning_rate)
        train((self.loss(weights, images, labels) for _ in range(steps)), optimizer)
        return {name: weight.detach() for name, weight in weights.items()}


class _Features(nn.Module):
    # `functional_call` calls `forward`.

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network.features(images)


def implicit_loss(
    model: PoolModel,
    images_t: Tensor,
    images_s: Tensor,
    labels_s: Tensor,
    ridge_loss: Callable[[Tensor, Tensor, Tensor], Tensor],
    *,
    steps: int,
    learning_rate: float,
    regularization: float,
) -> Tensor:
    """`ridge_loss` of features that are trained on the distilled set first, whose gradient knows of that training.

    The gradient is that of `ridge_loss` at the trained weights, which are held still, and the implicit one, of how they
    follow the set; this is shortened to the length of the other one, for images and labels each, as in RCIG's code.
    `model` does not change. Other than there the network is not linearised, and linear systems are solved by conjugate
    gradients, so that no rate has to be tuned.

    - `ridge_loss`: of real features, distilled features and labels, differentiable once.
    - `steps`: of training by Adam at `learning_rate`, and of conjugate gradients.
    """
    problem = InnerProblem(model.network, regularization=regularization)
    sources = [tensor.detach().requires_grad_(tensor.requires_grad) for tensor in (images_s, labels_s)]
    weights = problem.trained(*(each.detach() for each in sources), steps=steps, learning_rate=learning_rate)

    def outer(weights: Weights, images_s: Tensor, labels_s: Tensor) -> Tensor:
        return ridge_loss(problem.features(weights, images_t), problem.features(weights, images_s), labels_s)

    direct, implicit = implicit_gradient(problem.loss, outer, weights, sources, steps=steps)
    with torch.no_grad():
        features_t = problem.features(weights, images_t)
    loss = ridge_loss(features_t, problem.features(weights, images_s), labels_s)
    for tensor, own, through in zip((images_s, labels_s), direct, implicit, strict=True):
        if tensor.requires_grad:
            shortened = through * (own.norm() / through.norm().clamp(min=torch.finfo(own.dtype).tiny)).clamp(max=1)
            loss = loss + ((tensor - tensor.detach()) * shortened).sum()  # adds nothing but its gradient
    return loss


def implicit_gradient(
    inner: Callable[..., Tensor],
    outer: Callable[..., Tensor],
    weights: Weights,
    sources: Sequence[Tensor],
    *,
    steps: int,
) -> tuple[list[Tensor], list[Tensor]]:
    """Gradients of `outer` by `sources` where `weights` minimise `inner`: with weights held still, and through them.

    The second is `-d2 inner / (d sources d weights) H^-1 d outer / d weights`, H the Hessian of `inner` by weights.
    Both functions take weights and sources. A source that requires no gradient has one of 0.
    """
    weights = {name: weight.detach().requires_grad_(True) for name, weight in weights.items()}
    leaves, learned = list(weights.values()), [source for source in sources if source.requires_grad]
    found = torch.autograd.grad(outer(weights, *sources), [*leaves, *learned], allow_unused=True)
    by_weights, direct = _filled(found[: len(leaves)], leaves), _filled(found[len(leaves) :], learned)
    slope = torch.autograd.grad(inner(weights, *sources), leaves, create_graph=True, allow_unused=True)
    used = [i for i, gradient in enumerate(slope) if gradient is not None and gradient.requires_grad]
    slopes = [slope[i] for i in used]

    def times(vector: Sequence[Tensor], of: Sequence[Tensor]) -> list[Tensor]:
        factors = [vector[i] for i in used]
        return _filled(torch.autograd.grad(slopes, of, factors, retain_graph=True, allow_unused=True), of)

    solved = conjugate_gradient(lambda vector: times(vector, leaves), by_weights, steps=steps)
    through = [-gradient for gradient in times(solved, learned)]
    return _at(sources, direct), _at(sources, through)


def _filled(gradients: Sequence[Any], like: Sequence[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(t) if g is None else g.detach() for g, t in zip(gradients, like, strict=True)]


def _at(sources: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
    left = iter(gradients)
    return [next(left) if source.requires_grad else torch.zeros_like(source) for source in sources]


def conjugate_gradient(
    product: Callable[[list[Tensor]], list[Tensor]], wanted: list[Tensor], *, steps: int
) -> list[Tensor]:
    """`x` with `A x = wanted` by conjugate gradients from 0, `product(x)` being `A x` of a symmetric matrix.

    Stops where A curves downwards along the next direction, with what it has by then (Steihaug 1983).

    >>> [x] = conjugate_gradient(lambda x: [2 * x[0]], [torch.tensor([4.0, 6.0])], steps=2)
    >>> x
    tensor([2., 3.])
    """
    solved, left = [torch.zeros_like(each) for each in wanted], [each.clone() for each in wanted]
    direction, size = [each.clone() for each in left], _inner(left, left)
    enough = 1e-20 * size
    for _ in range(steps):
        if size <= enough:
            break
        image = product(direction)
        curvature = _inner(direction, image)
        if not curvature > 0:
            break
        share = size / curvature
        solved = [x + share * d for x, d in zip(solved, direction, strict=True)]
        left = [r - share * i for r, i in zip(left, image, strict=True)]
        before, size = size, _inner(left, left)
        direction = [r + size / before * d for r, d in zip(left, direction, strict=True)]
    return solved


def _inner(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    return sum(float((a * b).sum()) for a, b in zip(one, other, strict=True))

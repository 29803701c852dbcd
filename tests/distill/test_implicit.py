"""The implicit meta-gradient: against differentiation of the whole inner training, and at its limits."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

from distill import FRePo, InputError
from distill.distillers.frepo import meta_loss
from distill.distillers.implicit import InnerProblem, conjugate_gradient, implicit_gradient, implicit_loss
from distill.distillers.model_pool import PoolModel
from distill.networks import Network, build_network
from distill.preprocess import default_preprocessing

SHAPE = (1, 4, 4)
RIDGE = 0.3


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def a_model(norm: str = "none") -> PoolModel:
    """A tiny network in float64."""
    generator = torch.Generator().manual_seed(0)
    network = build_network("conv", image_shape=SHAPE, num_classes=3, width=3, depth=1, norm=norm, generator=generator)
    model = PoolModel(network.double(), 1e-2, age=0)
    model.freeze()
    return model


class Smooth(Network):
    """A hidden layer without a kink, where minima of the inner loss would lie."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = skip_init(nn.Linear, 16, 5), skip_init(nn.Linear, 5, 3)
        self.reset_parameters(torch.Generator().manual_seed(0))

    def features(self, images: Tensor) -> Tensor:
        return self.hidden(images.flatten(1)).tanh()


def a_set() -> list[Tensor]:
    return [normal(3, *SHAPE, seed=1).requires_grad_(True), normal(3, 3, seed=2).requires_grad_(True)]


def ridge_loss(features_t: Tensor, features_s: Tensor, labels_s: Tensor) -> Tensor:
    return meta_loss(features_t, normal(9, 3, seed=4), features_s, labels_s, regularization=RIDGE)


def converged(problem: InnerProblem, images: Tensor, labels: Tensor, *, differentiable: bool) -> dict[str, Tensor]:
    """Weights by plain gradient descent until they move no more; as a function of the set, if that is wanted."""
    weights = {name: start.clone().requires_grad_(True) for name, start in problem.start.items()}
    for _ in range(160):
        loss = problem.loss(weights, images, labels)
        slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=differentiable)
        weights = {name: weight - 0.2 * slope for (name, weight), slope in zip(weights.items(), slopes, strict=True)}
        if not differentiable:
            weights = {name: weight.detach().requires_grad_(True) for name, weight in weights.items()}
    assert max(float(slope.detach().abs().max()) for slope in slopes) < 1e-9
    return weights


def test_gradient_is_that_of_the_whole_training_to_its_end():
    problem, images_t = InnerProblem(Smooth().double(), regularization=RIDGE), normal(9, *SHAPE, seed=3)

    def outer(weights, images_s: Tensor, labels_s: Tensor) -> Tensor:
        return ridge_loss(problem.features(weights, images_t), problem.features(weights, images_s), labels_s)

    through_all = a_set()
    outer(converged(problem, *through_all, differentiable=True), *through_all).backward()

    sources = a_set()
    weights = converged(problem, *(each.detach() for each in sources), differentiable=False)
    found = implicit_gradient(problem.loss, outer, weights, sources, steps=60)
    for source, direct, implicit in zip(through_all, *found, strict=True):
        torch.testing.assert_close(direct + implicit, source.grad, rtol=1e-5, atol=1e-9)
        assert float(implicit.norm()) > 1e-2 * float(direct.norm())  # and it is not the direct part alone


def test_inner_loss_is_what_ridge_regression_leaves_of_the_labels():
    """By its definition: the least `|F W - Y|^2 + lambda |W|^2`, and the decay of the weights, over `2 lambda`."""
    network = a_model().network
    problem, (images, labels) = InnerProblem(network, regularization=RIDGE), a_set()
    weights = {name: start + 0.1 * normal(*start.shape, seed=7) for name, start in problem.start.items()}
    features = problem.features(weights, images)
    ridge = RIDGE * features.square().sum() / len(features)
    stacked = torch.cat([features, ridge.sqrt() * torch.eye(features.shape[1], dtype=torch.float64)])
    wanted = torch.cat([labels, torch.zeros(features.shape[1], 3, dtype=torch.float64)])
    left = (stacked @ torch.linalg.lstsq(stacked, wanted).solution - wanted).square().sum() / ridge
    moved = sum((weights[name] - start).square().sum() for name, start in problem.start.items())
    torch.testing.assert_close(problem.loss(weights, images, labels), 0.5 * (left + moved))
    assert set(weights) == {f"network.{name}" for name, _ in network.named_parameters() if "head" not in name}


@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
def test_loss_is_that_of_trained_features_and_the_model_stays(norm):
    model, images_t, (images_s, labels_s) = a_model(norm), normal(9, *SHAPE, seed=3), a_set()
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    options = {"steps": 4, "learning_rate": 1e-2, "regularization": RIDGE}
    loss = implicit_loss(model, images_t, images_s, labels_s, ridge_loss, **options)
    problem = InnerProblem(model.network, regularization=RIDGE)
    weights = problem.trained(images_s.detach(), labels_s.detach(), steps=4, learning_rate=1e-2)
    features_t, features_s = (problem.features(weights, images) for images in (images_t, images_s))
    torch.testing.assert_close(loss, ridge_loss(features_t, features_s, labels_s))
    loss.backward()
    assert all(torch.isfinite(tensor.grad).all() for tensor in (images_s, labels_s))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.state_dict().items())
    assert not any(weight.requires_grad for weight in model.network.parameters())
    assert problem.loss(weights, images_s, labels_s) < problem.loss(problem.start, images_s, labels_s)


def test_gradient_of_the_loss_is_direct_and_shortened_implicit_part():
    model, images_t, sources = a_model(), normal(9, *SHAPE, seed=3), a_set()
    implicit_loss(
        model, images_t, *sources, ridge_loss, steps=5, learning_rate=1e-2, regularization=RIDGE
    ).backward()
    problem, same = InnerProblem(model.network, regularization=RIDGE), a_set()
    weights = problem.trained(*(each.detach() for each in same), steps=5, learning_rate=1e-2)

    def outer(weights, images_s: Tensor, labels_s: Tensor) -> Tensor:
        return ridge_loss(problem.features(weights, images_t), problem.features(weights, images_s), labels_s)

    found = implicit_gradient(problem.loss, outer, weights, same, steps=5)
    for source, direct, implicit in zip(sources, *found, strict=True):
        shortened = implicit * min(1.0, float(direct.norm() / implicit.norm()))
        torch.testing.assert_close(source.grad, direct + shortened)


def test_labels_that_are_not_learned_take_no_part():
    model, images_t, (images_s, labels_s) = a_model(), normal(9, *SHAPE, seed=3), a_set()
    fixed = labels_s.detach()
    implicit_loss(
        model, images_t, images_s, fixed, ridge_loss, steps=3, learning_rate=1e-2, regularization=RIDGE
    ).backward()
    assert float(images_s.grad.abs().sum()) > 0
    assert fixed.grad is None


def test_conjugate_gradients_solve_as_torch_does():
    root = normal(6, 6, seed=0)
    matrix, wanted = root @ root.T + torch.eye(6, dtype=torch.float64), normal(6, seed=1)
    parts = conjugate_gradient(
        lambda x: list((matrix @ torch.cat(x)).split([4, 2])), list(wanted.split([4, 2])), steps=20
    )
    torch.testing.assert_close(torch.cat(parts), torch.linalg.solve(matrix, wanted))


def test_conjugate_gradients_stop_where_the_matrix_curves_downwards():
    downwards = conjugate_gradient(lambda x: [-x[0]], [torch.ones(2)], steps=5)
    assert not downwards[0].any()
    nothing = conjugate_gradient(lambda x: [x[0]], [torch.zeros(2)], steps=5)
    assert not nothing[0].any()


@pytest.mark.parametrize("options", [{}, {"outer_loss": "softmax"}, {"learn_labels": False}, {"mirror": True}], ids=str)
def test_frepo_takes_it_as_an_option(make_images, options):
    images = make_images(channels=3)
    data = default_preprocessing(images).apply(images)
    frepo = FRePo(
        steps=3, batch_size=20, pool_size=2, width=4, depth=2, implicit_steps=2, history_points=2, **options
    )
    one, other = (
        distiller.distill(data, images_per_class=2)
        for distiller in (frepo, frepo.with_options(meta_gradient="implicit"))
    )
    assert not torch.equal(one.images, other.images)
    assert all(math.isfinite(entry["loss"]) for entry in other.made_by["history"][1:])


def test_number_of_steps_is_checked():
    with pytest.raises(InputError, match=r"^implicit_steps is 0; expected more than 0$"):
        FRePo(implicit_steps=0)

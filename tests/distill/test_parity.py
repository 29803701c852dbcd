"""The project against `reference.py`, which does the same slowly and knows nothing of it; and against timm's LAMB."""

import copy
import math
import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import reference
from distill import ZCA, FRePo, Identity, InputError, LabelledImages, PreprocessedImages, Standardize
from distill.distillers.frepo import FRePoState, label_margin, sample_batch
from distill.distillers.lamb import LAMB
from distill.distillers.model_pool import ModelPool
from distill.distillers.run import Run
from distill.networks import Conv, Network, ReLUAvgPool2d, build_network, default_depth, lecun_normal_
from distill.preprocess import Preprocessing
from distill.training.accuracy import accuracy
from distill.training.kernel_ridge import ROWS, guarded_cholesky, krr_weights

RUN = Run(images_per_class=2, seed=3)
CLASSES = tuple("abc")
SHAPE = (3, 8, 8)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed)).to(dtype)


def close(got: Tensor, wanted: Tensor, rtol: float) -> None:
    """Equal up to `rtol` of the wanted tensor's norm: a gradient's smallest entries carry the error of its largest."""
    assert got.shape == wanted.shape
    got, wanted = got.detach().double(), wanted.detach().double()
    error, scale = float((got - wanted).norm()), float(wanted.norm())
    assert error <= rtol * scale, f"off by {error:.3g}, {error / max(scale, 1e-300):.3g} of the norm {scale:.3g}"


# -- 1. the kernel solve ----------------------------------------------------------------------------------------------

REGULARIZATIONS = (1e-6, 1e-3, 1.0)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 9),
    d=st.integers(1, 9),
    t=st.integers(1, 5),
    c=st.integers(1, 4),
    regularization=st.sampled_from(REGULARIZATIONS),
    scale=st.sampled_from((1e-3, 1.0, 1e3)),
    seed=st.integers(0, 10**6),
)
def test_predictions_and_gradients_are_those_of_eq_2_for_any_shape(n, d, t, c, regularization, scale, seed) -> None:
    features_s = normal(n, d, seed=seed) * scale
    labels_s, features_t = normal(n, c, seed=seed + 1), normal(t, d, seed=seed + 2) * scale
    weighting = normal(t, c, seed=seed + 3)

    def ours(f: Tensor, y: Tensor) -> Tensor:
        return features_t @ krr_weights(f, y, regularization=regularization)

    def slow(f: Tensor, y: Tensor) -> Tensor:
        return reference.krr_predictions(features_t, f, y, regularization)

    def primal(f: Tensor, y: Tensor) -> Tensor:
        return reference.primal_predictions(features_t, f, y, regularization)

    # Rounding grows with the kernel's condition, in the gradient with its square: 1e12 where n > d and lambda is 1e-6.
    condition = float(torch.linalg.cond(features_s @ features_s.T)) if n <= d else math.inf
    condition = min(condition, n / regularization)
    given_to = (features_s, labels_s)
    typical = float(weighting.norm() * labels_s.norm()) / float(features_s.norm())  # how large a gradient usually is
    for other in (slow, primal) if n > d else (slow,):
        close(ours(*given_to), other(*given_to), 1e-10 + 1e-14 * condition)
        _, got = torch.autograd.functional.vjp(ours, given_to, weighting)
        _, wanted = torch.autograd.functional.vjp(other, given_to, weighting)
        allowed = 1e-10 + 1e-15 * condition**2
        assert float((got[0] - wanted[0]).norm()) <= allowed * max(float(wanted[0].norm()), typical)
        close(got[1], wanted[1], 1e-10 + 1e-14 * condition)


@pytest.mark.parametrize("n", [ROWS - 1, ROWS, ROWS + 1, 2 * ROWS + 3])
def test_a_kernel_made_in_several_parts_is_that_of_eq_2(n: int) -> None:
    features, labels, features_t = normal(n, n + 50, seed=1), normal(n, 3, seed=2), normal(4, n + 50, seed=3)
    leaves = [features.requires_grad_(True), labels.requires_grad_(True)]
    results = []
    for predictions in (features_t @ krr_weights(*leaves), reference.krr_predictions(features_t, *leaves)):
        results.append((predictions.detach(), *torch.autograd.grad(predictions.pow(2).sum(), leaves)))
    for got, wanted in zip(*results, strict=True):
        close(got, wanted, 1e-8)


@pytest.mark.parametrize(("n", "d", "c"), [(1, 1, 1), (1, 4, 2), (4, 4, 1), (3, 5, 2), (5, 3, 2)])
def test_the_solve_passes_gradcheck(n: int, d: int, c: int) -> None:
    features, labels = normal(n, d, seed=1).requires_grad_(True), normal(n, c, seed=2).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda f, y: krr_weights(f, y, regularization=1e-2), (features, labels))


def test_the_gradient_is_the_finite_difference_of_the_reference() -> None:
    features_s, labels_s, features_t = normal(4, 6, seed=1), normal(4, 2, seed=2), normal(5, 6, seed=3)
    targets, step = normal(5, 2, seed=4), 1e-6

    def slow(f: Tensor, y: Tensor) -> float:
        return float(reference.half_squared_error(reference.krr_predictions(features_t, f, y), targets))

    leaves = [features_s.clone().requires_grad_(True), labels_s.clone().requires_grad_(True)]
    loss = 0.5 * (targets - features_t @ krr_weights(*leaves)).square().sum(1).mean()
    for which, got in enumerate(torch.autograd.grad(loss, leaves)):
        wanted = torch.zeros_like(got)
        for index in np.ndindex(*got.shape):
            values = []
            for sign in (1, -1):
                moved = [features_s.clone(), labels_s.clone()]
                moved[which][index] += sign * step
                values.append(slow(*moved))
            wanted[index] = (values[0] - values[1]) / (2 * step)
        close(got, wanted, 1e-6)


def test_a_huge_ridge_predicts_nothing_and_a_small_one_interpolates() -> None:
    features, labels = normal(4, 9, seed=1), normal(4, 2, seed=2)
    assert float((features @ krr_weights(features, labels, regularization=1e12)).abs().max()) < 1e-9
    close(features @ krr_weights(features, labels, regularization=1e-12), labels, 1e-9)


def test_one_distilled_image_is_shrunk_by_exactly_its_ridge() -> None:
    # n = 1: K = |f|^2 and lambda = r |f|^2, so W = f y / (|f|^2 (1 + r)).
    weights = krr_weights(torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0]]), regularization=0.25)
    torch.testing.assert_close(weights, torch.tensor([[6.0], [8.0]]) / 25 / 1.25)


@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-5, 1e-3])
@pytest.mark.parametrize(("n", "d"), [(64, 64), (96, 64)])
def test_nearly_equal_features_in_float32_give_finite_weights_and_gradients(n: int, d: int, noise: float) -> None:
    rows = torch.rand(1, d, generator=generator(0)) + noise * torch.randn(n, d, generator=generator(1))
    features, labels = rows.requires_grad_(True), torch.randn(n, 3, generator=generator(2)).requires_grad_(True)
    weights = krr_weights(features, labels)
    (features @ weights - labels).square().sum().backward()
    for tensor in (weights, features.grad, labels.grad):
        assert bool(torch.isfinite(tensor).all())
    assert weights.dtype == features.dtype == torch.float32


@pytest.mark.parametrize("noise", [0.0, 1e-3, 1e-2, 1e-1])
def test_float32_predictions_from_close_features_are_those_of_float64(noise: float) -> None:
    features = torch.rand(1, 64, generator=generator(0)) + noise * torch.randn(64, 64, generator=generator(1))
    labels = torch.randn(64, 3, generator=generator(2))
    wanted = reference.krr_predictions(features.double(), features.double(), labels.double())
    close(features @ krr_weights(features, labels), wanted, 1e-3)


def test_without_a_ridge_the_gradient_is_finite_and_the_references() -> None:
    features_s, labels_s, features_t = normal(3, 6, seed=1), normal(3, 2, seed=2), normal(2, 6, seed=3)
    leaf = features_s.clone().requires_grad_(True)
    (got,) = torch.autograd.grad((features_t @ krr_weights(leaf, labels_s, regularization=0.0)).square().sum(), leaf)
    slow = features_s.clone().requires_grad_(True)
    (wanted,) = torch.autograd.grad(reference.krr_predictions(features_t, slow, labels_s, 0.0).square().sum(), slow)
    close(got, wanted, 1e-9)


def test_the_guard_raises_the_ridge_tenfold_until_the_kernel_is_positive_definite_and_no_further() -> None:
    kernel = torch.diag(torch.tensor([1.0, 1.0, -5e-5], dtype=torch.float64))
    factor, scale = guarded_cholesky(kernel.clone(), torch.tensor(1e-6, dtype=torch.float64))
    assert scale == 100
    close(factor @ factor.T, kernel + 1e-4 * torch.eye(3, dtype=torch.float64), 1e-12)
    _, untouched = guarded_cholesky(kernel.abs(), torch.tensor(1e-6, dtype=torch.float64))
    assert untouched == 1


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_features_that_no_ridge_can_help_raise_an_input_error(value: float) -> None:
    with pytest.raises(InputError, match="kernel of 3 distilled images cannot be solved"):
        krr_weights(torch.full((3, 4), value), torch.ones(3, 2))


def test_accuracy_counts_the_rows_whose_largest_prediction_is_right() -> None:
    features, weights = torch.eye(4), torch.tensor([[3.0, 1, 0], [0, 2, 1], [0, 1, 2], [5, 4, 3]])
    assert accuracy(features @ weights, torch.tensor([0, 1, 0, 0])) == 0.75


@pytest.mark.parametrize("c", [2, 3, 7])
def test_label_margin_and_its_gradient_are_those_of_the_released_code(c: int) -> None:
    labels = (normal(20, c, seed=c) * 0.3).requires_grad_(True)
    ours, slow = label_margin(labels), reference.margin(labels)
    close(ours, slow, 1e-12)
    (got,), (wanted,) = torch.autograd.grad(ours, labels), torch.autograd.grad(slow, labels)
    close(got, wanted, 1e-12)
    gaps = labels.detach().sort(1).values.diff(dim=1)[:, -1]
    assert 0 < int((gaps < 1 / c).sum()) < 20  # rows on both sides of the bound


# -- 2. and 3. the meta-gradient, and whole updates -------------------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """A small FRePo: 2 blocks of 4 and 8 channels on 8x8 RGB, so 32 features; learning rates large enough to show."""

    version: str = "v2"
    mirror: bool = True
    label_margin: bool = True
    learn_labels: bool = True
    dtype: str = "float64"
    max_updates: int = 100
    pool_size: int = 1
    batch_size: int = 100
    regularization: float = 1e-6
    learning_rate: float = 0.05
    pool_learning_rate: float = 0.01
    steps: int = 8

    def frepo(self) -> FRePo:
        return FRePo(init="real+noise", width=4, depth=2, norm="batch", **vars(self))

    def data(self) -> PreprocessedImages:
        images = normal(12, *SHAPE, seed=11, dtype=getattr(torch, self.dtype))
        return PreprocessedImages(images, torch.arange(12) % len(CLASSES), CLASSES, Identity())

    def start(self) -> tuple[FRePo, FRePoState, PreprocessedImages]:
        """A distillation on its way: labels on both sides of the margin's bound, no statistic at its default."""
        frepo, data = self.frepo(), self.data()
        state = frepo.start(data, RUN)
        with torch.no_grad():
            state.labels.copy_(0.3 * normal(6, 3, seed=12))
            for i, model in enumerate(state.pool):
                shake(model.network, seed=20 + i)
        return frepo, state, data

    def slow(self, state: FRePoState, network: nn.Module) -> reference.SlowFRePo:
        return reference.SlowFRePo(
            images=state.images.detach().double().clone(),
            labels=state.labels.detach().double().clone(),
            net=as_reference(network),
            version=self.version,
            mirror=self.mirror,
            label_margin=self.label_margin,
            learn_labels=self.learn_labels,
            learning_rate=self.learning_rate,
            pool_learning_rate=self.pool_learning_rate,
            regularization=self.regularization,
            steps=self.steps,
        )


def shake(network: nn.Module, seed: int) -> None:
    """Move everything away from its default: biases and shifts from 0, scales and variances from 1, means from 0."""
    drawn = generator(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                noise = 0.3 * torch.rand(tensor.shape, generator=drawn, dtype=torch.float64).to(tensor.dtype)
                tensor.add_(noise if "running_var" in name else noise - 0.15)


def as_reference(
    network: nn.Module,
    *,
    norm: str = "batch",
    after: bool = False,
    first_padding: int = 1,
    groups: tuple[int, ...] = (),
) -> reference.Net:
    """The weights of one of our networks in the reference's."""

    def copied(tensor: Tensor) -> Tensor:
        return tensor.detach().double().clone(memory_format=torch.contiguous_format)

    modules = list(network.modules())
    norms: list[reference.Norm | None] = []
    for module in modules:
        if isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            theirs = reference.Norm(norm, copied(module.weight), copied(module.bias))
            if norm == "batch":
                theirs.mean, theirs.variance = copied(module.running_mean), copied(module.running_var)
            if norm == "group":
                theirs.groups = groups[len(norms)]
            norms.append(theirs)
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    if norm == "none":
        norms = [None] * len(convolutions)
    elif not after:
        norms = [None, *norms]  # before the convolution, from the second block on
    blocks = []
    for i, (convolution, theirs) in enumerate(zip(convolutions, norms, strict=True)):
        padding = first_padding if i == 0 else 1
        block = reference.Block(copied(convolution.weight), copied(convolution.bias), padding)
        block.norm_after, block.norm_before = (theirs, None) if after else (None, theirs)
        blocks.append(block)
    (head,) = (module for module in modules if isinstance(module, nn.Linear))
    return reference.Net(blocks, copied(head.weight), copied(head.bias))


def same_network(network: nn.Module, net: reference.Net, rtol: float) -> None:
    """Equal weights, and equal running statistics of BatchNorm."""
    ours = as_reference(network)
    for got, wanted in zip(ours.parameters(), net.parameters(), strict=True):
        close(got, wanted, rtol)
    for got_block, wanted_block in zip(ours.blocks, net.blocks, strict=True):
        if wanted_block.norm_before is not None:
            close(got_block.norm_before.mean, wanted_block.norm_before.mean, rtol)
            close(got_block.norm_before.variance, wanted_block.norm_before.variance, rtol)


def same_moments(state: dict[str, Tensor], moments: reference.Moments, rtol: float) -> None:
    assert int(state["step"]) == moments.steps
    close(state["exp_avg"], moments.first, rtol)
    close(state["exp_avg_sq"], moments.second, rtol)


def parameters_in_order(network: nn.Module) -> list[nn.Parameter]:
    """Parameters in the order of `reference.Net.parameters`."""
    modules = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d | nn.Linear)]
    return [parameter for module in modules for parameter in (module.weight, module.bias)]


def same_state(state: FRePoState, model, slow: reference.SlowFRePo, rtol: float) -> None:
    """Equal in everything that the next step depends on."""
    close(state.images, slow.images, rtol)
    close(state.labels, slow.labels, rtol)
    same_moments(state.optimizer.state[state.images], slow.image_moments, rtol)
    if slow.learn_labels:
        same_moments(state.optimizer.state[state.labels], slow.label_moments, rtol)
    same_network(model.network, slow.net, rtol)
    if slow.net_moments[0].steps:
        for parameter, moments in zip(parameters_in_order(model.network), slow.net_moments, strict=True):
            same_moments(model.optimizer.state[parameter], moments, rtol)


@pytest.mark.parametrize("regularization", [1e-6, 1e-2])
@pytest.mark.parametrize("learn_labels", [True, False])
@pytest.mark.parametrize("margin", [True, False])
@pytest.mark.parametrize("mirror", [True, False])
def test_the_meta_gradient_is_the_references(
    mirror: bool, margin: bool, learn_labels: bool, regularization: float
) -> None:
    setting = Setting(mirror=mirror, label_margin=margin, learn_labels=learn_labels, regularization=regularization)
    frepo, state, data = setting.start()
    slow = setting.slow(state, state.pool.models[0].network)
    loss, image_gradient, label_gradient = slow.meta_gradient(data.images, data.labels)
    before = state.labels.detach().clone()
    frepo.step(state, data)

    close(state.images.grad, image_gradient, 1e-8)
    if learn_labels:
        close(state.labels.grad, label_gradient, 1e-8)
        assert state.mean_loss == pytest.approx(float(loss), rel=1e-10)
    else:
        assert state.labels.grad is None
        assert torch.equal(state.labels, before)


def test_the_settings_that_the_meta_gradient_is_compared_under_differ_from_each_other() -> None:
    gradients = []
    for mirror, margin in ((False, False), (True, False), (False, True)):
        setting = Setting(mirror=mirror, label_margin=margin)
        _, state, data = setting.start()
        _, images, labels = setting.slow(state, state.pool.models[0].network).meta_gradient(data.images, data.labels)
        gradients.append((images, labels))
    (plain, plain_labels), (mirrored, _), (_, margin_labels) = gradients
    assert float((mirrored - plain).norm() / plain.norm()) > 0.1
    assert float((margin_labels - plain_labels).norm() / plain_labels.norm()) > 0.1


@pytest.mark.parametrize("learn_labels", [True, False])
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_one_update_and_five_are_the_references(version: str, learn_labels: bool) -> None:
    setting = Setting(version=version, learn_labels=learn_labels)
    frepo, state, data = setting.start()
    (model,) = state.pool
    slow = setting.slow(state, model.network)
    for _ in range(5):
        frepo.step(state, data)
        slow.turn(data.images, data.labels)
        same_state(state, model, slow, 1e-7)
    assert state.step == 5
    assert model.age == 5


def test_v1_and_v2_differ() -> None:
    images = []
    for version in ("v1", "v2"):
        setting = Setting(version=version)
        _, state, data = setting.start()
        slow = setting.slow(state, state.pool.models[0].network)
        slow.turn(data.images, data.labels)
        images.append(slow.images)
    assert float((images[0] - images[1]).norm() / images[0].norm()) > 1e-3


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_float32_stays_within_its_rounding_of_the_reference(version: str) -> None:
    setting = Setting(version=version, dtype="float32", learning_rate=0.01, pool_learning_rate=1e-3)
    frepo, state, data = setting.start()
    (model,) = state.pool
    slow = setting.slow(state, model.network)
    for _ in range(3):
        frepo.step(state, data)
        slow.turn(data.images.double(), data.labels)
        same_network(model.network, slow.net, 2e-5)
        close(state.images, slow.images, 2e-5)
        close(state.labels, slow.labels, 2e-5)
        assert state.images.dtype == state.labels.dtype == torch.float32


def test_a_renewed_model_goes_on_like_a_new_one_with_a_new_optimizer() -> None:
    setting = Setting(max_updates=1)
    frepo, state, data = setting.start()
    (model,) = state.pool
    slow = setting.slow(state, model.network)
    ages = []
    for _ in range(5):
        frepo.step(state, data)
        slow.turn(data.images, data.labels)
        ages.append(model.age)
        if model.age == 0:
            slow.net = as_reference(model.network)  # drawn anew: the weights are random, all else is not
            slow.forget_training()
            for norm in (block.norm_before for block in slow.net.blocks if block.norm_before is not None):
                assert bool((norm.mean == 0).all() and (norm.variance == 1).all())
                assert bool((norm.scale == 1).all() and (norm.shift == 0).all())
            assert bool((slow.net.head_bias == 0).all() and (slow.net.blocks[0].bias == 0).all())
        same_state(state, model, slow, 1e-7)
    assert ages == [1, 0, 1, 0, 1]


def test_of_several_models_one_is_sampled_trained_and_used_and_the_others_stay() -> None:
    setting = Setting(pool_size=3)
    frepo, state, data = setting.start()
    models = state.pool.models
    slow = setting.slow(state, models[0].network)
    nets = [as_reference(model.network) for model in models]
    moments = [[reference.Moments.zero(tensor) for tensor in net.parameters()] for net in nets]
    used = []
    for _ in range(6):
        ages = [model.age for model in models]
        frepo.step(state, data)
        (trained,) = (i for i, model in enumerate(models) if model.age != ages[i])
        used.append(trained)
        slow.net, slow.net_moments = nets[trained], moments[trained]
        slow.turn(data.images, data.labels)
        same_state(state, models[trained], slow, 1e-7)
        for model, net in zip(models, nets, strict=True):
            same_network(model.network, net, 1e-7)
    assert len(set(used)) > 1


def test_a_smaller_real_batch_gives_the_update_on_exactly_those_images() -> None:
    setting = Setting(batch_size=5)
    frepo, state, data = setting.start()
    (model,) = state.pool
    slow = setting.slow(state, model.network)
    for _ in range(2):
        again = torch.Generator()
        again.set_state(state.generator.get_state())
        images_t, targets_t = sample_batch(data, 5, again)
        rows = [int(torch.nonzero((data.images == image).flatten(1).all(1))) for image in images_t]
        assert len(set(rows)) == 5
        close(targets_t, reference.targets_of(data.labels[rows], 3), 1e-14)
        frepo.step(state, data)
        slow.turn(data.images[rows], data.labels[rows])
        same_state(state, model, slow, 1e-7)


def test_the_learning_rate_falls_along_a_cosine_to_a_tenth() -> None:
    setting = Setting()
    frepo, state, data = setting.start()
    for step in range(setting.steps):
        assert state.optimizer.param_groups[0]["lr"] == pytest.approx(reference.cosine(0.05, step, 8), rel=1e-6)
        frepo.step(state, data)
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(0.005, rel=1e-6)


def test_distilled_labels_start_as_scaled_centred_one_hots() -> None:
    setting = Setting()
    state = setting.frepo().start(setting.data(), RUN)
    wanted = reference.targets_of(torch.tensor([0, 0, 1, 1, 2, 2]), 3) / math.sqrt(3 / 10)
    torch.testing.assert_close(state.labels.detach(), wanted, rtol=1e-6, atol=1e-7)


# -- 4. LAMB ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learning_rate", [3e-4, 0.1])
def test_lamb_is_timms_over_20_steps(learning_rate: float) -> None:
    from timm.optim import Lamb

    start = [normal(4, 3, 2, 2, seed=1) * 5, normal(4, 10, seed=2) * 0.01]
    ours, theirs = ([tensor.clone().requires_grad_(True) for tensor in start] for _ in range(2))
    optimizer = LAMB(ours, lr=learning_rate)
    # always_adapt: without weight decay timm otherwise leaves out the trust ratio, and is Adam. max_grad_norm: timm
    # clips the gradients' common norm to 1 by default; FRePo does not.
    other = Lamb(theirs, lr=learning_rate, eps=1e-6, weight_decay=0, max_grad_norm=None, always_adapt=True)
    drawn = generator(3)
    for _ in range(20):
        for mine, its in zip(ours, theirs, strict=True):
            mine.grad = torch.randn(mine.shape, generator=drawn, dtype=mine.dtype) * mine.detach().abs()
            its.grad = mine.grad.clone()
        optimizer.step()
        other.step()
        for mine, its in zip(ours, theirs, strict=True):
            close(mine, its, 1e-12)
        assert all(float((mine.detach() - was).norm()) > 0 for mine, was in zip(ours, start, strict=True))


def test_the_first_lamb_step_is_the_one_worked_out_by_hand() -> None:
    # m / sqrt(v) = sign(g) at the first step, but for eps: u = (1, -1), |p| = 5, |u| = sqrt(2), ratio 3.5355339;
    # p - 0.1 * 3.5355339 * (1, -1). With eps: u = (1 / 1.000001, -2 / 2.000001), less than 1e-6 away.
    point = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    point.grad = torch.tensor([1.0, -2.0], dtype=torch.float64)
    LAMB([point], lr=0.1).step()
    torch.testing.assert_close(
        point.detach(), torch.tensor([2.64644661, 4.35355339], dtype=torch.float64), rtol=0, atol=5e-7
    )


def test_lambs_eps_is_1e_6_and_outside_the_root() -> None:
    # A gradient as small as eps: sqrt(v) = 1e-6, u = 1e-6 / (1e-6 + 1e-6) = 1/2; beside it one of 1. |u| = sqrt(5) / 2.
    point = torch.tensor([3.0, 4.0], dtype=torch.float64, requires_grad=True)
    point.grad = torch.tensor([1e-6, 1.0], dtype=torch.float64)
    LAMB([point], lr=0.1).step()
    ratio = 5 / (math.sqrt(5) / 2)
    wanted = torch.tensor([3 - 0.1 * ratio / 2, 4 - 0.1 * ratio], dtype=torch.float64)
    torch.testing.assert_close(point.detach(), wanted, rtol=1e-5, atol=0)


def test_a_zero_tensor_moves_with_ratio_1_and_a_zero_gradient_moves_nothing() -> None:
    zero, still = torch.zeros(2, dtype=torch.float64), torch.tensor([1.0, 2.0], dtype=torch.float64)
    zero.grad, still.grad = torch.tensor([1.0, -2.0], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    LAMB([zero, still], lr=0.1).step()
    torch.testing.assert_close(zero, torch.tensor([-0.1, 0.1], dtype=torch.float64), rtol=1e-5, atol=0)
    assert still.tolist() == [1.0, 2.0]


def test_lamb_has_one_ratio_a_tensor_not_one_a_row() -> None:
    rows = torch.tensor([[1e-3, 1e-3], [10.0, 10.0]], dtype=torch.float64)
    other = torch.ones(2, 2, dtype=torch.float64)
    rows.grad = other.grad = torch.ones(2, 2, dtype=torch.float64)
    before = rows.clone()
    LAMB([rows, other], lr=0.1).step()
    moved = before - rows
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1 * float(before.norm()) / 2), rtol=1e-5, atol=0)
    torch.testing.assert_close(other, torch.full_like(other, 0.9), rtol=1e-5, atol=0)


# -- 5. networks ------------------------------------------------------------------------------------------------------

NETWORKS = {
    "rgb32": ((3, 32, 32), 3, 1, 4),  # shape, depth, padding of the first convolution, side of the last maps
    "grey28": ((1, 28, 28), 3, 3, 4),
    "rgb28": ((3, 28, 28), 3, 1, 3),
    "grey8": ((1, 8, 8), 1, 1, 4),
}
# 32 groups where they fit; of 12, 24 and 48 channels 4, 8 and 16 groups of 3.
GROUPS = {12: 4, 24: 8, 48: 16}


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("norm", ["none", "batch", "instance", "layer", "group"])
@pytest.mark.parametrize("images", ["rgb32", "grey28"])
def test_conv_computes_what_the_paper_says(images: str, norm: str, after: bool) -> None:
    shape, depth, padding, side = NETWORKS[images]
    name = "conv-after" if after else "conv"
    network = build_network(name, image_shape=shape, num_classes=5, width=12, norm=norm, generator=generator(1))
    shake(network.double(), seed=2)
    groups = tuple(GROUPS.values()) if after else tuple(GROUPS.values())[:-1]
    slow = as_reference(network, norm=norm, after=after, first_padding=padding, groups=groups)
    assert [len(block.kernel) for block in slow.blocks] == [12 * 2**i for i in range(depth)]
    batch = normal(4, *shape, seed=3)
    for training in (False, True):
        network.train(training)
        close(network(batch), reference.logits(slow, batch, training=training), 1e-10)
    network.eval()
    close(network.features(batch), reference.features(slow, batch), 1e-10)  # with the running statistics just moved
    assert network.features(batch).shape == (4, 48 * side * side)


@pytest.mark.parametrize("images", NETWORKS)
def test_depth_padding_and_feature_dimension_follow_the_resolution(images: str) -> None:
    shape, depth, padding, side = NETWORKS[images]
    network = Conv(image_shape=shape, num_classes=2, width=4, norm="batch", generator=generator(1))
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == depth
    assert convolutions[0].padding == (padding, padding)
    assert all(convolution.padding == (1, 1) for convolution in convolutions[1:])
    assert network.head.in_features == 4 * 2 ** (depth - 1) * side * side
    assert network(torch.zeros(1, *shape)).shape == (1, 2)


def test_default_depth_is_the_papers() -> None:
    assert [default_depth(side) for side in (28, 32, 64, 128)] == [3, 3, 4, 5]


def test_initial_weights_are_lecun_normal_truncated_at_two_deviations_and_biases_are_zero() -> None:
    network = Conv(image_shape=(3, 16, 16), num_classes=50, width=64, depth=2, norm="batch", generator=generator(1))
    for module in (module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)):
        weight, fan_in = module.weight.detach().double(), module.weight[0].numel()
        variance, bound = 1 / fan_in, 2 / 0.87962566 / math.sqrt(fan_in)
        # The truncated normal's fourth moment is 2.37 of its squared variance: five standard errors.
        allowed = 5 * math.sqrt(1.37 / weight.numel())
        assert float(weight.square().mean()) * fan_in == pytest.approx(1, abs=allowed)
        assert abs(float(weight.mean())) < 5 * math.sqrt(variance / weight.numel())
        assert 0.95 * bound < float(weight.abs().max()) <= bound * (1 + 1e-6)
        assert bool((module.bias == 0).all())


def test_lecun_normal_leaves_a_truncated_normals_tails() -> None:
    weight = torch.empty(1000, 100)
    lecun_normal_(weight, generator(1))
    ratio = weight.double() * 10 * 0.87962566
    # P(|x| < 1 given |x| < 2) = 0.6827 / 0.9545
    assert float((ratio.abs() < 1).double().mean()) == pytest.approx(0.71525, abs=0.007)


def test_the_same_generator_seed_gives_the_same_weights_and_another_gives_others() -> None:
    first, same, other = (
        Conv(image_shape=SHAPE, num_classes=2, width=4, depth=2, generator=generator(seed)).state_dict()
        for seed in (1, 1, 2)
    )
    assert all(torch.equal(first[name], same[name]) for name in first)
    assert not torch.equal(first["head.weight"], other["head.weight"])


def test_neither_networks_nor_distillation_touch_the_global_random_state() -> None:
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    setting = Setting(max_updates=0, batch_size=5)
    frepo, state, data = setting.start()
    frepo.step(state, data)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert np.array_equal(np.random.get_state()[1], before[2])


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("sides", [(8, 8), (2, 6), (7, 7), (8, 5), (5, 8), (3, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_relu_and_pool_with_its_own_backward_is_exactly_the_plain_pair(dtype, sides, memory_format) -> None:
    images = normal(3, 4, *sides, seed=1, dtype=dtype)
    images[0, 0] = 0  # where ReLU has its kink
    images = images.contiguous(memory_format=memory_format)
    upstream = normal(3, 4, sides[0] // 2, sides[1] // 2, seed=2, dtype=dtype)
    results = []
    for function in (ReLUAvgPool2d(), lambda x: F.avg_pool2d(F.relu(x), 2)):
        leaf = images.clone().requires_grad_(True)
        pooled = function(leaf)
        results.append((pooled.detach(), *torch.autograd.grad(pooled, leaf, upstream)))
    (pooled, gradient), (wanted_pooled, wanted_gradient) = results
    assert torch.equal(pooled, wanted_pooled)
    assert torch.equal(gradient, wanted_gradient)
    close(pooled, reference.relu_and_pool(images), 1e-6 if dtype == torch.float32 else 1e-14)
    with torch.no_grad():
        assert torch.equal(ReLUAvgPool2d()(images), pooled)


def test_relu_and_pool_can_be_differentiated_twice() -> None:
    images = normal(2, 3, 4, 4, seed=1).requires_grad_(True)
    function = ReLUAvgPool2d()
    assert torch.autograd.gradcheck(function, images)
    assert torch.autograd.gradgradcheck(lambda x: function(x).square(), images)
    seconds = []
    for pool in (function, reference.relu_and_pool):
        (first,) = torch.autograd.grad(pool(images).pow(3).sum(), images, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), images)
        seconds.append(second)
    close(seconds[0], seconds[1], 1e-12)


# -- 6. preprocessing -------------------------------------------------------------------------------------------------


def photographs(channels: int) -> LabelledImages:
    """80 uint8 images of 4x5 pixels whose neighbours and channels are correlated."""
    drawn = np.random.default_rng(1)
    pixels = 90 * drawn.random((80, 1, 1, 1)) + 60 * drawn.random((80, 4, 1, 1)) + 50 * drawn.random((80, 4, 5, 1))
    pixels = pixels * np.array([1.0, 0.7, 0.4])[:channels] + 20 * drawn.random((80, 4, 5, channels))
    return LabelledImages(pixels.astype(np.uint8), np.arange(80) % 3, CLASSES)


@pytest.mark.parametrize("channels", [1, 3])
def test_standardize_fits_what_numpy_fits(channels: int) -> None:
    data = photographs(channels)
    mean, std = reference.standardization(data.images)
    fitted = Standardize.fit(data)
    np.testing.assert_allclose(fitted.mean, mean, rtol=1e-6)
    np.testing.assert_allclose(fitted.std, std, rtol=1e-6)
    wanted = ((data.images / 255.0 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(fitted.apply(data).images, wanted, atol=1e-5)


def test_zca_whitens_as_numpy_whitens() -> None:
    data = photographs(3)
    wanted, _ = reference.zca(data.images)
    whitened = ZCA.fit(data).apply(data).images
    np.testing.assert_allclose(whitened.flatten(1), wanted, atol=1e-4)
    assert whitened.shape == (80, 3, 4, 5)


def test_the_whitening_matrix_squared_inverts_the_regularised_covariance() -> None:
    data = photographs(3)
    _, covariance = reference.zca(data.images)
    fitted = ZCA.fit(data)
    rows, columns = np.triu_indices(60)
    matrix = np.zeros((60, 60))
    matrix[rows, columns] = matrix[columns, rows] = fitted.triangle.double().numpy()
    np.testing.assert_allclose(np.linalg.inv(matrix @ matrix), covariance, rtol=0, atol=1e-5 * covariance.max())
    assert np.linalg.eigvalsh(matrix).min() > 0


@pytest.mark.parametrize(("kind", "channels"), [(Standardize, 1), (Standardize, 3), (ZCA, 1), (ZCA, 3)])
def test_preprocessing_can_be_undone_and_travels_by_its_state(kind: type[Preprocessing], channels: int) -> None:
    data = photographs(channels)
    fitted = kind.fit(data)
    pixels = torch.from_numpy(data.images).permute(0, 3, 1, 2).float() / 255
    torch.testing.assert_close(fitted.inverse(fitted.forward(pixels)), pixels, rtol=0, atol=1e-4)
    again = Preprocessing.from_state(fitted.kind, copy.deepcopy(fitted.state()))
    assert type(again) is kind
    assert torch.equal(again.forward(pixels), fitted.forward(pixels))
    assert torch.equal(again.inverse(pixels), fitted.inverse(pixels))


def test_zca_of_a_single_image_is_finite_or_refused_with_the_reason() -> None:
    try:
        fitted = ZCA.fit(photographs(3).subset([0]))
    except InputError:
        return
    assert bool(torch.isfinite(fitted.triangle).all())


# -- 7. the pool ------------------------------------------------------------------------------------------------------


class Spy(Network):
    """A linear network that remembers what it was trained on."""

    def __init__(self, drawn: torch.Generator) -> None:
        super().__init__()
        self.head, self.seen = nn.Linear(4, 2), []
        self.reset_parameters(drawn)

    def features(self, images: Tensor) -> Tensor:
        self.seen.append((images, self.training))
        return images.flatten(1)


def pool_of(size: int, *, max_updates: int, batch_size: int = 100) -> ModelPool:
    return ModelPool(
        build=Spy, size=size, max_updates=max_updates, learning_rate=0.1, batch_size=batch_size, generator=generator(1)
    )


@pytest.mark.parametrize(
    ("size", "max_updates", "ages"),
    [(10, 100, list(range(0, 100, 10))), (4, 10, [0, 2, 5, 7]), (1, 100, [0]), (3, 0, [0, 0, 0])],
)
def test_pool_models_start_with_staggered_ages(size: int, max_updates: int, ages: list[int]) -> None:
    assert [model.age for model in pool_of(size, max_updates=max_updates)] == ages


@pytest.mark.parametrize("max_updates", [0, 1, 3])
def test_a_model_is_drawn_anew_after_more_than_k_updates(max_updates: int) -> None:
    pool = pool_of(1, max_updates=max_updates)
    images, labels = normal(3, 1, 2, 2, seed=1, dtype=torch.float32), normal(3, 2, seed=2, dtype=torch.float32)
    (model,) = pool
    for update in range(1, 2 * (max_updates + 1) + 1):
        assert pool.sample() is model
        pool.train(model, images, labels)
        trained = model.network.head.weight.clone()
        pool.renew(model)
        renewed = update % (max_updates + 1) == 0
        assert model.age == update % (max_updates + 1)
        assert torch.equal(model.network.head.weight, trained) != renewed
        assert (len(model.optimizer.state) == 0) == renewed
        assert bool((model.network.head.bias == 0).all()) == renewed


def test_models_that_are_to_have_no_updates_are_never_trained() -> None:
    pool = pool_of(1, max_updates=0)
    (model,) = pool
    before = model.network.head.weight.clone()
    pool.train(model, normal(3, 1, 2, 2, seed=1, dtype=torch.float32), normal(3, 2, seed=2, dtype=torch.float32))
    assert torch.equal(model.network.head.weight, before)
    assert model.network.seen == []


def test_renewals_and_models_differ_from_each_other() -> None:
    pool = pool_of(2, max_updates=0)
    weights = [model.network.head.weight.clone() for model in pool]
    for model in pool:
        model.age = 1
        pool.renew(model)
    weights += [model.network.head.weight for model in pool]
    assert len({tuple(weight.flatten().tolist()) for weight in weights}) == 4


def test_models_are_sampled_uniformly() -> None:
    pool = pool_of(4, max_updates=10)
    models = list(pool)
    counts = np.zeros(4)
    for _ in range(2000):
        counts[models.index(pool.sample())] += 1
    assert ((counts - 500) ** 2 / 500).sum() < 22  # chi-squared, 3 degrees of freedom: p = 1e-4 (fixed seed)


def test_pool_training_takes_a_batch_without_replacement_and_leaves_the_model_frozen() -> None:
    pool = pool_of(1, max_updates=10, batch_size=5)
    images = torch.arange(9.0).view(9, 1, 1, 1).expand(9, 1, 2, 2)
    (model,) = pool
    drawn = set()
    for _ in range(6):
        pool.train(model, images, torch.zeros(9, 2))
        seen, training = model.network.seen[-1]
        rows = seen[:, 0, 0, 0].tolist()
        assert len(rows) == len(set(rows)) == 5
        assert training
        drawn.update(rows)
    assert drawn == set(range(9))
    assert not model.network.training
    assert not any(parameter.requires_grad for parameter in model.network.parameters())

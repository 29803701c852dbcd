"""The meta-gradient through one training step: against that step itself, and against differences."""

import copy

import pytest
import torch
from torch import Tensor

from distill import FRePo
from distill.distillers.model_pool import PoolModel, squared_error
from distill.distillers.tbptt import tbptt_loss
from distill.networks import build_network
from distill.preprocess import default_preprocessing

SHAPE = (1, 8, 8)


def a_model(norm: str, updates: int) -> PoolModel:
    """A small network in float64 that has had so many updates."""
    generator = torch.Generator().manual_seed(0)
    network = build_network(
        "conv", image_shape=SHAPE, num_classes=3, width=3, depth=2, norm=norm, generator=generator
    ).double()
    model = PoolModel(network, 1e-2, age=0)
    model.freeze()
    for _ in range(updates):
        model.train_step(*a_batch(5, seed=7))
    return model


def a_batch(n: int, *, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(n, *SHAPE, generator=generator, dtype=torch.float64)
    return images, torch.randn(n, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("norm", ["none", "batch", "instance"])
@pytest.mark.parametrize("updates", [0, 3])
def test_loss_is_that_of_the_model_after_one_more_step(norm, updates):
    model = a_model(norm, updates)
    images_s, labels_s = a_batch(6, seed=1)
    images_t, labels_t = a_batch(9, seed=2)
    loss = tbptt_loss(model, images_t, labels_t, images_s, labels_s)

    after = copy.deepcopy(model)
    after.train_step(images_s, labels_s)
    torch.testing.assert_close(loss.detach(), squared_error(after.network(images_t), labels_t))


@pytest.mark.parametrize("updates", [0, 3])
def test_gradient_is_that_of_differences(updates):
    model = a_model("instance", updates)
    images_t, labels_t = a_batch(9, seed=2)

    def after_one_step(images_s: Tensor, labels_s: Tensor) -> Tensor:
        after = copy.deepcopy(model)
        after.train_step(images_s, labels_s)
        return squared_error(after.network(images_t), labels_t)

    images_s, labels_s = (tensor.requires_grad_(True) for tensor in a_batch(4, seed=1))
    tbptt_loss(model, images_t, labels_t, images_s, labels_s).backward()
    with torch.no_grad():
        plain = (images_s.detach(), labels_s.detach())
    for which, position in [(0, (0, 0, 3, 4)), (0, (3, 0, 7, 0)), (1, (2, 1)), (1, (0, 0))]:
        step = 1e-6
        shifted = []
        for sign in (1, -1):
            moved = [tensor.clone() for tensor in plain]
            moved[which][position] += sign * step
            shifted.append(after_one_step(*moved))
        difference = (shifted[0] - shifted[1]) / (2 * step)
        gradient = (images_s, labels_s)[which].grad[position]
        torch.testing.assert_close(gradient, difference.detach(), rtol=1e-3, atol=1e-9)


def test_model_is_left_as_it_was():
    model = a_model("batch", 2)
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    moments = copy.deepcopy(model.optimizer.state_dict())
    images_s, labels_s = (tensor.requires_grad_(True) for tensor in a_batch(4, seed=1))
    tbptt_loss(model, *a_batch(9, seed=2), images_s, labels_s).backward()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.network.state_dict().items())
    assert not model.network.training
    assert not any(weight.requires_grad for weight in model.network.parameters())
    for index, state in model.optimizer.state_dict()["state"].items():
        for name, value in state.items():
            assert torch.equal(value, moments["state"][index][name])


def test_weights_without_a_gradient_give_no_nan():
    model = a_model("none", 0)
    images_s, labels_s = a_batch(4, seed=1)
    with torch.no_grad():
        for module in model.network.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.bias.fill_(-1e3)  # no ReLU lets anything through
    images_s.requires_grad_(True)
    tbptt_loss(model, *a_batch(9, seed=2), images_s, labels_s).backward()
    assert torch.isfinite(images_s.grad).all()


@pytest.mark.parametrize("mirror", [False, True])
def test_frepo_takes_it_as_an_option(make_images, mirror):
    images = make_images(channels=3)
    data = default_preprocessing(images).apply(images)
    options = {"steps": 4, "batch_size": 20, "pool_size": 2, "width": 4, "depth": 2}
    frepo = FRePo(**options, mirror=mirror)
    one, other = (
        distiller.distill(data, images_per_class=2)
        for distiller in (frepo, frepo.with_options(meta_gradient="tbptt"))
    )
    assert not torch.equal(one.images, other.images)
    assert not torch.equal(one.labels, other.labels)

"""FRePo's loss on real images: the softmax against plain autograd and a loop, its limits, and checkpoints."""

import math

import pytest
import torch
from torch import Tensor

import reference
from distill import FRePo, InputError, PreprocessedImages
from distill.distillers.frepo import meta_loss
from distill.distillers.model_pool import squared_error
from distill.distillers.outer_loss import SoftmaxLoss
from distill.distillers.run import Run
from distill.preprocess import default_preprocessing
from killed import killed_before_step

TINY = FRePo(
    steps=6, batch_size=20, pool_size=2, max_updates=2, width=4, depth=2, learning_rate=1e-2, history_points=3,
    outer_loss="softmax",
)


@pytest.fixture
def data(make_images) -> PreprocessedImages:
    images = make_images()
    return default_preprocessing(images).apply(images)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def targets_of(class_ids: Tensor, num_classes: int) -> Tensor:
    return torch.nn.functional.one_hot(class_ids, num_classes).double() - 1 / num_classes


def slow_cross_entropy(predictions: Tensor, class_ids: Tensor, sharpness: Tensor) -> Tensor:
    """Minus the logarithm of the probability of each row's class, one row after the other."""
    losses = []
    for row, class_id in zip(predictions, class_ids, strict=True):
        powers = (row * sharpness).exp()
        losses.append(-(powers[class_id] / powers.sum()).log())
    return torch.stack(losses).mean()


@pytest.mark.parametrize("mirrored", [False, True])
def test_softmax_loss_and_its_gradients_are_those_of_plain_autograd(mirrored):
    class_ids = torch.tensor([0, 2, 1, 1, 0, 2, 2])
    features_t, weights = normal(7, 9, seed=0), []
    for of in ("ours", "slow"):
        images, labels = normal(4, 9, seed=1).requires_grad_(True), normal(4, 3, seed=2).requires_grad_(True)
        log_sharpness = torch.tensor(math.log(3.0), dtype=torch.float64, requires_grad=True)
        features_s, all_labels = images.tanh(), labels
        if mirrored:
            features_s, all_labels = torch.cat([features_s, features_s.flip(1)]), torch.cat([labels, labels])
        if of == "ours":
            outer = SoftmaxLoss(3.0, learning_rate=0.1, like=labels)
            log_sharpness = outer.log_sharpness
            loss = meta_loss(
                features_t, targets_of(class_ids, 3), features_s, all_labels, regularization=1e-2, outer_loss=outer
            )
        else:
            predictions = reference.krr_predictions(features_t, features_s, all_labels, 1e-2)
            loss = slow_cross_entropy(predictions, class_ids, log_sharpness.exp())
        weights.append((loss.detach(), *torch.autograd.grad(loss, [images, labels, log_sharpness])))
    for ours, slow in zip(*weights, strict=True):
        torch.testing.assert_close(ours, slow, rtol=1e-8, atol=1e-10)


def test_small_sharpness_follows_the_inner_product_with_targets():
    """Where predictions hardly count, cross-entropy is log C less their product with `one-hot - 1/C`."""
    class_ids, predictions = torch.tensor([0, 2, 1]), normal(3, 3, seed=0)
    targets = targets_of(class_ids, 3)
    loss = SoftmaxLoss(1e-4, learning_rate=0, like=targets)(predictions, targets)
    wanted = math.log(3) - 1e-4 * (predictions * targets).sum(1).mean()
    assert loss.item() == pytest.approx(wanted.item(), abs=1e-8)


def test_sharpness_is_learned_by_adam_to_its_optimum():
    class_ids = torch.arange(300) % 3
    targets = targets_of(class_ids, 3)
    predictions = targets + 0.5 * normal(300, 3, seed=1)  # logits at a sharpness of 1 / 0.5^2, by Bayes
    outer = SoftmaxLoss(1.0, learning_rate=0.05, like=targets)
    for _ in range(200):
        outer(predictions, targets).backward()
        outer.update()
    assert outer.log_sharpness.exp().item() == pytest.approx(4, rel=0.2)
    gradient = torch.autograd.grad(outer(predictions, targets), outer.log_sharpness)[0]
    assert abs(gradient.item()) < 1e-3


@pytest.mark.parametrize("meta_gradient", ["krr", "tbptt"])
def test_frepo_learns_by_it(data, meta_gradient):
    options = {"meta_gradient": meta_gradient, "steps": 40, "label_margin": False}
    squared, softmax = (
        TINY.with_options(outer_loss=loss, **options).distill(data, images_per_class=2, held_out=data)
        for loss in ("squared", "softmax")
    )
    history = softmax.made_by["history"]
    assert not torch.equal(squared.images, softmax.images)
    assert history[-1]["loss"] < history[1]["loss"] < math.log(3) + 0.5
    if meta_gradient == "krr":
        assert history[-1]["krr_accuracy"] > 0.9


@pytest.mark.parametrize(("label_scale", "wanted"), [(None, 5 * math.sqrt(3 / 10)), (0.25, 20.0)])
def test_sharpness_starts_in_units_of_the_labels_and_moves(data, label_scale, wanted):
    frepo = TINY.with_options(label_scale=label_scale)
    state = frepo.start(data, Run(images_per_class=2))
    assert state.outer_loss.log_sharpness.exp().item() == pytest.approx(wanted, rel=1e-5)
    frepo.step(state, data)
    assert abs(state.outer_loss.log_sharpness.item() - math.log(wanted)) == pytest.approx(0.03, rel=1e-3)  # Adam's


def test_rate_of_0_keeps_the_sharpness(data):
    frepo = TINY.with_options(sharpness_learning_rate=0.0)
    state = frepo.start(data, Run(images_per_class=2))
    before = state.outer_loss.log_sharpness.item()
    for _ in range(3):
        frepo.step(state, data)
    assert state.outer_loss.log_sharpness.item() == before
    one, other = (TINY.with_options(sharpness_learning_rate=rate).distill(data, images_per_class=2) for rate in (0, 1))
    assert not torch.equal(one.images, other.images)


@pytest.mark.parametrize("options", [{}, {"average": 0.9, "pool_updates": 0.5}, {"version": "v1", "pool_updates": 2.5}])
def test_killed_distillation_ends_in_the_same_bits(data, tmp_path, monkeypatch, options):
    frepo = TINY.with_options(**options)
    undisturbed = frepo.distill(data, images_per_class=2, held_out=data)
    killed_before_step(3, monkeypatch, frepo, data, held_out=data, store=tmp_path)
    resumed = frepo.distill(data, images_per_class=2, held_out=data, store=tmp_path)
    assert torch.equal(resumed.images, undisturbed.images)
    assert torch.equal(resumed.labels, undisturbed.labels)
    assert resumed.made_by == undisturbed.made_by


def test_squared_loss_has_nothing_to_save(data):
    state = TINY.with_options(outer_loss="squared").start(data, Run(images_per_class=2))
    assert not state.outer_loss.tensors()
    predictions, targets = normal(4, 3, seed=0), normal(4, 3, seed=1)
    assert torch.equal(state.outer_loss(predictions, targets), squared_error(predictions, targets))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"outer_loss": "hinge"}, "outer_loss is 'hinge'; expected one of squared, softmax"),
     ({"sharpness": 0.0}, "sharpness is 0.0; expected more than 0"),
     ({"sharpness_learning_rate": -1.0}, "sharpness_learning_rate is -1.0; expected 0 or more"),
     ({"pool_updates": 0.0}, "pool_updates is 0.0; expected more than 0")],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_option_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        FRePo(**options)

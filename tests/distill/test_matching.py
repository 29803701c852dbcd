"""DM and DSA: against a slow float64 reading of their papers; their augmentation; stopped and resumed."""

import itertools
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import reference
from distill import (
    DM,
    DSA,
    Distiller,
    FRePo,
    Identity,
    InputError,
    PreprocessedImages,
    Random,
    Standardize,
    SyntheticSet,
)
from distill.distillers.dsa import gradient_distance, published_loops
from distill.distillers.matching import Matching
from distill.distillers.run import Run
from distill.networks import Network, build_network
from distill.preprocess import default_preprocessing
from distill.sets.synthetic import initial_labels
from distill.training.augmentation import SIAMESE, Draw, draw_augmentation, flip
from killed import killed_before_step

# Each part of the state that a checkpoint keeps takes part: networks drawn, trained and half trained, and momentum.
TINY_DM = DM(steps=7, batch_size=8, width=4, depth=2, history_points=3)
TINY_DSA = DSA(
    iterations=3, outer_loop=3, inner_loop=2, batch_size=8, network_batch_size=4, width=4, depth=2,
    history_points=4,
)
TINY = [pytest.param(distiller, id=distiller.method) for distiller in (TINY_DM, TINY_DSA)]


def made(distiller: Distiller, data, **arguments) -> SyntheticSet:
    """A set of two images per class, unless `arguments` say otherwise."""
    return distiller.distill(data, **{"images_per_class": 2, **arguments})


@pytest.fixture
def data(make_images) -> PreprocessedImages:
    images = make_images()
    return default_preprocessing(images).apply(images)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def close(got: Tensor, wanted: Tensor, rtol: float = 1e-9) -> None:
    assert got.shape == wanted.shape
    error, scale = float((got.detach() - wanted.detach()).norm()), float(wanted.detach().norm())
    assert error <= rtol * scale, f"off by {error:.3g}, {error / max(scale, 1e-300):.3g} of the norm {scale:.3g}"


def assert_same_set(one: SyntheticSet, other: SyntheticSet) -> None:
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
    assert torch.equal(one.class_ids, other.class_ids)
    assert one.made_by == other.made_by


# -- 1. the methods once more, slowly ----------------------------------------------------------------------------------


def as_reference(network: Network) -> reference.Net:
    """The weights of a network with norm after the convolution, in the reference's."""
    blocks: list[reference.Block] = []
    for module in network.blocks:
        if isinstance(module, nn.Conv2d):
            blocks.append(reference.Block(module.weight.clone(), module.bias.clone(), module.padding[0]))
        elif isinstance(module, nn.GroupNorm):
            blocks[-1].norm_after = reference.Norm("instance", module.weight.clone(), module.bias.clone())
    return reference.Net(blocks, network.head.weight.clone(), network.head.bias.clone())


def slow_dm_loss(net: reference.Net, real: list[Tensor], distilled: list[Tensor]) -> Tensor:
    """`sum over classes |mean f(T_c) - mean f(S_c)|^2` (Zhao & Bilen 2021, distribution matching, Eq. 5)."""
    loss = torch.zeros((), dtype=torch.float64)
    for images_t, images_s in zip(real, distilled, strict=True):
        mean_t = sum(reference.features(net, image[None])[0] for image in images_t) / len(images_t)
        mean_s = sum(reference.features(net, image[None])[0] for image in images_s) / len(images_s)
        loss = loss + ((mean_t - mean_s) ** 2).sum()
    return loss


def slow_cross_entropy(net: reference.Net, images: Tensor, class_ids: list[int]) -> Tensor:
    logits = reference.logits(net, images)
    losses = [torch.log(torch.exp(row).sum()) - row[c] for row, c in zip(logits, class_ids, strict=True)]
    return sum(losses) / len(losses)


def slow_dsa_loss(net: reference.Net, images_t: Tensor, images_s: Tensor, class_id: int) -> Tensor:
    """One class's part: `1 - cosine` for every output unit of every layer (Zhao, Mopuri & Bilen 2021, Eq. 7 and 8)."""
    weights = [*(block.kernel for block in net.blocks), net.head_weight]
    for weight in weights:
        weight.requires_grad_(True)
    gradients_t = torch.autograd.grad(slow_cross_entropy(net, images_t, [class_id] * len(images_t)), weights)
    loss_s = slow_cross_entropy(net, images_s, [class_id] * len(images_s))
    gradients_s = torch.autograd.grad(loss_s, weights, create_graph=True)
    distance = torch.zeros((), dtype=torch.float64)
    for layer_t, layer_s in zip(gradients_t, gradients_s, strict=True):
        for unit_t, unit_s in zip(layer_t, layer_s, strict=True):
            lengths = torch.sqrt((unit_t**2).sum()) * torch.sqrt((unit_s**2).sum())
            distance = distance + 1 - (unit_t * unit_s).sum() / (lengths + 1e-6)
    return distance


def train_slowly(net: reference.Net, images: Tensor, class_ids: list[int], learning_rate: float) -> None:
    """One step of gradient descent on all distilled images."""
    parameters = net.parameters()
    for tensor in parameters:
        tensor.requires_grad_(True)
    gradients = torch.autograd.grad(slow_cross_entropy(net, images, class_ids), parameters)
    with torch.no_grad():
        for tensor, gradient in zip(parameters, gradients, strict=True):
            tensor -= learning_rate * gradient


def augmented(images: Tensor, k: int) -> Tensor:
    return images * (1 + k / 7) + k / 5


def counted_augmentations(monkeypatch) -> None:
    """Let the k-th augmentation drawn be the k-th `augmented`; k counts from 100 where networks are trained."""
    for module, first in (("matching", 0), ("dsa", 100)):
        ks = itertools.count(first)

        def draw(*_: object, ks=ks, **__: object) -> Callable[[Tensor], Tensor]:
            return partial(augmented, k=next(ks))

        monkeypatch.setattr(f"distill.distillers.{module}.draw_augmentation", draw)


def by_class(data: PreprocessedImages) -> list[Tensor]:
    return [data.images[data.labels == c] for c in torch.unique(data.labels)]


def float64_data() -> PreprocessedImages:
    """Three classes of 5, 4 and 3 images, class 2 of four missing."""
    labels = torch.tensor([0, 1, 3, 3, 1, 0, 0, 1, 0, 3, 1, 0])
    images = normal(12, 3, 8, 8, seed=1) + labels.view(-1, 1, 1, 1) / 3
    return PreprocessedImages(images, labels, tuple("abcd"), Identity())


@pytest.mark.parametrize("augment", [False, True], ids=["plain", "augmented"])
def test_a_dm_step_is_momentum_descent_on_the_distance_of_class_means(monkeypatch, augment) -> None:
    counted_augmentations(monkeypatch)
    distiller = DM(steps=3, width=6, depth=2, dtype="float64", augment=augment, learning_rate=0.3)
    data = float64_data()
    state = distiller.start(data, Run(images_per_class=2))
    images, velocity = state.images.detach().clone(), torch.zeros_like(state.images)
    heads = set()
    for step in range(3):
        distiller.step(state, data)
        net = as_reference(state.network)  # the one it has just matched in
        heads.add(net.head_weight[0, 0].item())
        leaf = images.clone().requires_grad_(True)
        ks = range(3 * step, 3 * step + 3)
        real, distilled = by_class(data), list(leaf.split(2))
        if augment:
            real = [augmented(part, k) for part, k in zip(real, ks, strict=True)]
            distilled = [augmented(part, k) for part, k in zip(distilled, ks, strict=True)]
        loss = slow_dm_loss(net, real, distilled)
        (gradient,) = torch.autograd.grad(loss, leaf)
        velocity = gradient + 0.5 * velocity
        images = images - 0.3 * velocity
        close(state.images, images)
        if step == 0:
            assert state.mean_loss == pytest.approx(loss.item() / 3, rel=1e-9)
    assert len(heads) == 3  # a new network each time


@pytest.mark.parametrize("augment", [False, True], ids=["plain", "augmented"])
def test_dsa_is_algorithm_1_of_dataset_condensation(monkeypatch, augment) -> None:
    counted_augmentations(monkeypatch)
    distiller = DSA(
        iterations=2, outer_loop=2, inner_loop=2, width=4, depth=2, dtype="float64",
        augment=augment, learning_rate=0.3, network_learning_rate=0.05,
    )
    data = float64_data()
    state = distiller.start(data, Run(images_per_class=2))
    images, velocity = state.images.detach().clone(), torch.zeros_like(state.images)
    drawn, trained = itertools.count(), itertools.count(100)
    net = as_reference(state.network)
    for step in range(4):
        distiller.step(state, data)
        if step % 2:
            for _ in range(2):
                batch = augmented(images, next(trained)) if augment else images
                train_slowly(net, batch, [0, 0, 1, 1, 3, 3], 0.05)
        else:
            net = as_reference(state.network)  # drawn anew, and not trained yet
        leaf = images.clone().requires_grad_(True)
        total = torch.zeros((), dtype=torch.float64)
        for c, images_t, images_s in zip((0, 1, 3), by_class(data), leaf.split(2), strict=True):
            if augment:
                k = next(drawn)
                images_t, images_s = augmented(images_t, k), augmented(images_s, k)
            total = total + slow_dsa_loss(net, images_t, images_s, c)
        (gradient,) = torch.autograd.grad(total, leaf)
        velocity = gradient + 0.5 * velocity
        images = images - 0.3 * velocity
        close(state.images, images, 1e-8)
        if step == 0:
            assert state.mean_loss == pytest.approx(total.item() / 3, rel=1e-9)
    for got, wanted in zip(as_reference(state.network).parameters(), net.parameters(), strict=True):
        close(got, wanted, 1e-8)


def test_gradients_of_one_direction_are_at_distance_0_and_of_opposite_ones_at_2_a_unit() -> None:
    layers = [normal(3, 2, 3, 3, seed=1), normal(4, 5, seed=2)]
    assert gradient_distance(layers, [2 * layer for layer in layers]).item() == pytest.approx(0, abs=1e-5)
    assert gradient_distance(layers, [-layer for layer in layers]).item() == pytest.approx(14, abs=1e-5)


def test_the_distance_of_a_gradient_that_vanishes_is_1_a_unit_and_has_a_finite_gradient() -> None:
    zero = torch.zeros(3, 4, requires_grad=True)
    distance = gradient_distance([torch.ones(3, 4)], [zero])
    assert distance.item() == 3
    assert bool(torch.isfinite(torch.autograd.grad(distance, zero)[0]).all())


def test_loops_are_those_of_the_released_code_and_of_the_next_smaller_size_between() -> None:
    published = {1: (1, 1), 10: (10, 50), 20: (20, 25), 30: (30, 20), 40: (40, 15), 50: (50, 10)}
    assert {n: published_loops(n) for n in published} == published
    assert [published_loops(n) for n in (2, 9, 19, 500)] == [(1, 1), (1, 1), (10, 50), (50, 10)]
    assert DSA().loops(10) == (10, 50)
    assert DSA(outer_loop=3).loops(10) == (3, 50)
    assert DSA(inner_loop=0).loops(10) == (10, 0)
    assert DSA().updates(10) == 10_000


# -- 2. the network ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "depth", "padding"), [((3, 32, 32), 3, 1), ((1, 28, 28), 3, 3), ((1, 8, 8), 1, 1)])
def test_dcconv_has_constant_width_norms_after_and_computes_what_it_should(shape, depth, padding) -> None:
    network = build_network(
        "dcconv", image_shape=shape, num_classes=5, width=6, norm="instance", generator=generator(1)
    ).double()
    with torch.no_grad():
        for i, parameter in enumerate(network.parameters()):  # or norms would multiply by 1 and add 0
            parameter += 0.1 * normal(*parameter.shape, seed=i)
    net = as_reference(network)
    assert [block.kernel.shape[0] for block in net.blocks] == [6] * depth
    assert [block.padding for block in net.blocks] == [padding] + [1] * (depth - 1)
    batch = normal(4, *shape, seed=3)
    close(network(batch), reference.logits(net, batch))
    close(network.features(batch), reference.features(net, batch))


def test_dcconv_starts_as_pytorch_would_start_it() -> None:
    network = build_network(
        "dcconv", image_shape=(3, 16, 16), num_classes=50, width=64, norm="instance", generator=generator(1)
    )
    for layer in (module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)):
        bound = 1 / math.sqrt(layer.weight[0].numel())
        conv = isinstance(layer, nn.Conv2d)
        theirs = nn.Conv2d(layer.in_channels, 64, 3) if conv else nn.Linear(layer.in_features, 50)
        for ours, plain in ((layer.weight, theirs.weight), (layer.bias, theirs.bias)):
            assert 0.9 * bound < float(ours.detach().abs().max()) <= bound
            assert float(plain.detach().abs().max()) <= bound * (1 + 1e-6)
            assert float(ours.detach().std()) == pytest.approx(bound / math.sqrt(3), rel=5 / math.sqrt(ours.numel()))


# -- 3. the augmentation -----------------------------------------------------------------------------------------------

OPERATIONS = (*SIAMESE, flip)
SHAPES = ((8, 8), (7, 10))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_an_augmentation_does_the_same_to_whatever_it_is_given(operation, shape) -> None:
    changed = 0
    for seed in range(12):
        apply = operation(Draw(generator(seed), shape, 1))
        images = normal(9, 3, *shape, seed=seed)
        alone, parts = [apply(image[None])[0] for image in images], [apply(images[:2]), apply(images[2:])]
        torch.testing.assert_close(torch.stack(alone), apply(images), rtol=0, atol=1e-12)
        torch.testing.assert_close(torch.cat(parts), apply(images), rtol=0, atol=1e-12)
        assert apply(images).shape == images.shape
        assert apply(images).dtype == images.dtype
        changed += not torch.equal(apply(images), images)
    assert changed >= 3


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("count", [1, 3])
def test_an_augmentation_is_differentiable(operation, count) -> None:
    apply = operation(Draw(generator(2), (5, 6), count))
    assert torch.autograd.gradcheck(apply, normal(3, 2, 5, 6, seed=1).requires_grad_(True))


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.__name__)
def test_with_a_count_each_image_has_parameters_of_its_own(operation) -> None:
    images = normal(1, 3, 12, 12, seed=1).expand(20, -1, -1, -1)
    outputs = operation(Draw(generator(1), (12, 12), 20))(images)
    assert len({tuple(image.flatten().tolist()) for image in outputs}) > 1
    same = operation(Draw(generator(1), (12, 12), 1))(images)
    torch.testing.assert_close(same, same[:1].expand_as(same))


def test_colours_are_those_of_the_released_code() -> None:
    images = normal(4, 3, 6, 6, seed=1)
    for seed in range(5):
        brightness, saturation, contrast = (torch.rand(3, generator=generator(seed))).tolist()
        wanted = images + (brightness - 0.5)
        grey = wanted.mean(1, keepdim=True)
        wanted = (wanted - grey) * (2 * saturation) + grey
        mean = wanted.mean((1, 2, 3), keepdim=True)
        wanted = (wanted - mean) * (contrast + 0.5) + mean
        close(SIAMESE[0](Draw(generator(seed), (6, 6), 1))(images), wanted, 1e-6)


def test_crop_shifts_by_up_to_an_eighth_and_fills_with_0() -> None:
    image = torch.arange(1.0, 28 * 28 + 1).view(1, 1, 28, 28)
    padded = F.pad(image, (4, 4, 4, 4))
    windows = {padded[..., y : y + 28, x : x + 28].numpy().tobytes(): (y, x) for y in range(9) for x in range(9)}
    seen = set()
    for seed in range(150):
        seen.add(windows[SIAMESE[1](Draw(generator(seed), (28, 28), 1))(image).numpy().tobytes()])
    assert {y for y, _ in seen} == {x for _, x in seen} == set(range(9))


@pytest.mark.parametrize(("side", "box"), [(8, 4), (28, 14), (9, 5), (1, 1)])
def test_cutout_clears_a_box_of_half_the_side_or_what_of_it_is_inside(side, box) -> None:
    sizes = set()
    for seed in range(80):
        kept = SIAMESE[2](Draw(generator(seed), (side, side), 1))(torch.ones(1, 1, side, side))[0, 0]
        rows, columns = (kept == 0).any(1), (kept == 0).any(0)
        assert torch.equal(kept == 0, rows[:, None] & columns[None, :])
        sizes.add(int(rows.sum()))
        assert box // 2 <= int(rows.sum()) <= box
    assert max(sizes) == box


def slopes(operation: Callable[[Draw], Callable[[Tensor], Tensor]], seed: int) -> tuple[list[float], list[float]]:
    """How x and y, each as a picture, are read along x and y after the operation: rows of its matrix."""
    middle = (torch.arange(20, dtype=torch.float64) + 0.5) / 10 - 1  # -1 to 1 from edge to edge
    y, x = torch.meshgrid(middle, middle, indexing="ij")
    moved = operation(Draw(generator(seed), (20, 20), 1))(torch.stack([x, y])[None])[0]
    along_x, along_y = (moved[:, 10, 11] - moved[:, 10, 10]) * 10, (moved[:, 11, 10] - moved[:, 10, 10]) * 10
    return [along_x[0].item(), along_y[0].item()], [along_x[1].item(), along_y[1].item()]


def test_scale_zooms_each_side_on_its_own_by_up_to_a_fifth() -> None:
    xs, ys = [], []
    for seed in range(60):
        (xx, xy), (yx, yy) = slopes(SIAMESE[3], seed)
        assert (xy, yx) == pytest.approx((0, 0), abs=1e-6)
        xs.append(xx)
        ys.append(yy)
    assert xs != ys
    for values in (xs, ys):
        assert 1 / 1.2 - 1e-6 <= min(values) < 0.87
        assert 1.16 < max(values) <= 1.2 + 1e-6


def test_rotation_is_by_up_to_15_degrees_either_way() -> None:
    angles = []
    for seed in range(60):
        (xx, xy), (yx, yy) = slopes(SIAMESE[4], seed)
        assert (yy, yx) == pytest.approx((xx, -xy), abs=1e-6)
        assert xx**2 + xy**2 == pytest.approx(1, abs=1e-6)
        angles.append(math.degrees(math.atan2(yx, xx)))
    assert -15 <= min(angles) < -12
    assert 12 < max(angles) <= 15


@pytest.mark.parametrize("mirror", [False, True])
def test_every_operation_is_drawn_and_flipping_only_where_allowed(mirror) -> None:
    image = normal(1, 3, 8, 8, seed=1)
    outputs = [draw_augmentation(SIAMESE, generator(seed), (8, 8), mirror=mirror)(image) for seed in range(200)]
    assert any(torch.equal(output, image.flip(3)) for output in outputs) == mirror
    drawn = []
    spies = [partial(lambda _, name: drawn.append(name), name=operation.__name__) for operation in SIAMESE]
    for seed in range(100):
        draw_augmentation(spies, generator(seed), (8, 8), mirror=False)
    assert set(drawn) == {operation.__name__ for operation in SIAMESE}


@pytest.mark.parametrize("distiller", TINY)
def test_real_and_distilled_images_of_a_class_get_one_augmentation_and_classes_their_own(
    distiller, data, monkeypatch
) -> None:
    calls: list[list[int]] = []

    def recorded(*_: object, mirror: bool, count: int = 1) -> Callable[[Tensor], Tensor]:
        assert not mirror
        calls.append([count])
        return lambda images: calls[-1].append(len(images)) or images

    for module in ("matching", "dsa"):
        monkeypatch.setattr(f"distill.distillers.{module}.draw_augmentation", recorded)
    state = distiller.start(data, Run(images_per_class=2))
    distiller.step(state, data)
    assert calls == [[1, 8, 2]] * 3
    calls.clear()
    distiller.step(state, data)  # DSA trains its network first, where each image has its own
    assert calls == [[4, 4], [2, 2]] * (2 * isinstance(distiller, DSA)) + [[1, 8, 2]] * 3


def test_flip_is_on_for_rgb_and_can_be_turned_off(make_images) -> None:
    assert TINY_DM.mirrors((3, 8, 8))
    assert not TINY_DM.mirrors((1, 8, 8))
    assert not TINY_DM.with_options(flip=False).mirrors((3, 8, 8))
    with pytest.raises(InputError, match="flip=True needs RGB images, but these have one channel"):
        made(TINY_DM.with_options(flip=True), make_images())


# -- 4. options, where they start, what they record --------------------------------------------------------------------


@pytest.mark.parametrize("distiller", TINY)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"init": "zero"}, r"init is 'zero'; expected one of real, herded, noise, real\+noise"),
        ({"norm": "batch"}, "norm is 'batch'; expected one of none, instance, layer, group"),
        ({"dtype": "float16"}, "dtype is 'float16'; expected one of float32, float64"),
        ({"batch_size": 0}, "batch_size is 0; expected more than 0"),
        ({"width": 0}, "width is 0; expected more than 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan; expected more than 0"),
        ({"momentum": -0.1}, "momentum is -0.1; expected 0 or more"),
        ({"noise_std": -1.0}, "noise_std is -1.0; expected 0 or more"),
        ({"history_points": -1}, "history_points is -1; expected 0 or more"),
        ({"network": "vgg"}, r"unknown network 'vgg'; known: conv, conv-after, dcconv, .*; did you mean 'vgg11'\?"),
    ],
    ids=str,
)
def test_option_that_makes_no_sense_is_refused(distiller, options, message) -> None:
    with pytest.raises(InputError, match=f"^{message}$"):
        distiller.with_options(**options)


@pytest.mark.parametrize("name", ["outer_loop", "network_learning_rate", "network_batch_size"])
def test_dsa_refuses_what_must_be_positive(name) -> None:
    with pytest.raises(InputError, match=f"^{name} is 0; expected more than 0$"):
        DSA(**{name: 0})


@pytest.mark.parametrize(("distiller", "name"), [(DM, "steps"), (DSA, "iterations"), (DSA, "inner_loop")])
def test_what_must_not_be_negative_is_refused(distiller, name) -> None:
    with pytest.raises(InputError, match=f"^{name} is -1; expected 0 or more$"):
        distiller(**{name: -1})


@pytest.mark.parametrize("distiller", TINY)
def test_float64_on_a_device_that_has_none_is_refused(distiller, monkeypatch) -> None:
    monkeypatch.setattr("distill.distillers.run.check_device", lambda device: None)
    with pytest.raises(InputError, match=r"dtype is 'float64', which Apple's GPUs do not have; use 'float32' or dev"):
        distiller.with_options(dtype="float64").check_run(Run(device="mps"))


def test_depth_that_pools_images_away_is_refused(data) -> None:
    with pytest.raises(InputError, match="images of 8x8 cannot be pooled 4 times"):
        made(TINY_DM.with_options(depth=4), data)


@pytest.mark.parametrize("distiller", TINY)
@pytest.mark.parametrize(
    "change",
    [{"augment": False}, {"batch_size": 5}, {"momentum": 0.0}, {"norm": "none"}, {"network": "conv"},
     {"dtype": "float64"}, {"init": "noise"}],
    ids=lambda change: next(iter(change)),
)
def test_option_has_an_effect(distiller, data, change) -> None:
    assert not torch.equal(made(distiller, data).images, made(distiller.with_options(**change), data).images)


@pytest.mark.parametrize(
    "change",
    [{"inner_loop": 0}, {"outer_loop": 1, "iterations": 9}, {"network_learning_rate": 0.1}, {"network_batch_size": 6}],
    ids=lambda change: next(iter(change)),
)
def test_dsa_option_has_an_effect(data, change) -> None:
    assert not torch.equal(made(TINY_DSA, data).images, made(TINY_DSA.with_options(**change), data).images)


def without_steps(distiller: Matching, **options: object) -> Matching:
    return distiller.with_options(**{"steps" if isinstance(distiller, DM) else "iterations": 0}, **options)


@pytest.mark.parametrize("distiller", TINY)
def test_without_steps_it_is_random_choice_and_frepos_start_of_the_same_seed(distiller, data) -> None:
    start = made(without_steps(distiller), data, seed=3)
    for other in (Random(), FRePo(steps=0, width=4)):
        chosen = made(other, data, seed=3)
        assert torch.equal(start.images, chosen.images)
        assert torch.equal(start.labels, chosen.labels)
        assert start.made_by["started_from"] == chosen.made_by["started_from"]


@pytest.mark.parametrize("distiller", TINY)
def test_every_image_moves_and_labels_stay(distiller, data) -> None:
    start, end = made(without_steps(distiller), data), made(distiller, data)
    assert not torch.isclose(start.images, end.images).flatten(1).all(1).any()
    assert torch.equal(end.labels, initial_labels(end.class_ids, 3))
    assert end.made_by["started_from"] == start.made_by["started_from"]


@pytest.mark.parametrize("distiller", TINY)
def test_noise_starts_from_no_image(distiller, data) -> None:
    start = without_steps(distiller, init="noise", noise_std=0.5).distill(data, images_per_class=12)
    assert start.made_by["started_from"] == []
    assert start.images.std().item() == pytest.approx(0.5, rel=0.1)


@pytest.mark.parametrize("distiller", TINY)
def test_history_records_the_loss_from_start_to_end(distiller, data) -> None:
    history = made(distiller, data).made_by["history"]
    last = distiller.updates(2)
    assert [entry["step"] for entry in history] == ([0, 4, 7] if last == 7 else [0, 3, 6, 9])
    assert [sorted(entry) for entry in history] == [["step"]] + [["loss", "step"]] * (len(history) - 1)
    assert all(np.isfinite(entry["loss"]) for entry in history[1:])
    assert made(distiller.with_options(history_points=0), data).made_by["history"] == []


def test_dm_lowers_its_loss(data) -> None:
    distiller = TINY_DM.with_options(steps=80, init="noise", width=16, augment=False, history_points=5)
    history = made(distiller, data).made_by["history"]
    losses = [entry["loss"] for entry in history[1:]]
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.slow
def test_dsa_lowers_its_loss_in_networks_it_has_not_seen(data) -> None:
    distiller = DSA(iterations=60, outer_loop=1, width=8, depth=2, init="noise", augment=False)
    history = made(distiller, data).made_by["history"]
    losses = [entry["loss"] for entry in history[1:]]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("images_per_class", [1, 10, 50])
@pytest.mark.parametrize("count", [1, 7, 19, 60, 115, 244])
def test_dsa_takes_about_as_many_updates_as_asked_for_from_networks_used_about_as_published(images_per_class, count):
    dsa = DSA().with_updates(count, images_per_class)
    outer, inner = dsa.loops(images_per_class)
    assert abs(dsa.updates(images_per_class) - count) <= dsa.iterations / 2
    assert outer <= published_loops(images_per_class)[0]
    assert inner == published_loops(images_per_class)[1]


@pytest.mark.parametrize("distiller", TINY)
def test_divergence_is_an_input_error_that_names_the_learning_rate(distiller, data) -> None:
    lower = r"the distillation diverged \(NaN\) at step .*; lower learning_rate \(it is 1e\+38\)"
    with pytest.raises(InputError, match=lower):
        made(distiller.with_options(learning_rate=1e38), data)


def test_a_network_that_diverges_is_an_input_error_that_names_its_learning_rate(data) -> None:
    with pytest.raises(InputError, match=r"or network_learning_rate \(it is 1e\+30\)"):
        made(TINY_DSA.with_options(network_learning_rate=1e30), data)


# -- 5. degenerate cases -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distiller", TINY)
@pytest.mark.parametrize(
    ("counts", "images_per_class"), [((5,), 1), ((1,), 1), ((3, 3), 3), ((1, 9, 0, 2), 1)], ids=str
)
def test_few_classes_and_few_images(distiller, make_images, counts, images_per_class) -> None:
    images = make_images(counts)
    synthetic = distiller.distill(images, images_per_class=images_per_class)
    present = [c for c, count in enumerate(counts) if count]
    assert synthetic.class_ids.tolist() == [c for c in present for _ in range(images_per_class)]


@pytest.mark.parametrize("distiller", TINY)
def test_a_class_with_fewer_images_than_the_batch_gives_all_of_them(distiller, make_images) -> None:
    images = make_images((20, 5, 3))
    data = default_preprocessing(images).apply(images)
    state = distiller.start(data, Run(images_per_class=2))
    plain = distiller.with_options(augment=False)
    for class_id, wanted in ((0, 8), (1, 5), (2, 3)):
        batch, _ = plain.pair(state, data, state.positions[class_id], state.images[:2])
        rows = [int(torch.nonzero((data.images == image).flatten(1).all(1))) for image in batch]
        assert len(set(rows)) == wanted
        assert set(data.labels[rows].tolist()) == {class_id}


# -- 6. checkpoint -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distiller", TINY)
@pytest.mark.parametrize(
    ("k", "options"),
    [(1, {}), (3, {}), (5, {}), (5, {"momentum": 0.0}), (5, {"dtype": "float64"}), (5, {"init": "noise"})],
    ids=str,
)
def test_killed_distillation_ends_in_the_same_bits(distiller, data, tmp_path, monkeypatch, k, options) -> None:
    distiller = distiller.with_options(**options)
    killed_before_step(k, monkeypatch, distiller, data, store=tmp_path / "c")
    assert_same_set(made(distiller, data, store=tmp_path / "c"), made(distiller, data))


@pytest.mark.slow
@pytest.mark.parametrize("distiller", TINY)
def test_killed_distillation_of_cifar_sized_images_ends_in_the_same_bits(
    distiller, make_images, tmp_path, monkeypatch
) -> None:
    images = make_images((9, 9, 9), channels=3, height=32, width=32)
    data = Standardize.fit(images).apply(images)
    distiller = distiller.with_options(width=32, depth=3)
    for k in (2, 5):
        killed_before_step(k, monkeypatch, distiller, data, store=tmp_path / "c")
    assert_same_set(made(distiller, data, store=tmp_path / "c"), made(distiller, data))


@pytest.mark.parametrize("distiller", TINY)
def test_resumed_distillation_does_only_the_steps_that_are_left(distiller, data, tmp_path, monkeypatch) -> None:
    killed_before_step(5, monkeypatch, distiller, data, store=tmp_path / "c")
    done, step = [], type(distiller).step
    monkeypatch.setattr(
        type(distiller), "step", lambda self, state, data: (done.append(state.step), step(self, state, data))
    )
    for _ in range(2):
        made(distiller, data, store=tmp_path / "c")
        assert done == list(range(5, distiller.updates(2)))  # a finished one is found whole


@pytest.mark.parametrize("distiller", TINY)
def test_checkpoint_of_other_options_is_refused_and_one_of_another_method_left_alone(
    distiller, data, tmp_path, monkeypatch
) -> None:
    killed_before_step(5, monkeypatch, distiller, data, store=tmp_path)
    (checkpoint,) = tmp_path.iterdir()
    content = checkpoint.read_bytes()
    with pytest.raises(InputError, match=r"other options or data \(learning_rate was .*, now 0.7\)"):
        made(distiller.with_options(learning_rate=0.7), data, store=tmp_path)
    other = TINY_DSA if isinstance(distiller, DM) else TINY_DM
    assert_same_set(
        made(other, data, store=tmp_path), made(other, data)
    )
    assert checkpoint.read_bytes() == content

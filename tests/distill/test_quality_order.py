"""The order in which images are worth keeping, against regressions that are fitted anew."""

import pytest
import torch

from distill import FRePo, Identity, PreprocessedImages, Random, Standardize, SyntheticSet, load_images
from distill.distillers.initialize import choose_per_class
from distill.networks import build_network
from distill.runtime.seeds import generator_for
from distill.sets.synthetic import initial_labels
from distill.training.evaluation import network_features
from distill.training.kernel_ridge import krr_weights
from distill.training.quality_order import RIDGE, Regression, quality_order


def fitted_anew(features: torch.Tensor, labels: torch.Tensor, others: torch.Tensor, wanted: torch.Tensor,
                ridge: float) -> float:  # fmt: skip
    """The loss of a regression from these images alone."""
    kernel = features @ features.T + ridge * torch.eye(len(features), dtype=torch.float64)
    return float((wanted - others @ features.T @ torch.linalg.solve(kernel, labels)).square().sum())


def test_losses_without_an_image_are_those_of_a_regression_fitted_anew() -> None:
    generator = torch.Generator().manual_seed(0)
    features, others = (torch.randn(n, 30, generator=generator, dtype=torch.float64) for n in (12, 40))
    labels, wanted = (torch.randn(n, 3, generator=generator, dtype=torch.float64) for n in (12, 40))
    ridge = RIDGE * float((features @ features.T).diagonal().mean())
    regression = Regression.of(features, labels, others, wanted)
    left = list(range(12))
    assert regression.loss == pytest.approx(fitted_anew(features, labels, others, wanted, ridge))
    for removed in (7, 0, 11, 3):
        regression.remove(removed)
        left.remove(removed)
        assert regression.loss == pytest.approx(fitted_anew(features[left], labels[left], others, wanted, ridge))
        brute = [
            fitted_anew(features[rest], labels[rest], others, wanted, ridge)
            for row in left if (rest := [other for other in left if other != row])
        ]  # fmt: skip
        assert regression.losses_without(torch.tensor(left)).tolist() == pytest.approx(brute)


def test_each_place_keeps_its_class_and_each_image_comes_once() -> None:
    class_ids = torch.tensor([3, 3, 3, 3, 0, 0, 1, 3, 0])
    images = torch.randn(9, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    synthetic = SyntheticSet(images, initial_labels(class_ids, 4), class_ids, tuple("abcd"), Identity())
    real = PreprocessedImages(torch.randn(40, 1, 8, 8), torch.arange(40) % 4, tuple("abcd"), Identity())
    order = quality_order(synthetic, real, networks=2)
    assert sorted(order.tolist()) == list(range(9))
    assert torch.equal(class_ids[order], class_ids)
    assert torch.equal(order, quality_order(synthetic, real, networks=2))


def test_images_with_the_label_of_another_class_come_last() -> None:
    data = Standardize.fit(load_images("digits")).apply(load_images("digits"))
    rows = choose_per_class(data.labels, 4, generator_for(0))
    class_ids = data.labels[rows]
    said = torch.where(torch.arange(40) % 4 == 1, (class_ids + 1) % 10, class_ids)  # the second of each class is wrong
    synthetic = SyntheticSet(data.images[rows], initial_labels(said, 10), class_ids, data.classes, data.preprocessing)
    order = quality_order(synthetic, data).reshape(10, 4)
    assert (order[:, 3] % 4).tolist() == [1] * 10


def test_one_image_of_each_class_and_images_too_small_for_the_network() -> None:
    tiny = PreprocessedImages(torch.randn(30, 1, 1, 5), torch.arange(30) % 3, tuple("abc"), Identity())
    one = Random().distill(tiny, images_per_class=1)
    assert quality_order(one, tiny).tolist() == [0, 1, 2]
    few = Random().distill(tiny, images_per_class=4)
    assert torch.equal(few.class_ids[quality_order(few, tiny)], few.class_ids)


def krr_accuracy(synthetic: SyntheticSet, test: PreprocessedImages, seed: int) -> float:
    network = build_network("conv", image_shape=test.image_shape, num_classes=test.num_classes, width=32,
                            norm="instance", generator=generator_for(seed)).eval()  # fmt: skip
    with torch.no_grad():
        weights = krr_weights(network_features(network, synthetic.images), synthetic.labels)
        return float(((network_features(network, test.images) @ weights).argmax(1) == test.labels).float().mean())


def test_the_better_half_of_a_distilled_set_beats_random_halves() -> None:
    """Digits, networks that were not used for the order: 2 points or more above the mean of random halves."""
    standardize = Standardize.fit(load_images("digits"))
    train, test = (standardize.apply(load_images("digits", split=split)) for split in ("train", "test"))
    made = FRePo(steps=100, width=8, batch_size=128, learning_rate=8e-3, norm="instance", pool_size=3).distill(
        train, images_per_class=8
    )
    order = quality_order(made, train)
    best = torch.cat([order[made.class_ids == c][:4] for c in range(10)])
    halves = [choose_per_class(made.class_ids, 4, generator_for(seed)) for seed in range(6)]
    accuracies = [
        sum(krr_accuracy(made.subset(half), test, seed) for seed in (100, 101)) / 2 for half in (best, *halves)
    ]
    assert accuracies[0] > sum(accuracies[1:]) / 6 + 0.02

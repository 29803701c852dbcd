"""DP-SGD along a stream: parallel composition, noise of its own for each experience, and nothing stored."""

import pytest
import torch

from continual import PrivateNaive
from distill import Identity, InputError, PrivateSGD, Standardize
from distill.accounting import noisy_sums
from tiny_streams import C, images, linear, silent, stream

SGD = PrivateSGD(steps=2, batch_size=6, width=4, depth=1, noise_multiplier=4.0, learning_rate=1.0)


def of_classes(*class_ids: int, seed: int = 0):
    return images(labels=torch.tensor(class_ids * 4), seed=seed)


def trained(*parts, seed: int = 0, **options) -> PrivateNaive:
    model = SGD.build(parts[0], seed=1)
    strategy = PrivateNaive(
        model=model, sgd=SGD, preprocessing=Identity(), seed=seed, evaluator=silent(), **options
    )
    for experience in stream(*parts):
        strategy.train(experience)
    return strategy


def weights_of(strategy: PrivateNaive) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in strategy.model.parameters()])


def test_experiences_of_other_classes_compose_in_parallel_and_of_the_same_in_sequence():
    once = trained(of_classes(0, 1)).ledger
    parallel = trained(of_classes(0, 1), of_classes(2, 3), of_classes(4, 5)).ledger
    assert [spent.classes for spent in parallel.spent] == [(0, 1), (2, 3), (4, 5)]
    assert parallel.epsilon == once.epsilon
    again = trained(of_classes(0, 1), of_classes(2, 3), of_classes(1, 4, seed=1)).ledger
    assert again.epsilon > 1.3 * once.epsilon


def test_same_seed_gives_same_weights_and_each_experience_has_its_own_noise(monkeypatch):
    drawn = []
    original = noisy_sums.normal_like
    monkeypatch.setattr(noisy_sums, "normal_like", lambda sums, noise: drawn.append(original(sums, noise)) or drawn[-1])
    parts = of_classes(0, 1), of_classes(2, 3)
    first, again, other = (weights_of(trained(*parts, seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(drawn) == 12
    assert not any(torch.equal(one, two) for i, one in enumerate(drawn[:4]) for two in drawn[:i])


def test_the_same_network_is_trained_further_and_nothing_is_stored():
    strategy = trained(of_classes(0, 1))
    before = weights_of(strategy)
    strategy.train(stream(of_classes(2, 3))[0])
    assert not torch.equal(before, weights_of(strategy))
    assert strategy.model.head.out_features == C
    assert not list(strategy.dataloader)
    assert trained_without().ledger is None


def trained_without() -> PrivateNaive:
    return PrivateNaive(
        model=SGD.build(of_classes(0, 1), seed=0), sgd=SGD, preprocessing=Identity(), evaluator=silent()
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"model": linear()}, "model is a Sequential; expected Network"),
        ({"sgd": 3}, "sgd is a int; expected PrivateSGD"),
        ({"preprocessing": None}, "preprocessing is a NoneType; expected Preprocessing"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
    ],
)
def test_arguments_of_another_kind_are_refused(given, said):
    usual = {"model": SGD.build(of_classes(0, 1), seed=0), "sgd": SGD, "preprocessing": Identity()}
    with pytest.raises(InputError, match=said):
        PrivateNaive(**{**usual, **given})


def test_preprocessing_that_may_be_fitted_is_refused():
    strategy = PrivateNaive(
        model=SGD.build(of_classes(0, 1), seed=0), sgd=SGD, evaluator=silent(),
        preprocessing=Standardize(torch.tensor([0.3]), torch.tensor([0.2])),
    )  # fmt: skip
    with pytest.raises(InputError, match="may have been fitted on the private records"):
        strategy.train(stream(of_classes(0, 1))[0])

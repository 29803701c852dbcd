"""DP-SGD: exact gradients of records, sensitivity, noise, and its limit, ordinary SGD."""

import math
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from distill import Identity, InputError, LabelledImages, Standardize, load_images
from distill.accounting import noisy_sums
from distill.accounting.accountant import Release, calibrated_noise
from distill.accounting.noise_stream import NoiseStream
from distill.accounting.noisy_sums import noisy_row_sum, poisson_sample
from distill.errors import NotFiniteError
from distill.networks import NETWORKS, build_network, plain_layers
from distill.runtime.seeds import Purpose, generator_for
from distill.training import private_sgd
from distill.training.private_sgd import PrivateSGD, gradients_of_records

DATA = Path(os.environ.get("FREPO_DATA", Path(__file__).parents[3] / "shared" / "data"))
QUICK = PrivateSGD(steps=3, batch_size=20, width=4, depth=2, noise_multiplier=1.0, learning_rate=1.0, chunk_size=7)
NAMES = [("conv", "none"), ("conv", "group"), ("conv", "instance"), ("conv-after", "layer"), ("dcconv", "instance"),
         ("resnet18", "group"), ("alexnet", "none")]  # fmt: skip


@pytest.fixture
def images(make_images) -> LabelledImages:
    return make_images()


def built(name: str, norm: str, side: int = 8):
    depth = 2 if NETWORKS[name].takes_depth else None
    network = build_network(
        name, image_shape=(1, side, side), num_classes=3, width=4, depth=depth, norm=norm, generator=generator_for(1)
    )
    with torch.no_grad():
        for parameter in network.parameters():  # biases as well
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator_for(2))
    return network


def one_by_one(network, images, labels) -> torch.Tensor:
    """Gradients record by record, by the layers as they are; slow and obvious."""
    rows = []
    for image, label in zip(images, labels, strict=True):
        network.zero_grad()
        F.cross_entropy(network(image[None]), label[None]).backward()
        rows.append(torch.cat([parameter.grad.flatten() for parameter in network.parameters()]))
    return torch.stack(rows)


@pytest.mark.parametrize(("name", "norm"), NAMES)
def test_gradients_of_records_are_those_of_a_loop_over_records(name, norm):
    side = 16 if name == "resnet18" else 8
    network = built(name, norm, side)
    images, labels = torch.randn(5, 1, side, side, generator=generator_for(3)), torch.tensor([0, 1, 2, 1, 0])
    with plain_layers(network):
        found = gradients_of_records(network, images, labels)
    torch.testing.assert_close(found, one_by_one(network, images, labels), rtol=1e-3, atol=1e-5)


def test_sum_is_that_of_clipped_rows_and_one_record_changes_it_by_the_clip_at_most():
    network = built("conv", "group")
    images, labels = torch.randn(6, 1, 8, 8, generator=generator_for(3)), torch.tensor([0, 1, 2] * 2)
    images[0] *= 50  # far beyond the clip
    rows = one_by_one(network, images, labels).double()
    clip = float(rows.norm(dim=1).median())  # some are clipped, some are not

    def summed(kept: torch.Tensor) -> torch.Tensor:
        with plain_layers(network):
            chunks = [gradients_of_records(network, images[kept], labels[kept])]
        return noisy_row_sum(chunks, rows.shape[1], clip=clip, noise_multiplier=0.0, noise=NoiseStream.of_seed(0))

    by_hand = sum(row * min(1.0, clip / float(row.norm())) for row in rows)
    whole = summed(torch.arange(6))
    torch.testing.assert_close(whole, by_hand, rtol=1e-3, atol=1e-5)
    changes = [float((whole - summed(torch.arange(6) != i)).norm()) for i in range(6)]
    assert max(changes) <= clip * (1 + 1e-5)
    assert max(changes) > 0.99 * clip  # the bound is reached


def test_noise_multiplier_is_the_accountants_and_the_ledger_keeps_to_epsilon(images):
    sgd = PrivateSGD(epsilon=2.0, delta=1e-4, steps=50, batch_size=9, width=4, depth=1)
    ledger = sgd.ledger(Identity().apply(images))
    (release,) = ledger.spent[0].releases
    rate = 9 / len(images)
    expected = calibrated_noise(lambda noise: [Release("any", noise, rate, 50)], epsilon=2.0, delta=1e-4)
    assert release == Release("gradients", expected, rate, 50)
    assert 1.99 < ledger.epsilon <= 2.0
    # One step with all records is one Gaussian release, whose noise is known in closed form (Balle & Wang 2018).
    once = PrivateSGD(steps=1, batch_size=len(images), epsilon=1.0, delta=1e-5).ledger(Identity().apply(images))
    assert once.spent[0].releases[0].noise_multiplier == pytest.approx(3.7304, rel=2e-3)


def test_same_seed_gives_same_weights_and_another_seed_others(images):
    first, again, other = (
        torch.cat([p.flatten() for p in QUICK.train(images, seed=seed).network.parameters()]) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    secret = replace(QUICK, secret_noise=True).train(images, seed=1).network
    assert not torch.equal(first, torch.cat([p.flatten() for p in secret.parameters()]))


def test_without_noise_and_clip_it_is_ordinary_sgd_on_the_same_batches(images):
    sgd = PrivateSGD(
        steps=4, batch_size=12, width=4, depth=2, noise_multiplier=0.0, clip=1e9, learning_rate=0.1, momentum=0.9
    )
    data = private_sgd.fixed_preprocessing(1).apply(images)
    network = sgd.build(data, 5)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    coins = NoiseStream.of_seed(5, Purpose.TRAINING, Purpose.BATCHES)
    for step in range(4):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 + math.cos(math.pi * step / 4))
        chosen = poisson_sample(len(data), 12 / len(data), coins)
        optimizer.zero_grad()
        (F.cross_entropy(network(data.images[chosen]), data.labels[chosen], reduction="sum") / 12).backward()
        optimizer.step()
    trained = sgd.train(images, seed=5)
    assert trained.ledger.epsilon == math.inf
    for found, wanted in zip(trained.network.parameters(), network.parameters(), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)
    assert not trained.network.training
    assert all(getattr(module, "fused", True) for module in trained.network.modules())


def test_every_step_draws_noise_of_its_own_and_batches_may_be_empty(images, monkeypatch):
    drawn, sizes = [], []
    original = noisy_sums.normal_like
    monkeypatch.setattr(noisy_sums, "normal_like", lambda sums, noise: drawn.append(original(sums, noise)) or drawn[-1])
    monkeypatch.setattr(private_sgd, "gradients_of_records", lambda network, some, of: sizes.append(len(some)) or
                        gradients_of_records(network, some, of))  # fmt: skip
    sgd = PrivateSGD(steps=30, batch_size=1, width=4, depth=1, noise_multiplier=3.0, learning_rate=0.1)
    sgd.train(images, seed=3)
    assert len(drawn) == 30 > len(sizes)  # some batches were empty, and noised all the same
    assert len(set(sizes)) > 1
    assert not any(torch.equal(drawn[0], other) for other in drawn[1:])
    assert float(torch.cat(drawn).std()) == pytest.approx(1, abs=0.03)
    empty = noisy_row_sum([], 4000, clip=0.5, noise_multiplier=3.0, noise=NoiseStream.of_seed(0))
    assert float(empty.std()) == pytest.approx(1.5, rel=0.05)


def test_a_network_given_is_trained_further(images):
    first = QUICK.train(images, seed=1).network
    before = first.head.weight.detach().clone()
    assert QUICK.train(images, network=first, seed=2).network is first
    assert not torch.equal(before, first.head.weight)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"norm": "batch"}, "norm is 'batch', with which the gradient of a record depends on others"),
        ({"epsilon": 0.0}, "epsilon is 0.0; expected more than 0"),
        ({"epsilon": math.inf}, "epsilon is inf; expected more than 0, finite"),
        ({"delta": 1.0}, "delta is 1.0; expected less than 1"),
        ({"noise_multiplier": -1.0}, "noise_multiplier is -1.0; expected 0 or more"),
        ({"clip": 0.0}, "clip is 0.0; expected more than 0"),
        ({"momentum": 1.0}, "momentum is 1.0; expected 0 or more and less than 1"),
        ({"network": "convnet"}, "unknown network 'convnet'"),
        ({"steps": 0}, "steps is 0; expected more than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        PrivateSGD(**options)


def test_what_would_break_the_guarantee_is_refused(images):
    fitted = Standardize.fit(images).apply(images)
    with pytest.raises(InputError, match="may have been fitted on the private records"):
        QUICK.train(fitted)
    PrivateSGD(steps=1, batch_size=5, width=4, depth=1, noise_multiplier=1.0, public_preprocessing=True).train(fitted)
    with pytest.raises(InputError, match="network has batch normalisation"):
        QUICK.train(images, network=built("conv", "batch"))
    with pytest.raises(InputError, match="data is a list"):
        QUICK.train([1, 2])


def test_divergence_is_an_error(images):
    sgd = PrivateSGD(steps=8, batch_size=20, width=4, depth=2, noise_multiplier=0.0, clip=1e9, learning_rate=1e12)
    with pytest.raises(NotFiniteError, match="diverged \\(NaN\\); lower learning_rate"):
        sgd.train(images)


@pytest.mark.slow
@pytest.mark.skipif(not (DATA / "MNIST").exists(), reason="needs MNIST")
def test_it_reaches_its_accuracy_on_mnist_at_epsilon_1() -> None:
    train, test = (load_images("mnist", split=split, data_dir=DATA) for split in ("train", "test"))
    trained = PrivateSGD(epsilon=1.0).train(train, seed=0)
    images = private_sgd.fixed_preprocessing(1).apply(test)
    with torch.no_grad():
        right = sum(int((trained.network(some).argmax(1) == of).sum()) for some, of in
                    zip(images.images.split(500), images.labels.split(500), strict=True))  # fmt: skip
    assert 0.99 < trained.ledger.epsilon <= 1
    assert 0.86 < right / len(test) < 0.97

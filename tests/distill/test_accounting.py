"""Epsilon, noise and ledgers, against closed forms and a second accountant."""

import json
import math
import sys

import pytest
import torch
from scipy.optimize import brentq
from scipy.stats import norm

from distill import Identity, InputError, Ledger, SyntheticSet
from distill.accounting.accountant import Release, calibrated_noise, epsilon_of
from distill.accounting.ledger import KEY, Spent
from distill.sets.synthetic import initial_labels

STEPS = Release("gradients", noise_multiplier=2.405, sampling_rate=0.0341, count=300)


def exact_epsilon(noise: float, delta: float) -> float:
    """Of one Gaussian release (Balle & Wang 2018, Theorem 8), by its exact delta."""

    def excess(epsilon: float) -> float:
        half, middle = 1 / (2 * noise), epsilon * noise
        return norm.cdf(half - middle) - math.exp(epsilon) * norm.cdf(-half - middle) - delta

    return brentq(excess, 0, 100)


@pytest.mark.parametrize("noise", [0.7, 3.73, 20.0])
def test_one_gaussian_release_costs_what_the_closed_form_says(noise):
    exact = exact_epsilon(noise, 1e-5)
    assert exact <= epsilon_of([Release("sums", noise)], 1e-5) + 1e-6
    assert epsilon_of([Release("sums", noise)], 1e-5) == pytest.approx(exact, rel=5e-3)


@pytest.mark.parametrize("counted", [[STEPS], [STEPS, Release("start", 15.0)], [Release("sums", 4.0, 0.01, 1000)]])
def test_loss_distributions_and_renyi_agree_and_renyi_is_never_below(counted):
    pld, rdp = (epsilon_of(counted, 1e-5, accountant=name) for name in ("pld", "rdp"))
    assert pld <= rdp <= 1.35 * pld


def test_known_epsilon_of_sampled_releases():
    assert epsilon_of([STEPS], 1e-5) == pytest.approx(1.0, abs=3e-3)


def test_calibrated_noise_is_the_least_that_keeps_to_the_budget():
    start = Release("start", 20.0)

    def releases(noise):
        return [start, Release("steps", noise, 0.1, 20)]

    noise = calibrated_noise(releases, epsilon=1.0, delta=1e-5)
    assert epsilon_of(releases(noise), 1e-5) <= 1.0 < epsilon_of(releases(noise * 0.99), 1e-5)


def test_budget_that_the_other_releases_exceed_is_refused():
    with pytest.raises(InputError, match=r"no noise keeps epsilon at 0\.1 .*: the other releases cost more alone"):
        calibrated_noise(lambda noise: [Release("start", 2.0), Release("sums", noise)], epsilon=0.1, delta=1e-5)


def test_release_without_noise_costs_everything_and_none_nothing():
    assert epsilon_of([Release("sums", 0.0)], 1e-5) == float("inf")
    assert epsilon_of([Release("sums", 0.0, count=0)], 1e-5) == 0
    assert epsilon_of([], 1e-5) == 0


def test_accountant_that_is_not_installed_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(InputError, match=r"dp-accounting, which is not installed: pip install '.\[dp\]'"):
        epsilon_of([Release("other sums", 3.21)], 1e-5)


@pytest.mark.parametrize(
    "wrong", [{"noise_multiplier": -1}, {"sampling_rate": 0}, {"sampling_rate": 1.5}, {"count": -1}]
)
def test_release_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(InputError, match="expected noise and count of 0 or more, a rate above 0 and at most 1"):
        Release(**{"what": "sums", "noise_multiplier": 1.0, **wrong})


def ledger(*classes: int, noise: float = 5.0) -> Ledger:
    return Ledger((Spent("means", (Release("sums", noise),), classes, 10),), 1e-5)


def test_other_classes_compose_in_parallel_and_the_same_in_sequence():
    once, twice = ledger(0), epsilon_of([Release("sums", 5.0, count=2)], 1e-5)
    assert (once + ledger(1)).epsilon == once.epsilon
    assert (once + ledger(1, noise=2.0)).epsilon == ledger(1, noise=2.0).epsilon > once.epsilon
    assert (once + ledger(1) + ledger(1, 2)).epsilon == pytest.approx(twice, rel=1e-3)


def set_with(ledger: Ledger | None, class_id: int = 0) -> SyntheticSet:
    class_ids = torch.tensor([class_id])
    made_by = {"method": "means"} if ledger is None else {"method": "means", KEY: ledger.as_json()}
    labels = initial_labels(class_ids, 3)
    return SyntheticSet(torch.rand(1, 1, 4, 4), labels, class_ids, tuple("abc"), Identity(), made_by)


def test_ledger_is_kept_with_a_saved_set_and_shown(tmp_path):
    spent = ledger(0)
    loaded = SyntheticSet.load(set_with(spent).save(tmp_path / "set.safetensors"))
    assert loaded.ledger == spent
    assert repr(loaded).endswith(f"by means, epsilon {spent.epsilon:.3g} at delta 1e-05)")
    assert json.loads(json.dumps(spent.as_json())) == spent.as_json()
    assert "means on 10 records of classes 0" in str(spent)
    assert "1 x sums: noise 5 of the clip" in str(spent)


def test_joined_sets_have_a_joint_ledger_unless_one_has_none():
    parts = [set_with(ledger(0)), set_with(ledger(0), 0), set_with(ledger(1), 1)]
    assert SyntheticSet.concatenate(parts).ledger == ledger(0) + ledger(0) + ledger(1)
    real = SyntheticSet.concatenate([*parts, set_with(None, 2)])
    assert real.ledger is None
    assert "epsilon" not in repr(real)


def test_damaged_ledger_is_an_input_error():
    with pytest.raises(InputError, match="made_by has no valid privacy ledger"):
        Ledger.from_json({"epsilon": 1.0})
    tensors = torch.rand(1, 1, 4, 4), torch.zeros(1, 2), torch.tensor([0])
    with pytest.raises(InputError, match="privacy in made_by is 'much'; expected a mapping"):
        SyntheticSet(*tensors, ("a", "b"), Identity(), {KEY: "much"})

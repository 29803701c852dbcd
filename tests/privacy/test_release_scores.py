"""Scores of canaries from releases: against closed forms, and as strong as the noise allows."""

import numpy as np
import pytest

from privacy import InputError, ReleaseScores, epsilon_from_canaries, gaussian_epsilon


def test_score_of_a_single_canary_is_the_sum_of_products_of_release_and_term():
    random = np.random.default_rng(0)
    scores, term = ReleaseScores(1), random.normal(size=(1, 3, 4))
    releases = random.normal(size=(5, 3, 4))
    for release in releases:
        scores.add(release, term, noise_std=2.0)
    product = ((releases - term / 2) * term).sum() / 4
    information = 5 * (term**2).sum() / 4
    np.testing.assert_allclose(scores.values, [product / (information + 4)])


def test_scores_are_the_best_linear_estimate_of_the_coins():
    """That of the normal equations, with releases stacked as rows of one regression."""
    random = np.random.default_rng(1)
    added, others = random.normal(size=(3, 6, 20)), random.normal(size=(3, 20))
    releases = random.normal(size=(3, 20))
    rates, noise = (1.0, 0.5, 0.1), (1.0, 2.0, 0.5)
    scores = ReleaseScores(6)
    for i in range(3):
        scores.add(releases[i], added[i], noise_std=noise[i], sampling_rate=rates[i], others=others[i])
    design = np.concatenate([rates[i] / noise[i] * added[i].T for i in range(3)] + [2 * np.eye(6)])
    wanted = np.concatenate(
        [(releases[i] - rates[i] * others[i]) / noise[i] - rates[i] / noise[i] * added[i].sum(0) / 2 for i in range(3)]
        + [np.zeros(6)]
    )
    np.testing.assert_allclose(scores.values, np.linalg.lstsq(design, wanted, rcond=None)[0])


def test_coins_are_recovered_without_noise_where_canaries_are_independent():
    random = np.random.default_rng(2)
    planted, added, others = random.random(50) < 0.5, random.normal(size=(50, 80)), random.normal(size=80)
    scores = ReleaseScores(50)
    scores.add(planted @ added + others, added, noise_std=1e-3, others=others)
    np.testing.assert_allclose(scores.values, planted - 0.5, atol=1e-4)


def test_bound_is_a_useful_part_of_the_epsilon_of_gaussian_noise_and_not_above_it():
    mu, canaries = 2.0, 500
    proven = gaussian_epsilon(mu, delta=1e-5)
    for seed in range(3):
        random = np.random.default_rng(seed)
        planted = random.random(canaries) < 0.5
        scores = ReleaseScores(canaries)
        scores.add(planted * mu + random.normal(size=canaries), mu * np.eye(canaries), noise_std=1.0)
        bound = epsilon_from_canaries(scores.values, planted, noise="gaussian").epsilon
        assert 0.35 * proven < bound <= proven


def test_nothing_seen_says_nothing():
    assert not ReleaseScores(3).values.any()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"added": np.eye(3, 4)}, r"added has shape \(3, 4\); expected 2 x 4 numbers, as many as summed and canaries"),
        ({"added": np.zeros((4, 2))}, r"added has shape \(4, 2\); expected 2 x 4 numbers"),
        ({"others": np.zeros(3)}, r"others has shape \(3,\); expected 1 x 4 numbers"),
        ({"summed": []}, r"summed has shape \(0,\); expected numbers"),
        ({"summed": [np.nan] * 4}, "summed contain NaN"),
        ({"noise_std": 0.0}, "noise_std is 0.0 and sampling_rate 1.0; expected more than 0"),
        ({"sampling_rate": 1.5}, "sampling_rate is 1.5; expected a number, from 0 to 1"),
    ],
)
def test_wrong_releases_are_refused(wrong, message):
    good = {"summed": np.ones(4), "added": np.eye(2, 4), "noise_std": 1.0, "sampling_rate": 1.0}
    with pytest.raises(InputError, match=message):
        ReleaseScores(2).add(**{**good, **wrong})

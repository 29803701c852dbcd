"""Lower bounds on epsilon: their formulas, and how often they hold on mechanisms whose epsilon is known."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import binom, norm

from privacy import InputError, epsilon_from_canaries, epsilon_from_counts, epsilon_from_guesses, epsilon_from_scores
from privacy.gaussian_privacy import gaussian_epsilon, least_mu
from privacy.one_run import one_run_p_value

RUNS = 200
# A bound of 95 % fails in more than this many of RUNS in one of 10 000 tests.
MOST_FAILURES = int(binom.isf(1e-4, RUNS, 0.05))


# -- formulas ----------------------------------------------------------------------------------------------------


def slow_p_value(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """The p-value of Steinke, Nasr & Jagielski's theorem, term by term."""
    q = 1 / (1 + math.exp(-epsilon))
    pmf = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    alpha = max((2 / i * sum(pmf[v - i : v]) for i in range(1, v + 1)), default=0.0)
    return min(1.0, sum(pmf[v:]) + delta * m * alpha)


@given(st.integers(1, 60), st.data())
def test_p_value_is_the_theorem_term_by_term(m, data):
    r = data.draw(st.integers(1, m))
    v = data.draw(st.integers(0, r))
    epsilon, delta = data.draw(st.floats(0, 5)), data.draw(st.sampled_from([0.0, 1e-5, 1e-2]))
    p = one_run_p_value(correct=v, guesses=r, canaries=m, epsilon=epsilon, delta=delta)
    assert p == pytest.approx(slow_p_value(m, r, v, epsilon, delta), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize(("correct", "guesses", "epsilon"), [(90, 100, 1.630), (99, 100, 3.018), (396, 400, 3.758)])
def test_power_of_the_one_run_audit(correct, guesses, epsilon):
    bound = epsilon_from_guesses(correct=correct, guesses=guesses, canaries=guesses, delta=1e-5)
    assert bound.epsilon == pytest.approx(epsilon, abs=1e-3)
    p = one_run_p_value(correct=correct, guesses=guesses, canaries=guesses, epsilon=bound.epsilon, delta=1e-5)
    assert p == pytest.approx(0.05, abs=1e-5)


def test_p_value_rises_with_epsilon_where_it_decides():
    for m, r, v in ((100, 100, 90), (1000, 50, 48), (1000, 1000, 600), (20, 8, 8)):
        p = [one_run_p_value(correct=v, guesses=r, canaries=m, epsilon=e, delta=1e-4) for e in np.linspace(0, 6, 200)]
        first = int(np.argmax(np.array(p) > 0.2))
        assert np.all(np.diff(p[: first + 1]) > 0)


def test_all_guesses_right_has_a_closed_form():
    bound = epsilon_from_guesses(correct=20, guesses=20, canaries=20, delta=0)
    q = 0.05 ** (1 / 20)
    assert bound.epsilon == pytest.approx(math.log(q / (1 - q)), abs=2e-5)


@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 3.0, 10.0])
@pytest.mark.parametrize("delta", [1e-2, 1e-5, 1e-10])
def test_gaussian_epsilon_is_that_of_the_integral_of_both_densities(mu, delta):
    epsilon = gaussian_epsilon(mu, delta=delta)
    ends = (epsilon / mu + mu / 2, epsilon / mu + mu / 2 + 40)  # where one density exceeds e^epsilon times the other
    excess = quad(lambda x: norm.pdf(x, mu) - np.exp(epsilon + norm.logpdf(x)), *ends, epsabs=0, limit=500)[0]
    assert excess == pytest.approx(delta, rel=2e-4)


def test_gaussian_epsilon_at_its_ends():
    assert gaussian_epsilon(0, delta=1e-5) == 0
    assert gaussian_epsilon(1, delta=0) == math.inf
    assert gaussian_epsilon(0.1, delta=0.5) == 0


def test_rates_have_the_limits_of_clopper_and_pearson():
    bound = epsilon_from_counts(found=100, members=100, false_positives=0, non_members=200, delta=0)
    tpr, fpr = 0.025 ** (1 / 100), 1 - 0.025 ** (1 / 200)
    assert bound.epsilon == pytest.approx(math.log(max(tpr / fpr, (1 - fpr) / (1 - tpr))))
    nothing = epsilon_from_counts(found=0, members=10, false_positives=10, non_members=10)
    assert nothing.epsilon == 0


def test_delta_lowers_every_bound():
    def bounds(delta):
        rates = epsilon_from_counts(found=30, members=100, false_positives=0, non_members=100, delta=delta)
        return rates.epsilon, epsilon_from_guesses(correct=40, guesses=50, canaries=500, delta=delta).epsilon

    for larger, smaller in zip(bounds(0), bounds(1e-3), strict=True):
        assert larger > smaller > 0


def test_bounds_do_not_use_which_canary_comes_first():
    planted = np.r_[np.ones(200, bool), np.zeros(200, bool)]
    for order in (slice(None), slice(None, None, -1)):  # equal scores: the order of the records must not tell
        assert epsilon_from_canaries(np.zeros(400), planted[order]).epsilon == 0
        assert epsilon_from_scores(np.zeros(200), np.zeros(200)).epsilon == 0


def test_bounds_are_about_order_alone():
    random = np.random.default_rng(0)
    planted = random.random(300) < 0.5
    scores = planted + random.normal(0, 0.4, 300)
    assert epsilon_from_canaries(scores, planted) == epsilon_from_canaries(np.exp(scores), planted)
    sides = scores[planted], scores[~planted]
    assert epsilon_from_scores(*sides) == epsilon_from_scores(*map(np.exp, sides))


def test_the_best_of_several_numbers_of_guesses_is_paid_for():
    random = np.random.default_rng(1)
    planted = random.random(400) < 0.5
    scores = planted + random.normal(0, 0.4, 400)
    searched = epsilon_from_canaries(scores, planted)
    alone = [epsilon_from_canaries(scores, planted, guesses=r).epsilon for r in (400, 200, 100, 50, 25, 12)]
    level = 1 - 0.05 / 6
    each = [epsilon_from_canaries(scores, planted, guesses=r, confidence=level).epsilon for r in (400, 200, 100, 50)]
    assert searched.tries == 6
    assert searched.epsilon == pytest.approx(max(each))
    assert searched.epsilon < max(alone)
    assert str(searched).endswith("the best of 6 tries)")


# -- mechanisms of known epsilon ---------------------------------------------------------------------------------


def randomised_response(epsilon: float, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and coins: each coin is told, and wrong with probability `1 / (1 + e^epsilon)`."""
    random = np.random.default_rng(seed)
    planted = random.random(m) < 0.5
    return (planted ^ (random.random(m) > 1 / (1 + np.exp(-epsilon)))).astype(float), planted


def gaussian_mean(sigma: float, m: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and coins: planted unit vectors, orthogonal to each other, are summed with Gaussian noise.

    The score of a canary is the noisy sum along it. One canary more or less moves the sum by 1.
    """
    random = np.random.default_rng(seed)
    planted = random.random(m) < 0.5
    return planted + random.normal(0, sigma, m), planted


def judge(name: str, truth: float, bounds: list[float], reaches: float) -> None:
    """Bounds hold as often as they say, and their mean is at least a share `reaches` of the truth."""
    failures, mean = int(np.sum(np.array(bounds) > truth)), float(np.mean(bounds))
    print(f"{name}: truth {truth:.2f}, mean bound {mean:.2f} ({mean / truth:.0%}), {failures} of {RUNS} too high")
    assert failures <= MOST_FAILURES
    assert mean > reaches * truth


@pytest.mark.parametrize(("epsilon", "reaches"), [(0.5, 0.45), (1.0, 0.7), (2.0, 0.75), (4.0, 0.7)])
def test_one_run_on_randomised_response(epsilon, reaches):
    runs = [randomised_response(epsilon, 500, seed) for seed in range(RUNS)]
    judge("searched", epsilon, [epsilon_from_canaries(*run, delta=1e-5).epsilon for run in runs], reaches)
    judge("fixed", epsilon, [epsilon_from_canaries(*run, delta=1e-5, guesses=500).epsilon for run in runs], reaches)


@pytest.mark.parametrize(("sigma", "reaches", "if_gaussian"), [(2.0, 0.15, 0.25), (0.5, 0.25, 0.42)])
def test_one_run_on_a_gaussian_mean(sigma, reaches, if_gaussian):
    truth = gaussian_epsilon(1 / sigma, delta=1e-5)
    runs = [gaussian_mean(sigma, 500, seed) for seed in range(RUNS)]
    judge("any", truth, [epsilon_from_canaries(*run).epsilon for run in runs], reaches)
    judge("gaussian", truth, [epsilon_from_canaries(*run, noise="gaussian").epsilon for run in runs], if_gaussian)


def test_mu_is_bounded_as_often_as_it_says():
    """All canaries are guessed, by the threshold halfway between 0 and 1."""
    failures = 0
    for seed in range(RUNS):
        scores, planted = gaussian_mean(1.0, 300, seed)
        correct = int(((scores > 0.5) == planted).sum())
        failures += least_mu(correct, 300, 300, 0.05) > 1.0
    assert failures <= MOST_FAILURES


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_rates_on_randomised_response(epsilon):
    random, right = np.random.default_rng(0), 1 / (1 + np.exp(-epsilon))
    bounds = [
        epsilon_from_counts(found=found, members=500, false_positives=false, non_members=500, delta=0).epsilon
        for found, false in zip(random.binomial(500, right, RUNS), random.binomial(500, 1 - right, RUNS), strict=True)
    ]
    judge("rates", epsilon, bounds, 0.75)


@pytest.mark.parametrize(("sigma", "reaches"), [(2.0, 0.15), (0.5, 0.3)])
def test_searched_rates_on_a_gaussian_mean(sigma, reaches):
    bounds = []
    for seed in range(RUNS):
        scores, planted = gaussian_mean(sigma, 2000, seed)
        bounds.append(epsilon_from_scores(scores[planted], scores[~planted]).epsilon)
    judge("scores", gaussian_epsilon(1 / sigma, delta=1e-5), bounds, reaches)


def test_noise_shows_nothing():
    """Where nothing leaks every bound is 0, but in 5 % of audits."""
    one_run, rates = 0, 0
    for seed in range(RUNS):
        random = np.random.default_rng(seed)
        scores, planted = random.normal(size=200), random.random(200) < 0.5
        one_run += epsilon_from_canaries(scores, planted, delta=0).epsilon > 0
        rates += epsilon_from_scores(scores[planted], scores[~planted], delta=0).epsilon > 0
    assert max(one_run, rates) <= MOST_FAILURES


# -- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"correct": 11}, "correct is 11, more than guesses, 10; expected at most 10"),
        ({"guesses": 101}, "guesses is 101, more than canaries, 100; expected at most 100"),
        ({"correct": -1}, "correct is -1; expected a whole number, 0 or more"),
        ({"delta": 1.0}, "delta is 1.0; expected a number, from 0 to below 1"),
        ({"delta": float("nan")}, "delta is nan; expected a number, from 0 to below 1"),
        ({"confidence": 95}, r"confidence is 95; expected a number between 0 and 1, such as 0\.95"),
        ({"noise": "laplace"}, "noise is 'laplace'; expected one of any, gaussian"),
    ],
)
def test_guesses_that_do_not_fit_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        epsilon_from_guesses(**{"correct": 5, "guesses": 10, "canaries": 100, **options})


@pytest.mark.parametrize(
    ("planted", "message"),
    [
        ([True, False], r"planted is bool of shape \(2,\); expected \(3,\), True or False for each score"),
        ([0, 1, 2], r"planted is int64 of shape \(3,\); expected \(3,\), True or False"),
        ([1, 1, 1], "all 3 canaries are planted; expected some of both: plant each by a fair coin"),
        ([0, 0, 0], "all 3 canaries are held out; expected some of both"),
    ],
)
def test_coins_that_do_not_fit_are_refused(planted, message):
    with pytest.raises(InputError, match=message):
        epsilon_from_canaries([0.1, 0.2, 0.3], planted)


def test_counts_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="found is 11, more than members, 10; expected at most 10"):
        epsilon_from_counts(found=11, members=10, false_positives=0, non_members=10)
    with pytest.raises(InputError, match="non_members is 0; expected a whole number, 1 or more"):
        epsilon_from_counts(found=1, members=10, false_positives=0, non_members=0)

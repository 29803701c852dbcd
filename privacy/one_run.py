"""Lower bounds on epsilon from one training with canaries that were planted by coins."""

from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from scipy.special import bdtrc, expit, gammaln, log_expit

from privacy.epsilon import CONFIDENCE, DELTA, EpsilonBound, check_counts, check_level
from privacy.errors import InputError
from privacy.gaussian_privacy import least_gaussian_epsilon
from privacy.validation import as_array, checked_scores, require_one_of, require_whole

__all__ = ["Noise", "checked_coins", "epsilon_from_canaries", "epsilon_from_guesses", "one_run_p_value"]

Noise = Literal["any", "gaussian"]
FEWEST_GUESSES = 8
TOLERANCE = 1e-5  # of epsilon


def epsilon_from_guesses(
    *,
    correct: int,
    guesses: int,
    canaries: int,
    delta: float = DELTA,
    confidence: float = CONFIDENCE,
    noise: Noise = "any",
) -> EpsilonBound:
    """The bound from guesses which canaries were in one training (Steinke, Nasr & Jagielski 2023, arXiv 2305.08846).

    Each of `canaries` records was planted, or held out, by an independent fair coin. An attacker who does not know the
    coins guesses `guesses` of them and abstains on the others; `correct` guesses are right. If training is
    (epsilon, delta)-differentially private, that is as unlikely as `one_run_p_value` says; the bound is the epsilon
    where this reaches `1 - confidence`.

    The number of guesses, and which canaries are guessed, may depend on the trained model in any way, but not on the
    coins: whoever looks at several numbers and takes the best must pay for that, as `epsilon_from_canaries` does.

    - `correct` of `guesses` of `canaries`: counts. `delta` in [0, 1), `confidence` in (0, 1).
    - `noise`: "any" (default) for a bound that holds for whatever training. "gaussian" assumes that training is
      mu-Gaussian differentially private, as the Gaussian mechanism is, and so shows a larger epsilon, that of the
      least mu (Mahloujifar, Melis & Chaudhuri 2024, see `least_mu`): it tests the epsilon that Gaussian noise is
      claimed to give. Without noise in training the assumption does not hold, and neither does the bound. For
      (epsilon, delta)-privacy alone their test shows the same as "any" within 0.03, and is not offered.

    Raises `InputError` for counts that do not fit, or a delta or confidence out of range.

    >>> print(epsilon_from_guesses(correct=90, guesses=100, canaries=100, delta=1e-5))
    epsilon >= 1.63 at delta 1e-05, with 95 % confidence (90 of 100 guesses right, 100 canaries)
    """
    check_counts(guesses, canaries, "guesses", "canaries")
    check_counts(correct, max(guesses, 1), "correct", "guesses")
    check_level(delta, confidence)
    require_one_of("noise", noise, get_args(Noise))
    epsilon = BOUNDS[noise](int(correct), int(guesses), int(canaries), float(delta), 1 - confidence)
    return EpsilonBound(epsilon, delta, confidence, guess_words(correct, guesses, canaries, noise))


def epsilon_from_canaries(
    scores: Any,
    planted: Any,
    *,
    delta: float = DELTA,
    confidence: float = CONFIDENCE,
    noise: Noise = "any",
    guesses: int | None = None,
    seed: int = 0,
) -> EpsilonBound:
    """The bound of `epsilon_from_guesses` from an attack's scores of the canaries.

    Half of the guesses say "planted", of the canaries with the highest scores, and half "held out", of those with the
    lowest; the attacker abstains on those between.

    - `scores` `(n,)`: of all canaries, higher for more like a member.
    - `planted` `(n,)`: the coins, booleans. They must be independent: exactly one half planted is no set of coins.
    - `delta`, `confidence`, `noise`: as in `epsilon_from_guesses`.
    - `guesses`: their number, chosen before looking at `planted`. By default all, a half, a quarter, ... of the
      canaries are tried, down to eight, and the best is paid for (Bonferroni): the confidence of each is raised so that
      all bounds hold together. No canary is set aside to choose the number.
    - `seed`: canaries of equal scores are ordered at random, never by the coins.

    Raises `InputError` where scores and coins do not fit, or all coins are the same.

    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> planted = random.random(400) < 0.5
    >>> print(epsilon_from_canaries(planted + random.normal(0, 0.4, 400), planted, guesses=100))
    epsilon >= 3.48 at delta 1e-05, with 95 % confidence (100 of 100 guesses right, 400 canaries)
    """
    values = checked_scores(scores, "scores")
    coins = checked_coins(planted, len(values))
    check_level(delta, confidence)
    require_one_of("noise", noise, get_args(Noise))
    require_whole("seed", seed, least=0)
    if guesses is None:
        numbers = halves(len(values))
    else:
        require_whole("guesses", guesses, least=1)
        check_counts(guesses, len(values), "guesses", "canaries")
        numbers = [guesses]
    shuffled = np.random.default_rng(seed).permutation(len(values))
    ranked = coins[shuffled[np.argsort(values[shuffled], kind="stable")]]
    wrong = (1 - confidence) / len(numbers)
    best, best_words = -1.0, ""
    for number in numbers:
        low = number // 2
        correct = int((~ranked[:low]).sum() + ranked[len(ranked) - (number - low) :].sum())
        epsilon = BOUNDS[noise](correct, number, len(values), float(delta), wrong)
        if epsilon > best:
            best, best_words = epsilon, guess_words(correct, number, len(values), noise)
    return EpsilonBound(best, delta, confidence, best_words, len(numbers))


def one_run_p_value(*, correct: int, guesses: int, canaries: int, epsilon: float, delta: float = DELTA) -> float:
    """How likely at least so many right guesses are at most, if training is (epsilon, delta)-differentially private.

    With `W ~ Binomial(guesses, 1 / (1 + exp(-epsilon)))` and v correct guesses of m canaries:
    `P(W >= v) + 2 m delta max_i P(v > W >= v - i) / i` over i = 1 ... v (Steinke et al. 2023, theorem 5.2).

    >>> one_run_p_value(correct=3, guesses=3, canaries=3, epsilon=0, delta=0)
    0.125
    """
    p = float(bdtrc(correct - 1, guesses, expit(epsilon))) if correct else 1.0
    if delta and correct:
        k = np.arange(correct - 1, -1, -1)
        # scipy.stats.binom.pmf, without the checks that take most of its time
        choices = gammaln(guesses + 1) - gammaln(k + 1) - gammaln(guesses - k + 1)
        below = np.cumsum(np.exp(choices + k * log_expit(epsilon) + (guesses - k) * log_expit(-epsilon)))
        p += 2 * canaries * delta * float((below / (correct - k)).max())
    return min(1.0, p)


@lru_cache(maxsize=4096)  # simulations, and seeds, ask for the same counts again
def least_epsilon(correct: int, guesses: int, canaries: int, delta: float, wrong: float) -> float:
    """The epsilon, 0 or more, where the p-value reaches `wrong`; by bisection, from below."""

    def is_refuted(epsilon: float) -> bool:
        p = one_run_p_value(correct=correct, guesses=guesses, canaries=canaries, epsilon=epsilon, delta=delta)
        return p < wrong

    if not is_refuted(0.0):
        return 0.0
    low, high = 0.0, 1.0
    while is_refuted(high):
        low, high = high, 2 * high
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        low, high = (middle, high) if is_refuted(middle) else (low, middle)
    return low


def halves(canaries: int) -> list[int]:
    """All, a half, a quarter, ... of the canaries, down to `FEWEST_GUESSES`.

    >>> halves(100)
    [100, 50, 25, 12]
    """
    return [canaries] + [n for n in (canaries >> power for power in range(1, 64)) if n >= FEWEST_GUESSES]


def checked_coins(planted: Any, canaries: int) -> np.ndarray:
    """The coins as booleans `(canaries,)`; raises `InputError` for anything else, or coins that are all the same."""
    coins = as_array(planted, "planted", ndim=1)
    if coins.shape != (canaries,) or not np.isin(coins, (0, 1)).all():
        raise InputError(
            f"planted is {coins.dtype} of shape {coins.shape}; expected ({canaries},), True or False for each score"
        )
    coins = coins.astype(bool)
    if coins.all() or not coins.any():
        word = "planted" if coins.all() else "held out"
        raise InputError(f"all {canaries} canaries are {word}; expected some of both: plant each by a fair coin")
    return coins


def guess_words(correct: int, guesses: int, canaries: int, noise: Noise) -> str:
    """The counts in words."""
    assumed = "" if noise == "any" else ", if its noise is Gaussian"
    return f"{correct} of {guesses} guesses right, {canaries} canaries{assumed}"


BOUNDS = {"any": least_epsilon, "gaussian": least_gaussian_epsilon}

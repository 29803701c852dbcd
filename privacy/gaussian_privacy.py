"""Gaussian differential privacy: its epsilon, exactly, and the least mu that guesses in one training leave possible."""

from functools import lru_cache

import numpy as np
from scipy.special import log_ndtr, ndtr, ndtri

from privacy.validation import require_number

__all__ = ["gaussian_epsilon", "least_gaussian_epsilon", "least_mu"]

TOLERANCE = 1e-5  # of epsilon and mu
LARGEST_MU = 32.0  # beyond it every guess is right


def gaussian_epsilon(mu: float, *, delta: float) -> float:
    """The epsilon at `delta` of a mechanism that is mu-Gaussian differentially private; infinite for a delta of 0.

    A Gaussian mechanism of sensitivity 1 and noise of standard deviation sigma has `mu = 1 / sigma`. Exact:
    `delta = Phi(mu / 2 - epsilon / mu) - e^epsilon Phi(-mu / 2 - epsilon / mu)` (Balle & Wang 2018), by bisection.

    - `mu`: 0 or more. `delta` in [0, 1).

    >>> round(gaussian_epsilon(1.0, delta=1e-5), 3)
    4.377
    """
    require_number("mu", mu, least=0)
    require_number("delta", delta, least=0, below=1)
    if mu == 0:
        return 0.0
    if delta == 0:
        return float("inf")

    def delta_at(epsilon: float) -> float:
        return float(ndtr(mu / 2 - epsilon / mu) - np.exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))

    if delta_at(0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while delta_at(high) > delta:
        low, high = high, 2 * high
    while high - low > TOLERANCE * max(1.0, low):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_at(middle) > delta else (low, middle)
    return low


@lru_cache(maxsize=4096)  # simulations, and seeds, ask for the same counts again
def least_gaussian_epsilon(correct: int, guesses: int, canaries: int, delta: float, wrong: float) -> float:
    """The epsilon at `delta` of `least_mu`."""
    return gaussian_epsilon(least_mu(correct, guesses, canaries, wrong), delta=delta)


def least_mu(correct: int, guesses: int, canaries: int, wrong: float) -> float:
    """The least mu for which so many right guesses have a probability above `wrong`.

    `is_refuted` (Mahloujifar, Melis & Chaudhuri 2024, arXiv 2410.22235), by bisection from below.
    """
    if not is_refuted(0.0, correct, guesses, canaries, wrong):
        return 0.0
    low, high = 0.0, LARGEST_MU
    while high - low > TOLERANCE:
        middle = (low + high) / 2
        low, high = (middle, high) if is_refuted(middle, correct, guesses, canaries, wrong) else (low, middle)
    return low


def is_refuted(mu: float, correct: int, guesses: int, canaries: int, wrong: float) -> bool:
    """Whether mu-Gaussian privacy excludes that `correct` of `guesses` are right with a probability of `wrong`.

    If they were, a given canary would be guessed right with probability `right`, and wrong with probability `missed`,
    in runs with at least i right guesses. Privacy bounds `missed` from below by the trade-off of `right`. From the most
    right guesses downwards, the least that both add up to must not exceed the probability of a guess,
    `guesses / canaries`.
    """
    share = guesses / canaries
    right, missed = wrong * correct / canaries, wrong * (guesses - correct) / canaries
    for i in range(correct - 1, -1, -1):
        least = max(missed, float(ndtr(ndtri(right) - mu)))
        right += i / (guesses - i) * (least - missed)
        missed = least
        if right + missed > share:
            return True
    return False

"""Scores of canaries by an attacker who sees every noisy sum that a training releases."""

from typing import Any

import numpy as np

from privacy.errors import InputError
from privacy.validation import as_array, finite_floats, require_number, require_whole

__all__ = ["ReleaseScores"]

COIN_VARIANCE = 0.25


class ReleaseScores:
    """How likely each of n canaries was planted, by the noisy sums over records that a training released.

    Differential privacy covers everything that is released on the way, such as the noisy gradient of each step, and
    attackers who know everything but coins and noise. Such an attacker finds far more than one who sees the finished
    model, so that a lower bound from these scores comes closer to the proven epsilon. Planted canary i adds `added[i]`
    to a release. The scores are the best linear estimate of all coins from all releases together, a ridge regression;
    for a single canary it is the sum of `<release, added>`, as in Nasr et al. 2023 (arXiv 2302.07956). Give
    `values` to `epsilon_from_canaries`.

    - `canaries`: their number n.

    >>> from privacy import epsilon_from_canaries
    >>> random = np.random.default_rng(0)
    >>> planted, added = random.random(400) < 0.5, np.eye(400)
    >>> scores = ReleaseScores(400)
    >>> for _ in range(10):  # a sum over all records, released ten times: epsilon is 7.5
    ...     scores.add(planted @ added + random.normal(0, 2, 400), added, noise_std=2)
    >>> print(epsilon_from_canaries(scores.values, planted, noise="gaussian"))  # doctest: +ELLIPSIS
    epsilon >= 4.18 at delta 1e-05, with 95 % confidence (99 of 100 guesses right, 400 canaries, ...)
    """

    def __init__(self, canaries: int) -> None:
        require_whole("canaries", canaries, least=1)
        self.precision = np.eye(canaries) / COIN_VARIANCE
        self.evidence = np.zeros(canaries)

    def add(
        self, summed: Any, added: Any, *, noise_std: float, sampling_rate: float = 1.0, others: Any = None
    ) -> None:
        """Take one more release into account.

        - `summed`: the noisy sum, an array of d numbers in any shape.
        - `added`: what each canary adds where it is in the sum, `(n, ...)` with d numbers each. It may depend on
          earlier releases, but not on the coins.
        - `noise_std`: standard deviation of the noise in each number as it is claimed to be, above 0.
        - `sampling_rate`: probability with which a record is in the sum; 1: all records are.
        - `others`: what all other records add together where all of them are in the sum; by default nothing.

        Raises `InputError` for sizes that do not fit, numbers that are not finite, or a noise or rate out of range.
        """
        require_number("noise_std", noise_std, least=0)
        require_number("sampling_rate", sampling_rate, least=0, most=1)
        if not noise_std or not sampling_rate:
            raise InputError(f"noise_std is {noise_std} and sampling_rate {sampling_rate}; expected more than 0")
        seen = flat(summed, "summed", 1)
        own = flat(added, "added", len(self.evidence), seen.size)
        known = 0.0 if others is None else flat(others, "others", 1, seen.size)
        expected = sampling_rate * (known + own.sum(0, keepdims=True) / 2)  # with coins of one half each
        weighted = own * (sampling_rate / noise_std)
        self.precision += weighted @ weighted.T
        self.evidence += weighted @ ((seen - expected)[0] / noise_std)

    @property
    def values(self) -> np.ndarray:
        """The scores `(n,)`, higher for more likely planted; 0 where nothing is known."""
        return np.linalg.solve(self.precision, self.evidence)


def flat(value: Any, name: str, rows: int, columns: int | None = None) -> np.ndarray:
    """Finite float64 numbers `(rows, columns)` of whatever shape; raises `InputError` where there are others."""
    array = as_array(value, name, ndim=2)
    wanted = array.size if columns is None else rows * columns
    if array.size != wanted or not array.size or (rows > 1 and array.shape[:1] != (rows,)):
        of = "numbers" if columns is None else f"{rows} x {columns} numbers, as many as summed and canaries have"
        raise InputError(f"{name} has shape {array.shape}; expected {of}")
    return finite_floats(array.reshape(rows, -1), name)

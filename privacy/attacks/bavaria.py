"""The likelihood ratio with Bayesian variances: between one for each record and one for all, as references allow."""

from dataclasses import dataclass

import numpy as np
from scipy.special import digamma, polygamma
from scipy.stats import t as student

from privacy.attacks.reference_attack import Mode, ReferenceAttack, normal_deviate
from privacy.records import AttackRecords
from privacy.signals import Moments, Signals

__all__ = ["BaVarIA"]

MANY_DEGREES = 1e6  # of freedom, from which variances are taken as alike: the t distribution is a normal one there
NEWTON_STEPS = 50


@dataclass(frozen=True)
class BaVarIA(ReferenceAttack):
    """LiRA, with variances drawn from one inverse-gamma distribution for all records, for few references (BaVarIA).

    The normal-inverse-gamma posterior of a record with k references predicts the attacked model's log-odds by Student's
    t around their mean, with `d0 + k - 1` degrees of freedom and variance `(d0 s0^2 + sum of squares) / (d0 + k - 1)`
    times `1 + 1 / k`. The prior, `d0` and `s0^2`, is fitted to all records' variances (Smyth 2004): `d0 = inf` is one
    variance for all, as where each record has a single reference, `d0 = 0` one for each.

    online: the log-likelihood ratio of both predictions. offline: the one-sided deviation from the prediction without
    the record. The prior on the mean is flat: those who are exposed are outliers, which an informative one would hide.
    """

    mode: Mode = "auto"

    name = "bavaria"
    title = "Bayesian likelihood ratio (BaVarIA)"

    def check(self, records: AttackRecords) -> None:
        """Raise `InputError` for a mode that is none, or needs more references."""
        super().check(records)
        self.online(self.mode, records.signals)

    def score(self, signals: Signals, records: AttackRecords) -> np.ndarray:
        """The log-likelihood ratio of every record, or the deviation, `(n,)`."""
        without, spread, degrees = predicted(signals.moments_out)
        deviation = (signals.target - without) / spread
        if not self.online(self.mode, signals):
            return normal_deviate(deviation, degrees)
        having, its_spread, its_degrees = predicted(signals.moments_in)
        found = log_density(signals.target, having, its_spread, its_degrees)
        return found - log_density(signals.target, without, spread, degrees)


def predicted(found: Moments) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the attacked model's log-odds: location, scale, and degrees of freedom, each `(n,)`."""
    own = found.count - 1.0
    prior, variance = variance_prior(found.squares, own)
    degrees = prior + own
    spread = np.full(len(own), variance)
    if np.isfinite(prior):
        spread = (prior * variance + found.squares) / degrees
    return found.mean, np.sqrt(spread * (1 + 1 / found.count)), degrees


def variance_prior(squares: np.ndarray, degrees: np.ndarray) -> tuple[float, float]:
    """The prior of variances: degrees of freedom, infinite where all are alike, and variance (Smyth 2004, section 6.2).

    Of sums of squares `(n,)` with their degrees of freedom `(n,)`; those of 0 degrees say nothing.

    >>> generator = np.random.default_rng(0)
    >>> variances = 2 * 10 / generator.chisquare(10, 100_000)  # inverse gamma: 10 degrees, variance 2
    >>> prior = variance_prior(variances * generator.chisquare(3, 100_000), np.full(100_000, 3.0))
    >>> [round(float(value), 1) for value in prior]
    [9.8, 2.0]
    """
    known = degrees > 0
    if not squares[known].sum():
        return np.inf, 1.0
    own, pooled = degrees[known], squares[known].sum() / degrees[known].sum()
    logs = np.log(np.maximum(squares[known] / own, 1e-12 * pooled)) - digamma(own / 2) + np.log(own / 2)
    excess = logs.var() - polygamma(1, own / 2).mean()
    if excess <= polygamma(1, MANY_DEGREES / 2):
        return np.inf, float(pooled)
    half = inverse_trigamma(float(excess))
    return 2 * half, float(np.exp(logs.mean() + digamma(half) - np.log(half)))


def inverse_trigamma(value: float) -> float:
    """The positive x at which the trigamma function is `value`, by Newton's method on its reciprocal.

    >>> round(inverse_trigamma(float(polygamma(1, 3.5))), 9)
    3.5
    """
    x = 0.5 + 1 / value
    for _ in range(NEWTON_STEPS):
        trigamma = polygamma(1, x)
        step = trigamma * (1 - trigamma / value) / polygamma(2, x)
        x += step
        if abs(step) < 1e-10 * x:
            break
    return float(x)


def log_density(values: np.ndarray, location: np.ndarray, scale: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Logarithm of the density of Student's t, the normal one for very many degrees of freedom, `(n,)`."""
    return student.logpdf(values, np.minimum(degrees, MANY_DEGREES), location, scale)

"""Confidence intervals of 95 % for AUC and TPR, and for what repeated splits average.

Their coverage is simulated by `benchmarks/mia_coverage.py`, for the tables in docs/intervals.md.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import betainc
from scipy.stats import binom, norm

from privacy.errors import InputError, shown
from privacy.metrics import Interval, members_above, placements
from privacy.validation import checked_scores, require_flag

__all__ = ["FEWEST_RECORDS", "auc_difference", "auc_interval", "mean_interval", "tpr_interval"]

CONFIDENCE = 0.95
Z = float(norm.isf((1 - CONFIDENCE) / 2))
FEWEST_RECORDS = 6  # on a side: with fewer, intervals of 95 % cover in as few as 88 % of cases
PRIOR_RECORDS = 10.0
PRIOR_SHARE = 1 / 3  # of A (1 - A), a side's variance where nothing leaks
PRIOR_SPLITS = 2.0
PRIOR_SPLIT_SHARE = 0.5  # of the records' variance, what splits add: 0 where much leaks, 1 where nothing does

TOO_FEW_RECORDS = f"fewer than {FEWEST_RECORDS} records on a side"
ONE_SPLIT = "a trained attack on a single split"

Split = tuple[np.ndarray, np.ndarray]  # scores of members (n,) and of non-members (m,)


def auc_interval(splits: Sequence[Split], *, trained: bool = False) -> Interval:
    """Mean AUC over splits of the same records, with its 95 % interval; attacks that are not trained have one split.

    `splits`: for each, the scores of the members `(n,)` and of the non-members `(m,)`, higher for more like a member.

    Wilson's score interval for as many records as DeLong's variance says the AUC is worth. That variance, as a share of
    `A (1 - A)`, is drawn towards the one third that it is where nothing leaks, with the weight of ten records at
    A = 0.5, of more where few records decide, so that no AUC of 1.000 has the interval [1, 1]. `widened` adds what the
    choice of splits adds.

    Without ends where a side has fewer than six records, or a trained attack has a single split: the errors of its two
    folds go together where nothing leaks, and one split does not tell how much.

    >>> import numpy as np
    >>> print(auc_interval([(np.arange(20) + 5, np.arange(20))]))
    0.719 [0.543, 0.846]
    """
    splits = checked_splits(splits, "splits")
    require_flag("trained", trained)
    n, m = len(splits[0][0]), len(splits[0][1])
    placed = [placements(*split) for split in splits]
    values = [each.auc for each in placed]
    value = float(np.mean(values))
    if why := missing(n, m, len(splits), trained):
        return Interval(value, why=why)
    low, high = wilson(value, effective_records(value, np.mean([each.variances for each in placed], axis=0), n, m))
    return widened(Interval(value, low, high), values, trained=trained)


def checked_splits(splits: Any, name: str) -> list[Split]:
    """Splits as a list of pairs of float64 arrays; raises `InputError` for anything else."""
    if not isinstance(splits, list | tuple) or not splits:
        raise InputError(f"{name} is {shown(splits)}; expected a list of (member scores, non-member scores)")
    found = []
    for split in splits:
        if not isinstance(split, list | tuple) or len(split) != 2:
            raise InputError(f"{name} contains {shown(split)}; expected (member scores, non-member scores)")
        found.append((checked_scores(split[0], "member scores"), checked_scores(split[1], "non-member scores")))
    if len({(len(members), len(others)) for members, others in found}) > 1:
        raise InputError(f"{name} are of different numbers of records; expected the same records in every split")
    return found


def checked_repetitions(given: Any, name: str) -> list[list[Split]]:
    """The splits of several audits; raises `InputError` for anything else."""
    if not isinstance(given, list | tuple) or not given:
        raise InputError(f"{name} is {shown(given)}; expected a list with the splits of each repetition")
    return [checked_splits(splits, f"the splits of {name}") for splits in given]


def missing(members: int, non_members: int, splits: int, trained: bool) -> str:
    """Why there is no interval; empty where there is one."""
    if min(members, non_members) < FEWEST_RECORDS:
        return TOO_FEW_RECORDS
    return ONE_SPLIT if trained and splits < 2 else ""


def effective_records(value: float, variances: np.ndarray, n: int, m: int) -> float:
    """How many independent yes-or-no answers an AUC is worth, from the variances of both sides' placements."""
    largest = value * (1 - value)
    # Where one side is much smaller, only its share counts: towards 1 it can be twice the prior, not half of it.
    tilt = PRIOR_SHARE * np.sqrt(abs(2 * value - 1)) * min(1.0, np.log(max(n, m) / min(n, m)) / np.log(4))
    priors = np.array([PRIOR_SHARE + tilt, PRIOR_SHARE - tilt])[:: 1 if n <= m else -1]
    weights = 4 * largest * np.array([n, m])
    weights = weights / (weights + PRIOR_RECORDS)
    shares = weights * variances / max(largest, np.finfo(float).tiny) + (1 - weights) * priors
    return float(1 / (shares / (n, m)).sum())


def wilson(value: float, records: float) -> tuple[float, float]:
    """Wilson's score interval of a share `value` of `records` records, a real number (Wilson 1927)."""
    c = Z**2 / records
    middle, half = (value + c / 2) / (1 + c), np.sqrt(c * value * (1 - value) + c**2 / 4) / (1 + c)
    return float(max(0.0, middle - half)), float(min(1.0, middle + half))


def widened(interval: Interval, values: Sequence[float], *, trained: bool) -> Interval:
    """The interval of a mean over splits: the records' variance, and a share of the splits' own.

    The two folds of one split err in the same direction where nothing leaks, so a single split has up to twice the
    variance that records alone explain, the mean over R splits `1 + 1/R` times that, and `1` where much leaks. What the
    splits differ by is estimated from the few there are, shrunk towards one half.
    """
    if not trained:
        return interval
    added = Z**2 * variance_of_splits(values, ((interval.high - interval.low) / (2 * Z)) ** 2)
    low = interval.value - np.sqrt((interval.value - interval.low) ** 2 + added)
    high = interval.value + np.sqrt((interval.high - interval.value) ** 2 + added)
    return Interval(interval.value, float(max(0.0, low)), float(min(1.0, high)))


def variance_of_splits(values: Sequence[float], records: float) -> float:
    """What the choice of splits adds to the variance of a mean over them; `records`: what the records alone give it."""
    freedom = len(values) - 1
    between = (freedom * np.var(values, ddof=1) + PRIOR_SPLITS * PRIOR_SPLIT_SHARE * records) / (freedom + PRIOR_SPLITS)
    return float(between / len(values))


def tpr_interval(splits: Sequence[Split], fpr: float, *, trained: bool = False) -> Interval:
    """Mean share of members found at a false-positive rate, over splits of the same records, with its 95 % interval.

    How many non-members lie above the threshold whose true FPR is `fpr` is binomial, and so is how many members do; the
    interval is of the mixture of both (Jeffreys' prior for the second). Where fewer false positives than one are
    allowed, no threshold of that FPR can be found, and there is no value.

    >>> import numpy as np
    >>> print(tpr_interval([(np.arange(20) + 5, np.arange(20))], 0.1))
    0.330 [0.058, 0.609]
    """
    splits = checked_splits(splits, "splits")
    require_flag("trained", trained)
    if not isinstance(fpr, float | int) or not 0 < fpr < 1:
        raise InputError(f"fpr is {shown(fpr)}; expected a number between 0 and 1")
    n, m = len(splits[0][0]), len(splits[0][1])
    if fpr * m * (1 + 1e-12) < 1:
        return Interval(float("nan"), why=f"fewer than {round(1 / fpr)} non-members")
    counts = [members_above(*split) for split in splits]
    # The j-th highest of m non-members has an expected FPR of j / (m + 1).
    values = [float(np.interp(fpr * (m + 1), np.arange(m + 2), count)) / n for count in counts]
    value = float(np.mean(values))
    if why := missing(n, m, len(splits), trained):
        return Interval(value, why=why)
    low, high = mixture_ends(np.mean(counts, axis=0), n, m, fpr)
    return widened(Interval(value, min(low, value), max(high, value)), values, trained=trained)


def mixture_ends(counts: np.ndarray, n: int, m: int, fpr: float) -> tuple[float, float]:
    """The 2.5 % and 97.5 % quantiles of the TPR at an FPR, from `members_above`."""
    above = np.arange(m + 1)
    weights = binom.pmf(above, m, fpr)
    above, weights = above[weights > 1e-5], weights[weights > 1e-5]
    within = np.array([1, 3, 5]) / 6  # the threshold lies anywhere between two non-members
    found = (counts[above, None] + (counts[above + 1] - counts[above])[:, None] * within).ravel()
    weights = np.repeat(weights / weights.sum(), len(within)) / len(within)
    tail = (1 - CONFIDENCE) / 2
    return tuple(quantile(found + 0.5, n - found + 0.5, weights, share) for share in (tail, 1 - tail))  # type: ignore[return-value]


def quantile(a: np.ndarray, b: np.ndarray, weights: np.ndarray, share: float) -> float:
    """The quantile of a mixture of beta distributions, by bisection to 1e-5."""
    low, high = 0.0, 1.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if weights @ betainc(a, b, middle) < share else (low, middle)
    return (low + high) / 2


def mean_interval(intervals: Sequence[Interval]) -> Interval:
    """The mean of independent values, with its interval (Zou & Donner's MOVER); without ends where one has none."""
    value = float(np.mean([interval.value for interval in intervals]))
    below = np.sqrt(sum((interval.value - interval.low) ** 2 for interval in intervals)) / len(intervals)
    above = np.sqrt(sum((interval.high - interval.value) ** 2 for interval in intervals)) / len(intervals)
    why = next((interval.why for interval in intervals if not interval.known), "")
    return Interval(value, float(value - below), float(value + above), why)


def auc_difference(
    first: Sequence[Sequence[Split]], second: Sequence[Sequence[Split]], *, trained: bool = False
) -> Interval:
    """Mean AUC of `first` minus that of `second`, with its 95 % interval.

    Both hold, for each repetition, the splits of one audit. Repetition `i` of both must score the same records in the
    same order, split by split: what is easy or hard in a record is the same on both sides of the difference (paired
    DeLong variance). Repetitions are taken as independent.

    >>> import numpy as np
    >>> scores = np.arange(20)
    >>> print(auc_difference([[(scores + 5, scores)]], [[(scores + 2, scores)]]))
    0.124 [0.091, 0.157]
    """
    require_flag("trained", trained)
    sides = [checked_repetitions(side, name) for side, name in ((first, "first"), (second, "second"))]
    shapes = [[[(len(a), len(b)) for a, b in splits] for splits in side] for side in sides]
    if shapes[0] != shapes[1]:
        raise InputError("first and second are not of the same records; expected the same numbers, split by split")
    pairs = [paired_difference(*both, trained=trained) for both in zip(*sides, strict=True)]
    return mean_interval(pairs)


def paired_difference(first: Sequence[Split], second: Sequence[Split], *, trained: bool) -> Interval:
    """The difference of one repetition."""
    values, variances = [], []
    for one, other in zip(first, second, strict=True):
        gap = placements(*one).minus(placements(*other))
        values.append(gap.auc)
        variances.append(sum(np.divide(gap.variances, (len(gap.members), len(gap.non_members)))))
    value, variance = float(np.mean(values)), float(np.mean(variances))
    n, m = len(first[0][0]), len(first[0][1])
    if why := missing(n, m, len(first), trained):
        return Interval(value, why=why)
    if trained:
        variance += variance_of_splits(values, variance)
    return Interval(value, value - Z * variance**0.5, value + Z * variance**0.5)

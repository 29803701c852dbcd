"""The results of one attack on one slice, and the p-values that a verdict rests on."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.stats import hypergeom, norm, pearson3, rankdata

from privacy.errors import InputError, shown
from privacy.intervals import FEWEST_RECORDS, auc_interval, tpr_interval
from privacy.metrics import FPR_LEVELS, Interval, chance_advantage, members_above, roc_of
from privacy.scores import Scores

__all__ = ["FEW_LEVELS", "Found", "Result", "result_from", "result_of"]

FEW_LEVELS = FPR_LEVELS[:2]  # where the exposed few are looked for
LARGEST_DEVIATION = 37.0  # of a normal distribution whose tail is not 0 in float64


@dataclass(frozen=True)
class Found:
    """Members found at few false positives, and the number expected by chance."""

    false_positives: int
    """How many non-members may be called members."""
    members: float
    """Number of members found, a mean over splits."""
    chance: float
    """Number of members expected by chance, without a leak."""
    p: float | None
    """p-value of finding at least this many without a leak; `None` if not tested."""


@dataclass(frozen=True)
class Result:
    """What one attack achieved on one slice; results of a trained attack are means over its splits."""

    attack: str
    """The attack's name."""
    slice: str
    """The slice's name."""
    members: int
    """How many members the slice has."""
    non_members: int
    """How many non-members the slice has."""
    auc: Interval
    """The AUC with its 95 % interval."""
    p: float | None
    """p-value of an AUC at least this high without a leak; `None` if not tested."""
    p_reversed: float | None
    """p-value of an AUC at least this low without a leak; `None` if not tested."""
    advantage: float
    """Largest `|TPR - FPR|`, in [0, 1]."""
    chance_advantage: float
    """Value that the advantage stays below in 95 % of cases without a leak."""
    tpr_at_fpr: tuple[tuple[float, Interval], ...]
    """Pairs of an FPR and the share of members found at it, with its 95 % interval."""
    found: tuple[Found, ...]
    """The exposed few, at 0.1 and 1 % false positives (once, where both allow the same number)."""

    def tpr(self, fpr: float) -> Interval:
        """The share of members found at one of `FPR_LEVELS`; raises `InputError` for another FPR."""
        for known, interval in self.tpr_at_fpr:
            if known == fpr:
                return interval
        levels = ", ".join(str(known) for known, _ in self.tpr_at_fpr)
        raise InputError(f"fpr is {shown(fpr)}; expected one of {levels}, or tpr_interval(splits, fpr) for another")

    def to_dict(self) -> dict[str, Any]:
        """Everything, as values that JSON has."""
        rates = {str(fpr): asdict(tpr) for fpr, tpr in self.tpr_at_fpr}
        return {**asdict(self), "tpr_at_fpr": rates, "found": [asdict(found) for found in self.found]}


def result_of(attack: str, slice_name: str, scores: Scores, *, tested: bool = True) -> Result:
    """All results of one attack on one slice; `tested`: whether they may count as evidence of a leak."""
    splits, trained = scores.pairs, scores.trained
    n, m = len(scores.members), len(scores.non_members)
    tested = tested and min(n, m) >= FEWEST_RECORDS
    auc = auc_interval(splits, trained=trained)
    p, p_reversed = auc_p_values(scores) if tested else (None, None)
    return Result(
        attack,
        slice_name,
        n,
        m,
        auc,
        p,
        p_reversed,
        float(np.mean([roc_of(*split).advantage for split in splits])),
        chance_advantage(n, m, trained=trained),
        tuple((fpr, tpr_interval(splits, fpr, trained=trained)) for fpr in FPR_LEVELS),
        found_of(scores, tested=tested),
    )


def result_from(entry: Mapping[str, Any]) -> Result:
    """A result from its JSON."""
    rates = tuple((float(fpr), interval_from(tpr)) for fpr, tpr in entry["tpr_at_fpr"].items())
    found = tuple(Found(**each) for each in entry["found"])
    return Result(**{**entry, "auc": interval_from(entry["auc"]), "tpr_at_fpr": rates, "found": found})


def interval_from(entry: Mapping[str, Any]) -> Interval:
    """An interval from its JSON, where `None` stands for NaN."""
    ends = {end: float("nan") if entry[end] is None else entry[end] for end in ("value", "low", "high")}
    return Interval(**ends, why=entry["why"])


def inflation(scores: Scores) -> float:
    """By how much the choice of splits can widen what chance gives: `sqrt(1 + 1 / R)` for R splits.

    Where nothing leaks the two folds of a split err in the same direction, by as much as each other at most.
    """
    return float(np.sqrt(1 + 1 / len(scores.splits))) if scores.trained else 1.0


def auc_p_values(scores: Scores) -> tuple[float, float]:
    """How often an AUC as high, and one as low, arises where members and non-members are alike.

    The mean over splits of what each says in standard deviations, over `inflation`.
    """
    tails = np.array([rank_sum_p_values(*split) for split in scores.pairs])
    deviations = np.clip(norm.isf(tails), -LARGEST_DEVIATION, LARGEST_DEVIATION).mean(0) / inflation(scores)
    high, low = (1.0 if (tails[:, side] >= 1).all() else float(norm.sf(deviations[side])) for side in (0, 1))
    return high, low


def rank_sum_p_values(members: np.ndarray, non_members: np.ndarray) -> tuple[float, float]:
    """Upper and lower tail of the rank sum of members (Mann & Whitney 1947), given which scores are equal.

    Two different scores alone: hypergeometric, exact. Else by a gamma distribution of the same variance and skewness
    as the rank sum of n of n + m records drawn at random (Pearson's type III), or the normal one where that says more:
    with many ties and sides of unequal size the rank sum is skewed, and the normal distribution alone far too sure.
    """
    n, total = len(members), len(members) + len(non_members)
    values, place = np.unique(np.r_[members, non_members], return_inverse=True)
    if len(values) == 1:
        return 1.0, 1.0
    if len(values) == 2:
        high, drawn = int(place[:n].sum()), int(place.sum())
        return float(hypergeom.sf(high - 1, total, drawn, n)), float(hypergeom.cdf(high, total, drawn, n))
    centred = rankdata(place) - (total + 1) / 2
    variance = n * (total - n) / (total * (total - 1)) * (centred**2).sum()
    third = n * (total - n) * (total - 2 * n) / (total * (total - 1) * (total - 2)) * (centred**3).sum()
    deviation, skew = centred[:n].sum() / variance**0.5, third / variance**1.5
    signs = np.array([1, -1])
    high, low = np.maximum(norm.sf(signs * deviation), pearson3.sf(signs * deviation, signs * skew))
    return float(high), float(low)


def found_of(scores: Scores, *, tested: bool) -> tuple[Found, ...]:
    """The exposed few at each number of false positives that `FEW_LEVELS` allow."""
    n, m = len(scores.members), len(scores.non_members)
    counts = np.mean([members_above(*split) for split in scores.pairs], axis=0)
    allowed = dict.fromkeys(int(np.floor(fpr * m * (1 + 1e-12))) for fpr in FEW_LEVELS)
    return tuple(
        Found(k, float(counts[k + 1]), n * (k + 1) / (m + 1),
              found_p_value(counts[k + 1], k, n, m, inflation(scores)) if tested else None)
        for k in allowed
    )


def found_p_value(found: float, allowed: int, n: int, m: int, wider: float) -> float:
    """How often this many members lie above the `allowed + 1`-th highest non-member where all records are alike.

    Of the `found + allowed` highest records at least `found` are members then: hypergeometric, and exact for one split.
    """
    whole = int(np.floor(found + 1e-9))
    if whole < 1:
        return 1.0
    p = float(hypergeom.sf(whole - 1, n + m, n, whole + allowed))
    return float(norm.sf(norm.isf(p) / wider)) if p < 0.5 else p

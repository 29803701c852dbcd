"""How well scores tell members from non-members: ROC, AUC, advantage, members found at a low false-positive rate."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import kstwobign, norm, rankdata
from sklearn import metrics

from privacy.errors import InputError
from privacy.inputs import checked_scores, require_whole

__all__ = ["FPR_LEVELS", "Interval", "Roc", "auc_ceiling", "chance_advantage", "members_above", "placements", "roc_of"]

FPR_LEVELS = (0.001, 0.01, 0.1)


@dataclass(frozen=True, eq=False)
class Interval:
    """A value with the ends of its 95 % confidence interval.

    Where there is no honest interval its ends are NaN and `why` says why; where there is no value either, that is NaN.
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    why: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return np.array_equal(self._numbers(), other._numbers(), equal_nan=True)  # what is not there is the same

    def __hash__(self) -> int:
        return hash(tuple(str(number) for number in self._numbers()))

    def _numbers(self) -> list[float]:
        return [self.value, self.low, self.high]

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        return self.text()

    @property
    def known(self) -> bool:
        """Whether it has ends."""
        return self.low == self.low

    def stretched(self, comparisons: int) -> "Interval":
        """A wider interval: so many of them cover together in 95 % of cases (Bonferroni)."""
        factor = float(norm.isf(0.025 / comparisons) / norm.isf(0.025))
        low, high = (self.value + factor * (end - self.value) for end in (self.low, self.high))
        return Interval(self.value, low, high, self.why)

    def text(self, digits: int = 3, factor: float = 1.0, unit: str = "") -> str:
        """`value unit [low, high]`; the value alone where there is no interval, a dash where there is none either."""
        if self.value != self.value:
            return "–"
        value = f"{factor * self.value:.{digits}f}{unit}"
        return f"{value} [{factor * self.low:.{digits}f}, {factor * self.high:.{digits}f}]" if self.known else value


@dataclass(frozen=True, eq=False)
class Roc:
    """A ROC curve: `fpr` and `tpr`, shape `(k,)`, from (0, 0) to (1, 1). Members are the positives."""

    fpr: np.ndarray
    tpr: np.ndarray

    @property
    def auc(self) -> float:
        """Area under the curve: the chance that a member scores higher than a non-member, ties counting half."""
        return float(metrics.auc(self.fpr, self.tpr))

    @property
    def advantage(self) -> float:
        """Largest `|TPR - FPR|` (Yeom et al. 2018, as TensorFlow Privacy computes it), in [0, 1]."""
        return float(np.abs(self.tpr - self.fpr).max())

    @classmethod
    def mean(cls, curves: "list[Roc]") -> "Roc":
        """The mean TPR of several curves at every FPR; its area is the mean of their areas."""
        if len(curves) == 1:
            return curves[0]
        fpr = np.unique(np.concatenate([curve.fpr for curve in curves]))
        ends = np.mean([curve._at(fpr) for curve in curves], axis=0)  # a curve may rise at one FPR: two ends
        return cls(np.repeat(fpr, 2), ends.T.reshape(-1))

    def _at(self, wanted: np.ndarray) -> np.ndarray:
        """Lowest and highest TPR `(2, len(wanted))` at each wanted FPR."""
        fpr, first = np.unique(self.fpr, return_index=True)
        last = np.append(first[1:], len(self.fpr)) - 1
        low, high = self.tpr[first], self.tpr[last]
        at = np.searchsorted(fpr, wanted)
        exact = fpr[at] == wanted
        before = np.maximum(at - 1, 0)
        share = np.where(exact, 0, (wanted - fpr[before]) / np.where(exact, 1, fpr[at] - fpr[before]))
        between = high[before] + share * (low[at] - high[before])
        return np.stack([np.where(exact, low[at], between), np.where(exact, high[at], between)])


def roc_of(members: np.ndarray, non_members: np.ndarray) -> Roc:
    """The ROC curve of member scores `(n,)` against non-member scores `(m,)`; higher means more like a member."""
    members, non_members = checked_scores(members, "members"), checked_scores(non_members, "non_members")
    truth = np.r_[np.ones(len(members)), np.zeros(len(non_members))]
    # Every threshold: on a straight stretch the default leaves out those that an FPR of just so much needs.
    fpr, tpr, _ = metrics.roc_curve(truth, np.r_[members, non_members], drop_intermediate=False)
    return Roc(fpr, tpr)


def members_above(members: np.ndarray, non_members: np.ndarray) -> np.ndarray:
    """How many members `(m + 2,)` score above the j-th highest non-member, for j = 0 (none do) to m + 1 (all do).

    An attacker who allows k false positives finds entry k + 1. Where scores are equal, the threshold falls at random
    within them: a members and b non-members that are equal count, at the i-th of these b, as `a i / (b + 1)` members,
    the mean over all orders. Without ties these are whole numbers, and no interpolation (Carlini et al. 2022).
    """
    n, m = len(members), len(non_members)
    values, place = np.unique(-np.r_[members, non_members], return_inverse=True)
    equal_members = np.bincount(place[:n], minlength=len(values))
    equal_others = np.bincount(place[n:], minlength=len(values))
    above = np.cumsum(equal_members) - equal_members
    blocks = np.repeat(np.arange(len(values)), equal_others)  # the block of each non-member, the highest first
    within = np.arange(m) - (np.cumsum(equal_others) - equal_others)[blocks] + 1
    counts = above[blocks] + equal_members[blocks] * within / (equal_others[blocks] + 1)
    return np.r_[0.0, counts, n]


def placements(members: np.ndarray, non_members: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each member the share of non-members below it `(n,)`, for each non-member that of members above it `(m,)`.

    Ties count half. The mean of either is the AUC (DeLong, DeLong & Clarke-Pearson 1988).
    """
    n, m = len(members), len(non_members)
    ranks = rankdata(np.r_[members, non_members])
    return (ranks[:n] - rankdata(members)) / m, 1 - (ranks[n:] - rankdata(non_members)) / n


def chance_advantage(members: int, non_members: int, *, trained: bool) -> float:
    """What the advantage stays below in 95 % of cases where nothing leaks (Kolmogorov & Smirnov).

    The gaps of a trained attack go together in both folds, which widens them by up to the root of two.
    """
    spread = np.sqrt((members + non_members) / (members * non_members))
    return float(min(1.0, kstwobign.isf(0.05) * spread * (np.sqrt(2) if trained else 1)))


def auc_ceiling(seen: int, members: int) -> float:
    """The AUC when `seen` of `members` are told apart without a mistake, and the others not at all: `1/2 + seen/2n`.

    A model that was shown 500 of 10 000 members cannot give away more than 0.525 about membership, however much it
    memorises; an AUC near one half is then arithmetic, not privacy.
    """
    require_whole("members", members, least=1)
    require_whole("seen", seen, least=0)
    if seen > members:
        raise InputError(f"seen is {seen}, more than the {members} members; wanted at most that many")
    return 0.5 + 0.5 * seen / members

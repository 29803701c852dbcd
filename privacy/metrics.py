"""How well scores tell members from non-members: AUC, ROC, advantage, members found at a low false-positive rate."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import kstwobign, norm, rankdata
from sklearn.metrics import roc_curve

from privacy.errors import InputError
from privacy.validation import checked_scores, require_whole

__all__ = [
    "FPR_LEVELS", "Interval", "Placements", "Roc", "auc_ceiling", "auc_of", "chance_advantage", "members_above",
    "placements", "roc_of",
]  # fmt: skip

FPR_LEVELS = (0.001, 0.01, 0.1)


@dataclass(frozen=True, eq=False)
class Interval:
    """A value with the ends of its 95 % confidence interval.

    Where there is no honest interval its ends are NaN and `why` says why; where there is no value either, that is NaN.

    >>> interval = Interval(0.62, 0.55, 0.69)
    >>> print(interval)
    0.620 [0.550, 0.690]
    >>> 0.5 in interval
    False
    """

    value: float
    low: float = float("nan")
    high: float = float("nan")
    why: str = ""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Interval):
            return NotImplemented
        return np.array_equal(self._numbers(), other._numbers(), equal_nan=True)  # two missing numbers are equal

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
        """Whether the interval has ends."""
        return self.low == self.low

    def stretched(self, comparisons: int) -> "Interval":
        """A wider interval: `comparisons` of them, 1 or more, all cover in 95 % of cases (Bonferroni).

        Raises `InputError` for another number.
        """
        require_whole("comparisons", comparisons, least=1)
        factor = float(norm.isf(0.025 / comparisons) / norm.isf(0.025))
        low, high = (self.value + factor * (end - self.value) for end in (self.low, self.high))
        return Interval(self.value, low, high, self.why)

    def text(self, digits: int = 3, factor: float = 1.0, unit: str = "") -> str:
        """`value unit [low, high]`; only the value where there is no interval, a dash where there is no value either.

        >>> Interval(0.123, 0.1, 0.15).text(1, 100, " %")
        '12.3 % [10.0, 15.0]'
        """
        if self.value != self.value:
            return "–"
        value = f"{factor * self.value:.{digits}f}{unit}"
        return f"{value} [{factor * self.low:.{digits}f}, {factor * self.high:.{digits}f}]" if self.known else value


@dataclass(frozen=True, eq=False)
class Roc:
    """A ROC curve: `fpr` and `tpr`, shape `(k,)`, from (0, 0) to (1, 1). Members are the positives.

    The area under it is `auc_of` the scores.
    """

    fpr: np.ndarray
    tpr: np.ndarray

    @property
    def advantage(self) -> float:
        """Largest `|TPR - FPR|` (Yeom et al. 2018, as TensorFlow Privacy computes it), in [0, 1]."""
        return float(np.abs(self.tpr - self.fpr).max())

    @classmethod
    def mean(cls, curves: "list[Roc]") -> "Roc":
        """The mean TPR of several curves at every FPR; the area under it is the mean of their areas."""
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
    """The ROC curve of member scores `(n,)` against non-member scores `(m,)`; higher means more like a member.

    >>> curve = roc_of([0.9, 0.8, 0.2], [0.3, 0.1])
    >>> curve.fpr.tolist()
    [0.0, 0.0, 0.0, 0.5, 0.5, 1.0]
    >>> curve.advantage
    0.6666666666666666
    """
    members, non_members = checked_scores(members, "members"), checked_scores(non_members, "non_members")
    truth = np.r_[np.ones(len(members)), np.zeros(len(non_members))]
    # Every threshold: by default those on a straight stretch are left out, and the TPR at an FPR there with them.
    fpr, tpr, _ = roc_curve(truth, np.r_[members, non_members], drop_intermediate=False)
    return Roc(fpr, tpr)


@dataclass(frozen=True, eq=False)
class Placements:
    """Where each record's score lies among those of the other side (DeLong, DeLong & Clarke-Pearson 1988).

    - `members` `(n,)`: for each member the share of non-members below it. `non_members` `(m,)`: for each non-member the
      share of members above it. Ties count half.
    """

    members: np.ndarray
    non_members: np.ndarray

    @property
    def auc(self) -> float:
        """Area under the ROC curve: the chance that a member scores higher than a non-member, ties counting half."""
        return float(self.members.mean())

    def minus(self, other: "Placements") -> "Placements":
        """The differences of the placements of the same records under two attacks."""
        return Placements(self.members - other.members, self.non_members - other.non_members)

    @property
    def variances(self) -> tuple[float, float]:
        """The variance of the placements of the members, and of the non-members; 0 for a single record."""
        first, second = (
            float(side.var(ddof=1)) if len(side) > 1 else 0.0 for side in (self.members, self.non_members)
        )
        return first, second


def placements(members: np.ndarray, non_members: np.ndarray) -> Placements:
    """The placements of member scores `(n,)` and non-member scores `(m,)`."""
    n, m = len(members), len(non_members)
    ranks = rankdata(np.r_[members, non_members])
    return Placements((ranks[:n] - rankdata(members)) / m, 1 - (ranks[n:] - rankdata(non_members)) / n)


def auc_of(members: np.ndarray, non_members: np.ndarray) -> float:
    """The AUC of member scores `(n,)` against non-member scores `(m,)`; 0.5 is guessing, 1 finds every member.

    Raises `InputError` for scores that are not one vector of finite numbers.

    >>> auc_of([0.9, 0.8, 0.2], [0.3, 0.1])
    0.8333333333333334
    """
    return placements(checked_scores(members, "members"), checked_scores(non_members, "non_members")).auc


def members_above(members: np.ndarray, non_members: np.ndarray) -> np.ndarray:
    """How many members `(m + 2,)` score above the j-th highest non-member, for j = 0 (none do) to m + 1 (all do).

    An attacker who allows k false positives finds entry k + 1. Where scores are equal, the threshold falls at random
    within them: a members and b non-members that are equal count, at the i-th of these b, as `a i / (b + 1)` members,
    the mean over all orders. Without ties these are whole numbers, and no interpolation (Carlini et al. 2022).

    >>> members_above(np.array([0.9, 0.8, 0.2]), np.array([0.3, 0.1])).tolist()
    [0.0, 2.0, 3.0, 3.0]
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


def chance_advantage(members: int, non_members: int, *, trained: bool) -> float:
    """What the advantage stays below in 95 % of cases where nothing leaks (Kolmogorov & Smirnov).

    The two folds of a trained attack err in the same direction, which widens the gaps by up to the root of two.
    """
    spread = np.sqrt((members + non_members) / (members * non_members))
    return float(min(1.0, kstwobign.isf(0.05) * spread * (np.sqrt(2) if trained else 1)))


def auc_ceiling(seen: int, members: int) -> float:
    """The AUC when `seen` of `members` are distinguished without error, and the others not at all: `1/2 + seen/2n`.

    A model that was shown 500 of 10 000 members cannot reveal more than 0.525 about membership, however much it
    memorises; an AUC near one half is then arithmetic, not privacy. Raises `InputError` where `seen` exceeds `members`.

    >>> auc_ceiling(500, 10_000)
    0.525
    """
    require_whole("members", members, least=1)
    require_whole("seen", seen, least=0)
    if seen > members:
        raise InputError(f"seen is {seen}, more than the {members} members; expected at most {members}")
    return 0.5 + 0.5 * seen / members

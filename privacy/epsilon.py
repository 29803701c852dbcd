"""Lower bounds on epsilon: from true- and false-positive rates, with the search for a threshold paid for."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import beta

from privacy.errors import InputError, shown
from privacy.validation import checked_scores, require_number, require_whole

__all__ = [
    "CONFIDENCE", "DELTA", "EpsilonBound", "check_counts", "check_level", "epsilon_from_counts", "epsilon_from_scores",
]  # fmt: skip

DELTA = 1e-5
CONFIDENCE = 0.95
STEP = 4  # between the numbers of records above the thresholds that are tried


@dataclass(frozen=True)
class EpsilonBound:
    """A lower bound on epsilon: no mechanism that is (epsilon, delta)-differentially private has a smaller one.

    The bound is wrong in at most a share `1 - confidence` of audits. It says what was shown, not what is true: 0 means
    that nothing was shown.

    >>> print(epsilon_from_counts(found=40, members=100, false_positives=0, non_members=1000, delta=1e-5))
    epsilon >= 4.41 at delta 1e-05, with 95 % confidence (40 of 100 members found at 0 of 1000 false positives)
    """

    epsilon: float
    """The bound, 0 or more."""
    delta: float
    """The delta it holds at."""
    confidence: float
    """How often such a bound holds, at least."""
    evidence: str
    """The counts that it rests on, in words."""
    tries: int = 1
    """How many thresholds or numbers of guesses were tried, and paid for."""

    def __str__(self) -> str:
        tried = f", the best of {self.tries} tries" if self.tries > 1 else ""
        return (
            f"epsilon >= {self.epsilon:.2f} at delta {self.delta:g}, with {100 * self.confidence:g} % confidence "
            f"({self.evidence}{tried})"
        )


def epsilon_from_counts(
    *,
    found: int,
    members: int,
    false_positives: int,
    non_members: int,
    delta: float = DELTA,
    confidence: float = CONFIDENCE,
) -> EpsilonBound:
    """The classical bound from how many members and non-members an attack calls members.

    Clopper-Pearson limits of both rates, each wrong in half of `1 - confidence`; then
    `epsilon >= log((TPR - delta) / FPR)` and `epsilon >= log((TNR - delta) / FNR)` (Kairouz, Oh & Viswanath 2015).

    - `found` of `members`, `false_positives` of `non_members`: counts.
    - `delta` in [0, 1), `confidence` in (0, 1).

    The threshold must have been chosen without these records; `epsilon_from_scores` chooses it, and pays for that. The
    records' answers must be independent, as from one training for each record; records of a single training depend on
    each other, and there this is an estimate: `epsilon_from_canaries` has a guarantee for a single training.

    Raises `InputError` for counts that do not fit, or a delta or confidence out of range.

    >>> bound = epsilon_from_counts(found=60, members=100, false_positives=10, non_members=100, delta=0)
    >>> round(bound.epsilon, 2)
    1.04
    """
    check_counts(found, members, "found", "members")
    check_counts(false_positives, non_members, "false_positives", "non_members")
    check_level(delta, confidence)
    epsilon = rates_epsilon(found, members, false_positives, non_members, delta, 1 - confidence)
    return EpsilonBound(epsilon, delta, confidence, found_words(found, members, false_positives, non_members))


def epsilon_from_scores(
    members: Any, non_members: Any, *, delta: float = DELTA, confidence: float = CONFIDENCE
) -> EpsilonBound:
    """The bound of `epsilon_from_counts` at the best of several thresholds, with the search paid for.

    Thresholds lie at non-members, the 1st, 4th, 16th, ... highest, up to half of them, and in the same way at the
    lowest members; all limits hold together (Bonferroni). A threshold at the k-th highest non-member has a
    false-positive rate whose upper limit is that of Clopper and Pearson for k - 1 false positives, although it was
    read from these records: the rate has a beta distribution. So no record is set aside to choose the threshold, and no
    random split decides; with 200 to 10 000 records a side it showed 0.1 to 0.5 more than a threshold that is chosen on
    one half and tested on the other.

    - `members` `(n,)`, `non_members` `(m,)`: scores, higher for more like a member.
    - `delta` in [0, 1), `confidence` in (0, 1).

    What `epsilon_from_counts` says of independent answers holds here too. Scores that are equal are counted against the
    bound. Raises `InputError` for scores that are not finite, or a delta or confidence out of range.

    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> print(epsilon_from_scores(random.normal(3, 1, 1000), random.normal(0, 1, 1000)).epsilon > 2)
    True
    """
    scores = checked_scores(members, "members"), checked_scores(non_members, "non_members")
    check_level(delta, confidence)
    tries = [*tries_at(*scores, found_words), *tries_at(-scores[1], -scores[0], excluded_words)]
    wrong = (1 - confidence) / len(tries)
    best, evidence = 0.0, "no threshold shows more than 0"
    for counts, words in tries:
        epsilon = rates_epsilon(*counts, delta, wrong)
        if epsilon > best:
            best, evidence = epsilon, words(*counts)
    return EpsilonBound(best, delta, confidence, evidence, len(tries))


Counts = tuple[int, int, int, int]  # positives above a threshold, of how many, negatives above it, of how many


def tries_at(
    positives: np.ndarray, negatives: np.ndarray, words: Callable[..., str]
) -> list[tuple[Counts, Callable[..., str]]]:
    """The counts above thresholds at the 1st, 4th, 16th, ... highest of the negatives."""
    n, m = len(positives), len(negatives)
    descending = -np.sort(-negatives)
    ranks = [STEP**power for power in range(64) if STEP**power <= max(1, m / 2)]
    return [((int((positives > descending[rank - 1]).sum()), n, rank - 1, m), words) for rank in ranks]


def rates_epsilon(
    found: int, members: int, false_positives: int, non_members: int, delta: float, wrong: float
) -> float:
    """The larger of both bounds from limits of the rates that are wrong in a share `wrong` of cases, together."""
    tpr = float(beta.ppf(wrong / 2, found, members - found + 1)) if found else 0.0
    negatives = non_members - false_positives
    fpr = float(beta.isf(wrong / 2, false_positives + 1, negatives)) if negatives else 1.0
    ratios = (tpr - delta) / fpr, (1 - fpr - delta) / (1 - tpr)
    return float(np.log(max(1.0, *ratios)))


def found_words(found: int, members: int, false_positives: int, non_members: int) -> str:
    """The counts in words."""
    return f"{found} of {members} members found at {false_positives} of {non_members} false positives"


def excluded_words(found: int, non_members: int, missed: int, members: int) -> str:
    """The counts in words, where the threshold was taken from the members."""
    return f"{found} of {non_members} non-members excluded with {missed} of {members} members"


def check_counts(count: int, total: int, name: str, total_name: str) -> None:
    """Raise `InputError` unless `count` of `total` is a share."""
    require_whole(total_name, total, least=1)
    require_whole(name, count, least=0)
    if count > total:
        raise InputError(f"{name} is {count}, more than {total_name}, {total}; expected at most {total}")


def check_level(delta: Any, confidence: Any) -> None:
    """Raise `InputError` unless `delta` is in [0, 1) and `confidence` in (0, 1)."""
    require_number("delta", delta, least=0, below=1)
    if isinstance(confidence, bool) or not isinstance(confidence, float | int) or not 0 < confidence < 1:
        raise InputError(f"confidence is {shown(confidence)}; expected a number between 0 and 1, such as {CONFIDENCE}")

"""What an attack finds of the planted canaries."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import beta

from privacy.epsilon import CONFIDENCE, DELTA, EpsilonBound
from privacy.files import jsonable, write_json
from privacy.metrics import FPR_LEVELS, Interval
from privacy.one_run import checked_coins, epsilon_from_canaries
from privacy.tables import text_table
from privacy.validation import checked_scores

__all__ = ["CanariesFound", "CanaryReport", "canary_report", "clopper_pearson"]

FEW_LEVELS = FPR_LEVELS[:2]
HELD_OUT, NON_MEMBERS = "held-out canaries", "ordinary non-members"


@dataclass(frozen=True)
class CanariesFound:
    """Planted canaries found at one false-positive rate."""

    fpr: float
    """The false-positive rate that was allowed."""
    found: int
    """How many planted canaries score above the threshold."""
    planted: int
    """How many were planted."""
    share: Interval
    """`found / planted` with its 95 % interval (Clopper & Pearson 1934), at this threshold."""
    held_out_found: int
    """How many held-out canaries score above it: false alarms among canaries."""
    held_out: int
    """How many were held out."""
    threshold_from: str
    """Whose scores gave the threshold: "held-out canaries", or "ordinary non-members" where these are too few."""


@dataclass(frozen=True)
class CanaryReport:
    """What an attack finds of the planted canaries: `print` it, or write it with `to_json`."""

    found: tuple[CanariesFound, ...]
    """At 0.1 % and 1 % false positives; a rate that cannot be estimated is left out."""
    epsilon: EpsilonBound
    """The lower bound on epsilon that the guesses show."""
    planted: int
    """How many canaries were planted."""
    held_out: int
    """How many were held out."""
    notes: tuple[str, ...] = ()
    """What a reader has to know about the numbers."""

    def __str__(self) -> str:
        rows = [["false positives", "planted found", "share", "held out found", "threshold from"]]
        for each in self.found:
            rows.append([f"{100 * each.fpr:g} %", f"{each.found} of {each.planted}", each.share.text(1, 100, " %"),
                         f"{each.held_out_found} of {each.held_out}", each.threshold_from])
        table = text_table(rows) if self.found else ""
        head = f"{self.planted} canaries planted, {self.held_out} held out"
        return "\n".join(line for line in (head, table, str(self.epsilon), *self.notes) if line)

    def to_dict(self) -> dict[str, Any]:
        """Everything, ready for JSON."""
        return jsonable(asdict(self))

    def to_json(self, path: str | Path) -> Path:
        """Write `to_dict` as JSON, atomically."""
        return write_json(path, self.to_dict())


def canary_report(
    scores: Any, planted: Any, *, non_members: Any = None, delta: float = DELTA, confidence: float = CONFIDENCE
) -> CanaryReport:
    """How many planted canaries an attack finds at 0.1 % and 1 % false positives, and the epsilon this shows.

    Planted canaries are compared with held-out ones alone: canaries are unlike ordinary records, and an attack may rank
    them higher for that. Where fewer are held out than one false positive needs (1000 for 0.1 %, 100 for 1 %), the
    threshold is that of ordinary non-members, and the report says so; the held-out canaries above it tell how many of
    the planted ones would be found without having been planted.

    - `scores` `(n,)`: an attack's scores of all canaries, higher for more like a member. `planted` `(n,)`: the coins.
    - `non_members` `(m,)`: scores of ordinary non-members, optional.
    - `delta`, `confidence`: of the lower bound on epsilon, see `epsilon_from_canaries`.

    Raises `InputError` where scores and coins do not fit, or all coins are the same.

    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> planted = random.random(400) < 0.5
    >>> others = random.normal(0, 0.2, 2000)
    >>> print(canary_report(planted + random.normal(0, 0.3, 400), planted, non_members=others))  # doctest: +ELLIPSIS
    183 canaries planted, 217 held out
    false positives  planted found                share  held out found        threshold from
    -----------------------------------------------------------------------------------------
    0.1 %               169 of 183  92.3 % [87.5, 95.8]        6 of 217  ordinary non-members
    1 %                 157 of 183  85.8 % [79.9, 90.5]        2 of 217     held-out canaries
    epsilon >= 3.69 at delta 1e-05, with 95 % confidence (200 of 200 guesses right, 400 canaries, the best of 6 tries)
    thresholds from ordinary non-members: compare with the held-out canaries, which are found there although ...
    """
    values = checked_scores(scores, "scores")
    coins = checked_coins(planted, len(values))
    inside, outside = values[coins], values[~coins]
    others = None if non_members is None else checked_scores(non_members, "non_members")
    found, missing = [], []
    for fpr in FEW_LEVELS:
        named = {HELD_OUT: outside} if others is None else {HELD_OUT: outside, NON_MEMBERS: others}
        source = next((name for name, own in named.items() if allowed(fpr, len(own))), None)
        if source is None:
            missing.append(f"{100 * fpr:g} %")
            continue
        threshold = -np.sort(-named[source])[allowed(fpr, len(named[source]))]
        above, false = int((inside > threshold).sum()), int((outside > threshold).sum())
        share = Interval(above / len(inside), *clopper_pearson(above, len(inside)))
        found.append(CanariesFound(fpr, above, len(inside), share, false, len(outside), source))
    bound = epsilon_from_canaries(values, coins, delta=delta, confidence=confidence)
    return CanaryReport(tuple(found), bound, len(inside), len(outside), notes(missing, found, len(outside)))


def allowed(fpr: float, negatives: int) -> int:
    """How many false positives a rate allows."""
    return int(np.floor(fpr * negatives * (1 + 1e-12)))


def notes(missing: list[str], found: list[CanariesFound], held_out: int) -> tuple[str, ...]:
    """What a reader has to know."""
    said = []
    if missing:
        said.append(
            f"{' and '.join(missing)} false positives cannot be estimated from {held_out} held-out canaries; give "
            "scores of ordinary non-members, or make more"
        )
    if any(each.threshold_from == NON_MEMBERS for each in found):
        said.append(
            f"thresholds from {NON_MEMBERS}: compare with the held-out canaries, which are found there although "
            "nothing was trained on them"
        )
    return tuple(said)


def clopper_pearson(count: int, total: int) -> tuple[float, float]:
    """The exact 95 % interval of a share (Clopper & Pearson 1934).

    >>> clopper_pearson(0, 10)[1] == 1 - 0.025 ** (1 / 10)
    True
    """
    tail = 0.025
    low = float(beta.ppf(tail, count, total - count + 1)) if count else 0.0
    high = float(beta.isf(tail, count + 1, total - count)) if count < total else 1.0
    return low, high

"""The likelihood-ratio attack: how likely the model's confidence is if it was, and was not, trained on a record."""

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from scipy.stats import norm

from privacy.attacks.reference_attack import Mode, ReferenceAttack, normal_deviate
from privacy.errors import InputError
from privacy.records import AttackRecords
from privacy.signals import Moments, Signals
from privacy.validation import require_one_of

__all__ = ["LiRA", "Variance"]

Variance = Literal["auto", "shared", "own"]
MANY = 32  # references on each side of a record, 64 in all, from which its own variance is the better estimate
SMALLEST = 1e-6  # of a record's spread, in parts of the shared one: with few references it can be 0 by chance


@dataclass(frozen=True)
class LiRA(ReferenceAttack):
    """Normal distributions of each record's log-odds in models with and without it (Carlini et al. 2022, LiRA).

    - online: `log N(in) - log N(out)` at the attacked model's log-odds, of the references that were and were not
      trained on the record. offline: `(log-odds - mean out) / spread out`, one-sided: only more confidence than
      without the record speaks for membership. `mode="auto"` is online where every record has references of both kinds.
    - `variance`: "own" for each record; "shared" by all, around each record's own mean, but one for the references with
      and one for those without it; "auto" takes the shared one for records with fewer than 32 references of a kind.

    Differs from the published code: means, as in the paper, in place of medians; its shared spread includes the spread
    between records, and stands for both kinds though it is that of references trained on a record. Offline spreads are
    those of a new value around a mean of few, `(1 + 1 / k)`, and with own variances deviates of Student's t, so that
    records with different numbers of references compare; with equal numbers both leave ranks as they are.
    """

    mode: Mode = "auto"
    variance: Variance = "auto"

    name = "lira"
    title = "likelihood ratio (LiRA)"

    def check(self, records: AttackRecords) -> None:
        """Raise `InputError` for options that are none, or need more references than the records have."""
        super().check(records)
        require_one_of("variance", self.variance, get_args(Variance))
        fewest = fewest_references(records.signals, self.online(self.mode, records.signals))
        if self.variance == "own" and fewest < 2:
            raise InputError(
                "a variance of its own needs two references with and without each record, and some have one; use "
                'variance="shared", or more references'
            )

    def score(self, signals: Signals, records: AttackRecords) -> np.ndarray:
        """The log-likelihood ratio of every record, or the deviation, `(n,)`."""
        online = self.online(self.mode, signals)
        own = self.variance == "own" or (self.variance == "auto" and fewest_references(signals, online) >= MANY)
        out = signals.moments_out
        if online:
            without, having = (
                norm.logpdf(signals.target, each.mean, own_spread(each) if own else shared_spread(each))
                for each in (out, signals.moments_in)
            )
            return having - without
        deviation = (signals.target - out.mean) / np.sqrt(1 + 1 / out.count)
        if not own:
            return deviation / shared_spread(out)
        degrees = out.count - 1.0
        return normal_deviate(deviation / (own_spread(out) * np.sqrt(out.count / degrees)), degrees)


def fewest_references(signals: Signals, online: bool) -> int:
    """The smallest number of references of a kind that a record has."""
    kinds = [signals.moments_out, *([signals.moments_in] if online else [])]
    return int(min(kind.count.min() for kind in kinds))


def shared_spread(found: Moments) -> float:
    """Standard deviation around the means of all records; 1 where it is 0 or each record has a single reference."""
    return float(np.sqrt(found.squares.sum() / found.count.sum())) or 1.0


def own_spread(found: Moments) -> np.ndarray:
    """Standard deviation of each record around its mean, `(n,)`, at least a millionth of the shared one."""
    return np.maximum(np.sqrt(found.squares / found.count), SMALLEST * shared_spread(found))

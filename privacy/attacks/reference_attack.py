"""What attacks with reference models share."""

from abc import abstractmethod
from functools import partial
from typing import ClassVar, Literal, get_args

import numpy as np

from privacy.attacks.base import Attack, Task, unchanged
from privacy.errors import InputError
from privacy.records import AttackRecords
from privacy.signals import Signals
from privacy.validation import require_one_of

__all__ = ["Mode", "ReferenceAttack", "normal_deviate"]

Mode = Literal["auto", "online", "offline"]
LARGEST = 1e100  # of a signal: the squares of larger numbers overflow


class ReferenceAttack(Attack):
    """An attack that compares what the attacked model says of each record with what reference models say of it.

    Nothing is learned from who is a member, so every record counts, in one split. A subclass sets `name` and `title`
    and defines `score`.

    >>> from privacy.references import References
    >>> class Higher(ReferenceAttack):
    ...     name, title = "higher", "higher than all references"
    ...
    ...     def score(self, signals, records):
    ...         return signals.target - np.where(signals.outside, signals.references, -np.inf).max(0)
    >>> references = References(member_outputs=[[[2.0, 0]], [[3.0, 0]]], non_member_outputs=[[[4.0, 0]], [[3.5, 0]]])
    >>> records = AttackRecords(members=([[5.0, 0]], [0]), non_members=([[4.0, 0]], [0]), references=references)
    >>> Higher().scores(records).values
    array([2., 0.])
    """

    cost = 0.0
    needs: ClassVar[tuple[str, ...]] = ("references",)

    def check(self, records: AttackRecords) -> None:
        """Raise `InputError` for outputs too large to compare."""
        largest = max(np.abs(records.signals.target).max(), np.abs(records.signals.references).max())
        if largest > LARGEST:
            raise InputError(
                f"outputs of the attacked model or of references reach {largest:.3g}, too large for the squares of the "
                f"{self.name} attack; divide all outputs by a constant, or use only the threshold attack"
            )

    def tasks(self, records: AttackRecords, *, seed: int) -> list[Task]:
        """One task, which gives scores computed here: they take less time than sending references to a worker."""
        return [partial(unchanged, self.score(records.signals, records))]

    @abstractmethod
    def score(self, signals: Signals, records: AttackRecords) -> np.ndarray:
        """The score of every record, `(n,)`, the higher the more like a member."""

    def online(self, mode: Mode, signals: Signals) -> bool:
        """Whether references that were trained on the records are used; raises `InputError` where there are too few."""
        require_one_of("mode", mode, get_args(Mode))
        if mode == "online" and not signals.online:
            without = int((~signals.inside.any(0)).sum())
            raise InputError(
                f"the {self.name} attack is to be online, but {without} of {len(signals.target)} records are in the "
                'training data of no reference; use mode="offline", or splits of reference_splits'
            )
        return mode != "offline" and signals.online


def normal_deviate(t: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Student's `t` `(n,)` with `degrees` `(n,)` of freedom as a deviate of the normal distribution (Wallace 1959).

    It makes records with different numbers of references comparable, keeps the order where these are equal, and stays
    finite where tail probabilities are 0 in float64.

    >>> normal_deviate(np.array([2.0, -3.0]), np.array([8.0, np.inf])).round(2)  # exactly 1.747 and -3
    array([ 1.75, -3.  ])
    """
    with np.errstate(invalid="ignore"):
        size = np.sqrt(degrees * np.log1p(t**2 / degrees)) * (8 * degrees + 1) / (8 * degrees + 3)
    return np.where(np.isinf(degrees), t, np.sign(t) * size)

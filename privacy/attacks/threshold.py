"""The threshold attack: the lower a record's loss, the more likely it is a member."""

from dataclasses import dataclass
from functools import partial

from privacy.attacks.base import Attack, Task, unchanged
from privacy.records import AttackRecords

__all__ = ["Threshold"]


@dataclass(frozen=True)
class Threshold(Attack):
    """The lower the loss, the more like a member (Yeom et al. 2018). Nothing is learned, every record counts."""

    name = "threshold"
    title = "threshold"
    cost = 0.0

    def tasks(self, records: AttackRecords, *, seed: int) -> list[Task]:
        """One task: how sure the model is, minus the losses or what ranks records as they do."""
        return [partial(unchanged, records.confidence())]

"""The calibrated attack: how much lower a record's loss is than in reference models."""

from dataclasses import dataclass

import numpy as np

from privacy.attacks.reference_attack import ReferenceAttack
from privacy.records import AttackRecords
from privacy.signals import Signals

__all__ = ["Calibrated"]


@dataclass(frozen=True)
class Calibrated(ReferenceAttack):
    """The mean loss in references without the record, minus the attacked model's loss (Watson et al. 2022).

    It takes away how hard a record is for any model; one reference is enough.
    """

    name = "calibrated"
    title = "calibrated loss"

    def score(self, signals: Signals, records: AttackRecords) -> np.ndarray:
        """The difference in loss of every record, `(n,)`."""
        target, references = signals.log_likelihoods
        return target - np.where(signals.outside, references, 0).sum(0) / signals.outside.sum(0)

"""The robust attack: how much likelier a record is under the model than under references, beside other records."""

from dataclasses import dataclass

import numpy as np

from privacy.attacks.reference_attack import Mode, ReferenceAttack
from privacy.records import AttackRecords
from privacy.signals import Signals, log_mean_exp, signals_of_population
from privacy.validation import require_flag, require_number

__all__ = ["RMIA"]


@dataclass(frozen=True)
class RMIA(ReferenceAttack):
    """`p(x) / pr(x)`, of the attacked model and of references (Zarifzadeh et al. 2024); works with one reference.

    - `pr(x)`, online: the mean over references with the record, and that over those without it, averaged. offline:
      `((1 + a) pr_out + 1 - a) / 2`, of those without it alone.
    - The score is the logarithm of the ratio. `count=True`, as published: the share of population records z whose ratio
      is at most `1 / gamma` of it. The count is a step function of the ratio, so that it ranks records alike but for
      ties, of which it has many where the ratio is larger than all of the population's.

    The population is that of the references, `References(population=...)`; without one, it is all records audited, both
    sides alike: taking the non-members alone would use what is to be found out. Log-likelihoods stay exact however
    close to 1 likelihoods are. Of losses alone likelihoods are `exp(-loss)`; where some are negative, `a` is 1.

    Raises `InputError` unless `a` lies in [0, 1] and `gamma` is 1 or more.
    """

    mode: Mode = "auto"
    count: bool = False
    a: float = 0.3
    gamma: float = 2.0

    name = "rmia"
    title = "robust likelihood ratio (RMIA)"

    def check(self, records: AttackRecords) -> None:
        """Raise `InputError` for options that are none."""
        super().check(records)
        self.online(self.mode, records.signals)
        require_flag("count", self.count)
        require_number("a", self.a, least=0, most=1)
        require_number("gamma", self.gamma, least=1)

    def score(self, signals: Signals, records: AttackRecords) -> np.ndarray:
        """The log-ratio of every record, or the share of the population that it exceeds, `(n,)`."""
        online = self.online(self.mode, signals)
        ratios = log_ratios(signals, online=online, a=self.a)
        if not self.count:
            return ratios
        population = ratios
        if records.references is not None and records.references.population is not None:
            given = signals_of_population(records.references.population, records.kind)
            # Online, the mean over all references stands for pr, as published: none was trained on these records.
            population = log_ratios(given, online=False, a=1.0 if online else self.a)
        return np.searchsorted(np.sort(population), ratios - np.log(self.gamma), side="right") / len(population)


def log_ratios(signals: Signals, *, online: bool, a: float) -> np.ndarray:
    """`log p(x) - log pr(x)` of every record, `(n,)`."""
    target, references = signals.log_likelihoods
    without = log_mean_exp(references, signals.outside)
    if online:
        return target - log_mean_exp(np.stack((without, log_mean_exp(references, signals.inside))))
    if a == 1 or not signals.are_odds:
        return target - without
    return target - log_mean_exp(np.stack((without, np.zeros_like(without))), weights=np.array([[1 + a], [1 - a]]))

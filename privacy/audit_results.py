"""The results of one audit: what was found for every attack and slice, and by which records."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from privacy.attack_results import Result
from privacy.errors import InputError, shown
from privacy.exposed import Exposed
from privacy.metrics import Roc, roc_of
from privacy.scores import Scores
from privacy.slices import WHOLE
from privacy.validation import require_whole
from privacy.verdict import Verdict, verdict_of

__all__ = ["AuditResults"]


@dataclass(frozen=True, eq=False)
class AuditResults:
    """What `AuditReport` is made of, and what its words, tables, plots and pages are made from."""

    results: tuple[Result, ...]
    """The results of each slice and attack, all records first."""
    scores: Mapping[str, Scores]
    """Every attack's scores of every record: `report.scores["rf"].members`."""
    slices: Mapping[str, np.ndarray]
    """A boolean mask of the records for each slice, `(n,)`, members first."""
    titles: Mapping[str, str]
    """The attacks' names in prose."""
    labels: np.ndarray
    """Classes of the members; -1 where they have several labels."""
    losses: np.ndarray
    """Losses of the members."""
    about: Mapping[str, Any]
    """Counts, accuracies, seed, engine, seconds, versions, notes."""
    info: Mapping[str, Any] = field(default_factory=dict)
    """What the caller added."""
    pictures: Mapping[int, np.ndarray] = field(default_factory=dict)
    """Images of the most exposed members, uint8, by position."""

    @cached_property
    def verdict(self) -> Verdict:
        """Whether members are distinguished from non-members on average, and whether a few are exposed."""
        return verdict_of(self.results)

    def result(self, attack: str, slice: str = WHOLE) -> Result:
        """The result of an attack on a slice; raises `InputError` when there is none."""
        for result in self.results:
            if isinstance(attack, str) and isinstance(slice, str) and (result.attack, result.slice) == (attack, slice):
                return result
        raise InputError(
            f"the report has no attack {shown(attack)} on slice {shown(slice)}; it has {', '.join(self.scores)} on "
            f"{', '.join(self.slices)}"
        )

    def results_on(self, slice_name: str) -> list[Result]:
        """The results of all attacks on a slice."""
        return [result for result in self.results if result.slice == slice_name]

    def roc(self, attack: str, slice: str = WHOLE) -> Roc:
        """The ROC curve of an attack on a slice, the mean over its splits."""
        self.result(attack, slice)
        return Roc.mean([roc_of(*split) for split in self.scores[attack].at(self.slices[slice]).pairs])

    def strongest(self, slice: str = WHOLE) -> Result:
        """The result with the highest AUC on a slice: what counts for the model's privacy is the best attack."""
        return max((self.result(attack, slice) for attack in self.scores), key=lambda result: result.auc.value)

    def telling_attack(self) -> str:
        """The attack that exposes a few, else that with the strongest evidence on average."""
        verdict = self.verdict
        evidence = verdict.few if verdict.exposes_a_few or verdict.average is None else verdict.average
        return (evidence or self.strongest()).attack

    def most_exposed(self, attack: str, count: int = 10) -> np.ndarray:
        """Positions of the members with the highest scores, `(count,)`, the most exposed first."""
        self.result(attack)
        require_whole("count", count, least=1)
        return np.argsort(-self.scores[attack].members, kind="stable")[:count]

    def exposed(self, attack: str, count: int = 10) -> list[Exposed]:
        """The members with the highest scores, the most exposed first: class, loss, score, false positives."""
        positions = self.most_exposed(attack, count)
        members, non_members = self.scores[attack].members, self.scores[attack].non_members
        return [
            Exposed(int(at), int(self.labels[at]), float(self.losses[at]), float(members[at]),
                    int((non_members >= members[at]).sum()))
            for at in positions
        ]

"""The results of the audit of a set: what was found for every attack and slice, and the worst pairs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from privacy.audit_results import AuditResults
from privacy.sets.pairs import Pair
from privacy.slices import WHOLE

__all__ = ["SetResults", "set_headline"]


@dataclass(frozen=True, eq=False)
class SetResults(AuditResults):
    """What `SetReport` is made of, and what its words, pictures and page are made from."""

    pairs: Mapping[str, tuple[Pair, ...]] = field(default_factory=dict)
    """For each attack the ten members with the highest scores, the highest first."""
    set_pictures: Mapping[int, np.ndarray] = field(default_factory=dict)
    """Images of the set that are nearest to these members, uint8, by position."""

    def worst(self, attack: str | None = None) -> tuple[Pair, ...]:
        """The ten members that an attack finds first; by default those of the attack with the strongest evidence."""
        attack = self.telling_attack() if attack is None else attack
        self.result(attack)
        return self.pairs[attack]

    def best_of_each_kind(self) -> "SetResults":
        """The report with, for each way to measure nearness, the variant of the highest AUC alone."""
        best: dict[str, str] = {}
        for result in self.results_on(WHOLE):
            kind = self.titles[result.attack].split(" / ")[0]
            if kind not in best or result.auc.value > self.result(best[kind]).auc.value:
                best[kind] = result.attack
        return replace(self, scores={name: self.scores[name] for name in best.values()})


def set_headline(report: AuditResults) -> str:
    """One line on what was attacked and with what."""
    about = report.about
    kinds = {"public": "{} public image", "references": "{} reference set", "networks": "features of {} network"}
    helped = [kind.format(about[key]) + "s" * (about[key] > 1) for key, kind in kinds.items() if about[key]]
    return (
        f"a set of {about['images']} images; {about['members']} members, {about['non_members']} non-members, "
        f"{about['classes']} classes; the attacker has {', '.join(helped) or 'nothing else'}; {about['seconds']:.1f} s"
    )

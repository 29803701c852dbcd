"""The attacks by name; a new one is added to `ATTACKS`."""

from collections.abc import Collection, Sequence

from privacy.attacks.base import Attack
from privacy.attacks.bavaria import BaVarIA
from privacy.attacks.calibrated import Calibrated
from privacy.attacks.forest import RandomForest
from privacy.attacks.knn import KNearestNeighbours
from privacy.attacks.lira import LiRA
from privacy.attacks.logistic_regression import LogisticRegressionAttack
from privacy.attacks.mlp import MultilayerPerceptron
from privacy.attacks.quantile import QuantileRegression
from privacy.attacks.rmia import RMIA
from privacy.attacks.threshold import Threshold
from privacy.errors import InputError, shown
from privacy.records import AttackRecords
from privacy.validation import closest

__all__ = ["ATTACKS", "chosen_attacks"]

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Threshold(),
        LogisticRegressionAttack(),
        MultilayerPerceptron(),
        RandomForest(),
        KNearestNeighbours(),
        LiRA(),
        RMIA(),
        Calibrated(),
        BaVarIA(),
        QuantileRegression(),
    )
}


def chosen_attacks(
    attacks: str | Attack | Sequence[str | Attack], records: AttackRecords, *, known_to: Collection[str] = ATTACKS
) -> list[Attack]:
    """The attacks for `"all"`, a name, an attack object, or several of these; raises `InputError` for unknown names.

    "all" stands for every attack in `known_to`, which an engine may restrict, that needs nothing the records lack.

    >>> records = AttackRecords(members=([[4.0, 0], [0, 3]], [0, 1]), non_members=([[1.0, 0]], [1]))
    >>> [attack.name for attack in chosen_attacks(["lr", "threshold"], records)]
    ['lr', 'threshold']
    >>> [attack.name for attack in chosen_attacks("all", records)]
    ['threshold', 'lr', 'mlp', 'rf', 'knn']
    """
    known = f"'all' or some of {', '.join(ATTACKS)}"
    if not isinstance(attacks, str | Attack | list | tuple | set | frozenset | dict):
        raise InputError(f"attacks is {shown(attacks)}; expected {known}")
    wanted = [attacks] if isinstance(attacks, str | Attack) else list(attacks)
    if any(isinstance(attack, str) and attack == "all" for attack in wanted):
        possible = [name for name in known_to if ATTACKS[name].lacking(records) is None]
        wanted = [*possible, *(attack for attack in wanted if isinstance(attack, Attack))]
    chosen: dict[str, Attack] = {}
    for attack in wanted:
        if isinstance(attack, str):
            if attack not in ATTACKS:
                raise InputError(f"unknown attack {attack!r}{closest(attack, [*ATTACKS])}; expected {known}")
            attack = ATTACKS[attack]
        if not isinstance(attack, Attack):
            raise InputError(f"attacks contains {shown(attack)}; expected names or objects of privacy.Attack")
        check_names(attack)
        if chosen.get(attack.name, attack) is not attack:
            raise InputError(f"two attacks are named {attack.name!r}; names must be unique")
        chosen[attack.name] = attack
    if not chosen:
        raise InputError(f"attacks is empty; expected {known}")
    return list(chosen.values())


def check_names(attack: Attack) -> None:
    """Raise `InputError` for an attack without a name or title."""
    for attribute in ("name", "title"):
        if not isinstance(getattr(attack, attribute, None), str):
            raise InputError(
                f"the attack {type(attack).__name__} has no {attribute}; expected a class attribute, a string"
            )

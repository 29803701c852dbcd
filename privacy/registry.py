"""The attacks by name."""

import difflib
from collections.abc import Sequence

from privacy.attacks import Attack
from privacy.errors import InputError, shown
from privacy.forest import RandomForest
from privacy.mlp import MultilayerPerceptron
from privacy.simple_attacks import KNearestNeighbours, LogisticRegressionAttack, Threshold

__all__ = ["ATTACKS", "chosen_attacks"]

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for attack in (
        Threshold(),
        LogisticRegressionAttack(),
        MultilayerPerceptron(),
        RandomForest(),
        KNearestNeighbours(),
    )
}


def chosen_attacks(attacks: str | Attack | Sequence[str | Attack]) -> list[Attack]:
    """`"all"`, a name, an attack of your own, or several of these; raises `InputError` for unknown names."""
    if not isinstance(attacks, str | Attack | list | tuple | set | frozenset | dict):
        raise InputError(f"attacks is {shown(attacks)}; wanted 'all', or some of {', '.join(ATTACKS)}")
    wanted = [attacks] if isinstance(attacks, str | Attack) else list(attacks)
    if any(isinstance(attack, str) and attack == "all" for attack in wanted):
        wanted = [*ATTACKS, *(attack for attack in wanted if isinstance(attack, Attack))]
    chosen: dict[str, Attack] = {}
    for attack in wanted:
        if isinstance(attack, str):
            if attack not in ATTACKS:
                close = difflib.get_close_matches(attack, ATTACKS, n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise InputError(f"unknown attack {attack!r}; wanted 'all' or some of {', '.join(ATTACKS)}{hint}")
            attack = ATTACKS[attack]
        if not isinstance(attack, Attack):
            raise InputError(f"attacks hold {shown(attack)}; wanted names or objects of privacy.Attack")
        check_attack(attack)
        if chosen.get(attack.name, attack) is not attack:
            raise InputError(f"two attacks are named {attack.name!r}, so that one would hide the other; rename one")
        chosen[attack.name] = attack
    if not chosen:
        raise InputError(f"no attack was named; wanted 'all' or some of {', '.join(ATTACKS)}")
    return list(chosen.values())


def check_attack(attack: Attack) -> None:
    """Raise `InputError` for an attack without a name or title."""
    for part in ("name", "title"):
        if not isinstance(getattr(attack, part, None), str):
            raise InputError(f"the attack {type(attack).__name__} has no {part}; wanted a class attribute, a text")

"""The distillers that all benchmarks know by name. Nothing heavy is imported before a distiller is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill import Distiller

__all__ = ["COLOURS", "METHODS", "PREFIXES", "Method", "chosen_methods", "distiller_class", "option_classes"]


@dataclass(frozen=True)
class Method:
    """The name of a distiller in `distill`, and the colour of its lines in plots."""

    distiller: str
    colour: str


# A new distiller is one more line here: a method, or an arm, of every benchmark, its options on their command lines.
METHODS = {
    "frepo": Method("FRePo", "tab:red"),
    "random": Method("Random", "tab:gray"),
    "herding": Method("Herding", "tab:blue"),
    "dm": Method("DM", "tab:green"),
    "dsa": Method("DSA", "tab:purple"),
}
PREFIXES = (*METHODS, "train")  # of the flags of the methods' and the training's own options
COLOURS = {name: method.colour for name, method in METHODS.items()}


def distiller_class(name: str) -> type[Distiller]:
    """The class of a method."""
    return getattr(import_module("distill"), METHODS[name].distiller)


def option_classes() -> dict[str, type]:
    """Dataclasses whose fields are options of the command line, by the prefix of their flags."""
    classes: dict[str, type] = {name: distiller_class(name) for name in METHODS}
    classes["train"] = import_module("distill").TrainingRecipe
    return {name: cls for name, cls in classes.items() if dataclasses.fields(cls)}


def chosen_methods(given: Iterable[str]) -> tuple[str, ...]:
    """What `--method` names, each once; "all" is every method."""
    return tuple(METHODS) if "all" in given else tuple(dict.fromkeys(given))

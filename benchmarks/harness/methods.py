"""The distillers that all benchmarks know by name. Nothing heavy is imported before a distiller is asked for."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from distill import Distiller

__all__ = ["COLOURS", "METHODS", "NOT_PRIVATE", "PREFIXES", "QUICK_EXPERTS", "Method", "chosen_methods",
           "distiller_class", "methods_of", "option_classes", "prefix_of"]  # fmt: skip


@dataclass(frozen=True)
class Method:
    """The name of a distiller in `distill`, and the colour of its lines in plots.

    `prefix`: of the flags of its options, which methods with the same options share; `None`: the method's name.
    `private`: whether its sets are differentially private; images must then be preprocessed by what was not fitted.
    """

    distiller: str
    colour: str
    prefix: str | None = None
    private: bool = False


# A new distiller is one more line here: a method, or an arm, of every benchmark, its options on their command lines.
METHODS = {
    "frepo": Method("FRePo", "tab:red"),
    "random": Method("Random", "tab:gray"),
    "herding": Method("Herding", "tab:blue"),
    "dm": Method("DM", "tab:green"),
    "dsa": Method("DSA", "tab:purple"),
    "mtt": Method("MTT", "navy"),
    "kip": Method("KIP", "goldenrod"),
    "private-frepo": Method("PrivateFRePo", "tab:orange", "private", private=True),
    "ndpdc": Method("NDPDC", "tab:olive", private=True),
    "noisy-means": Method("NoisyMeans", "tab:pink", "means", private=True),
    "random-teacher": Method("RandomTeacher", "tab:brown", "teacher"),
    "herding-teacher": Method("HerdingTeacher", "tab:cyan", "teacher"),
}
# A few short trajectories of MTT's experts, in place of 100 that go through all images 27 times.
QUICK_EXPERTS = {
    "experts": 2,
    "expert_learning_rate": 5e-2,
    "expert_batch_size": 64,
    "epoch_updates": 20,
    "latest_start": 5,
    "matched_epochs": 2,
}
# Of the flags of the methods' and the training's own options.
PREFIXES = (*dict.fromkeys(method.prefix or name for name, method in METHODS.items()), "train")
NOT_PRIVATE = tuple(name for name, method in METHODS.items() if not method.private)  # what "all" stands for
COLOURS = {name: method.colour for name, method in METHODS.items()}


def distiller_class(name: str) -> type[Distiller]:
    """The class of a method."""
    return getattr(import_module("distill"), METHODS[name].distiller)


def prefix_of(name: str) -> str:
    """What the flags of a method's options begin with; the name itself where no method has it."""
    return METHODS[name].prefix or name if name in METHODS else name


def methods_of(prefix: str) -> tuple[str, ...]:
    """The methods whose flags begin with `prefix`."""
    return tuple(name for name in METHODS if prefix_of(name) == prefix)


def option_classes() -> dict[str, type]:
    """Dataclasses whose fields are options of the command line, by the prefix of their flags."""
    classes: dict[str, type] = {prefix_of(name): distiller_class(name) for name in METHODS}
    classes["train"] = import_module("distill").TrainingRecipe
    return {name: cls for name, cls in classes.items() if dataclasses.fields(cls)}


def chosen_methods(given: Iterable[str]) -> tuple[str, ...]:
    """What `--method` names, each once; "all" is every method but the private ones, which are given by name."""
    named = (name for one in given for name in (NOT_PRIVATE if one == "all" else (one,)))
    return tuple(dict.fromkeys(named))

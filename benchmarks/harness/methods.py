"""The distillers that the benchmarks know by name; one more here is one more in all of them."""

from distill import DM, DSA, Distiller, FRePo, Herding, Random, TrainingRecipe

__all__ = ["COLOURS", "METHODS", "OPTION_CLASSES", "chosen_methods"]

METHODS: dict[str, type[Distiller]] = {"frepo": FRePo, "random": Random, "herding": Herding, "dm": DM, "dsa": DSA}

# Whose options are flags of the command line, by the prefix of the flags; random choice has none of its own.
OPTION_CLASSES: dict[str, type] = {name: cls for name, cls in METHODS.items() if cls is not Random}
OPTION_CLASSES["train"] = TrainingRecipe


def chosen_methods(given: list[str]) -> list[str]:
    """What `--method` names, each once; "all" is every method."""
    return list(METHODS) if "all" in given else list(dict.fromkeys(given))


COLOURS = {
    "frepo": "tab:red", "herding": "tab:blue", "random": "tab:gray", "dm": "tab:green", "dsa": "tab:purple"
}

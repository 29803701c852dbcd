"""The networks that are trained on each set: the columns of the table."""

from dataclasses import dataclass, replace
from typing import Any

from distill import InputError, TrainingRecipe
from distill.networks import NETWORKS, default_norm

__all__ = ["Column", "columns_of"]

# The networks of the paper's Table 2, and the norms of its ablations (C.6).
ALL_COLUMNS = (
    "conv:none", "conv:batch", "conv:instance", "conv:layer", "conv:group", "dcconv:instance", "alexnet:none",
    "vgg11:batch", "vgg11:instance", "resnet18:batch", "resnet18:instance",
)  # fmt: skip


@dataclass(frozen=True)
class Column:
    """What is trained on each set."""

    name: str
    recipe: TrainingRecipe


def columns_of(names: tuple[str, ...], recipe: TrainingRecipe) -> list[Column]:
    """What `--evaluate-on` asks for; the recipe's own network where it asks for none."""
    if not names:
        return [Column(f"{recipe.network}:{recipe.norm}", recipe)]
    columns: dict[str, Column] = {}
    for name in (each for given in names for each in (ALL_COLUMNS if given == "all" else [given])):
        network, *more = name.split(":")
        if network not in NETWORKS or len(more) > 2 or (len(more) == 2 and not more[1].isdecimal()):
            raise InputError(
                f"--evaluate-on {name} is no network; expected NETWORK, NETWORK:NORM or NETWORK:NORM:DEPTH, with "
                f"NETWORK one of {', '.join(NETWORKS)}"
            )
        norm: Any = more[0] if more else ("none" if network == "conv" else default_norm(network))
        depth = int(more[1]) if len(more) == 2 else None
        full = ":".join([network, norm, *more[1:]])
        columns[full] = Column(full, replace(recipe, network=network, norm=norm, depth=depth))
    return list(columns.values())

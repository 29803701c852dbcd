"""What all pictures of distilled sets share: checks, which images are drawn, and how they are named."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from distill.errors import InputError
from distill.files import as_path, write_atomically
from distill.runtime.checks import require_a, require_whole
from distill.sets.synthetic import SyntheticSet

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "check_sets",
    "evenly_spread",
    "name_row",
    "name_width",
    "of_different_classes",
    "positions_of",
    "present_classes",
    "save_figure",
    "short_name",
]  # fmt: skip

LONGEST_NAME = 22


def check_sets(
    path: str | Path,
    endings: Sequence[str],
    sets: Sequence[SyntheticSet],
    *,
    steps: Sequence[int] | None = None,
    **counts: int,
) -> None:
    """Raise `InputError` unless the file can be drawn and the sets hold the same images."""
    if as_path(path).suffix.lower() not in endings:
        raise InputError(f"cannot draw {path}; expected a name that ends in {', '.join(endings)}")
    for name, count in counts.items():
        require_whole(name, count, least=1)
    require_a("sets", sets, list, tuple)
    if steps is not None:
        for step in steps:
            require_whole("a step", step)
        if not sets or len(steps) != len(sets):
            raise InputError(f"{len(sets)} sets and {len(steps)} steps were given; expected one step for each set")
    for other in sets:
        require_a("a set", other, SyntheticSet)
        if not len(other):
            raise InputError("cannot draw a set of 0 images")
        first = sets[0]
        if (other.classes, other.images.shape) != (first.classes, first.images.shape) or not torch.equal(
            other.class_ids, first.class_ids
        ):
            raise InputError(f"{first!r} and {other!r} hold different images; expected one set at different steps")


def present_classes(synthetic: SyntheticSet) -> list[int]:
    """The class ids of which the set has images, in order."""
    return [int(c) for c in torch.unique(synthetic.class_ids)]


def positions_of(synthetic: SyntheticSet, class_id: int) -> list[int]:
    """Positions of the images of one class."""
    return [int(i) for i in (synthetic.class_ids == class_id).nonzero().flatten()]


def evenly_spread(items: list[int], count: int) -> list[int]:
    """At most `count` of the items, evenly spread."""
    return [items[i * len(items) // count] for i in range(count)] if len(items) > count else items


def of_different_classes(synthetic: SyntheticSet, count: int) -> list[int]:
    """Positions of at most `count` images of as many classes as possible, those of one class side by side."""
    by_class = [positions_of(synthetic, c) for c in evenly_spread(present_classes(synthetic), count)]
    taken: list[int] = []
    for place in range(max(len(positions) for positions in by_class)):
        taken += [positions[place] for positions in by_class if place < len(positions)]
    chosen = set(taken[:count])
    return [i for positions in by_class for i in positions if i in chosen]


def name_row(axes: "Axes", row: int, name: str) -> None:
    """Write `name` to the left of the first image of a row of an `image_grid`."""
    place: dict[str, Any] = {"textcoords": "offset points", "ha": "right", "va": "center"}
    axes.annotate(name, (0, row + 0.5), xytext=(-6, 0), fontsize=9, parse_math=False, annotation_clip=False, **place)


def name_width(names: Sequence[str]) -> float:
    """Inches that names beside images take."""
    return 0.65 + 0.085 * max(len(name) for name in names)


def short_name(name: str) -> str:
    """A class name that fits beside an image; the middle goes first, since long names often differ at the end."""
    name = " ".join(name.replace("_", " ").split())
    start, end = LONGEST_NAME - 9, 8
    return name if len(name) <= LONGEST_NAME else f"{name[:start].rstrip()}…{name[-end:].lstrip()}"


def save_figure(figure: "Figure", path: str | Path) -> Path:
    """Write the figure atomically."""
    return write_atomically(path, lambda file: figure.savefig(file, dpi=120))

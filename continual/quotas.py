"""How a memory is divided: over groups of images, and within a group over what came at different times."""

import math
from collections.abc import Sequence

import torch

__all__ = ["evicted", "fill", "newcomers"]


def fill(total: int | None, capacities: Sequence[int]) -> tuple[list[int], int]:
    """Places for each group, as equal as their `capacities` allow, `total` in all; and the most that any may have.

    What a small group leaves over goes to the others; places that cannot be divided go to the first groups. `None`:
    no limit, so that every group gets what it can hold.
    """
    if total is None or sum(capacities) <= total:
        return list(capacities), max(capacities, default=0)
    left, level = total, 0
    places = [0] * len(capacities)
    hungry = [i for i, capacity in enumerate(capacities) if capacity > 0]
    while hungry and left >= len(hungry):
        step = min(left // len(hungry), min(capacities[i] - level for i in hungry))
        level, left = level + step, left - step * len(hungry)
        for i in hungry:
            places[i] = level
        hungry = [i for i in hungry if capacities[i] > level]
    for i in hungry[:left]:
        places[i] += 1
    return places, level + (1 if left and hungry else 0)


def newcomers(quota: int, *, new: int, kept: int, seen: int, carry: float) -> tuple[int, float]:
    """How many of `quota` places go to `new` images of a group that has seen `seen` and keeps `kept`; and the carry.

    In proportion to the images that old and new stand for. What rounding leaves over is carried to the next time, so
    that many small deliveries get their share in the long run and none gets a whole place more than it. Places that
    the old images cannot fill are free.
    """
    exact = quota * new / (seen + new)
    taken = math.floor(exact + carry)
    taken = max(min(taken, new, quota), min(quota - kept, new))
    return taken, min(max(carry + exact - taken, 0.0), 0.999)


def evicted(kept: Sequence[int], stands_for: Sequence[int], quota: int, generator: torch.Generator) -> list[int]:
    """How many images each part of a group may keep so that they are `quota` in all.

    - `kept`: images of each part. `stands_for`: the real images that each part was made from.
    - One image after another goes, from a part drawn with a chance in proportion to what it has beyond its share.
    """
    kept, total = list(kept), sum(stands_for)
    shares = [quota * weight / total for weight in stands_for]
    for _ in range(max(0, sum(kept) - quota)):
        beyond = [max(count - share, 0.0) for count, share in zip(kept, shares, strict=True)]
        if not any(beyond):
            beyond = [float(count) for count in kept]
        sole = len([value for value in beyond if value]) == 1
        chosen = beyond.index(max(beyond)) if sole else \
            int(torch.multinomial(torch.tensor(beyond, dtype=torch.float64), 1, generator=generator))
        kept[chosen] -= 1
    return kept

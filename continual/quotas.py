"""Division of a memory: among groups of images, and within a group among the deliveries."""

import math
from collections.abc import Sequence

import torch

__all__ = ["evicted", "fill", "newcomers"]


def fill(total: int | None, capacities: Sequence[int]) -> tuple[list[int], int]:
    """Places for each group, as equal as their `capacities` allow, `total` in all; and the most that any may have.

    What a small group leaves goes to the others; a remainder goes to the first groups. `None`: no limit, so that every
    group gets its capacity.

        >>> fill(10, [2, 8, 8])
        ([2, 4, 4], 4)
    """
    if total is None or sum(capacities) <= total:
        return list(capacities), max(capacities, default=0)
    left, level = total, 0
    places = [0] * len(capacities)
    open_groups = [i for i, capacity in enumerate(capacities) if capacity > 0]
    while open_groups and left >= len(open_groups):
        step = min(left // len(open_groups), min(capacities[i] - level for i in open_groups))
        level, left = level + step, left - step * len(open_groups)
        for i in open_groups:
            places[i] = level
        open_groups = [i for i in open_groups if capacities[i] > level]
    for i in open_groups[:left]:
        places[i] += 1
    return places, level + (1 if left and open_groups else 0)


def newcomers(quota: int, *, new: int, kept: int, seen: int, carry: float) -> tuple[int, float]:
    """How many of `quota` places go to `new` images of a group that has seen `seen` and keeps `kept`; and the carry.

    In proportion to the real images that old and new stand for. The rounding error is carried to the next delivery, so
    that many small deliveries get their share in the long run and none gets a whole place more. Places that the old
    images cannot fill are free.
    """
    exact = quota * new / (seen + new)
    taken = math.floor(exact + carry)
    taken = max(min(taken, new, quota), min(quota - kept, new))
    return taken, min(max(carry + exact - taken, 0.0), 0.999)


def evicted(kept: Sequence[int], stands_for: Sequence[int], quota: int, generator: torch.Generator) -> list[int]:
    """How many images of a group each delivery may keep, `quota` in all.

    - `kept`: images of each delivery. `stands_for`: the real images that each was made from.

    Images are dropped one by one, from a delivery drawn with a probability in proportion to its excess over its share.
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

"""How the slots of the buffer are divided: among groups of images, and within a group among experiences."""

import math
from collections.abc import Sequence

import torch

__all__ = ["equal_quotas", "kept_after_eviction", "slots_for_new_images"]


def equal_quotas(total: int | None, capacities: Sequence[int]) -> tuple[list[int], int]:
    """Slots for each group, as equal as their `capacities` allow, `total` in all; and the most that any may have.

    Slots that a small group cannot use go to the others; a remainder goes to the first groups. `None`: no limit, so
    that every group gets its capacity.

        >>> equal_quotas(10, [2, 8, 8])
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


def slots_for_new_images(quota: int, *, new: int, kept: int, seen: int, carry: float) -> tuple[int, float]:
    """Slots for `new` images of a group that holds `kept` images and has seen `seen`; and the rounding error to carry.

    Of `quota` slots in all, in proportion to the real images that old and new stand for. The rounding error is carried
    to the next experience, so that many small experiences get their share in the long run and none gets a whole slot
    more. Slots that the old images cannot fill are free.
    """
    exact = quota * new / (seen + new)
    taken = math.floor(exact + carry)
    taken = max(min(taken, new, quota), min(quota - kept, new))
    return taken, min(max(carry + exact - taken, 0.0), 0.999)


def kept_after_eviction(
    kept: Sequence[int], stands_for: Sequence[int], quota: int, generator: torch.Generator
) -> list[int]:
    """Number of images of a group that each experience keeps, `quota` in all.

    - `kept`: images of each experience so far. `stands_for`: the real images that they were made from.

    Images are dropped one by one, from an experience sampled with a probability in proportion to its excess over its
    share.
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

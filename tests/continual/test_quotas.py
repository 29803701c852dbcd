"""Sharing out places: hand-computed values, limits, and what must hold for any numbers."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from continual.quotas import equal_quotas, kept_after_eviction, slots_for_new_images


@pytest.mark.parametrize(
    ("total", "capacities", "places", "level"),
    [
        (None, [3, 1], [3, 1], 3),
        (7, [3, 3, 3, 3], [2, 2, 2, 1], 2),
        (10, [1, 9, 9], [1, 5, 4], 5),
        (2, [5, 5, 5], [1, 1, 0], 1),
        (0, [5], [0], 0),
        (9, [3, 3, 3], [3, 3, 3], 3),
        (5, [], [], 0),
    ],
)
def test_fill(total: int | None, capacities: list[int], places: list[int], level: int) -> None:
    assert equal_quotas(total, capacities) == (places, level)


@given(total=st.integers(0, 60), capacities=st.lists(st.integers(0, 20), max_size=12))
def test_fill_wastes_nothing_and_is_as_equal_as_can_be(total: int, capacities: list[int]) -> None:
    places, level = equal_quotas(total, capacities)
    assert sum(places) == min(total, sum(capacities))
    assert all(0 <= place <= capacity for place, capacity in zip(places, capacities, strict=True))
    assert max(places, default=0) <= level
    below = [place for place, capacity in zip(places, capacities, strict=True) if place < capacity]
    assert not below or min(below) >= max(places) - 1


@pytest.mark.parametrize(
    ("quota", "new", "kept", "seen", "taken"),
    [
        (10, 100, 10, 100, 5),
        (10, 1, 10, 500, 0),  # a fiftieth of a place
        (10, 500, 10, 1, 10),
        (10, 100, 0, 0, 10),  # a class that is new
        (10, 100, 3, 100, 7),  # what the old ones leave is free
        (10, 2, 3, 100, 2),
        (0, 100, 0, 100, 0),
    ],
)
def test_newcomers(quota: int, new: int, kept: int, seen: int, taken: int) -> None:
    assert slots_for_new_images(quota, new=new, kept=kept, seen=seen, carry=0.5)[0] == taken


@given(quota=st.integers(1, 30), deliveries=st.lists(st.integers(1, 40), min_size=1, max_size=60))
def test_no_delivery_gets_a_whole_place_more_than_its_share(quota: int, deliveries: list[int]) -> None:
    kept, seen, carry = 0, 0, 0.5
    for new in deliveries:
        places = min(quota, kept + new)
        taken, carry = slots_for_new_images(places, new=new, kept=kept, seen=seen, carry=carry)
        free = max(places - kept, 0)
        assert taken <= max(places * new / (seen + new) + 1, free)
        assert 0 <= carry < 1
        kept, seen = places, seen + new


@settings(max_examples=50)
@given(
    parts=st.lists(st.tuples(st.integers(0, 10), st.integers(10, 100)), min_size=1, max_size=8),
    cut=st.integers(0, 20),
)
def test_evicted_keeps_as_many_as_it_should(parts: list[tuple[int, int]], cut: int) -> None:
    kept, stands_for = map(list, zip(*parts, strict=True))
    quota = max(sum(kept) - cut, 0)
    left = kept_after_eviction(kept, stands_for, quota, torch.Generator().manual_seed(0))
    assert sum(left) == quota
    assert all(0 <= after <= before for after, before in zip(left, kept, strict=True))


def test_evicted_leaves_parts_in_proportion() -> None:
    generator = torch.Generator().manual_seed(0)
    assert kept_after_eviction([10], [100], 4, generator) == [4]
    for _ in range(20):
        left = kept_after_eviction([10, 10, 10], [100, 100, 100], 15, generator)
        assert max(left) - min(left) <= 2
    assert kept_after_eviction([12, 4], [300, 100], 8, generator) in ([6, 2], [5, 3], [7, 1])


def test_ties_are_broken_by_chance() -> None:
    generator = torch.Generator().manual_seed(0)
    gone = Counter(kept_after_eviction([1, 1, 1, 1], [5, 5, 5, 5], 3, generator).index(0) for _ in range(200))
    assert min(gone[i] for i in range(4)) > 20

"""Herding: the greedy choice is that of the definition."""

import pytest
import torch

from distill import FRePo, Herding
from distill.distillers.herding import herd


def chosen_by_definition(features: torch.Tensor, count: int) -> list[int]:
    """At each turn the row by which the mean of all chosen comes nearest to the mean of all, tried one by one."""
    unit = torch.stack([row / row.norm() if row.norm() else row for row in features.double()])
    chosen: list[int] = []
    for _ in range(count):
        free = [i for i in range(len(unit)) if i not in chosen]
        chosen.append(min(free, key=lambda i: float((unit[[*chosen, i]].mean(0) - unit.mean(0)).norm())))
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_choice_is_that_of_the_definition(seed: int) -> None:
    """Up to all rows, of features as a ReLU leaves them; one row is zero, and has no length to divide by."""
    features = torch.randn(12, 6, generator=torch.Generator().manual_seed(seed)).relu()
    features[3] = 0
    assert herd(features, 12).tolist() == chosen_by_definition(features, 12)


def test_fewer_images_are_the_first_of_more() -> None:
    """So that a memory that shrinks keeps the first ones."""
    features = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    assert herd(features, 5).tolist() == herd(features, 20)[:5].tolist()


@pytest.mark.parametrize(("steps", "shown"), [(0, False), (1, True)])
@pytest.mark.parametrize("method", [Herding, FRePo])
def test_where_nothing_is_trained_there_is_no_progress_bar(make_images, capsys, method, steps, shown) -> None:
    distiller = method(steps=steps, batch_size=8, width=4, depth=2)
    distiller.distill(make_images(), images_per_class=1, progress=True)
    assert ("step" in capsys.readouterr().err) == shown

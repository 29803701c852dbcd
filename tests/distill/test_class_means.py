"""The distance between class means of features, against a loop over classes."""

import pytest
import torch

from distill.distillers.class_means import class_mean_distance
from distill.sets.synthetic import initial_labels


def some(classes: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and initial labels of images of these classes among four."""
    features = torch.randn(len(classes), 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return features, initial_labels(torch.tensor(classes), 4)


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_it_is_the_mean_over_the_classes_of_both(scale):
    (real, labels_t), (distilled, labels_s) = some([0, 2, 2, 0, 1, 2], 0), some([2, 0, 3, 0], 1)
    expected = []
    for k in (0, 2):
        mean_t, mean_s = real[labels_t.argmax(1) == k].mean(0), distilled[labels_s.argmax(1) == k].mean(0)
        expected.append((mean_t - mean_s).square().sum() / mean_t.square().sum())
    found = class_mean_distance(scale * real, labels_t, scale * distilled, labels_s)
    torch.testing.assert_close(found, torch.stack(expected).mean())


def test_it_is_nothing_where_means_agree_or_no_class_is_in_both():
    (real, labels_t), (other, labels_s) = some([0, 0, 1], 0), some([2, 3], 1)
    assert class_mean_distance(real, labels_t, real.flip(0), labels_t.flip(0)) == 0
    other.requires_grad_(True)
    apart = class_mean_distance(real, labels_t, other, labels_s)
    apart.backward()
    assert apart == 0
    assert not other.grad.any()

"""How far the mean features of distilled images are from those of real ones, class by class."""

import torch
from torch import Tensor

__all__ = ["class_mean_distance"]


def class_mean_distance(features_t: Tensor, labels_t: Tensor, features_s: Tensor, labels_s: Tensor) -> Tensor:
    """Squared distance between mean features of real and distilled images, over the squared norm of the real mean.

    The mean over all classes that both have; an image is of the class at which its soft label is highest. 0 where no
    class is in both. As in DM (Zhao & Bilen 2023), but relative, so that features of any size weigh the same.

    - `features_t`, `features_s`: `(m, d)`, `(n, d)`. `labels_t`, `labels_s`: `(m, C)`, `(n, C)`.

    >>> features, labels = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]]), torch.eye(2)[[0, 0, 1]]
    >>> class_mean_distance(features, labels, torch.tensor([[2.0, 1.0]]), torch.eye(2)[:1]).item()
    0.25
    """
    of_t, of_s = members(labels_t).to(features_t), members(labels_s).to(features_s)
    both = (of_t.sum(0) > 0) & (of_s.sum(0) > 0)
    if not bool(both.any()):
        return features_s.sum() * 0
    means_t, means_s = (of.T[both] @ features / of.sum(0)[both, None] for of, features in (
        (of_t, features_t), (of_s, features_s)
    ))  # fmt: skip
    return ((means_t - means_s).square().sum(1) / means_t.square().sum(1)).mean()


def members(labels: Tensor) -> Tensor:
    """Of which class images with soft labels `(n, C)` are, as rows of 0 and 1."""
    return torch.nn.functional.one_hot(labels.detach().argmax(1), labels.shape[1])

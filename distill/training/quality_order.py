"""The order in which images of a set are worth keeping."""

from dataclasses import dataclass

import torch
from torch import Tensor

from distill.errors import InputError
from distill.networks import build_network
from distill.preprocess import PreprocessedImages
from distill.runtime.seeds import generator_for
from distill.sets.synthetic import SyntheticSet, initial_labels
from distill.training.evaluation import network_features
from distill.training.kernel_ridge import guarded_cholesky, lower_kernel

__all__ = ["RIDGE", "Regression", "quality_order"]

REAL_IMAGES = 1000  # at most, to measure the loss on
WIDTH = 32
RIDGE = 1e-2  # of the mean diagonal of the kernel; half a set by FRePo's own 1e-6 does worse on other networks


def quality_order(synthetic: SyntheticSet, real: PreprocessedImages, *, networks: int = 3, seed: int = 0) -> Tensor:
    """Positions `(n,)` of the images of a set, so that the first images of each class are the best to keep.

    Found by backward elimination: one class after the other, the image is taken out without which kernel ridge
    regression from the rest predicts the labels of real images best, until each class has one image left. Features are
    those of random networks ("conv", width 32, instance norm), whose losses are added up; where images are too small
    for these, their pixels. Each place of the result has the class that it had in the set.

    - `real`: what the set was distilled from; at most 1000 images, drawn by `seed`, are used.

        >>> from distill import Random, Standardize, load_images
        >>> digits = load_images("digits")
        >>> real = Standardize.fit(digits).apply(digits)
        >>> some = Random().distill(real, images_per_class=3)
        >>> best = some.subset(quality_order(some, real, networks=1))
        >>> best.class_ids[:6].tolist()
        [0, 0, 0, 1, 1, 1]
    """
    groups = [torch.nonzero(synthetic.class_ids == c).squeeze(1) for c in torch.unique(synthetic.class_ids)]
    if all(len(group) == 1 for group in groups):
        return torch.arange(len(synthetic))
    regressions = [_regression(synthetic, real, seed, k) for k in range(networks)]
    left = [group.clone() for group in groups]
    dropped: list[list[int]] = [[] for _ in groups]
    for size in range(max(map(len, groups)), 1, -1):
        for i, rows in enumerate(left):
            if len(rows) < size:
                continue
            losses = torch.stack([one.losses_without(rows) for one in regressions]).sum(0)
            worst = int(losses.argmin())
            dropped[i].append(int(rows[worst]))
            for one in regressions:
                one.remove(int(rows[worst]))
            left[i] = torch.cat([rows[:worst], rows[worst + 1 :]])
    order = torch.empty(len(synthetic), dtype=torch.int64)
    for group, rows, gone in zip(groups, left, dropped, strict=True):
        order[group] = torch.tensor([*rows.tolist(), *reversed(gone)])
    return order


@dataclass
class Regression:
    """Kernel ridge regression from `n` images to `C` labels, and its errors on `m` others, as images are taken out.

    - `inverse`: of the kernel with its ridge, `(n, n)`; rows and columns of images taken out are 0.
    - `dual`: `inverse @ labels`, `(n, C)`. `reach`: kernel of the others and the images times `inverse`, `(m, n)`.
    - `errors`: labels of the others minus what is predicted, `(m, C)`.
    """

    inverse: Tensor
    dual: Tensor
    reach: Tensor
    errors: Tensor

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, others: Tensor, wanted: Tensor) -> "Regression":
        """From features `(n, d)` and `labels` `(n, C)`; errors on features `others` `(m, d)`, labels `wanted`."""
        exact, others = features.double(), others.double()
        kernel = lower_kernel(exact)
        factor, _ = guarded_cholesky(kernel, RIDGE * kernel.diagonal().mean())
        inverse = torch.cholesky_inverse(factor)
        dual = inverse @ labels.double()
        return cls(inverse, dual, others @ (exact.T @ inverse), wanted.double() - others @ (exact.T @ dual))

    @property
    def loss(self) -> float:
        """The sum of squared errors."""
        return float(self.errors.square().sum())

    def losses_without(self, rows: Tensor) -> Tensor:
        """The loss without each of the images at `rows` `(k,)`, one at a time: `(k,)`.

        Without image `i`, errors change by `reach[:, i] dual[i] / inverse[i, i]`, a matrix of rank 1.
        """
        weights = self.dual[rows] / self.inverse.diagonal()[rows].unsqueeze(1)
        reach = self.reach[:, rows]
        along = ((reach.T @ self.errors) * weights).sum(1)
        return self.loss + 2 * along + reach.square().sum(0) * weights.square().sum(1)

    def remove(self, row: int) -> None:
        """Take out one image."""
        column, own = self.inverse[row].clone(), float(self.inverse[row, row])
        reach, dual = self.reach[:, row].clone(), self.dual[row].clone()
        self.errors.addr_(reach, dual, alpha=1 / own)
        self.dual.addr_(column, dual, alpha=-1 / own)
        self.reach.addr_(reach, column, alpha=-1 / own)
        self.inverse.addr_(column, column, alpha=-1 / own)


def _regression(synthetic: SyntheticSet, real: PreprocessedImages, seed: int, index: int) -> Regression:
    """The regression on the features of one random network."""
    generator = generator_for(seed, index, 1)
    chosen = torch.randperm(len(real), generator=generator_for(seed, 0, 2))[:REAL_IMAGES]
    pictures = [synthetic.images.float(), real.images[chosen].float()]
    num_classes, (channels, height, width) = synthetic.num_classes, synthetic.images.shape[1:]
    try:
        network = build_network(
            "conv", image_shape=(channels, height, width), num_classes=num_classes, width=WIDTH, norm="instance",
            generator=generator,
        )  # fmt: skip
    except InputError:
        features = [images.flatten(1) for images in pictures]
    else:
        with torch.no_grad():
            features = [network_features(network.eval(), images) for images in pictures]
    wanted = initial_labels(real.labels[chosen], num_classes)
    return Regression.of(features[0], synthetic.soft_labels, features[1], wanted)

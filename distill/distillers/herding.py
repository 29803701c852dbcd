"""Herding: the real images whose features follow the class mean best."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.distillers.run import Run
from distill.distillers.selection import selected_images
from distill.distillers.trained_network import TrainsNetwork
from distill.networks import Network
from distill.preprocess import PreprocessedImages
from distill.sets.synthetic import SyntheticSet

__all__ = ["Herding", "herd", "herded"]


@dataclass(frozen=True, kw_only=True)
class Herding(TrainsNetwork):
    """Greedy herding (Welling 2009; iCaRL, Rebuffi et al. 2017) on features of a network trained on the data.

    The network is a `conv`, trained with cross-entropy; a store keeps it for sets of other sizes.

    Raises `InputError` for options of another type, for numbers that are not finite or not above 0 (`steps` may be 0),
    and for a norm that is not known; `distill` for a network that does not go with the images or becomes NaN.

    >>> from distill import load_images
    >>> Herding(steps=1, width=4, depth=1).distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by herding)
    """

    method: ClassVar[str] = "herding"
    selects_real_images: ClassVar[bool] = True
    kept_as: ClassVar[str] = "herding"

    def _distill(self, data: PreprocessedImages, run: Run) -> SyntheticSet:
        return selected_images(self, data, herded(self, self.trained(data, run), data, run), run)


def herded(distiller: TrainsNetwork, network: Network, data: PreprocessedImages, run: Run) -> Tensor:
    """Positions of herded images of each class, class after class, by features of a `network` of `distiller`."""
    chosen = []
    for class_id in torch.unique(data.labels):  # features of all classes at once may not fit in memory
        positions = torch.nonzero(data.labels == class_id).squeeze(1)
        features = distiller.features(network, data.images[positions])
        chosen.append(positions[herd(features, min(run.images_per_class, len(positions)))])
    return torch.cat(chosen)


def herd(features: Tensor, count: int) -> Tensor:
    """Positions of `count` rows of `features` `(n, d)`, in order: each brings the mean of those taken nearest to the
    mean of all, features scaled to length 1."""
    unit = F.normalize(features.double(), dim=1)
    mean, squares = unit.mean(0), unit.square().sum(1)
    total = torch.zeros_like(mean)
    free = torch.ones(len(unit), dtype=torch.bool)
    taken: list[int] = []
    for k in range(1, count + 1):
        # The squared distance |mean - (total + unit) / k|^2, without what is the same for all, times k^2:
        distances = squares - 2 * (unit @ (k * mean - total))
        best = int(distances.masked_fill(~free, torch.inf).argmin())
        free[best] = False
        total += unit[best]
        taken.append(best)
    return torch.tensor(taken)

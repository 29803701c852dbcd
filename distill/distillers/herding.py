"""Herding: the real images whose features follow the class mean best."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.distillers.base import Distiller
from distill.distillers.chosen import chosen_images
from distill.distillers.run import Run
from distill.errors import InputError
from distill.networks import Network, Norm, build_network, check_network
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_not_negative, require_positive
from distill.runtime.progress import progress_bar
from distill.sets.synthetic import SyntheticSet
from distill.training.evaluation import network_features
from distill.training.recipe import TrainingRecipe

__all__ = ["Herding", "herd"]


@dataclass(frozen=True, kw_only=True)
class Herding(Distiller):
    """Greedy herding (Welling 2009; iCaRL, Rebuffi et al. 2017) on features of a network trained on the data.

    - `steps`: updates of that network, a `conv` with cross-entropy on the data given; 0 uses random features.
    - `batch_size`, `learning_rate`: of its training, a one-cycle of Adam.
    - `width`, `depth`, `norm`: of the network.
    """

    method: ClassVar[str] = "herding"
    steps: int = 500
    batch_size: int = 128
    learning_rate: float = 1e-3
    width: int = 128
    depth: int | None = None
    norm: Norm = "batch"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "batch_size", "learning_rate")
        require_not_negative(self, "steps")
        check_network(norm=self.norm, width=self.width, depth=self.depth)

    def check_images(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Raise `InputError` where the network does not go with the images."""
        self._build(image_shape, num_classes, torch.Generator())

    def _distill(self, data: PreprocessedImages, run: Run) -> SyntheticSet:
        network = self._train(data, run)
        chosen = []
        for class_id in torch.unique(data.labels):  # features of all classes at once may not fit in memory
            positions = torch.nonzero(data.labels == class_id).squeeze(1)
            features = network_features(network, data.images[positions]).cpu()
            if not bool(torch.isfinite(features).all()):
                raise InputError(f"herding's network became NaN; lower learning_rate (it is {self.learning_rate:g})")
            chosen.append(positions[herd(features, min(run.images_per_class, len(positions)))])
        return chosen_images(self, data, torch.cat(chosen), run)

    def _build(self, image_shape: tuple[int, int, int], num_classes: int, generator: torch.Generator) -> Network:
        return build_network(
            "conv",
            image_shape=image_shape,
            num_classes=num_classes,
            width=self.width,
            depth=self.depth,
            norm=self.norm,
            generator=generator,
        )

    def _train(self, data: PreprocessedImages, run: Run) -> Network:
        generator = run.generator(0)
        network = self._build(data.image_shape, data.num_classes, generator).to(run.device)
        recipe = TrainingRecipe(learning_rate=self.learning_rate, warmup_steps=self.steps // 5)
        optimizer = recipe.optimizer(network)
        scheduler = recipe.scheduler(optimizer, self.steps)
        network.train()
        for _ in progress_bar(range(self.steps), shown=run.progress, desc="herd", unit="step"):
            chosen = torch.randperm(len(data), generator=generator)[: self.batch_size]
            images, labels = data.images[chosen].to(run.device), data.labels[chosen].to(run.device)
            loss = F.cross_entropy(network(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
        return network.eval()


def herd(features: Tensor, count: int) -> Tensor:
    """Positions of `count` rows of `features` `(n, d)`, in order: each brings the mean of those taken nearest to the
    mean of all, features scaled to length 1."""
    unit = F.normalize(features.double(), dim=1)
    mean = unit.mean(0)
    total = torch.zeros_like(mean)
    free = torch.ones(len(unit), dtype=torch.bool)
    taken: list[int] = []
    for k in range(1, count + 1):
        distances = (mean - (total + unit) / k).norm(dim=1)
        best = int(distances.masked_fill(~free, torch.inf).argmin())
        free[best] = False
        total += unit[best]
        taken.append(best)
    return torch.tensor(taken)

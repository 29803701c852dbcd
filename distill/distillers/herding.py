"""Herding: the real images whose features follow the class mean best."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.distillers.base import Distiller
from distill.distillers.made_from import made_from
from distill.distillers.run import Run
from distill.distillers.selection import selected_images
from distill.errors import InputError
from distill.networks import Network, Norm, build_network, check_network
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_not_negative, require_positive
from distill.runtime.progress import progress_bar
from distill.runtime.seeds import Purpose
from distill.sets.synthetic import SyntheticSet
from distill.training.evaluation import network_features
from distill.training.loop import train
from distill.training.recipe import TrainingRecipe

__all__ = ["Herding", "herd"]


@dataclass(frozen=True, kw_only=True)
class Herding(Distiller):
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
    steps: int = 500
    """Training steps of the network; 0 uses random features."""
    batch_size: int = 128
    """Batch size for training the network."""
    learning_rate: float = 1e-3
    """Peak learning rate of Adam (one-cycle schedule)."""
    width: int = 128
    """Width of the network: channels of its first convolution."""
    depth: int | None = None
    """Number of blocks of the network. Default: depends on the resolution of the images."""
    norm: Norm = "batch"
    """Normalization of the network: "none", "batch", "instance", "layer" or "group"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "batch_size", "learning_rate")
        require_not_negative(self, "steps")
        check_network(norm=self.norm, width=self.width, depth=self.depth)

    def check_images(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Raise `InputError` where the network does not go with the images."""
        self._build(image_shape, num_classes, torch.Generator())

    def _distill(self, data: PreprocessedImages, run: Run) -> SyntheticSet:
        network = self._trained(data, run)
        chosen = []
        for class_id in torch.unique(data.labels):  # features of all classes at once may not fit in memory
            positions = torch.nonzero(data.labels == class_id).squeeze(1)
            features = network_features(network, data.images[positions]).cpu()
            if not bool(torch.isfinite(features).all()):
                raise InputError(
                    "training of herding's network diverged (NaN); lower learning_rate "
                    f"(it is {self.learning_rate:g})"
                )
            chosen.append(positions[herd(features, min(run.images_per_class, len(positions)))])
        return selected_images(self, data, torch.cat(chosen), run)

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

    def _trained(self, data: PreprocessedImages, run: Run) -> Network:
        """The network, from the run's store where it has been trained before; it is the same for any size of set."""
        generator = run.generator(Purpose.START)
        network = self._build(data.image_shape, data.num_classes, generator).to(run.device)
        if run.store is None:
            return self._train(network, data, run, generator)
        asked = {"seed": run.seed, "device": run.device}
        entry = run.store.get_shared(
            f"network-{self.method}-seed-{run.seed}",
            made_from(self, data, asked=asked, device=run.device),
            lambda: (self._train(network, data, run, generator).state_dict(), {}),
        )
        network.load_state_dict(entry.tensors)
        return network.eval()

    def _train(
        self, network: Network, data: PreprocessedImages, run: Run, generator: torch.Generator
    ) -> Network:
        recipe = TrainingRecipe(learning_rate=self.learning_rate, warmup_steps=self.steps // 5)
        optimizer = recipe.optimizer(network)
        network.train()

        def losses() -> Iterator[Tensor]:
            for _ in progress_bar(range(self.steps), shown=run.progress, desc="herd", unit="step"):
                chosen = torch.randperm(len(data), generator=generator)[: self.batch_size]
                images, labels = data.images[chosen].to(run.device), data.labels[chosen].to(run.device)
                yield F.cross_entropy(network(images), labels)

        train(losses(), optimizer, recipe.scheduler(optimizer, self.steps))
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

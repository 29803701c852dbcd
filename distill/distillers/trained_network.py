"""Distillers that train a network on all of the data that they are given."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.distillers.base import Distiller
from distill.distillers.made_from import made_from
from distill.distillers.run import Run
from distill.errors import InputError
from distill.networks import Network, Norm, check_network
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_not_negative, require_positive
from distill.runtime.progress import progress_bar
from distill.runtime.seeds import Purpose
from distill.training.evaluation import network_features
from distill.training.loop import train
from distill.training.recipe import TrainingRecipe

__all__ = ["TrainsNetwork"]


@dataclass(frozen=True, kw_only=True)
class TrainsNetwork(Distiller):
    """A distiller with a network trained on the data: a `conv`, with cross-entropy; a store keeps it.

    A subclass gets it from `trained`.
    """

    kept_as: ClassVar[str]  # in a store, where distillers with the same network have one entry
    purpose: ClassVar[Purpose] = Purpose.START  # of the run's random numbers that it is drawn and trained with
    augments: ClassVar[bool] = False  # whether images are augmented in its training, as in that of a `TrainingRecipe`
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
        self._recipe().build(image_shape=image_shape, num_classes=num_classes, generator=torch.Generator())

    def trained(self, data: PreprocessedImages, run: Run) -> Network:
        """The network, from the run's store where it has been trained before; it is the same for any size of set.

        An untrained one is drawn anew, and not kept.
        """
        generator = run.generator(self.purpose)
        network = self._recipe().build(
            image_shape=data.image_shape, num_classes=data.num_classes, generator=generator
        ).to(run.device)
        if run.store is None or not self.steps:
            return self._train(network, data, run, generator)
        own = {field.name: getattr(self, field.name) for field in fields(TrainsNetwork)}
        asked = {"seed": run.seed, "device": run.device}
        entry = run.store.get_shared(
            f"network-{self.kept_as}-seed-{run.seed}",
            made_from(self, data, asked=asked, device=run.device, shared={"method": self.kept_as, **own}),
            lambda: (self._train(network, data, run, generator).state_dict(), {}),
        )
        network.load_state_dict(entry.tensors)
        return network.eval()

    def features(self, network: Network, images: Tensor) -> Tensor:
        """Features `(n, d)` of images by the network that `trained` gave, on the CPU.

        Raises `InputError` where it became NaN.
        """
        features = network_features(network, images).cpu()
        if not bool(torch.isfinite(features).all()):
            raise InputError(
                f"training of the network of {self.method} diverged (NaN); lower learning_rate "
                f"(it is {self.learning_rate:g})"
            )
        return features

    def _recipe(self) -> TrainingRecipe:
        return TrainingRecipe(
            width=self.width, depth=self.depth, norm=self.norm, learning_rate=self.learning_rate,
            warmup_steps=self.steps // 5, augment=self.augments,
        )  # fmt: skip

    def _train(
        self, network: Network, data: PreprocessedImages, run: Run, generator: torch.Generator
    ) -> Network:
        recipe = self._recipe()
        optimizer = recipe.optimizer(network)
        network.train()

        def losses() -> Iterator[Tensor]:
            for _ in progress_bar(range(self.steps), shown=run.progress, desc=self.method, unit="step"):
                chosen = torch.randperm(len(data), generator=generator)[: self.batch_size]
                images, labels = data.images[chosen].to(run.device), data.labels[chosen].to(run.device)
                yield F.cross_entropy(network(recipe.transform(images, generator)), labels)

        train(losses(), optimizer, recipe.scheduler(optimizer, self.steps))
        return network.eval()

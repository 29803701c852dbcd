"""What DM and DSA share: images alone are learned, by steps that match them with real ones class by class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill.distillers.checkpoint import with_prefix, without_prefix
from distill.distillers.condensation import Condensation
from distill.distillers.run import Run
from distill.distillers.state import Start, StepwiseState
from distill.networks import Network
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_positive
from distill.runtime.seeds import Purpose
from distill.sets.synthetic import initial_labels
from distill.training.augmentation import SIAMESE, draw_augmentation

__all__ = ["Matching", "MatchingState"]

@dataclass(frozen=True, kw_only=True)
class Matching(Condensation):
    """Base of DM and DSA: SGD on the images matches what a network computes from distilled and from real images.

    BatchNorm is not available: a batch holds a single class here, whose statistics are not those of the data.
    """

    batch_size: int = 256
    """Real images per class and step (the whole class if it is smaller)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "batch_size")

    def pair(
        self, state: "MatchingState", data: PreprocessedImages, positions: Tensor, images_s: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A real batch out of `positions`, without replacement, and distilled images, both augmented alike."""
        chosen = positions[torch.randperm(len(positions), generator=state.generator)[: self.batch_size]]
        images_t = data.images[chosen.to(data.images.device)]
        if not self.augment:
            return images_t, images_s
        mirror = self.mirrors(data.image_shape)
        augmentation = draw_augmentation(SIAMESE, state.generator, data.image_shape[1:], mirror=mirror)
        return augmentation(images_t), augmentation(images_s)

    def start(self, data: PreprocessedImages, run: Run) -> "MatchingState":
        """The state before the first step; with the same seed, FRePo and random choice start from the same images."""
        start, generator = self.first_images(data, run), run.generator(Purpose.NETWORKS)
        network = self.build(data.image_shape, data.num_classes, generator, device=run.device)
        labels = data.labels.cpu()
        return MatchingState(
            run,
            start,
            initial_labels(start.class_ids, data.num_classes),
            optimizer=torch.optim.SGD([start.images], lr=self.learning_rate, momentum=self.momentum),
            generator=generator,
            network=network.requires_grad_(False),
            positions={int(c): torch.nonzero(labels == c).squeeze(1) for c in torch.unique(labels)},
        )


class MatchingState(StepwiseState):
    """Images class after class, `sizes` of each, and the `network` to match in, as `generator` draws it.

    - `positions`: where in the data the real images of each class are, by class id, in the order of `images`.
    """

    def __init__(
        self,
        run: Run,
        start: Start,
        labels: Tensor,
        *,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator,
        network: Network,
        positions: dict[int, Tensor],
    ) -> None:
        super().__init__(run, start, labels, optimizer=optimizer, generator=generator)
        self.network, self.positions = network, positions
        self.sizes = [int((start.class_ids == class_id).sum()) for class_id in positions]

    def update(self, gradient: Tensor, loss: float) -> None:
        """One step of SGD along a `gradient` of the images as they are `seen`; `loss` is only recorded."""
        seen = self.seen()
        if seen is not self.images:
            (gradient,) = torch.autograd.grad(seen, self.images, gradient)
        self.images.grad = gradient
        self.optimizer.step()
        self.images.grad = None
        self.count(loss)

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: the network as well."""
        return {**super().tensors(), **with_prefix("network.", self.network.state_dict())}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Restore the state from `tensors` and `metadata`."""
        super().restore(tensors, metadata)
        self.network.load_state_dict(without_prefix("network.", tensors))

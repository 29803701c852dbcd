"""What DM and DSA share: images alone are learned, by steps that match them with real ones class by class."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from distill.distillers.checkpoint import moments, set_moments, with_prefix, without_prefix
from distill.distillers.initialize import initial_images
from distill.distillers.run import Run
from distill.distillers.stepwise import StepwiseDistiller
from distill.errors import InputError
from distill.networks import Network
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import DTYPES, require_choice, require_not_negative, require_positive
from distill.sets.synthetic import initial_labels
from distill.training.siamese import draw_augmentation

__all__ = ["Matching", "MatchingState"]

# No BatchNorm: batches here are of one class, whose statistics are not those of the data.
MatchingNorm = Literal["none", "instance", "layer", "group"]


@dataclass(frozen=True, kw_only=True)
class Matching(StepwiseDistiller):
    """Images moved by SGD so that a network sees in them what it sees in real ones; soft labels stay as they start.

    - `augment`: siamese augmentation, the same for a class's real and distilled images (`distill.training.siamese`).
    - `flip`: mirror images are part of it; `None`: for RGB images only. Turn it off for RGB digits and letters.
    - `batch_size`: real images of each class a step, all of a smaller class.
    - `learning_rate`, `momentum`: of the SGD on the images, constant.
    - `network`, `width`, `depth`, `norm` (not "batch": a batch is of one class): of the networks to match in.
    """

    augment: bool = True
    flip: bool | None = None
    batch_size: int = 256
    learning_rate: float
    momentum: float = 0.5
    network: str = "dcconv"
    norm: MatchingNorm = "instance"

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self, "norm", get_args(MatchingNorm))
        require_positive(self, "batch_size")
        require_not_negative(self, "momentum")

    def check_images(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Raise `InputError` where mirror images or the network do not go with the images."""
        if self.flip and image_shape[0] == 1:
            raise InputError("flip is on, but the images have one channel: mirrored digits or clothes are others")
        super().check_images(image_shape, num_classes)

    def pair(
        self, state: "MatchingState", data: PreprocessedImages, positions: Tensor, images_s: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A real batch out of `positions`, without replacement, and distilled images, both augmented alike."""
        chosen = positions[torch.randperm(len(positions), generator=state.generator)[: self.batch_size]]
        images_t = data.images[chosen.to(data.images.device)]
        if not self.augment:
            return images_t, images_s
        augmentation = draw_augmentation(state.generator, data.image_shape[1:], mirror=self.mirrors(data.image_shape))
        return augmentation(images_t), augmentation(images_s)

    def mirrors(self, image_shape: tuple[int, int, int]) -> bool:
        """Whether augmentation may mirror such images."""
        return image_shape[0] == 3 if self.flip is None else self.flip

    def start(self, data: PreprocessedImages, run: Run) -> "MatchingState":
        """The state before the first step; with the same seed, FRePo and random choice start from the same images."""
        dtype = DTYPES[self.dtype]
        images, class_ids, started_from = initial_images(
            data,
            images_per_class=run.images_per_class,
            init=self.init,
            noise_std=self.noise_std,
            generator=run.generator(0),
        )
        generator = run.generator(1)
        network = self.build(data.image_shape, data.num_classes, generator, device=run.device)
        labels = data.labels.cpu()
        return MatchingState(
            run=run,
            images=images.to(run.device, dtype).requires_grad_(True),
            labels=initial_labels(class_ids, data.num_classes),
            class_ids=class_ids,
            started_from=started_from,
            positions={int(c): torch.nonzero(labels == c).squeeze(1) for c in torch.unique(labels)},
            network=network.requires_grad_(False),
            generator=generator,
            learning_rate=self.learning_rate,
            momentum=self.momentum,
        )


class MatchingState:
    """Everything such a distillation is at one moment, and nothing it could be built from again but `positions`.

    - `run`: what was asked for.
    - `images` `(n, channels, height, width)`: class after class, `sizes` of each. `labels` `(n, C)`,
      `class_ids` `(n,)`. `started_from`: positions of the real images that `images` started from.
    - `positions`: where in the data the real images of each class are, by class id, in the order of `images`.
    - `network`: the one to match in. `generator`: draws networks, real batches and augmentations.
    - `step`: updates done. `mean_loss`: running mean of the loss. `history`: loss along the way.
    """

    def __init__(
        self,
        *,
        run: Run,
        images: Tensor,
        labels: Tensor,
        class_ids: Tensor,
        started_from: list[int],
        positions: dict[int, Tensor],
        network: Network,
        generator: torch.Generator,
        learning_rate: float,
        momentum: float,
    ) -> None:
        self.run = run
        self.images, self.labels, self.class_ids, self.started_from = images, labels, class_ids, started_from
        self.positions, self.network, self.generator = positions, network, generator
        self.sizes = [int((class_ids == class_id).sum()) for class_id in positions]
        self.optimizer = torch.optim.SGD([images], lr=learning_rate, momentum=momentum)
        self.step = 0
        self.mean_loss: float | None = None
        self.history: list[dict[str, float]] = []

    def update(self, gradient: Tensor, loss: float) -> None:
        """One step of SGD along a `gradient` of the images; `loss` is only recorded."""
        self.images.grad = gradient
        self.optimizer.step()
        self.images.grad = None
        self.step += 1
        self.mean_loss = loss if self.mean_loss is None else 0.95 * self.mean_loss + 0.05 * loss

    def is_finite(self) -> bool:
        """Whether the images are free of NaN and infinity."""
        return bool(torch.isfinite(self.images.detach().sum()))

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: images, their momentum, the network, and the generator."""
        return {
            "images": self.images,
            "generator": self.generator.get_state(),
            **moments("sgd", self.optimizer),
            **with_prefix("network.", self.network.state_dict()),
        }

    def metadata(self) -> dict[str, Any]:
        """For a checkpoint: what is no tensor; JSON-able."""
        return {"step": self.step, "history": self.history, "mean_loss": self.mean_loss}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Become what gave these `tensors` and `metadata`."""
        with torch.no_grad():
            self.images.copy_(tensors["images"])
        self.generator.set_state(tensors["generator"])
        set_moments("sgd", self.optimizer, tensors)
        self.network.load_state_dict(without_prefix("network.", tensors))
        self.step, self.history, self.mean_loss = metadata["step"], metadata["history"], metadata["mean_loss"]

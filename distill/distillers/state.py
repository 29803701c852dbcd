"""The state of a distillation that learns images step by step: saved and restored in one place for all methods."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from distill.distillers.checkpoint import moments, set_moments
from distill.distillers.run import Run
from distill.distillers.through_codec import ThroughCodec
from distill.training.average import MovingAverage

__all__ = ["Start", "StepwiseState"]

AVERAGES = ("average.images", "average.labels")  # in checkpoints


@dataclass(frozen=True)
class Start:
    """Where images start: `images` `(n, channels, height, width)` on the device, `class_ids` `(n,)` on the CPU, and
    `started_from`, the positions in the data of the real images that are in them. `through`: the codec that they are
    learned through, if any. `average`: decay of the moving average that the set is; 0: none."""

    images: Tensor
    class_ids: Tensor
    started_from: list[int]
    through: ThroughCodec | None = None
    average: float = 0.0


class StepwiseState:
    """Everything a distillation is at one moment, and nothing that it could be built from again.

    A subclass adds what is its own, and saves and restores that in `tensors`, `metadata` and `restore`.

    - `run`: what was asked for.
    - `images` `(n, channels, height, width)`, `labels` `(n, C)`: the set so far. `class_ids`: `(n,)`.
    - `started_from`: positions in the data of the real images that `images` started from.
    - `optimizer`: moves the images, and whatever else is learned. `generator`: draws real batches, and more.
    - `average`: of images and labels, which is then what the set has; `None`: it has themselves.
    - `step`: updates done. `mean_loss`: running mean of the loss. `history`: what was recorded along the way.
      `seconds`: of distilling so far, what was recorded and saved not counted.
    """

    def __init__(
        self, run: Run, start: Start, labels: Tensor, *, optimizer: torch.optim.Optimizer, generator: torch.Generator
    ) -> None:
        self.run, self.images, self.labels = run, start.images, labels
        self.class_ids, self.started_from, self.through = start.class_ids, start.started_from, start.through
        self.average = MovingAverage([start.images, labels], decay=start.average) if start.average else None
        self._seen: tuple[int, Tensor] | None = None  # a step, and the images as they are seen at it
        self.optimizer, self.generator = optimizer, generator
        self.step = 0
        self.seconds = 0.0
        self.mean_loss: float | None = None
        self.history: list[dict[str, float]] = []

    def seen(self) -> Tensor:
        """The images as networks see them: from the first step that is made through a codec, as they come back of it.

        Differentiable in `images`, also in inference. They are encoded once a step: `images` change with `step` alone.
        """
        through = self.codec_of_step()
        if through is None:
            return self.images
        if self._seen is None or self._seen[0] != self.step:
            with torch.enable_grad():
                self._seen = (self.step, through(self.images))
        return self._seen[1]

    def codec_of_step(self) -> ThroughCodec | None:
        """The codec that networks see the images of this step through, if any."""
        if self.through is None or self.step < self.through.first_step or not self.is_finite():
            return None
        return self.through

    def result(self) -> tuple[Tensor, Tensor]:
        """Images and labels that the set has at this moment."""
        if self.average is None:
            return self.images, self.labels
        images, labels = self.average.values
        return images, labels

    def result_seen(self) -> tuple[Tensor, Tensor]:
        """The same, with the images as networks see them."""
        if self.average is None:
            return self.distilled()
        images, labels = self.result()
        through = self.codec_of_step()
        return (images if through is None else through(images)), labels

    def distilled(self) -> tuple[Tensor, Tensor]:
        """Images, as networks see them, and labels."""
        return self.seen(), self.labels

    def sample(self, size: int | None) -> tuple[Tensor, Tensor]:
        """Images and labels: all, or `size` random ones of more."""
        images, labels = self.distilled()
        if size is None or size >= len(images):
            return images, labels
        chosen = torch.randperm(len(images), generator=self.generator)[:size].to(images.device)
        return images[chosen], labels[chosen]

    def count(self, loss: float) -> None:
        """Count an update, with the loss it was made for."""
        self.step += 1
        if self.average is not None:
            self.average.update()
        self.mean_loss = loss if self.mean_loss is None else 0.95 * self.mean_loss + 0.05 * loss

    def is_finite(self) -> bool:
        """Whether images and labels are free of NaN and infinity."""
        return bool(torch.isfinite(self.images.detach().sum() + self.labels.detach().sum().to(self.images)))

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: everything learned or random, generators included."""
        return {
            "images": self.images,
            "labels": self.labels,
            "class_ids": self.class_ids,
            "generator": self.generator.get_state(),
            **moments("optimizer", self.optimizer),
            **({} if self.average is None else dict(zip(AVERAGES, self.average.values, strict=True))),
        }

    def metadata(self) -> dict[str, Any]:
        """For a checkpoint: what is no tensor; JSON-able."""
        return {"step": self.step, "history": self.history, "mean_loss": self.mean_loss, "seconds": self.seconds}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Restore the state from `tensors` and `metadata`."""
        with torch.no_grad():
            self.images.copy_(tensors["images"])
            self.labels.copy_(tensors["labels"])
        self._seen = None
        self.class_ids = tensors["class_ids"]
        if self.average is not None:
            self.average.restore([tensors[name] for name in AVERAGES], metadata["step"])
        self.step, self.history, self.mean_loss = metadata["step"], metadata["history"], metadata["mean_loss"]
        self.seconds = metadata.get("seconds", 0.0)  # there is none in those of older versions
        self.generator.set_state(tensors["generator"])
        set_moments("optimizer", self.optimizer, tensors)

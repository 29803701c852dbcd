"""What is written down while a distillation goes on: its loss, and accuracy on held-out images."""

from typing import TYPE_CHECKING, Protocol

import torch

from distill.preprocess import PreprocessedImages
from distill.training.accuracy import accuracy
from distill.training.krr import krr_weights

if TYPE_CHECKING:  # what is watched knows the watch, not the other way round
    from distill.distillers.frepo import FRePo, FRePoState

__all__ = ["LossWatch", "Watch"]

HELD_OUT = 500  # at most so many images, a random part of more


class Watched(Protocol):
    """A state with updates done, the running mean of its loss, and room for what is recorded."""

    step: int
    mean_loss: float | None
    history: list[dict[str, float]]


class LossWatch:
    """Records the loss of `state` at `points` of its `steps`, start and end included; changes nothing else."""

    def __init__(self, state: Watched, *, steps: int, points: int) -> None:
        self.watched = state
        self.due = {round(steps * i / max(points - 1, 1)) for i in range(points)} | ({steps} if points else set())

    def record_if_due(self) -> bool:
        """Append to the state's history at the steps that are due and not there yet; whether it did."""
        step = self.watched.step
        if step not in self.due or any(entry["step"] == step for entry in self.watched.history):
            return False
        entry: dict[str, float] = {"step": step}
        if self.watched.mean_loss is not None:
            entry["loss"] = self.watched.mean_loss
        self.watched.history.append(entry | self.measure())
        return True

    def measure(self) -> dict[str, float]:
        """What else to record."""
        return {}


class Watch(LossWatch):
    """Records mean KRR accuracy of all pool models on held-out images as well."""

    def __init__(self, state: "FRePoState", options: "FRePo") -> None:
        super().__init__(state, steps=options.steps, points=options.history_points)
        self.state, self.options = state, options
        self.held_out = held_out = state.run.held_out
        if held_out is not None and len(held_out) > HELD_OUT:
            chosen = torch.randperm(len(held_out), generator=state.run.generator(3))[:HELD_OUT]
            self.held_out = held_out.subset(chosen)

    def measure(self) -> dict[str, float]:
        """Accuracy on the held-out images, if there are any."""
        return {} if self.held_out is None else {"krr_accuracy": self._krr_accuracy(self.held_out)}

    @torch.no_grad()
    def _krr_accuracy(self, held_out: PreprocessedImages) -> float:
        images, labels = self.state.distilled()
        real = held_out.images[:].to(images)
        accuracies = []
        for model in self.state.pool:
            weights = krr_weights(model.network.features(images), labels, regularization=self.options.regularization)
            accuracies.append(accuracy(model.network.features(real) @ weights, held_out.labels))
        return sum(accuracies) / len(accuracies)

"""What is recorded during a distillation: its loss, and accuracy on held-out images."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from distill.distillers.state import StepwiseState
from distill.preprocess import PreprocessedImages
from distill.runtime.seeds import Purpose
from distill.training.accuracy import accuracy

__all__ = ["KRRRecorder", "LossRecorder"]

HELD_OUT = 500  # at most this many images, sampled at random from more


class LossRecorder:
    """Records the loss of `state` at `points` of its `steps`, start and end included; changes nothing else."""

    def __init__(self, state: StepwiseState, *, steps: int, points: int) -> None:
        self.state = state
        self.due = {round(steps * i / max(points - 1, 1)) for i in range(points)} | ({steps} if points else set())

    def record_if_due(self) -> bool:
        """Append to the state's history at the steps that are due and not there yet; whether it did."""
        step = self.state.step
        if step not in self.due or any(entry["step"] == step for entry in self.state.history):
            return False
        entry: dict[str, float] = {"step": step}
        if self.state.mean_loss is not None:
            entry["loss"] = self.state.mean_loss
        self.state.history.append(entry | self.measure())
        return True

    def measure(self) -> dict[str, float]:
        """What else to record."""
        return {}


class KRRRecorder(LossRecorder):
    """Records the accuracy of kernel ridge regression on the held-out images of the run as well.

    - `answers`: gives what the set says of images, `(n, C)`, by each of the kernels that it is learned for: the mean
      of their accuracies is recorded.
    """

    def __init__(
        self, state: StepwiseState, answers: Callable[[Tensor], Iterable[Tensor]], *, steps: int, points: int
    ) -> None:
        super().__init__(state, steps=steps, points=points)
        self.answers = answers
        self.held_out = held_out = state.run.held_out
        if held_out is not None and len(held_out) > HELD_OUT:
            chosen = torch.randperm(len(held_out), generator=state.run.generator(Purpose.HELD_OUT))[:HELD_OUT]
            self.held_out = held_out.subset(chosen)

    def measure(self) -> dict[str, float]:
        """Accuracy on the held-out images, if there are any."""
        return {} if self.held_out is None else {"krr_accuracy": self.krr_accuracy(self.held_out)}

    @torch.no_grad()
    def krr_accuracy(self, held_out: PreprocessedImages) -> float:
        """In [0, 1], the mean over the kernels."""
        real = held_out.images[:].to(self.state.images)
        accuracies = [accuracy(answer, held_out.labels) for answer in self.answers(real)]
        return sum(accuracies) / len(accuracies)

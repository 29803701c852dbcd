"""What FRePo minimises: how wrong the answers of the distilled set are on real images, squared or by a softmax."""

import math
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.distillers.checkpoint import moments, set_moments
from distill.distillers.model_pool import squared_error

__all__ = ["OuterLoss", "OuterLossName", "OuterLossOf", "SoftmaxLoss"]

OuterLossName = Literal["squared", "softmax"]
OuterLossOf = Callable[[Tensor, Tensor], Tensor]  # predictions and targets, both (b, C)


class OuterLoss:
    """Half the squared distance of predictions and targets `(b, C)`, summed over classes, mean over rows (Eq. 2)."""

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The loss; differentiable in `predictions`, and in what it learns itself."""
        return squared_error(predictions, targets)

    def update(self) -> None:
        """Learn from the gradient that the loss has left behind; here there is nothing to learn."""

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: what it has learned."""
        return {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore it from `tensors`."""


class SoftmaxLoss(OuterLoss):
    """Cross-entropy of `softmax(sharpness * predictions)` and the class, the largest of the targets `(b, C)`.

    Source: Loo, Hasani, Lechner & Rus, *Dataset Distillation with Convexified Implicit Gradients* (ICML 2023). Answers
    by ridge regression are small numbers near `one-hot - 1/C`, and mean little to a softmax by themselves: their
    factor, the inverse of a temperature, is learned with the images by Adam, as its logarithm.

    - `sharpness`: the factor at the start, above 0. `learning_rate`: of its logarithm; 0 keeps it as it is.
    - `like`: a tensor on the device and in the type of the predictions.

    >>> loss = SoftmaxLoss(1.0, learning_rate=0.1, like=torch.zeros(0))
    >>> round(loss(torch.zeros(1, 2), torch.tensor([[0.5, -0.5]])).item(), 4)  # log 2
    0.6931
    """

    def __init__(self, sharpness: float, *, learning_rate: float, like: Tensor) -> None:
        self.log_sharpness = like.new_tensor(math.log(sharpness)).requires_grad_(True)
        self.optimizer = torch.optim.Adam([self.log_sharpness], lr=learning_rate)

    def __call__(self, predictions: Tensor, targets: Tensor) -> Tensor:
        """The loss; differentiable in `predictions` and in the logarithm of the sharpness."""
        return F.cross_entropy(predictions * self.log_sharpness.exp(), targets.argmax(1))

    def update(self) -> None:
        """Move the sharpness along the gradient that the loss has left behind."""
        self.optimizer.step()
        self.optimizer.zero_grad()

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: the logarithm of the sharpness, and the moments of Adam."""
        return {"log_sharpness": self.log_sharpness, **moments("sharpness.adam", self.optimizer)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore it from `tensors`."""
        with torch.no_grad():
            self.log_sharpness.copy_(tensors["log_sharpness"])
        set_moments("sharpness.adam", self.optimizer, tensors)

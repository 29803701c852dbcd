"""KIP: images and labels learned by kernel ridge regression with a neural tangent kernel (Nguyen et al. 2021)."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from distill.distillers.frepo import sample_batch
from distill.distillers.history import KRRRecorder
from distill.distillers.model_pool import squared_error
from distill.distillers.run import Run
from distill.distillers.state import StepwiseState
from distill.distillers.stepwise import StepwiseDistiller
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_not_negative, require_positive
from distill.runtime.seeds import Purpose
from distill.sets.synthetic import initial_labels
from distill.training.kernel_ridge import REGULARIZATION, krr_dual
from distill.training.loop import train
from distill.training.neural_tangent import NeuralTangentKernel, TangentNetwork

__all__ = ["KIP"]


@dataclass(frozen=True, kw_only=True)
class KIP(StepwiseDistiller):
    """Kernel ridge regression with the exact neural tangent kernel of a network of infinite width.

    Sources: Nguyen, Chen & Lee, *Dataset Meta-Learning from Kernel Ridge-Regression* (ICLR 2021); Nguyen, Novak, Xiao &
    Lee, *Dataset Distillation with Infinitely Wide Convolutional Networks* (NeurIPS 2021); and the released notebook,
    whose defaults these are, but for `learn_labels`, off there, and `dtype`, float64 there. Real batches are uniform,
    there with as many of each class. Kernels of networks with pooling, which take thousands of GPU hours, and
    augmentation are not available.

    >>> from distill import load_images
    >>> KIP(steps=1, batch_size=32).distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by kip)
    """

    method: ClassVar[str] = "kip"
    makes_labels: ClassVar[bool] = True
    steps: int = 1000
    """Number of updates of the distilled set."""
    network: TangentNetwork = "fc"
    """Network of infinite width: "fc", fully connected layers; or "conv", convolutions without pooling, which takes as
    many times the time and memory as an image has pixels."""
    depth: int = 1
    """Number of hidden layers of the network."""
    learn_labels: bool = True
    """Learn the soft labels; otherwise they keep their initial values."""
    label_scale: float | None = None
    """Scale of the initial soft labels, scale * (one-hot - 1/C) for C classes. Default: 1 / sqrt(C / 10)."""
    batch_size: int = 5000
    """Batch size of real images."""
    distilled_batch_size: int | None = None
    """Number of distilled images in a step, sampled at random. Default: all."""
    learning_rate: float = 4e-2
    """Learning rate of Adam for images and labels; constant."""
    regularization: float = REGULARIZATION
    """Regularisation of the ridge regression (lambda), as a fraction of the mean diagonal of K_ss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "batch_size", "distilled_batch_size", "regularization", "label_scale")
        require_not_negative(self, "steps")
        self.kernel()

    def kernel(self) -> NeuralTangentKernel:
        """The kernel of these options."""
        return NeuralTangentKernel(network=self.network, depth=self.depth)

    def updates(self, images_per_class: int) -> int:
        """How often the distilled set is updated in all."""
        return self.steps

    def with_updates(self, count: int, images_per_class: int) -> "KIP":
        """The same distiller with this many steps."""
        return self.with_options(steps=count)

    def start(self, data: PreprocessedImages, run: Run) -> StepwiseState:
        """The state before the first step."""
        start = self.first_images(data, run)
        labels = initial_labels(start.class_ids, data.num_classes, scale=self.label_scale).to(start.images.detach())
        labels.requires_grad_(self.learn_labels)
        leaves = [start.images, labels] if self.learn_labels else [start.images]
        optimizer = torch.optim.Adam(leaves, lr=self.learning_rate)
        return StepwiseState(run, start, labels, optimizer=optimizer, generator=run.generator(Purpose.BATCHES))

    def step(self, state: StepwiseState, data: PreprocessedImages) -> None:
        """One update of images and labels along the gradient of the error on a real batch; changes `state`."""
        images_t, labels_t = sample_batch(data, self.batch_size, state.generator)
        loss = squared_error(self.predictions(images_t, *state.sample(self.distilled_batch_size)), labels_t)
        train([loss], state.optimizer)
        state.count(loss.item())

    def predictions(self, images_t: Tensor, images_s: Tensor, labels_s: Tensor) -> Tensor:
        """`K_ts (K_ss + lambda I)^-1 Y_s`, `(n, C)`, of images `(n, channels, height, width)` by a distilled set."""
        kernel = self.kernel()
        dual = krr_dual(kernel(images_s, images_s), labels_s, regularization=self.regularization)
        return kernel(images_t, images_s) @ dual

    def recorder(self, state: StepwiseState) -> KRRRecorder:
        """Loss, and the accuracy of the predictions on held-out images."""

        def answers(images: Tensor) -> Iterator[Tensor]:
            yield self.predictions(images, *state.result_seen())

        return KRRRecorder(state, answers, steps=self.steps, points=self.history_points)

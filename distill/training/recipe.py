"""How a network is trained from scratch on a small set with soft labels."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from distill.networks import Network, Norm, check_network, network_of
from distill.runtime.checks import (
    check_option_types,
    require_below_one,
    require_choice,
    require_fraction,
    require_not_negative,
    require_positive,
)
from distill.sets.synthetic import initial_labels
from distill.training.augmentation import augment
from distill.training.average import MovingAverage
from distill.training.cutmix import cut_and_mixed

__all__ = ["TrainingRecipe", "published_steps"]

Loss = Literal["mse", "soft-cross-entropy"]

# Evaluation steps by set size n (released code): from n images on, that many steps.
STEPS_BY_SIZE = ((2000, 40_000), (1000, 10_000), (400, 5000), (100, 2000), (0, 1000))


def published_steps(n: int) -> int:
    """Training steps the paper's evaluation gives a set of `n` images."""
    return next(steps for size, steps in STEPS_BY_SIZE if n >= size)


@dataclass(frozen=True, kw_only=True)
class TrainingRecipe:
    """Network, loss, schedule and augmentation of a training from scratch. The defaults are the published evaluation.

    Raises `InputError` for options of another type, for numbers that are not finite or not above 0 (0 is right for
    `warmup_steps`, `final_fraction`, `steps_per_image`, `cutmix` and `average`), and for networks, norms and losses
    that are not known.

    >>> TrainingRecipe(train_steps=100).steps_for(20), TrainingRecipe().steps_for(20)
    (100, 1000)
    """

    network: str = "conv"
    """Network to train: conv, conv-after, dcconv, alexnet, vgg11 or resnet18."""
    width: int = 128
    """Width of the network: channels of its first convolution."""
    depth: int | None = None
    """Number of blocks of the network. Default: depends on the resolution of the images."""
    norm: Norm = "none"
    """Normalization of the network: "none", "batch", "instance", "layer" or "group"."""
    loss: Loss = "mse"
    """Loss: "mse" on the soft labels, or "soft-cross-entropy" against softmax(labels / temperature)."""
    temperature: float = 0.1
    """Temperature of the softmax over the labels. At 0.1 the initial label of an image gives its own class 19 % among
    100 classes, and 99.96 % among 10."""
    hard_label_scale: float | None = None
    """Scale of labels that tell a class alone, those of real images: `scale * (one-hot - 1/C)`. At 1 and temperature
    0.1 they give their own class 99.6 % among 100 classes. None: as they are, `1 / sqrt(C / 10)` as published."""
    learning_rate: float = 3e-4
    """Peak learning rate of Adam (linear warm-up, then cosine decay)."""
    warmup_steps: int = 500
    """Warm-up steps; at most half of all steps."""
    final_fraction: float = 0.01
    """Final learning rate, as a fraction of the peak."""
    batch_size: int = 500
    """Batch size (at most the size of the set)."""
    train_steps: int | None = None
    """Training steps. Default: as in the paper, by the size of the set."""
    steps_per_image: float = 0.0
    """Additional training steps per image of the set, so that a growing buffer is trained for longer."""
    augment: bool = True
    """Augment the images by random operations per batch, with parameters per image."""
    augmentations: int = 1
    """Number of random operations per batch, different ones, one after the other; published: 1."""
    cutmix: float = 0.0
    """Probability that a batch is mixed: a rectangle of each image is that of another one, and its label is mixed by
    the areas (CutMix, Yun et al. 2019)."""
    average: float = 0.0
    """Decay of an exponential moving average of the weights, such as 0.99, tested in place of the last weights. In a
    short training it is about the mean of the last tenth of the updates. 0: none."""

    def __post_init__(self) -> None:
        check_option_types(self)
        require_choice(self, "loss", get_args(Loss))
        require_positive(self, "batch_size", "train_steps", "learning_rate", "temperature", "augmentations")
        require_positive(self, "hard_label_scale")
        require_below_one(self, "average")
        require_fraction(self, "cutmix")
        require_not_negative(self, "warmup_steps", "final_fraction", "steps_per_image")
        check_network(self.network, norm=self.norm, width=self.width, depth=self.depth)

    def build(
        self, *, image_shape: tuple[int, int, int], num_classes: int, generator: torch.Generator
    ) -> Network:
        """A freshly drawn network of this recipe."""
        return network_of(self, image_shape=image_shape, num_classes=num_classes, generator=generator)

    def steps_for(self, n: int) -> int:
        """Updates for a set of `n` images."""
        base = published_steps(n) if self.train_steps is None else self.train_steps
        return base + round(self.steps_per_image * n)

    def labels_for(self, labels: Tensor) -> Tensor:
        """Soft labels `(n, C)` as networks are trained on them: hard ones have `hard_label_scale`, the others stay.

        A label is hard if it tells a class alone: its values of the other classes are alike, to a 200th of their
        distance to that of its own (8 bits may keep them).

        >>> recipe = TrainingRecipe(hard_label_scale=3.0)
        >>> recipe.labels_for(torch.tensor([[0.9, -0.1, -0.1], [0.9, -0.3, 0.2]]))
        tensor([[ 2.0000, -1.0000, -1.0000],
                [ 0.9000, -0.3000,  0.2000]])
        """
        num_classes = labels.shape[1]
        if self.hard_label_scale is None or num_classes < 2 or not len(labels):
            return labels
        ordered = labels.sort(dim=1, descending=True).values
        own, first, last = ordered[:, 0], ordered[:, 1], ordered[:, -1]
        hard = (own > first) & (first - last <= 0.005 * (own - first))
        sharp = initial_labels(labels.argmax(1), num_classes, scale=self.hard_label_scale).to(labels)
        return torch.where(hard[:, None], sharp, labels)

    def losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of each row of `logits` `(n, C)` against soft labels `(n, C)`, summed over classes: `(n,)`."""
        if self.loss == "mse":
            return 0.5 * (logits - labels).square().sum(1)
        return F.cross_entropy(logits, F.softmax(labels / self.temperature, dim=1), reduction="none")

    def criterion(self, logits: Tensor, labels: Tensor) -> Tensor:
        """What a training minimises: the mean of `losses`."""
        return self.losses(logits, labels).mean()

    def optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """Adam over all parameters."""
        return torch.optim.Adam(model.parameters(), lr=self.learning_rate, fused=True)

    def scheduler(self, optimizer: torch.optim.Optimizer, steps: int) -> LambdaLR:
        """Linear warm-up, then cosine to `final_fraction`, over `steps` updates; step it after each update."""
        warmup = min(self.warmup_steps, steps // 2)  # a short training must still reach its cosine

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            cosine = 0.5 * (1 + math.cos(math.pi * min((step - warmup) / max(steps - warmup, 1), 1.0)))
            return self.final_fraction + (1 - self.final_fraction) * cosine

        return LambdaLR(optimizer, factor)

    def average_of(self, model: nn.Module) -> MovingAverage | None:
        """The moving average of all parameters and running statistics, if this recipe has one; update it each step."""
        return MovingAverage([*model.parameters(), *model.buffers()], decay=self.average) if self.average else None

    def batches(self, n: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Positions of `steps_for(n)` batches out of `n` images, without replacement while a full one is left."""
        size = min(self.batch_size, n)
        order = torch.empty(0, dtype=torch.long)
        for _ in range(self.steps_for(n)):
            if len(order) < size:
                order = torch.randperm(n, generator=generator)
            yield order[:size]
            order = order[size:]

    def mixed(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch `(n, ...)` and its soft labels `(n, C)` as the network is trained on them: augmented, perhaps mixed.

        The soft label of a mixed image is such that the gradient of its loss is that of both, weighted by their areas.
        """
        images = self.transform(images, generator)
        if not self.cutmix or float(torch.rand((), generator=generator)) >= self.cutmix:
            return images, labels
        images, others, share = cut_and_mixed(images, generator)
        share = share.to(labels)
        if self.loss == "mse":
            return images, share * labels + (1 - share) * labels[others]
        logs = F.log_softmax(labels / self.temperature, dim=1)
        return images, self.temperature * torch.logaddexp(logs + share.log(), logs[others] + (1 - share).log())

    def transform(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Augment one batch `(n, channels, height, width)`, if this recipe augments."""
        return augment(images, generator, self.augmentations) if self.augment else images

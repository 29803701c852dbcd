"""DSA: gradient matching with differentiable siamese augmentation (Zhao & Bilen 2021)."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.distillers.matching import Matching, MatchingState
from distill.networks import Network
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_not_negative, require_positive
from distill.training.augmentation import SIAMESE, draw_augmentation
from distill.training.loop import train

__all__ = ["DSA", "gradient_distance", "published_loops"]

EPSILON = 1e-6  # beside the product of two gradients' lengths
# Images per class: updates of the images with each network, and its epochs between two of them (released code).
LOOPS_BY_SIZE = ((50, (50, 10)), (40, (40, 15)), (30, (30, 20)), (20, (20, 25)), (10, (10, 50)), (1, (1, 1)))


def published_loops(images_per_class: int) -> tuple[int, int]:
    """`outer_loop` and `inner_loop` of the released code; sizes it leaves out take those of the next smaller one."""
    return next(loops for size, loops in LOOPS_BY_SIZE if images_per_class >= size)


@dataclass(frozen=True, kw_only=True)
class DSA(Matching):
    """Loss gradients of a class's distilled images matched with those of its real ones, in networks being trained.

    Sources: Zhao & Bilen, *Dataset Condensation with Differentiable Siamese Augmentation* (ICML 2021), on top of
    Zhao, Mopuri & Bilen, *Dataset Condensation with Gradient Matching* (ICLR 2021), which is `augment=False`; and their
    released code, whose defaults these are. As there, only weights are matched, biases and norms are not, and a
    network is not trained after the last update it gives. The order of random numbers is our own, images start
    from real ones (there by default from noise, with little difference), and flipping depends on the data (`flip`).

    >>> from distill import load_images
    >>> DSA(iterations=1, width=4, depth=1, batch_size=8).distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by dsa)
    """

    method: ClassVar[str] = "dsa"
    rates: ClassVar[tuple[str, ...]] = ("learning_rate", "network_learning_rate")
    iterations: int = 1000
    """Number of randomly initialised networks; published: 1000."""
    learning_rate: float = 0.1
    outer_loop: int | None = None
    """Updates of the images with each network. Default: the published number for the images per class."""
    inner_loop: int | None = None
    """Epochs on the distilled images that train the network between two updates. Default: as published."""
    network_learning_rate: float = 0.01
    """Learning rate of SGD for training the networks on the distilled images, which uses `augment` as well."""
    network_batch_size: int = 256
    """Batch size for training the networks on the distilled images."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "outer_loop", "network_batch_size")
        require_not_negative(self, "iterations", "inner_loop")

    def loops(self, images_per_class: int) -> tuple[int, int]:
        """`outer_loop` and `inner_loop` as resolved."""
        outer, inner = published_loops(images_per_class)
        return self.outer_loop or outer, inner if self.inner_loop is None else self.inner_loop

    def updates(self, images_per_class: int) -> int:
        """How often the images are updated in all."""
        return self.iterations * self.loops(images_per_class)[0]

    def with_updates(self, count: int, images_per_class: int) -> "DSA":
        """The same distiller with as many networks as `count` needs, each of which gives about as many updates."""
        iterations = math.ceil(count / self.loops(images_per_class)[0])
        return self.with_options(iterations=iterations, outer_loop=round(count / iterations) if iterations else None)

    def step(self, state: MatchingState, data: PreprocessedImages) -> None:
        """Match class after class, in a new network or in one trained further; changes `state`."""
        if state.step % self.loops(state.run.images_per_class)[0] == 0:
            state.network.reset_parameters(state.generator)
        else:
            self.train_network(state)
        state.network.requires_grad_(True)
        gradients: list[Tensor] = []
        total = 0.0
        parts = state.seen().detach().split(state.sizes)
        for (class_id, positions), images_s in zip(state.positions.items(), parts, strict=True):
            images_s.requires_grad_(True)
            augmented_t, augmented_s = self.pair(state, data, positions, images_s)
            loss = gradient_distance(
                weight_gradients(state.network, augmented_t, class_id),
                weight_gradients(state.network, augmented_s, class_id, differentiable=True),
            )
            gradients += torch.autograd.grad(loss, images_s)
            total += loss.item()
        state.network.requires_grad_(False)
        state.update(torch.cat(gradients), total / len(parts))

    def train_network(self, state: MatchingState) -> None:
        """Train the network on the distilled images: cross-entropy on their classes, one augmentation a batch."""
        images, class_ids = state.seen().detach(), state.class_ids.to(state.images.device)
        channels, height, width = images.shape[1:]
        draw = partial(
            draw_augmentation, SIAMESE, state.generator, (height, width), mirror=self.mirrors((channels, height, width))
        )

        def losses() -> Iterator[Tensor]:
            for _ in range(self.loops(state.run.images_per_class)[1]):
                order = torch.randperm(len(images), generator=state.generator)
                for chosen in order.to(images.device).split(self.network_batch_size):
                    batch = images[chosen]
                    if self.augment:  # here each image has parameters of its own
                        batch = draw(count=len(batch))(batch)
                    yield F.cross_entropy(state.network(batch), class_ids[chosen])

        optimizer = torch.optim.SGD(state.network.requires_grad_(True).parameters(), lr=self.network_learning_rate)
        train(losses(), optimizer)
        optimizer.zero_grad()
        state.network.requires_grad_(False)


def weight_gradients(
    network: Network, images: Tensor, class_id: int, *, differentiable: bool = False
) -> tuple[Tensor, ...]:
    """Gradients of the cross-entropy on `images`, all of one class, by all weights but biases and norms."""
    class_ids = torch.full((len(images),), class_id, device=images.device)
    loss = F.cross_entropy(network(images), class_ids)
    weights = [weight for weight in network.parameters() if weight.ndim > 1]
    return torch.autograd.grad(loss, weights, create_graph=differentiable)


def gradient_distance(gradients_t: Sequence[Tensor], gradients_s: Sequence[Tensor]) -> Tensor:
    """`1 - cosine` of the gradients by the weights of each output unit, summed over units and layers.

    Takes weight gradients `(units, ...)`, one a layer, of real and of distilled images.
    """
    distance = gradients_s[0].new_zeros(())
    for layer_t, layer_s in zip(gradients_t, gradients_s, strict=True):
        rows_t, rows_s = layer_t.flatten(1), layer_s.flatten(1)
        lengths = rows_t.norm(dim=1) * rows_s.norm(dim=1)
        distance = distance + (1 - (rows_t * rows_s).sum(1) / (lengths + EPSILON)).sum()
    return distance

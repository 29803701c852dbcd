"""FRePo's step in JAX, built as the authors' released code is: what the toolkit's speed is compared with.

As in https://github.com/yongchaoz/FRePo a step is four jitted functions: features of the real batch; meta-gradient and
LAMB update; a copy of the distilled set; Adam update of the model on it. Images are `(n, height, width, channels)`, all
is float32, the kernel is solved as a positive definite system, BatchNorm takes the variance as the mean of squares less
the squared mean. It differs in what costs nothing: `jax.numpy` in place of Flax and optax, constant learning rates, no
accuracies and norms for the log. JAX is no dependency of the project: import this module where JAX is installed.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jax import Array, lax
from jax import numpy as jnp
from jax.scipy.linalg import solve
from jax.tree_util import tree_map
from torch import Tensor, nn

from distill import FRePo
from distill.distillers.frepo import FRePoState
from distill.distillers.model_pool import PoolModel
from distill.networks import Network

__all__ = ["JaxStep", "forward", "meta_loss", "model_of", "to_numpy"]

Tree = Any  # of arrays
EPSILON, KEPT = 1e-5, 0.1  # of BatchNorm: what is added to the variance, and kept of the running statistics


def to_numpy(images: Tensor) -> np.ndarray:
    """Images `(n, channels, height, width)` to `(n, height, width, channels)`; other tensors as they are."""
    array = images.detach().cpu().numpy()
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1) if array.ndim == 4 else array)


def model_of(network: Network) -> Tree:
    """Weights and running statistics of the paper's network with BatchNorm, copied into JAX's layout."""
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    head, channels = network.head.weight, convolutions[-1].out_channels
    side = int((head.shape[1] // channels) ** 0.5)
    weights = {
        "convolutions": [(layer.weight.permute(2, 3, 1, 0), layer.bias) for layer in convolutions],
        "norms": [(layer.weight, layer.bias) for layer in norms],
        "head": (head.view(-1, channels, side, side).permute(2, 3, 1, 0).reshape(-1, len(head)), network.head.bias),
    }
    statistics = [(layer.running_mean, layer.running_var) for layer in norms]
    return tree_map(lambda tensor: jnp.array(tensor.detach().cpu().numpy()), (weights, statistics))


def forward(model: Tree, images: Array, *, training: bool = False) -> tuple[Array, Array, Tree]:
    """Logits, features, and running statistics afterwards, which change in training alone."""
    (weights, statistics), after = model, []
    for block, (kernel, bias) in enumerate(weights["convolutions"]):
        if block:
            scale, shift = weights["norms"][block - 1]
            mean, variance = running = statistics[block - 1]
            if training:
                mean = images.mean((0, 1, 2))
                variance = jnp.maximum((images**2).mean((0, 1, 2)) - mean**2, 0)
                running = tree_map(lambda old, new: KEPT * old + (1 - KEPT) * new, running, (mean, variance))
            after.append(running)
            images = (images - mean) * (lax.rsqrt(variance + EPSILON) * scale) + shift
        layout = ("NHWC", "HWIO", "NHWC")
        maps = lax.conv_general_dilated(images, kernel, (1, 1), [(1, 1), (1, 1)], dimension_numbers=layout) + bias
        images = lax.reduce_window(jax.nn.relu(maps), 0.0, lax.add, (1, 2, 2, 1), (1, 2, 2, 1), "VALID") / 4
    features = images.reshape(len(images), -1)
    weight, bias = weights["head"]
    return features @ weight + bias, features, after


def meta_loss(
    distilled: tuple[Array, Array], model: Tree, features_t: Array, labels_t: Array, *, mirror: bool, ridge: float
) -> Array:
    """Error of the ridge regression on a real batch, less the margin of the distilled labels."""
    images, labels = distilled
    top = lax.top_k(labels, 2)[0]
    margin = jnp.minimum(top[:, 0] - top[:, 1], 1 / labels.shape[1]).mean()
    if mirror:
        images, labels = jnp.concatenate([images, images[:, :, ::-1]]), jnp.concatenate([labels, labels])
    features = forward(model, images)[1]
    kernel = features @ features.T
    regularized = kernel + ridge * jnp.trace(kernel) * jnp.eye(len(kernel), dtype=kernel.dtype) / len(kernel)
    predictions = (features_t @ features.T) @ solve(regularized, labels, assume_a="pos")
    return squared_error(predictions, labels_t) - margin


def squared_error(predictions: Array, labels: Array) -> Array:
    """Half the squared distance, summed over classes, mean over rows."""
    return 0.5 * ((predictions - labels) ** 2).sum(1).mean()


def direction(gradients: Tree, moments: Tree, epsilon: float) -> tuple[Tree, Tree]:
    """Adam's direction, and the moments with these gradients in them."""
    count, first, second = moments
    count = count + 1
    first = tree_map(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = tree_map(lambda v, g: 0.999 * v + 0.001 * g**2, second, gradients)
    moves = tree_map(
        lambda m, v: m / (1 - 0.9**count) / (jnp.sqrt(v / (1 - 0.999**count)) + epsilon), first, second
    )
    return moves, (count, first, second)


def update_distilled(
    distilled: Tree, moments: Tree, *batch: Tree, loss_and_gradients: Callable[..., tuple[Array, Tree]], rate: float
) -> tuple[Tree, Tree]:
    """A LAMB update of images and labels along the meta-gradient on a batch."""
    moves, moments = direction(loss_and_gradients(distilled, *batch)[1], moments, 1e-6)

    def moved(old: Array, move: Array) -> Array:
        old_norm, move_norm = jnp.linalg.norm(old), jnp.linalg.norm(move)
        return old - rate * jnp.where((old_norm == 0) | (move_norm == 0), 1.0, old_norm / move_norm) * move

    return tree_map(moved, distilled, moves), moments


def update_model(model: Tree, moments: Tree, distilled: Tree, *, rate: float) -> tuple[Tree, Tree]:
    """An Adam update of the model's weights on the distilled set; running statistics follow."""
    weights, statistics = model

    def loss(weights: Tree) -> tuple[Array, Tree]:
        logits, _, after = forward((weights, statistics), distilled[0], training=True)
        return squared_error(logits, distilled[1]), after

    gradients, after = jax.grad(loss, has_aux=True)(weights)
    moves, moments = direction(gradients, moments, 1e-8)
    return (tree_map(lambda old, move: old - rate * move, weights, moves), after), moments


class JaxStep:
    """One model and one distilled set, from those of a distillation's state; all images are distilled with."""

    def __init__(self, distiller: FRePo, state: FRePoState, model: PoolModel) -> None:
        self.model = model_of(model.network)
        self.distilled = (jnp.array(to_numpy(state.images)), jnp.array(to_numpy(state.labels)))
        self.moments, self.model_moments = (
            (jnp.zeros((), int), *(tree_map(jnp.zeros_like, tree) for _ in range(2)))
            for tree in (self.distilled, self.model[0])
        )
        loss = partial(meta_loss, mirror=distiller.mirror, ridge=distiller.regularization)
        self.loss_and_gradients = jax.value_and_grad(loss)
        self.features = jax.jit(lambda model, images: forward(model, images)[1])
        self.update_distilled = jax.jit(
            partial(update_distilled, loss_and_gradients=self.loss_and_gradients, rate=distiller.learning_rate)
        )
        self.copy = jax.jit(lambda distilled: tree_map(jnp.copy, distilled))
        self.update_model = jax.jit(partial(update_model, rate=distiller.pool_learning_rate))

    def real(self, images_t: np.ndarray) -> Array:
        """Features of a real batch."""
        return jax.block_until_ready(self.features(self.model, images_t))

    def meta(self, features_t: Array, labels_t: np.ndarray) -> None:
        """Meta-gradient and LAMB update."""
        updated = self.update_distilled(self.distilled, self.moments, self.model, features_t, labels_t)
        self.distilled, self.moments = jax.block_until_ready(updated)

    def pool(self) -> None:
        """Training step of the model."""
        updated = self.update_model(self.model, self.model_moments, self.copy(self.distilled))
        self.model, self.model_moments = jax.block_until_ready(updated)

    def step(self, images_t: np.ndarray, labels_t: np.ndarray) -> None:
        """Algorithm 1 on a real batch."""
        self.meta(self.real(images_t), labels_t)
        self.pool()

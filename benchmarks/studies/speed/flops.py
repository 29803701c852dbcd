"""How many operations a step needs: counted from the shapes of the algorithm, whatever an implementation does."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill import FRePo
from distill.networks import Network

__all__ = ["NetworkCost", "network_cost", "step_operations", "training_operations"]


@dataclass(frozen=True)
class NetworkCost:
    """Operations (a multiplication and an addition are two) that one image costs going forward once.

    - `first`: of the first convolution, whose input needs no gradient where weights are trained. `features`: of all
      convolutions, the first included. `head`: of the linear layer. `dimensions`: entries of the features.
    """

    first: int
    features: int
    head: int
    dimensions: int


def network_cost(network: Network, image_shape: tuple[int, int, int]) -> NetworkCost:
    """The cost of a network, from the outputs of its layers for one image; norms, ReLU and pooling do not count."""
    convolutions: list[int] = []

    def count(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        # From the input: some layers pool their own output.
        assert isinstance(layer, nn.Conv2d)
        sides = [
            (side + 2 * int(layer.padding[axis]) - layer.kernel_size[axis]) // layer.stride[axis] + 1
            for axis, side in enumerate(given[0].shape[2:])
        ]
        convolutions.append(2 * layer.weight.numel() * sides[0] * sides[1])

    hooks = [m.register_forward_pre_hook(count) for m in network.modules() if isinstance(m, nn.Conv2d)]
    training = network.training
    with torch.no_grad():
        network.eval().features(torch.zeros(1, *image_shape).to(network.head.weight))
    network.train(training)
    for hook in hooks:
        hook.remove()
    return NetworkCost(
        first=convolutions[0],
        features=sum(convolutions),
        head=2 * network.head.weight.numel(),
        dimensions=network.head.in_features,
    )


def training_operations(cost: NetworkCost, images: int) -> int:
    """One update of the weights: forward, gradients of weights, gradients of all layers' inputs but the first's."""
    return images * (3 * (cost.features + cost.head) - cost.first)


def step_operations(distiller: FRePo, cost: NetworkCost, *, images: int, classes: int, real: int) -> dict[str, int]:
    """Operations of one FRePo step, by part, for this many distilled `images` and a batch of `real` ones.

    "real": features of the batch. "meta": features of the distilled images, mirrored ones too, and their gradient by
    the images; kernel, its factor, predictions and their gradients. "pool": an update of one model.
    """
    n = min(images, distiller.distilled_batch_size or images) * (2 if distiller.mirror else 1)
    return {
        "real": real * cost.features,
        "meta": 2 * n * cost.features + ridge_operations(n, cost.dimensions, classes, real),
        "pool": training_operations(cost, min(images, distiller.pool_batch_size)),
    }


def ridge_operations(n: int, dimensions: int, classes: int, real: int) -> int:
    """Kernel ridge regression and its gradient: half a kernel, a Cholesky factor, and thin products."""
    kernel, factor, solves = n * n * dimensions, n**3 // 3, 4 * n * n * classes
    products = 2 * dimensions * classes * (5 * n + 2 * real)  # five with the distilled features, two with the real ones
    return kernel + factor + solves + products

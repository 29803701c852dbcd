"""FRePo's step and an evaluation training written the obvious way: what the toolkit's speed is compared with.

Eager PyTorch in its default memory format, autograd through everything. It computes what the toolkit does, so it can
be started from a distillation's state and compared with it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from distill import FRePo, TrainingRecipe
from distill.distillers.frepo import FRePoState, label_margin
from distill.distillers.lamb import LAMB
from distill.distillers.model_pool import PoolModel
from distill.networks import Network
from distill.networks.norms import Norm, make_norm

__all__ = ["PlainConv", "PlainStep", "PlainTraining"]


class PlainConv(nn.Module):
    """The paper's network, layer after layer: norm from the second block on, convolution, ReLU, average pooling."""

    def __init__(self, network: Network, norm: Norm) -> None:
        super().__init__()
        convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(layer.in_channels, layer.out_channels, 3, padding=int(layer.padding[0])) for layer in convolutions
        )
        self.norms = nn.ModuleList(make_norm(norm, layer.in_channels) for layer in convolutions[1:])
        self.head = nn.Linear(network.head.in_features, network.head.out_features)
        self.to(network.head.weight)
        theirs = {**network.state_dict()}
        with torch.no_grad():
            for mine, value in zip(self.in_order(), theirs.values(), strict=True):
                mine.copy_(value)

    def in_order(self) -> list[Tensor]:
        """Parameters and running statistics in the order in which the toolkit's network has them."""
        tensors: list[Tensor] = []
        for index, convolution in enumerate(self.convolutions):
            layers = [self.norms[index - 1], convolution] if index else [convolution]
            tensors += [tensor for layer in layers for tensor in layer.state_dict(keep_vars=True).values()]
        return [*tensors, self.head.weight, self.head.bias]

    def features(self, images: Tensor) -> Tensor:
        """Images `(n, channels, height, width)` to features `(n, d)`."""
        for index, convolution in enumerate(self.convolutions):
            if index:
                images = self.norms[index - 1](images)
            images = F.avg_pool2d(F.relu(convolution(images)), 2)
        return images.flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """Logits."""
        return self.head(self.features(images))


class PlainStep:
    """One model and one distilled set, from those of a distillation's state."""

    def __init__(self, distiller: FRePo, state: FRePoState, model: PoolModel) -> None:
        self.distiller = distiller
        self.network = PlainConv(model.network, distiller.norm)
        self.images = state.images.detach().clone(memory_format=torch.contiguous_format).requires_grad_(True)
        self.labels = state.labels.detach().clone().requires_grad_(True)
        self.optimizer = LAMB([self.images, self.labels], lr=distiller.learning_rate)
        self.network_optimizer = torch.optim.Adam(self.network.parameters(), lr=distiller.pool_learning_rate)

    def step(self, images_t: Tensor, labels_t: Tensor) -> None:
        """Algorithm 1 on a real batch."""
        images_s, labels_s = self.images, self.labels
        if self.distiller.mirror:
            images_s, labels_s = torch.cat([images_s, images_s.flip(3)]), torch.cat([labels_s, labels_s])
        self.network.eval()
        features_t = self.network.features(images_t).double()
        features_s = self.network.features(images_s).double()
        kernel = features_s @ features_s.T
        ridge = self.distiller.regularization * torch.trace(kernel) / len(kernel)
        dual = torch.linalg.solve(kernel + ridge * torch.eye(len(kernel)).to(kernel), labels_s.double())
        predictions = features_t @ features_s.T @ dual
        loss = 0.5 * (predictions - labels_t).square().sum(1).mean() - label_margin(self.labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

        self.network.train()
        logits = self.network(self.images.detach())
        loss = 0.5 * (logits - self.labels.detach()).square().sum(1).mean()
        self.network_optimizer.zero_grad()
        loss.backward()
        self.network_optimizer.step()


class PlainTraining:
    """Training of an evaluation network by a recipe."""

    def __init__(self, recipe: TrainingRecipe, network: Network) -> None:
        self.recipe = recipe
        self.network = PlainConv(network, recipe.norm).train()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=recipe.learning_rate)

    def step(self, images: Tensor, labels: Tensor, generator: torch.Generator) -> None:
        """One update on a batch, augmented if the recipe augments."""
        loss: Any = self.recipe.criterion(self.network(self.recipe.transform(images, generator)), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

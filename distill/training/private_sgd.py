"""DP-SGD: a network trained on private records themselves, with the guarantee that private sets have."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR

from distill.accounting.accountant import Release, require_accountant
from distill.accounting.budget import Budget
from distill.accounting.fixed_preprocessing import check_not_fitted, fixed_preprocessing
from distill.accounting.ledger import Ledger, Spent
from distill.accounting.noise_stream import NoiseStream
from distill.accounting.noisy_sums import noisy_row_sum, poisson_sample
from distill.data.labelled import LabelledImages
from distill.errors import InputError, NotFiniteError
from distill.networks import Network, Norm, check_network, network_of, plain_layers
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import (
    check_device,
    check_option_types,
    require_a,
    require_flag,
    require_positive,
    require_whole,
)
from distill.runtime.progress import progress_bar
from distill.runtime.seeds import Purpose, generator_for

__all__ = ["PrivateNetwork", "PrivateSGD", "gradients_of_records"]


@dataclass(frozen=True)
class PrivateNetwork:
    """A trained `network`, in evaluation mode, and the `ledger` of what its training spent."""

    network: Network
    ledger: Ledger


@dataclass(frozen=True, kw_only=True)
class PrivateSGD(Budget):
    """DP-SGD: stochastic gradient descent on gradients that are clipped record by record, summed and noised.

    A baseline for private sets: it trains one network on the records, and leaves no set that others could be trained
    on. Source: Abadi et al., *Deep Learning with Differential Privacy* (CCS 2016), Algorithm 1, with momentum and a
    cosine decay, which are post-processing. Batches are Poisson samples; the sum is divided by the expected size of a
    batch, as its size is private. Neighbours, accountant and noise are those of `PrivateFRePo`.

    Raises `InputError` for options that make no sense, and for batch normalisation, with which the gradient of a record
    depends on others.

    >>> from distill import load_images
    >>> sgd = PrivateSGD(steps=2, batch_size=50, width=4, depth=1, noise_multiplier=9.0)
    >>> trained = sgd.train(load_images("digits"), seed=20260417)  # the seed is a secret
    >>> print(trained.ledger)
    epsilon 0.0167 at delta 1e-05 (PLD of dp-accounting; neighbours differ in one record, replaced by a blank one)
      dp-sgd on 1347 records of classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9:
        2 x gradients: noise 9 of the clip, each record with probability 0.03712
    """

    steps: int = 100
    """Number of updates, each with noise of its own."""
    batch_size: int = 1024
    """Expected number of records in a step: each is drawn by a coin of its own, so that the number varies."""
    clip: float = 0.1
    """Norm to which the gradient of a record is clipped."""
    learning_rate: float = 20.0
    """Initial learning rate, with cosine decay to 0. It goes with the clip: half of one needs twice the other."""
    momentum: float = 0.9
    """Momentum of the updates; 0 for none."""
    network: str = "conv"
    """Network to train: conv, conv-after, dcconv, alexnet, vgg11 or resnet18."""
    width: int = 8
    """Width of the network: channels of its first convolution."""
    depth: int | None = None
    """Number of blocks of the network. Default: depends on the resolution of the images."""
    norm: Norm = "none"
    """Normalization of the network: "none", "instance", "layer" or "group"."""
    chunk_size: int = 128
    """Number of records whose gradients are in memory at a time; the results are the same up to rounding."""

    def __post_init__(self) -> None:
        check_option_types(self)
        self.check_budget()
        require_positive(self, "steps", "batch_size", "clip", "learning_rate", "chunk_size")
        if not 0 <= self.momentum < 1:
            raise InputError(f"momentum is {self.momentum}; expected 0 or more and less than 1")
        check_network(self.network, norm=self.norm, width=self.width, depth=self.depth)
        if self.norm == "batch":
            raise InputError(
                "norm is 'batch', with which the gradient of a record depends on others and cannot be clipped by "
                "itself; expected none, instance, layer or group"
            )

    def train(
        self,
        data: LabelledImages | PreprocessedImages,
        *,
        network: Network | None = None,
        seed: int = 0,
        device: str = "cpu",
        progress: bool = False,
    ) -> PrivateNetwork:
        """Train a network on `data` by cross-entropy, and tell what that spent.

        - `data`: raw images, which are mapped to [-1, 1], or images of a fixed preprocessing.
        - `network`: to train further, in place; its weights must be public, or private by a ledger of their own.
          Default: one with fresh weights.
        - `seed`: weights, batches and noise come from it: a secret, to be used once.

        Raises `InputError` for images that are preprocessed by what may be fitted on them, for a network with batch
        normalisation, and where dp-accounting is not installed; `NotFiniteError` where the training diverges.
        """
        require_a("data", data, LabelledImages, PreprocessedImages)
        require_a("network", network, Network, type(None))
        require_whole("seed", seed)
        require_flag("progress", progress)
        check_device(device)
        if isinstance(data, LabelledImages):
            data = fixed_preprocessing(data.images.shape[-1]).apply(data)
        check_not_fitted(data.preprocessing, public=self.public_preprocessing)
        ledger = self.ledger(data)
        trained = (self.build(data, seed) if network is None else network).to(device)
        check_no_batch_norm(trained)
        with plain_layers(trained):
            self._descend(trained.train(), data, ledger.spent[0].releases[0], seed=seed, progress=progress)
        return PrivateNetwork(trained.eval(), ledger)

    def sampling_rate(self, records: int) -> float:
        """Probability with which a record is in a batch."""
        return min(1.0, self.batch_size / records)

    def ledger(self, data: PreprocessedImages) -> Ledger:
        """What training on `data` spends: a gradient for each step."""
        require_accountant()
        if not len(data):
            raise InputError("data has no images; expected at least one")
        rate = self.sampling_rate(len(data))

        def with_noise(noise: float) -> tuple[Release, ...]:
            return (Release("gradients", noise, rate, self.steps),)

        noise = self.noise_multiplier
        if noise is None:
            noise = self.calibrated(with_noise, self.epsilon)
        classes = tuple(int(class_id) for class_id in torch.unique(data.labels))
        return Ledger((Spent("dp-sgd", with_noise(noise), classes, len(data)),), self.delta)

    def build(self, data: PreprocessedImages, seed: int) -> Network:
        """A network of these options with fresh weights, in which no record has a part."""
        generator = generator_for(seed, Purpose.TRAINING, Purpose.NETWORKS)
        return network_of(self, image_shape=data.image_shape, num_classes=data.num_classes, generator=generator)

    def _descend(
        self, network: Network, data: PreprocessedImages, release: Release, *, seed: int, progress: bool
    ) -> None:
        coins = self.noise_stream(seed, Purpose.TRAINING, Purpose.BATCHES)
        noise = self.noise_stream(seed, Purpose.TRAINING, Purpose.NOISE)
        optimizer = torch.optim.SGD(network.parameters(), lr=self.learning_rate, momentum=self.momentum)
        scheduler = LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / self.steps)))
        for _ in progress_bar(range(self.steps), shown=progress, desc="train", unit="step"):
            chosen = poisson_sample(len(data), release.sampling_rate, coins)
            images, labels = data.images[chosen.to(data.images.device)], data.labels[chosen.to(data.labels.device)]
            summed = self._noisy_gradient(network, images, labels, release.noise_multiplier, noise)
            # From here on, post-processing.
            set_gradient(network, summed / (release.sampling_rate * len(data)))
            optimizer.step()
            scheduler.step()
        if not all(bool(torch.isfinite(parameter).all()) for parameter in network.parameters()):
            raise NotFiniteError(
                f"DP-SGD on {len(data)} records diverged (NaN); lower learning_rate (it is {self.learning_rate:g})"
            )

    def _noisy_gradient(
        self, network: Network, images: Tensor, labels: Tensor, noise_multiplier: float, noise: NoiseStream
    ) -> Tensor:
        """The only place where records are looked at."""
        device = network.head.weight.device
        chunks = (
            gradients_of_records(network, some.to(device), of.to(device))
            for some, of in zip(images.split(self.chunk_size), labels.split(self.chunk_size), strict=True)
        )
        size = sum(parameter.numel() for parameter in network.parameters())
        return noisy_row_sum(
            chunks if len(images) else (), size, clip=self.clip, noise_multiplier=noise_multiplier, noise=noise
        )


def gradients_of_records(network: Network, images: Tensor, labels: Tensor) -> Tensor:
    """The gradient of the cross-entropy of each record by all parameters of `network`, in their order: `(n, p)`.

    `images` is `(n, channels, height, width)`, `labels` int64 `(n,)`. To be called within `plain_layers(network)`.
    """

    def loss(parameters: Mapping[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(network, dict(parameters), (image[None],)), label[None])

    parameters = {name: parameter.detach() for name, parameter in network.named_parameters()}
    found = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, images, labels)
    return torch.cat([found[name].reshape(len(images), -1) for name in parameters], 1)


def set_gradient(network: Network, flat: Tensor) -> None:
    """Set the gradients of all parameters from `flat` `(p,)`, which has them in their order."""
    parameters = list(network.parameters())
    for parameter, own in zip(parameters, flat.split([each.numel() for each in parameters]), strict=True):
        parameter.grad = own.view(parameter.shape).to(parameter)


def check_no_batch_norm(network: nn.Module) -> None:
    """Raise `InputError` where the gradient of a record depends on others."""
    if any(isinstance(module, _BatchNorm) for module in network.modules()):
        raise InputError(
            "network has batch normalisation, with which the gradient of a record depends on others and cannot be "
            "clipped by itself; expected one with norm none, instance, layer or group"
        )

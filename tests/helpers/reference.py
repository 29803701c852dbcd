"""FRePo once more: slow, float64, one line per line of the paper; what the project's code is compared with.

Written from the method's description (Zhou, Nezhadarya & Ba 2022: Eq. 2, Algorithm 2, appendix A.1), and from
nothing in `distill`, which it does not import.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

# -- the network (appendix A.1, "Models") -----------------------------------------------------------------------------


@dataclass
class Norm:
    """A normalisation layer: "batch", "instance", "layer" or "group" (of `groups` groups of channels)."""

    kind: str
    scale: Tensor
    shift: Tensor
    mean: Tensor | None = None
    variance: Tensor | None = None
    groups: int = 1


@dataclass
class Block:
    """One block: 3x3 convolution, ReLU, 2x2 average pooling, and a norm before or after the convolution."""

    kernel: Tensor
    bias: Tensor
    padding: int
    norm_before: Norm | None = None
    norm_after: Norm | None = None


@dataclass
class Net:
    """Blocks, then a linear layer."""

    blocks: list[Block]
    head_weight: Tensor
    head_bias: Tensor

    def parameters(self) -> list[Tensor]:
        """Everything that is trained, block by block; running statistics are not."""
        tensors = []
        for block in self.blocks:
            for norm in (block.norm_before, block.norm_after):
                if norm is not None:
                    tensors += [norm.scale, norm.shift]
            tensors += [block.kernel, block.bias]
        return [*tensors, self.head_weight, self.head_bias]


def normalized(norm: Norm, x: Tensor, *, training: bool, eps: float = 1e-5) -> Tensor:
    """Normalise maps `(n, c, h, w)`; BatchNorm in training mode also moves its running statistics."""
    n, c, h, w = x.shape
    if norm.kind == "batch":
        assert norm.mean is not None and norm.variance is not None  # noqa: PT018
        mean, variance = norm.mean, norm.variance
        if training:
            mean = x.sum((0, 2, 3)) / (n * h * w)
            variance = ((x - mean[None, :, None, None]) ** 2).sum((0, 2, 3)) / (n * h * w)
            # "Flax momentum 0.1 means keep 10 %". The running variance is the unbiased one, as everywhere in PyTorch
            # (Flax keeps the biased one).
            unbiased = variance * (n * h * w) / (n * h * w - 1)
            norm.mean = 0.1 * norm.mean + 0.9 * mean.detach()
            norm.variance = 0.1 * norm.variance + 0.9 * unbiased.detach()
        x = (x - mean[None, :, None, None]) / torch.sqrt(variance[None, :, None, None] + eps)
    else:
        groups = {"instance": c, "layer": 1, "group": norm.groups}[norm.kind]
        x = x.reshape(n, groups, c // groups, h, w)
        mean = x.mean((2, 3, 4), keepdim=True)
        variance = ((x - mean) ** 2).mean((2, 3, 4), keepdim=True)
        x = ((x - mean) / torch.sqrt(variance + eps)).reshape(n, c, h, w)
    return x * norm.scale[None, :, None, None] + norm.shift[None, :, None, None]


def relu_and_pool(x: Tensor) -> Tensor:
    """ReLU, then the mean of each 2x2 square; an odd last row or column is dropped."""
    x = torch.where(x > 0, x, torch.zeros_like(x))
    h, w = x.shape[2] // 2 * 2, x.shape[3] // 2 * 2
    x = x[:, :, :h, :w]
    return (x[:, :, 0::2, 0::2] + x[:, :, 0::2, 1::2] + x[:, :, 1::2, 0::2] + x[:, :, 1::2, 1::2]) / 4


def features(net: Net, images: Tensor, *, training: bool = False) -> Tensor:
    """Flattened output of the last pooling layer."""
    x = images
    for block in net.blocks:
        if block.norm_before is not None:
            x = normalized(block.norm_before, x, training=training)
        x = F.conv2d(x, block.kernel, block.bias, padding=block.padding)
        if block.norm_after is not None:
            x = normalized(block.norm_after, x, training=training)
        x = relu_and_pool(x)
    return x.reshape(len(x), -1)


def logits(net: Net, images: Tensor, *, training: bool = False) -> Tensor:
    """Output of the linear layer."""
    return features(net, images, training=training) @ net.head_weight.T + net.head_bias


# -- the loss (Eq. 2 and 3) -------------------------------------------------------------------------------------------


def krr_predictions(features_t: Tensor, features_s: Tensor, labels_s: Tensor, regularization: float = 1e-6) -> Tensor:
    """`K_ts (K_ss + lambda I)^-1 Y_s` with `lambda = regularization * trace(K_ss) / n` (Eq. 2, 3 and A.1)."""
    kernel_ts = features_t @ features_s.T
    kernel_ss = features_s @ features_s.T
    n = len(features_s)
    lambda_ = regularization * torch.trace(kernel_ss) / n
    return kernel_ts @ torch.linalg.inv(kernel_ss + lambda_ * torch.eye(n, dtype=kernel_ss.dtype)) @ labels_s


def primal_predictions(
    features_t: Tensor, features_s: Tensor, labels_s: Tensor, regularization: float = 1e-6
) -> Tensor:
    """The same predictions from the other side: `F_t (F_s^T F_s + lambda I)^-1 F_s^T Y_s`, a d x d system."""
    n, d = features_s.shape
    lambda_ = regularization * (features_s**2).sum() / n
    covariance = features_s.T @ features_s + lambda_ * torch.eye(d, dtype=features_s.dtype)
    return features_t @ torch.linalg.solve(covariance, features_s.T @ labels_s)


def half_squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """`1/2 |Y - P|^2`: sum over classes, mean over the batch."""
    return ((targets - predictions) ** 2).sum() / 2 / len(targets)


def margin(labels: Tensor) -> Tensor:
    """Mean of `min(top1 - top2, 1/C)`; of the released code, not in the paper."""
    ordered = torch.sort(labels, dim=1, descending=True).values
    gap = ordered[:, 0] - ordered[:, 1]
    bound = 1 / labels.shape[1]
    return torch.where(gap < bound, gap, torch.full_like(gap, bound)).sum() / len(labels)


def targets_of(class_ids: Tensor, num_classes: int) -> Tensor:
    """`one-hot - 1/C`, unscaled."""
    targets = torch.full((len(class_ids), num_classes), -1 / num_classes, dtype=torch.float64)
    for row, class_id in enumerate(class_ids.tolist()):
        targets[row, class_id] += 1
    return targets


# -- the optimizers ---------------------------------------------------------------------------------------------------


@dataclass
class Moments:
    """What Adam and LAMB remember of one tensor."""

    first: Tensor
    second: Tensor
    steps: int = 0

    @classmethod
    def zero(cls, tensor: Tensor) -> "Moments":
        """Nothing remembered yet."""
        return cls(torch.zeros_like(tensor), torch.zeros_like(tensor))

    def direction(self, gradient: Tensor, eps: float) -> Tensor:
        """Take in a gradient; `m / (sqrt(v) + eps)` with bias-corrected moments, betas 0.9 and 0.999."""
        self.steps += 1
        self.first = 0.9 * self.first + 0.1 * gradient
        self.second = 0.999 * self.second + 0.001 * gradient**2
        corrected_first = self.first / (1 - 0.9**self.steps)
        corrected_second = self.second / (1 - 0.999**self.steps)
        return corrected_first / (torch.sqrt(corrected_second) + eps)


def adam(tensor: Tensor, gradient: Tensor, moments: Moments, learning_rate: float) -> Tensor:
    """Adam (Kingma & Ba 2015), eps 1e-8: the tensor after the step."""
    return tensor - learning_rate * moments.direction(gradient, eps=1e-8)


def lamb(tensor: Tensor, gradient: Tensor, moments: Moments, learning_rate: float) -> Tensor:
    """LAMB (You et al. 2020), eps 1e-6, no weight decay, one trust ratio for the whole tensor."""
    update = moments.direction(gradient, eps=1e-6)
    norm, update_norm = math.sqrt(float((tensor**2).sum())), math.sqrt(float((update**2).sum()))
    ratio = norm / update_norm if norm > 0 and update_norm > 0 else 1.0
    return tensor - learning_rate * ratio * update


def cosine(learning_rate: float, step: int, steps: int) -> float:
    """Learning rate of step 0, 1, ...: cosine from `learning_rate` down to 10 % of it."""
    final = 0.1 * learning_rate
    return final + (learning_rate - final) * (1 + math.cos(math.pi * step / steps)) / 2


# -- Algorithm 2 ------------------------------------------------------------------------------------------------------


@dataclass
class SlowFRePo:
    """Algorithm 2 for one model; the real batch is handed in."""

    images: Tensor
    labels: Tensor
    net: Net
    version: str = "v2"
    mirror: bool = False
    label_margin: bool = True
    learn_labels: bool = True
    learning_rate: float = 3e-4
    pool_learning_rate: float = 3e-4
    regularization: float = 1e-6
    steps: int = 2000
    step: int = 0
    loss: float = math.nan
    image_moments: Moments = field(init=False)
    label_moments: Moments = field(init=False)
    net_moments: list[Moments] = field(init=False)

    def __post_init__(self) -> None:
        self.image_moments, self.label_moments = Moments.zero(self.images), Moments.zero(self.labels)
        self.forget_training()

    def forget_training(self) -> None:
        """A model drawn anew has a new optimizer."""
        self.net_moments = [Moments.zero(tensor) for tensor in self.net.parameters()]

    def meta_gradient(self, real_images: Tensor, real_classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Loss (Eq. 2, minus the margin), and its gradients with respect to images and labels."""
        images = self.images.clone().requires_grad_(True)
        labels = self.labels.clone().requires_grad_(True)
        all_images, all_labels = images, labels
        if self.mirror:
            columns = list(range(images.shape[3]))[::-1]
            all_images = torch.cat([images, images[:, :, :, columns]])
            all_labels = torch.cat([labels, labels])
        features_t, features_s = features(self.net, real_images), features(self.net, all_images)
        predictions = krr_predictions(features_t, features_s, all_labels, self.regularization)
        loss = half_squared_error(predictions, targets_of(real_classes, labels.shape[1]))
        if self.label_margin:
            loss = loss - margin(labels)
        image_gradient, label_gradient = torch.autograd.grad(loss, [images, labels])
        return loss.detach(), image_gradient, label_gradient

    def update_distilled(self, real_images: Tensor, real_classes: Tensor) -> None:
        """Lines 4 to 6: LAMB along the meta-gradient, one ratio for images and one for labels."""
        loss, image_gradient, label_gradient = self.meta_gradient(real_images, real_classes)
        learning_rate = cosine(self.learning_rate, self.step, self.steps)
        self.images = lamb(self.images, image_gradient, self.image_moments, learning_rate)
        if self.learn_labels:
            self.labels = lamb(self.labels, label_gradient, self.label_moments, learning_rate)
        self.loss = float(loss)
        self.step += 1

    def train_model(self) -> None:
        """One step of Adam on the whole distilled set: BatchNorm in training mode, no mirror images."""
        parameters = self.net.parameters()
        for tensor in parameters:
            tensor.requires_grad_(True)
        loss = half_squared_error(logits(self.net, self.images, training=True), self.labels)
        gradients = torch.autograd.grad(loss, parameters)
        for tensor, gradient, moments in zip(parameters, gradients, self.net_moments, strict=True):
            tensor.requires_grad_(False)
            tensor.copy_(adam(tensor, gradient, moments, self.pool_learning_rate))

    def turn(self, real_images: Tensor, real_classes: Tensor) -> None:
        """Lines 3 to 7."""
        if self.version == "v1":
            self.train_model()
        self.update_distilled(real_images, real_classes)
        if self.version == "v2":
            self.train_model()


# -- preprocessing (appendix A.1, "Data Preprocessing") ---------------------------------------------------------------


def standardization(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of uint8 images `(n, height, width, channels)`, in units of 255."""
    channels = [images[..., channel].astype(np.float64).ravel() / 255 for channel in range(images.shape[3])]
    means = [values.sum() / len(values) for values in channels]
    variances = [((values - mean) ** 2).sum() / len(values) for values, mean in zip(channels, means, strict=True)]
    return np.array(means), np.sqrt(np.array(variances))


def zca(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whitened images `(n, d)`, and the regularised covariance `cov + 0.1 trace(cov) / d I`, pixel by pixel.

    `d` counts channel by channel, row by row. The mean image is subtracted (the released code does not).
    """
    mean, std = standardization(images)
    flat = ((images / 255.0 - mean) / std).transpose(0, 3, 1, 2).reshape(len(images), -1)
    flat = flat - flat.sum(0) / len(flat)
    d = flat.shape[1]
    covariance = np.zeros((d, d))
    for row in flat:
        covariance += np.outer(row, row) / len(flat)
    regularized = covariance + 0.1 * np.trace(covariance) / d * np.eye(d)
    u, singular, _ = np.linalg.svd(regularized)
    whitened = np.stack([u @ ((u.T @ row) / np.sqrt(singular)) for row in flat])
    return whitened, regularized

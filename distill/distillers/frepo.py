"""FRePo: dataset distillation with neural feature regression and a pool of models (Zhou et al. 2022)."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from distill.distillers.class_means import class_mean_distance
from distill.distillers.features import features_of
from distill.distillers.history import KRRRecorder
from distill.distillers.implicit import implicit_loss
from distill.distillers.lamb import LAMB
from distill.distillers.model_pool import ModelPool, PooledState, PoolModel, squared_error, updates_due
from distill.distillers.outer_loss import OuterLoss, OuterLossName, OuterLossOf, SoftmaxLoss
from distill.distillers.run import Run
from distill.distillers.state import Start
from distill.distillers.stepwise_networks import StepwiseInNetworks
from distill.distillers.tbptt import tbptt_loss
from distill.errors import InputError
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_choice, require_not_negative, require_positive
from distill.runtime.seeds import Purpose
from distill.sets.synthetic import initial_labels
from distill.training.augmentation import augment
from distill.training.kernel_ridge import REGULARIZATION, krr_weights
from distill.training.loop import train

__all__ = ["FRePo", "FRePoState", "label_margin", "meta_loss"]

FINAL_FRACTION = 0.1  # of the learning rate, where the cosine schedule ends
Version = Literal["v1", "v2"]
MetaGradient = Literal["krr", "tbptt", "implicit"]


@dataclass(frozen=True, kw_only=True)
class FRePo(StepwiseInNetworks):
    """Kernel ridge regression on the features of a pool of networks (Algorithms 1 and 2).

    Source: Zhou, Nezhadarya & Ba, *Dataset Distillation using Neural Feature Regression* (NeurIPS 2022), and its
    released code, whose defaults these are, but for `steps`, of which the paper takes 500 000 and more, and `mirror`,
    which its code has on for some data sets.

    >>> from distill import load_images
    >>> frepo = FRePo(steps=1, width=4, depth=1, pool_size=1, batch_size=32)
    >>> frepo.distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by frepo)
    """

    method: ClassVar[str] = "frepo"
    makes_labels: ClassVar[bool] = True
    rates: ClassVar[tuple[str, ...]] = ("learning_rate", "pool_learning_rate")
    steps: int = 2000
    """Number of updates of the distilled set; the paper uses 500 000 and more."""
    version: Version = "v2"
    """When to train the sampled model: after the distilled set is updated ("v2") or before ("v1")."""
    meta_gradient: MetaGradient = "krr"
    """How to compute the meta-gradient: "krr" differentiates through a kernel ridge regression on the model's features,
    which is FRePo; "tbptt" through one training step of the whole model, the ablation of appendix C.1; "implicit"
    through the regression and the training of the features, by implicit gradients as in RCIG, which is slow."""
    implicit_steps: int = 20
    """Training steps of the features, and steps of conjugate gradients, for an implicit meta-gradient."""
    outer_loss: OuterLossName = "squared"
    """Loss on real images that images and labels are learned by: "squared", the squared error, or "softmax",
    cross-entropy of the softmax over the predictions, multiplied by a learned factor (RCIG, Loo et al. 2023)."""
    sharpness: float = 5.0
    """Initial factor of the predictions in the softmax, the inverse of a temperature, times the scale of the initial
    labels: predictions are as small as these are."""
    sharpness_learning_rate: float = 0.03
    """Learning rate of Adam for the logarithm of that factor; 0 keeps it as it is."""
    learn_labels: bool = True
    """Learn the soft labels; otherwise they keep their initial values."""
    label_scale: float | None = None
    """Scale of the initial soft labels, scale * (one-hot - 1/C) for C classes. Default: 1 / sqrt(C / 10)."""
    label_margin: bool = True
    """Subtract the mean of min(top1 - top2, 1/C) of the soft labels from the loss (released code, not in the paper)."""
    mirror: bool = False
    """Use horizontally flipped copies as well in the meta-gradient. RGB images only; not for digits or clothing."""
    augment: bool = False
    """Augment the distilled images in the meta-gradient: by one random operation a step, as in trainings on the set."""
    mean_matching: float = 0.0
    """Weight of a second loss, by which features of distilled images have the class means of real ones, as in DM: the
    squared distance of the means over the squared norm of the real one. 0: none."""
    batch_size: int = 1024
    """Batch size of real images."""
    distilled_batch_size: int | None = None
    """Number of distilled images in the meta-gradient of a step, sampled at random. Default: all, as in the paper."""
    chunk_size: int = 5000
    """Number of distilled images above which features are computed in chunks of this size, and again in the backward
    pass (gradient checkpointing): the same gradient with less memory."""
    learning_rate: float = 3e-4
    """Initial learning rate of LAMB for images and labels; cosine decay to a tenth of it."""
    pool_size: int = 10
    """Number of models in the pool."""
    pool_updates: float = 1.0
    """Training steps of the sampled model for each update of the distilled set; with 0.25 every fourth one is followed
    by a training step."""
    max_updates: int = 100
    """Training steps of a pool model before it is re-initialised (K in the paper). 0: every step has a new, untrained
    model."""
    pool_learning_rate: float = 3e-4
    """Learning rate of Adam for the pool models."""
    pool_batch_size: int = 1000
    """Batch size for training the pool models, sampled at random if the distilled set is larger."""
    regularization: float = REGULARIZATION
    """Regularisation of the ridge regression (lambda), as a fraction of the mean diagonal of K_ss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self, "version", get_args(Version))
        require_choice(self, "meta_gradient", get_args(MetaGradient))
        require_choice(self, "outer_loss", get_args(OuterLossName))
        require_positive(self, "batch_size", "distilled_batch_size", "chunk_size", "pool_size", "pool_batch_size")
        require_positive(self, "implicit_steps")
        require_positive(self, "regularization", "label_scale", "sharpness", "pool_updates")
        require_not_negative(self, "steps", "max_updates", "sharpness_learning_rate", "mean_matching")
        if self.pool_updates != FRePo.pool_updates and not self.max_updates:
            raise InputError(
                f"pool_updates is {self.pool_updates:g}, but max_updates is 0, so that no model is trained; use "
                "max_updates of 1 or more"
            )
        if self.mean_matching and self.meta_gradient == "tbptt":
            raise InputError(
                f"mean_matching is {self.mean_matching:g}, but meta_gradient 'tbptt' sees no features; "
                "use 'krr' or 'implicit'"
            )

    def updates(self, images_per_class: int) -> int:
        """How often the distilled set is updated in all."""
        return self.steps

    def with_updates(self, count: int, images_per_class: int) -> "FRePo":
        """The same distiller with this many steps."""
        return self.with_options(steps=count)

    def check_images(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Raise `InputError` where mirror images or the network do not go with the images."""
        if self.mirror and image_shape[0] == 1:
            raise InputError(
                "mirror=True needs RGB images, but these have one channel; flipped digits or clothes belong to no class"
            )
        super().check_images(image_shape, num_classes)

    def step(self, state: "FRePoState", data: PreprocessedImages) -> None:
        """One turn of Algorithm 1; changes `state`."""
        model, updates = state.pool.sample(), updates_due(self.pool_updates, state.step)
        images_t, labels_t = sample_batch(data, self.batch_size, state.generator)
        if self.version == "v1":
            state.pool.train(model, state.seen().detach(), state.labels.detach(), updates=updates)

        images_s, labels_s = state.sample(self.distilled_batch_size)
        if self.augment:
            images_s = augment(images_s, state.generator)
        if self.mirror:
            images_s, labels_s = with_mirror_images(images_s, labels_s)
        loss = self.loss(model, images_t, labels_t, images_s, labels_s, outer_loss=state.outer_loss)
        if self.learn_labels and self.label_margin:
            loss = loss - label_margin(state.labels)
        state.update(loss)

        if self.version == "v2":
            state.pool.train(model, state.seen().detach(), state.labels.detach(), updates=updates)
        state.pool.renew(model)

    def loss(
        self, model: PoolModel, images_t: Tensor, labels_t: Tensor, images_s: Tensor, labels_s: Tensor, *,
        outer_loss: OuterLossOf = squared_error,
    ) -> Tensor:  # fmt: skip
        """Meta-loss: error of the distilled set on a real batch, by `model`; differentiable in the distilled set."""
        if self.meta_gradient == "tbptt":
            return tbptt_loss(model, images_t, labels_t, images_s, labels_s, outer_loss=outer_loss)

        def of_features(features_t: Tensor, features_s: Tensor, labels_s: Tensor) -> Tensor:
            loss = meta_loss(
                features_t, labels_t, features_s, labels_s, regularization=self.regularization, outer_loss=outer_loss
            )
            if self.mean_matching:
                loss = loss + self.mean_matching * class_mean_distance(features_t, labels_t, features_s, labels_s)
            return loss

        if self.meta_gradient == "implicit":
            return implicit_loss(
                model, images_t, images_s, labels_s, of_features, steps=self.implicit_steps,
                learning_rate=self.pool_learning_rate, regularization=self.regularization,
            )  # fmt: skip
        with torch.no_grad():
            features_t = features_of(model.network, images_t, chunk_size=self.chunk_size)
        return of_features(features_t, features_of(model.network, images_s, chunk_size=self.chunk_size), labels_s)

    def recorder(self, state: "FRePoState") -> KRRRecorder:
        """Loss, and KRR accuracy on held-out images."""
        return KRRRecorder(
            state,
            lambda images: pool_answers(state, images, regularization=self.regularization),
            steps=self.steps,
            points=self.history_points,
        )

    def start(self, data: PreprocessedImages, run: Run) -> "FRePoState":
        """The state before the first step."""
        start = self.first_images(data, run)
        labels = initial_labels(start.class_ids, data.num_classes, scale=self.label_scale).to(start.images.detach())
        pool = ModelPool(
            build=lambda generator: self.build(data.image_shape, data.num_classes, generator, device=run.device),
            size=self.pool_size,
            max_updates=self.max_updates,
            learning_rate=self.pool_learning_rate,
            batch_size=self.pool_batch_size,
            generator=run.generator(Purpose.NETWORKS),
        )
        outer_loss = OuterLoss()
        if self.outer_loss == "softmax":
            scale = self.label_scale or 1 / math.sqrt(data.num_classes / 10)
            outer_loss = SoftmaxLoss(self.sharpness / scale, learning_rate=self.sharpness_learning_rate, like=labels)
        labels.requires_grad_(self.learn_labels)
        return FRePoState(run, start, labels, pool=pool, outer_loss=outer_loss, options=self)


class FRePoState(PooledState):
    """Images and labels, leaves of the meta-gradient, moved by LAMB; the `pool` of models, and the `outer_loss`."""

    def __init__(
        self, run: Run, start: Start, labels: Tensor, *, pool: ModelPool, outer_loss: OuterLoss, options: FRePo
    ) -> None:
        leaves = [start.images, labels] if labels.requires_grad else [start.images]
        optimizer = LAMB(leaves, lr=options.learning_rate)
        super().__init__(run, start, labels, optimizer=optimizer, generator=run.generator(Purpose.BATCHES))
        self.pool, self.outer_loss = pool, outer_loss
        self.scheduler = LambdaLR(optimizer, cosine_factor(options.steps))

    def update(self, loss: Tensor) -> None:
        """One LAMB update of images and labels along the meta-gradient."""
        train([loss], self.optimizer, self.scheduler)
        self.outer_loss.update()
        self.count(loss.item())

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: what the loss has learned as well."""
        return {**super().tensors(), **self.outer_loss.tensors()}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Restore the state from `tensors` and `metadata`."""
        super().restore(tensors, metadata)
        self.outer_loss.restore(tensors)
        self.set_learning_rate()

    def set_learning_rate(self) -> None:
        """Set the schedule to `step`, as after this many updates."""
        self.scheduler.last_epoch = self.step
        for group, rate, factor in zip(
            self.optimizer.param_groups, self.scheduler.base_lrs, self.scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = rate * factor(self.step)


def meta_loss(
    features_t: Tensor,
    labels_t: Tensor,
    features_s: Tensor,
    labels_s: Tensor,
    *,
    regularization: float = REGULARIZATION,
    outer_loss: OuterLossOf = squared_error,
) -> Tensor:
    """Eq. 2: `1/2 |Y_t - K_ts (K_ss + lambda I)^-1 Y_s|^2`, sum over classes, mean over the real batch; or another
    loss of the same predictions."""
    predictions = features_t @ krr_weights(features_s, labels_s, regularization=regularization)
    return outer_loss(predictions, labels_t)


def pool_answers(state: FRePoState, images: Tensor, *, regularization: float) -> Iterator[Tensor]:
    """What the distilled set says of `images` by ridge regression, `(n, C)`, in one model of the pool after another."""
    images_s, labels_s = state.result_seen()
    for model in state.pool:
        features_s = model.network.features(images_s)
        yield model.network.features(images) @ krr_weights(features_s, labels_s, regularization=regularization)


def label_margin(labels: Tensor) -> Tensor:
    """Mean of `min(top1 - top2, 1/C)` of soft labels `(n, C)`."""
    if labels.shape[1] < 2:
        return labels.sum() * 0
    top = labels.topk(2, dim=1).values
    return (top[:, 0] - top[:, 1]).clamp(max=1 / labels.shape[1]).mean()


def with_mirror_images(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Every image and its mirror image, labels repeated: 2n rows."""
    return torch.cat([images, images.flip(3)]), torch.cat([labels, labels])


def sample_batch(data: PreprocessedImages, size: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A real batch without replacement, with targets `one-hot - 1/C`; all of `data` when it is smaller."""
    chosen = torch.randperm(len(data), generator=generator)[:size].to(data.images.device)
    one_hot = torch.nn.functional.one_hot(data.labels[chosen], data.num_classes)
    return data.images[chosen], one_hot.to(data.images.dtype) - 1 / data.num_classes


def cosine_factor(steps: int) -> Callable[[int], float]:
    """Learning-rate factor: cosine from 1 to `FINAL_FRACTION` over `steps`."""

    def factor(step: int) -> float:
        cosine = 0.5 * (1 + math.cos(math.pi * min(step / max(steps, 1), 1.0)))
        return FINAL_FRACTION + (1 - FINAL_FRACTION) * cosine

    return factor

"""FRePo: dataset distillation with neural feature regression and a pool of models (Zhou et al. 2022)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR

from distill.distillers.checkpoint import moments, set_moments
from distill.distillers.features import features_of
from distill.distillers.initialize import initial_images
from distill.distillers.lamb import LAMB
from distill.distillers.pool import ModelPool, PoolModel, squared_error
from distill.distillers.run import Run
from distill.distillers.stepwise import StepwiseDistiller
from distill.distillers.tbptt import tbptt_loss
from distill.distillers.watch import Watch
from distill.errors import InputError
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import DTYPES, require_choice, require_not_negative, require_positive
from distill.sets.synthetic import initial_labels
from distill.training.krr import REGULARIZATION, krr_weights

__all__ = ["FRePo", "FRePoState", "label_margin", "meta_loss"]

FINAL_FRACTION = 0.1  # the cosine schedule ends at this part of the learning rate
Version = Literal["v1", "v2"]
MetaGradient = Literal["krr", "tbptt"]


@dataclass(frozen=True, kw_only=True)
class FRePo(StepwiseDistiller):
    """Kernel ridge regression on the features of a pool of networks (Algorithms 1 and 2).

    The defaults are those of the released code, but for `steps`: the paper takes 500 000 and more.

    - `steps`: updates of the distilled set.
    - `version`: "v2" trains the sampled model after the distilled set is updated, "v1" before.
    - `meta_gradient`: "krr" goes back through a kernel ridge regression on the model's features, which is FRePo;
      "tbptt" through one training step of the whole model, the ablation of C.1 (`distill.distillers.tbptt`).
    - `learn_labels`: learn the soft labels; otherwise they stay where they start.
    - `label_scale`: soft labels start at `label_scale * (one-hot - 1/C)`; `None`: `1 / sqrt(C / 10)`.
    - `label_margin`: add minus the mean of `min(top1 - top2, 1/C)` of the soft labels to the loss
      (in the released code, not in the paper).
    - `mirror`: use every image and its mirror image in the meta-gradient. RGB images only, never digits or clothes.
    - `batch_size`: real images a step.
    - `distilled_batch_size`: of all distilled images, so many random ones take part in a step's meta-gradient; `None`:
      all, which is FRePo (the paper leaves the other to future work).
    - `chunk_size`: of more distilled images than that, features are computed in chunks and once more on the way back:
      the same gradient in less memory (`distill.distillers.features`).
    - `learning_rate`: LAMB's, for images and labels, cosine down to a tenth.
    - `pool_size` models; `max_updates` (K) a model gets before it is drawn anew; `pool_learning_rate`: their Adam's;
      `pool_batch_size`: of all distilled images, at most so many a step.
    - `regularization`: lambda as a part of the mean diagonal of K_ss.
    """

    method: ClassVar[str] = "frepo"
    rates: ClassVar[tuple[str, ...]] = ("learning_rate", "pool_learning_rate")
    steps: int = 2000
    version: Version = "v2"
    meta_gradient: MetaGradient = "krr"
    learn_labels: bool = True
    label_scale: float | None = None
    label_margin: bool = True
    mirror: bool = False
    batch_size: int = 1024
    distilled_batch_size: int | None = None
    chunk_size: int = 5000
    learning_rate: float = 3e-4
    pool_size: int = 10
    max_updates: int = 100
    pool_learning_rate: float = 3e-4
    pool_batch_size: int = 1000
    regularization: float = REGULARIZATION

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self, "version", get_args(Version))
        require_choice(self, "meta_gradient", get_args(MetaGradient))
        require_positive(self, "batch_size", "distilled_batch_size", "chunk_size", "pool_size", "pool_batch_size")
        require_positive(self, "regularization", "label_scale")
        require_not_negative(self, "steps", "max_updates")

    def updates(self, images_per_class: int) -> int:
        """How often the distilled set is updated in all."""
        return self.steps

    def with_updates(self, count: int, images_per_class: int) -> "FRePo":
        """The same distiller with so many steps."""
        return self.with_options(steps=count)

    def check_images(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Raise `InputError` where mirror images or the network do not go with the images."""
        if self.mirror and image_shape[0] == 1:
            raise InputError("mirror is on, but the images have one channel: mirrored digits or clothes are others")
        super().check_images(image_shape, num_classes)

    def step(self, state: "FRePoState", data: PreprocessedImages) -> None:
        """One turn of Algorithm 1; changes `state`."""
        model = state.pool.sample()
        images_t, labels_t = sample_batch(data, self.batch_size, state.generator)
        if self.version == "v1":
            state.pool.train(model, state.images.detach(), state.labels.detach())

        images_s, labels_s = state.sample(self.distilled_batch_size)
        if self.mirror:
            images_s, labels_s = with_mirror_images(images_s, labels_s)
        loss = self.loss(model, images_t, labels_t, images_s, labels_s)
        if self.learn_labels and self.label_margin:
            loss = loss - label_margin(state.labels)
        state.update(loss)

        if self.version == "v2":
            state.pool.train(model, state.images.detach(), state.labels.detach())
        state.pool.renew(model)

    def loss(self, model: PoolModel, images_t: Tensor, labels_t: Tensor, images_s: Tensor, labels_s: Tensor) -> Tensor:
        """How badly the distilled set predicts a real batch, by way of `model`; differentiable in the distilled set."""
        if self.meta_gradient == "tbptt":
            return tbptt_loss(model, images_t, labels_t, images_s, labels_s)
        with torch.no_grad():
            features_t = features_of(model.network, images_t, chunk_size=self.chunk_size)
        features_s = features_of(model.network, images_s, chunk_size=self.chunk_size)
        return meta_loss(features_t, labels_t, features_s, labels_s, regularization=self.regularization)

    def watch(self, state: "FRePoState") -> Watch:
        """Loss, and KRR accuracy on held-out images."""
        return Watch(state, self)

    def start(self, data: PreprocessedImages, run: Run) -> "FRePoState":
        """The state before the first step."""
        dtype = DTYPES[self.dtype]
        images, class_ids, started_from = initial_images(
            data,
            images_per_class=run.images_per_class,
            init=self.init,
            noise_std=self.noise_std,
            generator=run.generator(0),
        )
        labels = initial_labels(class_ids, data.num_classes, scale=self.label_scale)
        pool = ModelPool(
            build=lambda generator: self.build(data.image_shape, data.num_classes, generator, device=run.device),
            size=self.pool_size,
            max_updates=self.max_updates,
            learning_rate=self.pool_learning_rate,
            batch_size=self.pool_batch_size,
            generator=run.generator(1),
        )
        return FRePoState(
            run=run,
            images=images.to(run.device, dtype).requires_grad_(True),
            labels=labels.to(run.device, dtype).requires_grad_(self.learn_labels),
            class_ids=class_ids,
            started_from=started_from,
            pool=pool,
            generator=run.generator(2),
            learning_rate=self.learning_rate,
            steps=self.steps,
        )


class FRePoState:
    """Everything a distillation is at one moment, and nothing it could be built from again.

    - `run`: what was asked for.
    - `images` `(n, channels, height, width)` and `labels` `(n, C)`: the distilled set, leaves of the meta-gradient.
    - `class_ids`: `(n,)`. `started_from`: positions of the real images that `images` started from.
    - `pool`: the models. `generator`: draws the real batches. `step`: updates done.
    - `mean_loss`: running mean of the loss. `history`: accuracy and loss along the way.
    """

    def __init__(
        self,
        *,
        run: Run,
        images: Tensor,
        labels: Tensor,
        class_ids: Tensor,
        started_from: list[int],
        pool: ModelPool,
        generator: torch.Generator,
        learning_rate: float,
        steps: int,
    ) -> None:
        self.run = run
        self.images, self.labels, self.class_ids, self.started_from = images, labels, class_ids, started_from
        self.pool, self.generator = pool, generator
        self.step = 0
        self.mean_loss: float | None = None
        self.history: list[dict[str, float]] = []
        leaves = [images, labels] if labels.requires_grad else [images]
        self.optimizer = LAMB(leaves, lr=learning_rate)
        self.scheduler = LambdaLR(self.optimizer, cosine_factor(steps))

    def set_learning_rate(self) -> None:
        """Bring the schedule to `step`, as after so many updates."""
        self.scheduler.last_epoch = self.step
        for group, rate, factor in zip(
            self.optimizer.param_groups, self.scheduler.base_lrs, self.scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = rate * factor(self.step)

    def distilled(self) -> tuple[Tensor, Tensor]:
        """Images and labels."""
        return self.images, self.labels

    def sample(self, size: int | None) -> tuple[Tensor, Tensor]:
        """Images and labels: all, or `size` random ones of more."""
        if size is None or size >= len(self.images):
            return self.distilled()
        chosen = torch.randperm(len(self.images), generator=self.generator)[:size].to(self.images.device)
        return self.images[chosen], self.labels[chosen]

    def update(self, loss: Tensor) -> None:
        """One LAMB update of images and labels along the meta-gradient."""
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.step += 1
        self.mean_loss = loss.item() if self.mean_loss is None else 0.95 * self.mean_loss + 0.05 * loss.item()

    def is_finite(self) -> bool:
        """Whether images and labels are free of NaN and infinity."""
        return bool(torch.isfinite(self.images.detach().sum()) & torch.isfinite(self.labels.detach().sum()))

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: images, labels, LAMB's moments, all of the pool, and the generators."""
        return {
            "images": self.images,
            "labels": self.labels,
            "class_ids": self.class_ids,
            "generator": self.generator.get_state(),
            **moments("lamb", self.optimizer),
            **self.pool.tensors(),
        }

    def metadata(self) -> dict[str, Any]:
        """For a checkpoint: what is no tensor; JSON-able."""
        ages = [model.age for model in self.pool]
        return {"step": self.step, "history": self.history, "mean_loss": self.mean_loss, "ages": ages}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Become what gave these `tensors` and `metadata`."""
        with torch.no_grad():
            self.images.copy_(tensors["images"])
            self.labels.copy_(tensors["labels"])
        self.class_ids = tensors["class_ids"]
        self.step, self.history, self.mean_loss = metadata["step"], metadata["history"], metadata["mean_loss"]
        self.generator.set_state(tensors["generator"])
        set_moments("lamb", self.optimizer, tensors)
        self.set_learning_rate()
        self.pool.restore(tensors, metadata["ages"])


def meta_loss(
    features_t: Tensor,
    labels_t: Tensor,
    features_s: Tensor,
    labels_s: Tensor,
    *,
    regularization: float = REGULARIZATION,
) -> Tensor:
    """Eq. 2: `1/2 |Y_t - K_ts (K_ss + lambda I)^-1 Y_s|^2`, sum over classes, mean over the real batch."""
    predictions = features_t @ krr_weights(features_s, labels_s, regularization=regularization)
    return squared_error(predictions, labels_t)


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

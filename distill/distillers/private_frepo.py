"""FRePo with differential privacy: real images are seen through one clipped and noised gradient a step."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR

from distill.accounting.accountant import Release
from distill.accounting.ledger import Ledger
from distill.distillers.features import features_of
from distill.distillers.frepo import cosine_factor
from distill.distillers.model_pool import ModelPool
from distill.distillers.noisy_sums import noisy_outer_sum, poisson_sample
from distill.distillers.private import PrivateDistiller
from distill.distillers.private_start import PrivateInit, public_images, start_images, start_releases
from distill.distillers.run import Run
from distill.distillers.state import Start, StepwiseState
from distill.distillers.stepwise import StepwiseDistiller
from distill.errors import InputError
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import DTYPES, require_choice, require_not_negative, require_positive
from distill.runtime.seeds import Purpose
from distill.sets.synthetic import SyntheticSet, initial_labels
from distill.training.kernel_ridge import krr_weights
from distill.training.loop import train

__all__ = ["PrivateFRePo", "PrivateFRePoState", "private_gradient", "unit_features"]

Residuals = Literal["squared", "softmax"]
SHARPNESS = 10.0  # of the softmax over predictions, which are near one-hot - 1/C


@dataclass(frozen=True, kw_only=True)
class PrivateFRePo(PrivateDistiller, StepwiseDistiller):
    """FRePo whose sets are differentially private in the records they are distilled from.

    The loss of FRePo sees real images through the ridge weights W alone, `(d, C)`. Its gradient by W is a sum over
    records of outer products of features and residuals, `f_t r_t^T` with `r_t = W^T f_t - y_t`. These are clipped to
    norm c, summed, and noised once, `G = (sum_t clip(f_t r_t^T) + N(0, (sigma c)^2)) / expected batch size`, and the
    images follow the gradient of `<G, W(S)>`. Batches are Poisson samples. The pool is trained on the set alone, and
    all else is post-processing too: nothing but G, and the sums of the start, is computed from records.

    Other than in FRePo: features are less the mean of the distilled ones and of unit length on both sides, so that no
    part of the clip is spent on what all images share; Adam takes the place of LAMB, and the ridge is larger, as the
    gradient is noisy; labels are not learned. BatchNorm has the statistics of the distilled images.

    Raises `InputError` for options that make no sense, also for a start from real images; `distill` where the
    accountant is not installed, for held-out images and for a preprocessing that may be fitted on the records.

    >>> from distill import load_images
    >>> frepo = PrivateFRePo(steps=2, batch_size=64, width=4, depth=1, pool_size=1, epsilon=2.0)
    >>> frepo.distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by private-frepo, epsilon 2 at delta 1e-05)
    """

    method: ClassVar[str] = "private-frepo"
    rates: ClassVar[tuple[str, ...]] = ("learning_rate", "pool_learning_rate")
    inits: ClassVar[tuple[str, ...]] = get_args(PrivateInit)
    steps: int = 300
    """Number of updates of the distilled set, each with noise of its own."""
    batch_size: int = 2048
    """Expected number of records in a step: each is drawn by a coin of its own, so that the number varies."""
    clip: float = 1.0
    """Norm to which the gradient of each record is clipped; features have norm 1."""
    residuals: Residuals = "squared"
    """Gradient of the loss by predictions: "squared", of the squared error, or "softmax", of cross-entropy."""
    init: PrivateInit = "clusters"  # type: ignore[assignment]
    """Initial images: "noise"; "class-means", noisy; "clusters", noisy means of parts of each class; or "public"."""
    init_share: float = 0.235
    """Share of epsilon that the start would cost by itself, where it sees records."""
    public: str | None = None
    """File of a saved synthetic set of public images to start from, with init="public"."""
    frequencies: int = 10
    """Cosine frequencies in each direction of noisy means: fewer are smoother, with less noise."""
    noise_std: float = 0.3
    """Standard deviation of the noise of init="noise", and of that on top of class means."""
    width: int = 16
    """Width of the network: channels of its first convolution."""
    chunk_size: int = 5000
    """Number of images above which features are computed in chunks of this size: the same with less memory."""
    learning_rate: float = 5e-2
    """Initial learning rate of Adam for the images; cosine decay to a tenth of it."""
    pool_size: int = 10
    """Number of models in the pool."""
    max_updates: int = 100
    """Training steps of a pool model before it is re-initialised (K in the paper)."""
    pool_learning_rate: float = 1e-3
    """Learning rate of Adam for the pool models."""
    pool_batch_size: int = 1000
    """Batch size for training the pool models, sampled at random if the distilled set is larger."""
    regularization: float = 1e-2
    """Regularisation of the ridge regression (lambda), as a fraction of the mean diagonal of K_ss."""

    def __post_init__(self) -> None:
        if self.init in ("real", "real+noise"):
            raise InputError(
                f"init is {self.init!r}; expected one of {', '.join(self.inits)}: real images, and what they become, "
                "would be released without noise"
            )
        super().__post_init__()
        require_choice(self, "residuals", get_args(Residuals))
        require_positive(self, "batch_size", "clip", "init_share", "frequencies", "chunk_size", "pool_size")
        require_positive(self, "pool_batch_size", "regularization")
        require_not_negative(self, "steps", "max_updates")
        if not self.init_share < 1:
            raise InputError(f"init_share is {self.init_share}; expected less than 1, as the steps need the rest")
        if (self.init == "public") != (self.public is not None):
            raise InputError(
                f"init is {self.init!r} and public {self.public!r}; expected a file with init='public', else none"
            )

    def updates(self, images_per_class: int) -> int:
        """How often the distilled set is updated in all."""
        return self.steps

    def with_updates(self, count: int, images_per_class: int) -> "PrivateFRePo":
        """The same distiller with this many steps, and the noise that these need."""
        return self.with_options(steps=count)

    def sampling_rate(self, records: int) -> float:
        """Probability with which a record is in a batch."""
        return min(1.0, self.batch_size / records)

    def start_noise(self) -> float:
        """The noise multiplier with which the start costs its share of epsilon; 0 where it sees no records."""
        if not start_releases(self.init, 1.0):
            return 0.0
        return self.calibrated(lambda noise: start_releases(self.init, noise), self.init_share * self.epsilon)

    def releases(self, records: int, images_per_class: int) -> tuple[Release, ...]:
        """The start, where it sees records, and a gradient for each step."""
        start = start_releases(self.init, self.start_noise())

        def with_steps(noise: float) -> tuple[Release, ...]:
            return *start, Release("gradients by the ridge weights", noise, self.sampling_rate(records), self.steps)

        if self.noise_multiplier is not None or not self.steps:
            return with_steps(self.noise_multiplier or 1.0)
        return with_steps(self.calibrated(with_steps, self.epsilon))

    def start(self, data: PreprocessedImages, run: Run) -> "PrivateFRePoState":
        """The state before the first step; the only place beside `step` where records are looked at."""
        ledger = self.ledger(data, run)
        noise = self.secret_generator(run, Purpose.NOISE)
        class_ids = torch.unique(data.labels.cpu()).repeat_interleave(run.images_per_class)
        images = self.private_images(data, class_ids, noise, run.generator(Purpose.START))
        images = images.to(run.device, DTYPES[self.dtype]).requires_grad_(True)
        start = Start(images, class_ids, [], self.through_codec(data, run, class_ids))
        pool = ModelPool(
            build=lambda generator: self.build(data.image_shape, data.num_classes, generator, device=run.device),
            size=self.pool_size,
            max_updates=self.max_updates,
            learning_rate=self.pool_learning_rate,
            batch_size=self.pool_batch_size,
            generator=run.generator(Purpose.NETWORKS),
        )
        coins = self.secret_generator(run, Purpose.BATCHES)
        labels = initial_labels(class_ids, data.num_classes, scale=1.0).to(images.detach())
        return PrivateFRePoState(run, start, labels, coins=coins, noise=noise, pool=pool, ledger=ledger, options=self)

    def private_images(
        self, data: PreprocessedImages, class_ids: Tensor, noise: torch.Generator, directions: torch.Generator
    ) -> Tensor:
        """Where images start: equally many of each class present, however many records it has."""
        if self.public is not None:
            return public_images(self.public, data, class_ids)
        return start_images(
            data,
            class_ids,
            init=self.init,
            noise_multiplier=self.start_noise(),
            noise_std=self.noise_std,
            frequencies=self.frequencies,
            noise=noise,
            directions=directions,
        )

    def step(self, state: "PrivateFRePoState", data: PreprocessedImages) -> None:
        """One update of the images by one noisy gradient; changes `state`."""
        model = state.pool.sample()
        rate = self.sampling_rate(len(data))
        chosen = poisson_sample(len(data), rate, state.generator)
        features_s = features_of(model.network, state.seen(), chunk_size=self.chunk_size)
        centre = features_s.detach().mean(0) * (len(features_s) > 1)  # a single image would be left with nothing
        unit_s = unit_features(features_s, centre)
        weights = krr_weights(unit_s, state.labels, regularization=self.regularization)
        with torch.no_grad():
            unit_t = unit_s.new_zeros(0, unit_s.shape[1])
            if len(chosen):
                images_t = data.images[chosen.to(data.images.device)]
                unit_t = unit_features(features_of(model.network, images_t, chunk_size=self.chunk_size), centre)
            gradient = private_gradient(
                unit_t,
                data.labels[chosen.to(data.labels.device)],
                weights,
                residuals=self.residuals,
                clip=self.clip,
                noise_multiplier=state.noise_multiplier,
                expected_batch_size=rate * len(data),
                generator=state.noise,
            )
        # From here on, post-processing: neither the images nor the labels of records are used again.
        state.update((gradient * weights).sum())
        state.pool.train(model, state.seen().detach(), state.labels)
        state.pool.renew(model)

    def so_far(self, state: Any, data: PreprocessedImages) -> SyntheticSet:
        """The set as it is at this moment, with the ledger of the whole distillation."""
        return SyntheticSet(
            state.images.detach().float().cpu().clone(),
            state.labels.detach().float().cpu().clone(),
            state.class_ids.cpu().clone(),
            data.classes,
            data.preprocessing,
            self.private_made_by(state.run, state.ledger, state.history),
        )


class PrivateFRePoState(StepwiseState):
    """Images, moved by Adam; the `pool` of models, the `noise` generator, and the `ledger` of the distillation.

    `generator` draws the coins that choose batches. Both are in checkpoints, so that a distillation that is resumed
    repeats the noise it has drawn, and spends nothing twice. Checkpoints are therefore as secret as the records.
    """

    def __init__(
        self, run: Run, start: Start, labels: Tensor, *, coins: torch.Generator, noise: torch.Generator,
        pool: ModelPool, ledger: Ledger, options: PrivateFRePo,
    ) -> None:  # fmt: skip
        optimizer = torch.optim.Adam([start.images], lr=options.learning_rate)
        super().__init__(run, start, labels, optimizer=optimizer, generator=coins)
        self.noise, self.pool, self.ledger = noise, pool, ledger
        self.noise_multiplier = ledger.spent[0].releases[-1].noise_multiplier
        self.scheduler = LambdaLR(optimizer, cosine_factor(options.steps))

    def update(self, loss: Tensor) -> None:
        """One update of the images; what is recorded as loss, `<G, W(S)>`, is private as G is."""
        train([loss], self.optimizer, self.scheduler)
        self.count(loss.item())

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: the pool and the generator of the noise as well."""
        return {**super().tensors(), **self.pool.tensors(), "noise": self.noise.get_state()}

    def metadata(self) -> dict[str, Any]:
        """For a checkpoint: the ages of the pool's models as well."""
        return {**super().metadata(), "ages": [model.age for model in self.pool]}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Restore the state from `tensors` and `metadata`."""
        super().restore(tensors, metadata)
        self.pool.restore(tensors, metadata["ages"])
        self.noise.set_state(tensors["noise"])
        self.scheduler.last_epoch = self.step
        for group, rate, factor in zip(
            self.optimizer.param_groups, self.scheduler.base_lrs, self.scheduler.lr_lambdas, strict=True
        ):
            group["lr"] = rate * factor(self.step)


def unit_features(features: Tensor, centre: Tensor) -> Tensor:
    """Features `(n, d)` less `centre` `(d,)`, of length 1: each row a function of its record, and of the set alone."""
    return F.normalize(features - centre, dim=1)


def private_gradient(
    features: Tensor,
    class_ids: Tensor,
    weights: Tensor,
    *,
    residuals: Residuals,
    clip: float,
    noise_multiplier: float,
    expected_batch_size: float,
    generator: torch.Generator,
) -> Tensor:
    """The noisy gradient, `(d, C)`, of the loss of a batch by the ridge weights.

    `features` is `(b, d)`, `class_ids` `(b,)`, `weights` `(d, C)`. Divided by the expected batch size: that of the
    batch drawn depends on the records. "squared": residuals `W^T f - (one-hot - 1/C)`; "softmax": those of
    cross-entropy with logits `10 W^T f`.
    """
    num_classes = weights.shape[1]
    one_hot = F.one_hot(class_ids, num_classes).to(features)
    predictions = features @ weights
    if residuals == "squared":
        errors = predictions - (one_hot - 1 / num_classes)
    else:
        errors = F.softmax(SHARPNESS * predictions, dim=1) - one_hot
    total = noisy_outer_sum(features, errors, clip=clip, noise_multiplier=noise_multiplier, generator=generator)
    return total / expected_batch_size

"""FRePo with differential privacy: real images are seen through one clipped and noised gradient a step."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from torch import Tensor
from torch.nn import functional as F

from distill.accounting.ledger import Ledger
from distill.accounting.noise_stream import NoiseStream
from distill.distillers.features import features_of
from distill.distillers.model_pool import ModelPool, PooledState
from distill.distillers.private_stepwise import PrivateState, PrivateStepwise
from distill.distillers.run import Run
from distill.distillers.state import Start
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_choice, require_not_negative, require_positive
from distill.runtime.seeds import Purpose
from distill.training.kernel_ridge import krr_weights

__all__ = ["PrivateFRePo", "PrivateFRePoState", "residuals_of", "unit_features"]

Residuals = Literal["squared", "softmax"]
SHARPNESS = 10.0  # of the softmax over predictions, which are near one-hot - 1/C


@dataclass(frozen=True, kw_only=True)
class PrivateFRePo(PrivateStepwise):
    """FRePo whose sets are differentially private in the records they are distilled from.

    The loss of FRePo sees real images through the ridge weights W alone, `(d, C)`. Its gradient by W is a sum over
    records of outer products of features and residuals, `f_t r_t^T` with `r_t = W^T f_t - y_t`. These are clipped to
    norm c, summed, and noised once, `G = (sum_t clip(f_t r_t^T) + N(0, (sigma c)^2)) / expected batch size`, and the
    images follow the gradient of `<G, W(S)>`. Batches are Poisson samples. The pool is trained on the set alone, and
    all else is post-processing too: nothing but G, and the sums of the start, is computed from records.

    Other than in FRePo: features are less the mean of the distilled ones and of unit length on both sides, so that no
    part of the clip is spent on what all images share; the ridge is much larger, as a small one enlarges the noise that
    reaches the images; Adam takes the place of LAMB; labels are not learned. BatchNorm has the statistics of the
    distilled images.

    Raises `InputError` for options that make no sense, also for a start from real images; `distill` where the
    accountant is not installed, for held-out images and for a preprocessing that may be fitted on the records.

    >>> from distill import load_images
    >>> frepo = PrivateFRePo(steps=2, batch_size=64, width=4, depth=1, pool_size=1, epsilon=2.0)
    >>> frepo.distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by private-frepo, epsilon 2 at delta 1e-05)
    """

    method: ClassVar[str] = "private-frepo"
    rates: ClassVar[tuple[str, ...]] = ("learning_rate", "pool_learning_rate")
    summed: ClassVar[str] = "gradients by the ridge weights"
    learning_rate: float = 2e-2
    residuals: Residuals = "squared"
    """Gradient of the loss by predictions: "squared", of the squared error, or "softmax", of cross-entropy."""
    pool_size: int = 10
    """Number of models in the pool."""
    max_updates: int = 100
    """Training steps of a pool model before it is re-initialised (K in the paper). 0: every step has a new, untrained
    model."""
    pool_learning_rate: float = 1e-3
    """Learning rate of Adam for the pool models."""
    pool_batch_size: int = 1000
    """Batch size for training the pool models, sampled at random if the distilled set is larger."""
    regularization: float = 0.3
    """Regularisation of the ridge regression (lambda), as a fraction of the mean diagonal of K_ss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self, "residuals", get_args(Residuals))
        require_positive(self, "pool_size", "pool_batch_size", "regularization")
        require_not_negative(self, "max_updates")

    def state(
        self, data: PreprocessedImages, run: Run, start: Start, labels: Tensor, *, coins: NoiseStream,
        noise: NoiseStream, ledger: Ledger,
    ) -> "PrivateFRePoState":  # fmt: skip
        """With a pool of networks, which never see a record in training."""
        pool = ModelPool(
            build=lambda generator: self.build(data.image_shape, data.num_classes, generator, device=run.device),
            size=self.pool_size,
            max_updates=self.max_updates,
            learning_rate=self.pool_learning_rate,
            batch_size=self.pool_batch_size,
            generator=run.generator(Purpose.NETWORKS),
        )
        return PrivateFRePoState(run, start, labels, coins=coins, noise=noise, ledger=ledger, pool=pool, options=self)

    def step(self, state: "PrivateFRePoState", data: PreprocessedImages) -> None:
        """One update of the images by one noisy gradient; changes `state`."""
        model = state.pool.sample()
        features_s = features_of(model.network, state.seen(), chunk_size=self.chunk_size)
        centre = features_s.detach().mean(0) * (len(features_s) > 1)  # a single image would be left with nothing
        unit_s = unit_features(features_s, centre)
        weights = krr_weights(unit_s, state.labels, regularization=self.regularization)

        def terms(images_t: Tensor, labels_t: Tensor) -> tuple[Tensor, Tensor]:
            unit_t = unit_s.new_zeros(0, unit_s.shape[1])
            if len(images_t):
                unit_t = unit_features(features_of(model.network, images_t, chunk_size=self.chunk_size), centre)
            return unit_t, residuals_of(unit_t, labels_t, weights, residuals=self.residuals)

        gradient = self.noisy_sum(state, data, terms) / self.expected_batch_size(len(data))
        # From here on, post-processing: neither the images nor the labels of records are used again.
        state.update((gradient * weights).sum())
        state.pool.train(model, state.seen().detach(), state.labels)
        state.pool.renew(model)


class PrivateFRePoState(PooledState, PrivateState):
    """A private state with the `pool` of models."""

    def __init__(
        self, run: Run, start: Start, labels: Tensor, *, coins: NoiseStream, noise: NoiseStream,
        ledger: Ledger, pool: ModelPool, options: PrivateFRePo,
    ) -> None:  # fmt: skip
        super().__init__(run, start, labels, coins=coins, noise=noise, ledger=ledger, options=options)
        self.pool = pool


def unit_features(features: Tensor, centre: Tensor) -> Tensor:
    """Features `(n, d)` less `centre` `(d,)`, of length 1: each row a function of its record, and of the set alone."""
    return F.normalize(features - centre, dim=1)


def residuals_of(features: Tensor, class_ids: Tensor, weights: Tensor, *, residuals: Residuals) -> Tensor:
    """The gradient, `(b, C)`, of the loss of each record by its predictions; by `weights` it is features times that.

    `features` is `(b, d)`, `class_ids` `(b,)`, `weights` `(d, C)`. "squared": residuals `W^T f - (one-hot - 1/C)`;
    "softmax": those of cross-entropy with logits `10 W^T f`.
    """
    num_classes = weights.shape[1]
    one_hot = F.one_hot(class_ids, num_classes).to(features)
    predictions = features @ weights
    if residuals == "squared":
        return predictions - (one_hot - 1 / num_classes)
    return F.softmax(SHARPNESS * predictions, dim=1) - one_hot

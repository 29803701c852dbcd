"""The loss on soft labels, for Avalanche's own strategies."""

from collections.abc import Callable
from typing import Any, Literal, get_args

import torch
from avalanche.benchmarks.utils.data_loader import MultiDatasetDataLoader
from avalanche.training.plugins import SupervisedPlugin
from torch import Tensor

from continual.model_outputs import grows
from continual.soft_labels import with_soft_labels
from distill import InputError
from distill.errors import shown
from distill.runtime.checks import require_one_of, require_whole
from distill.sets.synthetic import initial_labels
from distill.training.recipe import Loss, TrainingRecipe

__all__ = ["RecipeLoss", "SoftLabelLoss"]

Reduction = Literal["mean", "sum", "none"]
MASKED = -999  # Avalanche's heads set the logits of unseen classes, or of other tasks, to -1000


def fitted_labels(logits: Tensor, soft_labels: Tensor, *, growing: bool) -> Tensor:
    """`soft_labels` `(n, C)` for `logits` `(n, k)`: of the first `k` classes if a `growing` head has no more yet.

    Raises `InputError` for other shapes, which would be broadcast.
    """
    if growing and logits.ndim == 2 and len(logits) == len(soft_labels) and logits.shape[1] < soft_labels.shape[1]:
        soft_labels = soft_labels[:, : logits.shape[1]]
    if logits.shape != soft_labels.shape:
        raise InputError(
            f"the model's output has shape {tuple(logits.shape)}, the soft labels {tuple(soft_labels.shape)}; "
            "expected one output for each class of the whole problem from the first experience on"
        )
    return soft_labels.to(logits)


def without_masked(logits: Tensor, soft_labels: Tensor, loss: str) -> Tensor:
    """`soft_labels` `(n, C)` changed so that `loss` ignores the logits that a head masks.

    Except that of the label's own class: if it is masked, the loss is as large as that of `CrossEntropyLoss`.
    """
    masked = (logits.detach() <= MASKED) & (soft_labels < soft_labels.amax(1, keepdim=True))
    if not masked.any():
        return soft_labels
    return torch.where(masked, logits.detach() if loss == "mse" else -torch.inf, soft_labels)


class SoftLabelLoss(SupervisedPlugin):
    """Criterion for Avalanche's own strategies: the loss on soft labels, of real and replayed images in one batch.

        Naive(model=model, optimizer=optimizer, criterion=SoftLabelLoss(100), plugins=[ReplayPlugin(...)])

    Give it as `criterion`: Avalanche also registers it as a plugin. It adds soft labels to the data that the strategy
    trains on, with any loader: current images get the initial label of their class, replayed ones keep the soft labels
    of the buffer, if it has any. Soft labels belong to their mini-batch: a plugin that calls the criterion with other
    targets (EWC, GEM, MIR, ...) gets the initial labels of these, and so does evaluation.

    - `num_classes`: of the whole problem; the model must always have that many outputs, or a head that grows.
    - `loss`: "soft-cross-entropy" (default) against `softmax(labels / temperature)`, for short trainings; "mse", the
      paper's, for long ones; or a function of logits and soft labels, both `(n, C)`, that returns the mean, or a loss
      for each image. Logits that a head masks (`IncrementalClassifier`, `MultiHeadClassifier`) count only in such a
      function.
    - `temperature`: of "soft-cross-entropy"; default: `1 / sqrt(num_classes)`, with which initial labels are equally
      sharp for any number of classes (0.1, that of the class-incremental benchmark, for 100 classes).
    - `hard_label_scale`: scale of labels that tell a class alone, those of current images and of memories that keep
      class ids; default: as they are. 1 and a temperature of 0.1 make them all but one-hot.
    - `reduction`: "mean" (default), "sum" or "none", as in PyTorch's losses.

    Raises `InputError` for other options, and in training if the mini-batches have no soft labels or the model another
    number of outputs.

        >>> import torch
        >>> loss = SoftLabelLoss(3)
        >>> float(loss(torch.zeros(2, 3), torch.tensor([0, 2])))
        1.0986...
    """

    def __init__(
        self,
        num_classes: int,
        *,
        loss: Loss | Callable[[Tensor, Tensor], Tensor] = "soft-cross-entropy",
        temperature: float | None = None,
        hard_label_scale: float | None = None,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        require_whole("num_classes", num_classes, least=1)
        check_reduction(reduction)
        self.num_classes = num_classes
        if temperature is None:
            temperature = num_classes**-0.5
        elif isinstance(temperature, bool) or not isinstance(temperature, int | float):
            raise InputError(f"temperature is {shown(temperature)}; expected a number above 0, or None")
        if isinstance(loss, type):
            raise InputError(f"loss is the class {loss.__name__}; give an instance of it, or another function")
        recipe = TrainingRecipe(
            loss="mse" if callable(loss) else loss, temperature=temperature, hard_label_scale=hard_label_scale
        )
        self.loss = loss if callable(loss) else recipe.losses
        self._labels_for = recipe.labels_for
        self._named: str | None = None if callable(loss) else loss
        self.reduction: str = reduction
        self._strategy: Any = None  # the one in training
        self._growing = False

    def after_train_dataset_adaptation(self, strategy: Any, **kwargs: Any) -> None:
        """Add soft labels to the current experience's images."""
        strategy.adapted_dataset = with_soft_labels(strategy.adapted_dataset, self.num_classes)

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        """Add soft labels to the memory: at this point plugins have replaced the loader, if they do."""
        self._strategy, self._growing = strategy, grows(strategy.model)
        loader = strategy.dataloader
        if isinstance(loader, MultiDatasetDataLoader):
            loader.datasets = [with_soft_labels(dataset, self.num_classes) for dataset in loader.datasets]

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        """Make sure that the mini-batch holds soft labels."""
        batch = strategy.mbatch
        soft_labels = batch[-2] if len(batch) >= 4 else None
        if soft_labels is None or soft_labels.shape != (len(batch[0]), self.num_classes):
            raise InputError(
                f"the mini-batch has {len(batch)} tensors and no soft labels; expected [images, class ids, "
                "soft labels, task labels]: apply continual.with_soft_labels to the datasets of your own loader"
            )

    def after_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Forget the strategy."""
        self._strategy = None

    def before_eval_forward(self, strategy: Any, **kwargs: Any) -> None:
        """The head may have grown."""
        self._growing = grows(strategy.model)

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of logits `(n, C)` on the soft labels of `targets` `(n,)` in the mini-batch, else on initial ones."""
        soft_labels = self._soft_labels_of(targets)
        if soft_labels is None:
            soft_labels = initial_labels(targets.long(), self.num_classes)
        soft_labels = self._labels_for(soft_labels)
        soft_labels = fitted_labels(logits, soft_labels, growing=self._growing)
        if self._named is not None:
            soft_labels = without_masked(logits, soft_labels, self._named)
        return reduced(self.loss(logits, soft_labels), self.reduction, len(logits))

    def _soft_labels_of(self, targets: Tensor) -> Tensor | None:
        """The soft labels of the mini-batch that these targets belong to; `None` for any other targets."""
        batch = self._strategy.mbatch if self._strategy is not None and self._strategy.is_training else None
        return batch[-2] if batch is not None and len(batch) >= 4 and targets is batch[1] else None


class RecipeLoss:
    """The criterion of GDumb: a recipe's loss on soft labels `(n, C)`, or on the initial labels of class ids `(n,)`.

    GDumb gives it the soft labels of its mini-batches; plugins give it class ids.

    - `num_classes`: C; `None` until it is known. `growing`: whether the model's head grows. `reduction`: "mean", "sum"
      or "none".
    """

    def __init__(self, recipe: TrainingRecipe, num_classes: int | None, *, growing: bool) -> None:
        self.recipe, self.num_classes, self.growing = recipe, num_classes, growing
        self.reduction: str = "mean"

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of logits `(n, C)`."""
        if targets.ndim == 1:
            count = self.num_classes or logits.shape[1]
            count = max(count, int(targets.max()) + 1 if self.growing else 0)
            targets = initial_labels(targets.long(), count, scale=self.recipe.hard_label_scale)
        soft_labels = fitted_labels(logits, targets, growing=self.growing)
        if self.growing:
            soft_labels = without_masked(logits, soft_labels, self.recipe.loss)
        if self.reduction == "mean":
            return self.recipe.criterion(logits, soft_labels)
        return reduced(self.recipe.losses(logits, soft_labels), self.reduction, len(logits))


def reduced(losses: Tensor, reduction: str, count: int) -> Tensor:
    """Losses `(n,)` of `count` images, or their mean, reduced as `reduction` says."""
    check_reduction(reduction)  # plugins set it, as they do with PyTorch's losses
    if losses.ndim == 0:
        if reduction == "none":
            raise InputError("loss returns one number for all images; expected one for each, since reduction is 'none'")
        return losses if reduction == "mean" else losses * count
    return losses if reduction == "none" else getattr(losses, reduction)()


def check_reduction(reduction: str) -> None:
    """Raise `InputError` for a reduction that PyTorch's losses do not have."""
    require_one_of("reduction", reduction, get_args(Reduction))

"""GDumb: a fresh network trained on the buffer alone at every experience, with any storage policy."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from avalanche.training.plugins import (
    EvaluationPlugin,
    GDumbPlugin,
    LRSchedulerPlugin,
    ReplayPlugin,
    SupervisedPlugin,
)
from avalanche.training.plugins.evaluation import default_evaluator
from avalanche.training.storage_policy import ExemplarsBuffer
from torch import Tensor, nn

from continual.checks import check_avalanche_options, check_gdumb
from continual.items import check_stream, read_items
from continual.loss import RecipeLoss
from continual.model_outputs import check_outputs, grows, model_outputs
from continual.soft_labels import read_all, with_soft_labels
from continual.template import TemplateWithGenerator
from continual.weight_reset import Reset, check_resettable, draw_weights
from distill import InputError
from distill.runtime.progress import progress_bar
from distill.runtime.seeds import generator_for
from distill.sets.synthetic import initial_labels
from distill.training.average import MovingAverage
from distill.training.recipe import TrainingRecipe

__all__ = ["BufferLoader", "GDumb"]

# Plugins that have no effect in GDumb, and why.
WITHOUT_EFFECT = {
    LRSchedulerPlugin: "every experience has an optimizer and a schedule of its own; change the recipe",
}
# Plugins that would replace what GDumb trains on.
REFUSED = (ReplayPlugin, GDumbPlugin)


class GDumb(TemplateWithGenerator):
    """At every experience: update the buffer, draw fresh weights, train on the buffer alone (Prabhu et al. 2020).

    An ordinary Avalanche strategy: plugins, loggers and the evaluator work; one experience is one epoch of
    `train_steps` iterations. All randomness comes from `seed` and the index of the experience.

    - `model`: maps images to `num_classes` logits, or has a head that grows (`IncrementalClassifier`,
      `MultiHeadClassifier`). Its weights are drawn anew at each experience: those of a distill `Network` by its own
      rule, those of any other module by the `reset_parameters` of its submodules.
    - `reset`: a function that returns a new model like `model`, for models with submodules that have no
      `reset_parameters` (weight norm); called at each experience with a seed of its own.
    - `storage_policy`: any `ExemplarsBuffer`. Several strategies may share a `DistilledBuffer`, no other policy. Images
      are read once an experience under their eval transforms; hard labels become initial soft labels, or those of the
      recipe's `hard_label_scale`.
    - `recipe`: loss, optimizer, schedule, batches, augmentation and average of weights; its network fields are not
      used. Default: see `TrainingRecipe`. `train_steps`: shorthand for that recipe with this many updates.
    - `num_classes`: of the whole problem; default: the number of outputs of the model.
    - `eval_mb_size`, `device`, `plugins`, `evaluator`, `eval_every`, `peval_mode`: as in every Avalanche strategy.
    - `progress`: show a bar with the remaining time. Default: off.

    Avalanche's `GDumbPlugin`, in contrast, restores the same initial weights at each experience, turns soft labels
    into integers and has no other policy than `ClassBalancedBuffer`.

    Raises `InputError` for options of the wrong type or range, plugins that replace the data, and models that cannot
    be reset.

        >>> from avalanche.training.storage_policy import ClassBalancedBuffer
        >>> from torch.nn import Flatten, Linear, Sequential
        >>> from distill import Standardize, load_images
        >>> from continual import GDumb, class_incremental, stream_accuracy, accuracy_evaluator
        >>> digits = load_images("digits").subset(range(60))
        >>> images = Standardize.fit(digits).apply(digits)
        >>> stream = class_incremental(images, images, steps=2)
        >>> strategy = GDumb(
        ...     model=Sequential(Flatten(), Linear(64, 10)), train_steps=5,
        ...     storage_policy=ClassBalancedBuffer(20), evaluator=accuracy_evaluator(),
        ... )
        >>> for experience in stream.train_stream:
        ...     metrics = strategy.train(experience)
        >>> 0 <= stream_accuracy(strategy, stream.test_stream) <= 1
        True
    """

    augments_by_itself = True  # images are read under their eval transforms

    def __init__(
        self,
        *,
        model: nn.Module,
        storage_policy: ExemplarsBuffer,
        recipe: TrainingRecipe | None = None,
        train_steps: int | None = None,
        num_classes: int | None = None,
        reset: Reset | None = None,
        seed: int = 0,
        eval_mb_size: int = 500,
        device: str | torch.device = "cpu",
        plugins: Sequence[SupervisedPlugin] | None = None,
        evaluator: EvaluationPlugin | Callable[[], EvaluationPlugin] = default_evaluator,
        eval_every: int = -1,
        peval_mode: str = "epoch",
        progress: bool = False,
    ) -> None:
        check_gdumb(recipe, num_classes, seed, eval_mb_size, device, progress)
        check_avalanche_options(plugins, evaluator, eval_every, peval_mode)
        if not isinstance(storage_policy, ExemplarsBuffer):
            raise InputError(
                f"storage_policy is a {type(storage_policy).__name__}; expected an ExemplarsBuffer, such as "
                "DistilledBuffer(distiller) or Avalanche's ClassBalancedBuffer"
            )
        check_model(model, reset)
        check_plugins(plugins or ())
        recipe = TrainingRecipe() if recipe is None else recipe
        self.recipe = recipe if train_steps is None else replace(recipe, train_steps=train_steps)
        known = getattr(storage_policy, "classes", None)
        self.num_classes = len(known) if num_classes is None and known is not None else num_classes
        if self.num_classes is None and grows(model):
            raise InputError(
                f"the head of {type(model).__name__} grows, so the number of classes cannot be inferred; give "
                "num_classes, the total over all experiences"
            )
        self.storage_policy = storage_policy
        self.reset = reset
        self.seed = seed
        self.progress = progress
        self.scheduler: Any = None
        self.average: MovingAverage | None = None
        self._checked = False
        super().__init__(
            model=model,
            optimizer=self.recipe.optimizer(model),  # the template needs one; every experience creates its own
            criterion=RecipeLoss(self.recipe, self.num_classes, growing=grows(model)),
            train_mb_size=self.recipe.batch_size,
            train_epochs=1,
            eval_mb_size=eval_mb_size,
            device=device,
            plugins=plugins,
            evaluator=evaluator,
            eval_every=eval_every,
            peval_mode=peval_mode,
        )

    @property
    def mb_soft_labels(self) -> Tensor:
        """Soft labels `(n, C)` of the current mini-batch: the buffer's in training, the initial ones in evaluation.

        With CutMix in the recipe some batches are mixed, and so are these labels, while `mb_y` has the classes of the
        images before.
        """
        if self.is_training:
            return self.mbatch[-2]
        assert self.num_classes is not None or self.mb_output is not None
        count = self.num_classes or self.mb_output.shape[1]
        return initial_labels(self.mb_y.long(), count, scale=self.recipe.hard_label_scale)

    def criterion(self) -> Tensor:
        """The recipe's loss on the soft labels; in evaluation on the class ids."""
        return self._criterion(self.mb_output, self.mb_soft_labels if self.is_training else self.mb_y)

    def train_dataset_adaptation(self, **kwargs: Any) -> None:
        """Update the storage policy; what is trained on is its buffer."""
        self._check_outputs()
        self.storage_policy.post_adapt(self, self.experience)
        buffer = self.storage_policy.buffer  # may be decoded each time it is asked for
        if not len(buffer):
            raise InputError(
                f"the {type(self.storage_policy).__name__} is empty after experience "
                f"{self.experience.current_experience}: there is nothing to train on; expected a max_size above 0"
            )
        self.adapted_dataset = buffer

    def _check_outputs(self) -> None:
        """Compare the outputs of the model with the number of classes, once, before anything is distilled."""
        if self._checked:
            return
        dataset = self.experience.dataset
        check_stream(dataset)
        items = read_items(dataset.subset([0]))
        images = items.images.flatten(1) if items.layout.vectors else items.images
        if self.num_classes is None:
            self.num_classes = model_outputs(self.model, images, items.tasks)
        else:
            check_outputs(self.model, images, items.tasks, self.num_classes)
        self._criterion.num_classes = self.num_classes
        self._checked = True

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Read the buffer into tensors on the device. Options of torch's DataLoader do not apply."""
        index = self.experience.current_experience
        self.generator = generator_for(self.seed, index)
        assert self.num_classes is not None
        columns = read_all(with_soft_labels(self.adapted_dataset.eval(), self.num_classes))
        check_mixing(self.recipe, columns)
        columns[-2] = self.recipe.labels_for(columns[-2])
        self.dataloader = BufferLoader(
            [column.to(self.device) for column in columns],
            recipe=self.recipe,
            generator=self.generator,
            title=f"experience {index}" if self.progress else None,
        )

    def check_model_and_optimizer(self, **kwargs: Any) -> None:
        """Fresh weights, optimizer and schedule."""
        self.model = self.model_adaptation()
        draw_weights(self.model, self.generator, reset=self.reset)
        self.optimizer = self.recipe.optimizer(self.model)
        self.scheduler = self.recipe.scheduler(self.optimizer, len(self.dataloader))
        self.average = self.recipe.average_of(self.model)

    def optimizer_step(self) -> None:
        """One update, and one step of the schedule and of the average."""
        self.optimizer.step()
        self.scheduler.step()
        if self.average is not None:
            self.average.update()

    def training_epoch(self, **kwargs: Any) -> None:
        """All updates of the experience; at its end the model has the average of its weights, if there is one."""
        super().training_epoch(**kwargs)
        if self.average is not None:
            self.average.replace_tensors()

    def _train_cleanup(self) -> None:
        super()._train_cleanup()
        self.scheduler = self.average = None  # not needed any more, and the schedule is not picklable


def check_mixing(recipe: TrainingRecipe, columns: Sequence[Tensor]) -> None:
    """Raise `InputError` where a recipe cannot mix what is in a buffer of these columns."""
    if not recipe.cutmix:
        return
    images, tasks = columns[0], columns[-1]
    if images.ndim != 4:
        raise InputError(
            f"cutmix is {recipe.cutmix}, but the items of the buffer have shape {tuple(images.shape[1:])}; give a "
            "recipe with cutmix=0.0"
        )
    if len(torch.unique(tasks)) > 1:
        raise InputError(
            f"cutmix is {recipe.cutmix}, but the buffer has images of several tasks, whose labels must not be mixed; "
            "give a recipe with cutmix=0.0"
        )


def check_model(model: Any, reset: Reset | None) -> None:
    """Raise `InputError` for models that cannot be trained from scratch repeatedly."""
    if not isinstance(model, nn.Module):
        raise InputError(f"model is a {type(model).__name__}; expected a torch module")
    if next(model.parameters(), None) is None:
        raise InputError(f"{type(model).__name__} has no parameters to train")
    check_resettable(model, reset)


def check_plugins(plugins: Sequence[Any]) -> None:
    """Raise `InputError` for plugins that replace what GDumb trains on; warn about those without effect."""
    for plugin in plugins:
        name = type(plugin).__name__
        if isinstance(plugin, REFUSED):
            raise InputError(f"{name} replaces the data that GDumb trains on; leave it out, and give storage_policy")
        for kind, reason in WITHOUT_EFFECT.items():
            if isinstance(plugin, kind):
                warnings.warn(f"{name} has no effect in GDumb: {reason}", stacklevel=3)


class BufferLoader:
    """Mini-batches of a buffer that is held in tensors: `[images, class ids, (fields,) soft labels, task labels]`.

    `recipe.steps_for(n)` mini-batches of `recipe.batch_size`, or of all `n` if there are fewer, drawn without
    replacement until too few are left for a full one, and augmented and mixed by the recipe. What is drawn comes from
    `generator`. `title`: of a progress bar with the remaining time; `None`: no bar.
    """

    def __init__(
        self, columns: list[Tensor], *, recipe: TrainingRecipe, generator: torch.Generator, title: str | None = None
    ) -> None:
        self.columns, self.recipe, self.generator, self.title = columns, recipe, generator, title

    def __len__(self) -> int:
        return self.recipe.steps_for(len(self.columns[0]))

    def __iter__(self) -> Iterator[list[Tensor]]:
        batches = self.recipe.batches(len(self.columns[0]), self.generator)
        shown = self.title is not None
        for chosen in progress_bar(batches, shown=shown, total=len(self), desc=self.title, unit="step"):
            batch = [column[chosen] for column in self.columns]
            batch[0], batch[-2] = self.recipe.mixed(batch[0], batch[-2], self.generator)
            yield batch

"""GDumb: a fresh network trained on the buffer alone at every experience, with any storage policy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch
from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin
from avalanche.training.plugins.evaluation import default_evaluator
from avalanche.training.storage_policy import ExemplarsBuffer
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor, nn

from continual.checks import check_gdumb
from continual.soft_labels import output_size, read_all, soft_loss, with_soft_labels
from distill import InputError
from distill.networks import Network
from distill.progress import progress_bar
from distill.recipe import TrainingRecipe
from distill.seeds import generator_for
from distill.synthetic import initial_labels

__all__ = ["BufferLoader", "GDumb", "draw_weights"]


class GDumb(SupervisedTemplate):
    """At every experience: update the buffer, draw fresh weights, train on the buffer alone (Prabhu et al. 2020).

    An ordinary Avalanche strategy: plugins, loggers and the evaluator work; one experience is one epoch of
    `train_steps` iterations. All randomness comes from `seed` and the index of the experience.

    - `model`: maps images to `num_classes` logits. Its weights are drawn anew at each experience: a distill `Network`
      by its own rule, any other module by the `reset_parameters` of its parts.
    - `storage_policy`: any `ExemplarsBuffer`. Several strategies may share a `DistilledBuffer`, no other policy. Images
      are read once an experience under their eval transforms; hard labels become initial soft labels.
    - `recipe`: loss, optimizer, schedule, batch size and augmentation; its network fields are not used.
      `train_steps`: short for a recipe with that many updates.
    - `num_classes`: of the whole problem; default: the outputs of the model's last linear layer.
    - `eval_mb_size`, `device`, `plugins`, `evaluator`, `eval_every`, `peval_mode`: as in every Avalanche strategy.
    - `progress`: show a bar with the time left.

    Unlike Avalanche's `GDumbPlugin`, which restores the same initial weights at each experience, makes integers of
    soft labels and knows no other policy than `ClassBalancedBuffer`.
    """

    def __init__(
        self,
        *,
        model: nn.Module,
        storage_policy: ExemplarsBuffer,
        recipe: TrainingRecipe | None = None,
        train_steps: int | None = None,
        num_classes: int | None = None,
        seed: int = 0,
        eval_mb_size: int = 500,
        device: str | torch.device = "cpu",
        plugins: Sequence[SupervisedPlugin] | None = None,
        evaluator: EvaluationPlugin | Callable[[], EvaluationPlugin] = default_evaluator,
        eval_every: int = -1,
        peval_mode: str = "epoch",
        progress: bool = False,
    ) -> None:
        check_gdumb(model, recipe, num_classes, seed, eval_mb_size, device)
        if not isinstance(storage_policy, ExemplarsBuffer):
            raise InputError(
                f"storage_policy is a {type(storage_policy).__name__}; wanted an ExemplarsBuffer, such as "
                "DistilledBuffer(distiller) or Avalanche's ClassBalancedBuffer"
            )
        recipe = TrainingRecipe() if recipe is None else recipe
        self.recipe = recipe if train_steps is None else replace(recipe, train_steps=train_steps)
        self.num_classes = output_size(model) if num_classes is None else num_classes
        self.storage_policy = storage_policy
        self.seed = seed
        self.progress = progress
        super().__init__(
            model=model,
            optimizer=self.recipe.optimizer(model),  # the template wants one; every experience makes its own
            criterion=self.recipe.criterion,
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
        """Soft labels `(n, C)` of the current mini-batch: the buffer's in training, the initial ones in evaluation."""
        return self.mbatch[-2] if self.is_training else initial_labels(self.mb_y, self.num_classes)

    def criterion(self) -> Tensor:
        """The recipe's loss on the soft labels."""
        return soft_loss(self._criterion, self.mb_output, self.mb_soft_labels)

    def train_dataset_adaptation(self, **kwargs: Any) -> None:
        """Update the storage policy; what is trained on is its buffer."""
        self.storage_policy.post_adapt(self, self.experience)
        if not len(self.storage_policy.buffer):
            raise InputError(
                f"the {type(self.storage_policy).__name__} is empty after experience "
                f"{self.experience.current_experience}: there is nothing to train on; wanted a max_size above 0"
            )
        self.adapted_dataset = self.storage_policy.buffer

    def make_train_dataloader(self, **kwargs: Any) -> None:
        """Read the buffer into tensors on the device. Options of torch's DataLoader do not apply."""
        index = self.experience.current_experience
        self.generator = generator_for(self.seed, index)
        columns = read_all(with_soft_labels(self.adapted_dataset.eval(), self.num_classes))
        self.dataloader = BufferLoader(
            [column.to(self.device) for column in columns],
            recipe=self.recipe,
            generator=self.generator,
            title=f"experience {index}" if self.progress else None,
        )

    def check_model_and_optimizer(self, **kwargs: Any) -> None:
        """Fresh weights, optimizer and schedule."""
        self.model = self.model_adaptation()
        draw_weights(self.model, self.generator)
        self.optimizer = self.recipe.optimizer(self.model)
        self.scheduler = self.recipe.scheduler(self.optimizer, len(self.dataloader))

    def optimizer_step(self) -> None:
        """One update, and one step of the schedule."""
        self.optimizer.step()
        self.scheduler.step()

    def _obtain_common_dataloader_parameters(self, **kwargs: Any) -> dict[str, Any]:
        # Even without shuffling, a torch DataLoader draws from the global generator unless it has its own.
        return {**super()._obtain_common_dataloader_parameters(**kwargs), "generator": torch.Generator()}


class BufferLoader:
    """Mini-batches of a buffer that is held in tensors: `[images, class ids, soft labels, task labels]`.

    `recipe.steps_for(n)` mini-batches of `recipe.batch_size`, or of all `n` if there are fewer, drawn without
    replacement until too few are left for a full one, and augmented by the recipe. Order and augmentation come from
    `generator`. `title`: of a progress bar with the time left; `None` shows none.
    """

    def __init__(
        self, columns: list[Tensor], *, recipe: TrainingRecipe, generator: torch.Generator, title: str | None = None
    ) -> None:
        self.columns, self.recipe, self.generator, self.title = columns, recipe, generator, title

    def __len__(self) -> int:
        return self.recipe.steps_for(len(self.columns[0]))

    def __iter__(self) -> Iterator[list[Tensor]]:
        images, *others = self.columns
        batches = self.recipe.batches(len(images), self.generator)
        shown = self.title is not None
        for chosen in progress_bar(batches, shown=shown, total=len(self), desc=self.title, unit="step"):
            yield [self.recipe.transform(images[chosen], self.generator), *(column[chosen] for column in others)]


def draw_weights(model: nn.Module, generator: torch.Generator) -> None:
    """Draw all parameters of `model` anew from `generator`, running statistics included.

    A distill `Network` by its own rule; any other module by the `reset_parameters` of its parts, on the CPU so that
    every device draws the same numbers. Leaves the global generators as they were.

    Raises `InputError` when a part holds parameters but has no `reset_parameters`.
    """
    if isinstance(model, Network):
        model.reset_parameters(generator)
        return
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        model.cpu()
        reset_parts(model, generator)
        model.to(device)


def reset_parts(module: nn.Module, generator: torch.Generator) -> None:
    """Reset the children, then the module itself, which may have a rule for all of them."""
    if isinstance(module, Network):
        module.reset_parameters(generator)
        return
    for child in module.children():
        reset_parts(child, generator)
    if callable(reset := getattr(module, "reset_parameters", None)):
        reset()
    elif next(module.parameters(recurse=False), None) is not None:
        raise InputError(
            f"{type(module).__name__} holds parameters but has no reset_parameters() to draw fresh weights with; "
            "add one"
        )

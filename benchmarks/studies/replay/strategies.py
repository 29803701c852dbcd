"""Avalanche's strategies with a buffer of this toolkit, soft labels, augmentation and a fixed number of updates.

Avalanche's ER_ACE and DER keep buffers of their own and have no soft labels. Here they take any buffer, and a replayed
image counts by its soft label; an image without one has the initial label of its class.
"""

from typing import Any

import torch
from avalanche.training import DER, ER_ACE, Naive
from avalanche.training.plugins import ReplayPlugin, SupervisedPlugin
from avalanche.training.templates import SupervisedTemplate
from torch import Tensor
from torch.nn import functional as F

from benchmarks.studies.replay.logits import LogitMemory
from benchmarks.studies.replay.options import ReplayOptions
from benchmarks.studies.replay.replayed import Replayed, read_buffer
from continual import DistilledBuffer, SoftLabelLoss, accuracy_evaluator
from distill.sets.synthetic import initial_labels
from distill.training.recipe import TrainingRecipe

__all__ = ["DERWithBuffer", "ERACEWithBuffer", "online_strategy"]

EVALUATED = 500  # images per batch


class Augmented(SupervisedPlugin):
    """Augments the mini-batch of the strategy's own loader by a recipe."""

    def __init__(self, recipe: TrainingRecipe, generator: torch.Generator) -> None:
        super().__init__()
        self.recipe, self.generator = recipe, generator

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        """Augment the images."""
        strategy.mbatch[0] = self.recipe.transform(strategy.mbatch[0], self.generator)


class StopAfter(SupervisedPlugin):
    """Ends the training of an experience after `updates` updates, however many batches its loader has."""

    def __init__(self, updates: int) -> None:
        super().__init__()
        self.updates, self.done = updates, 0

    def before_training_exp(self, strategy: Any, **kwargs: Any) -> None:
        """Count anew."""
        self.done = 0

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Stop when all are done."""
        self.done += 1
        if self.done >= self.updates:
            strategy.stop_training()


class SoftACE:
    """The asymmetric cross-entropy of ER-ACE on soft labels, by the loss of a recipe.

    Current images count over the classes of their batch alone, as in Avalanche's `ACECriterion`: the soft label of
    their class is cut to these before the softmax. Replayed images count over all classes, by their soft labels.
    """

    def __init__(self, recipe: TrainingRecipe) -> None:
        self.recipe = recipe

    def __call__(self, out_in: Tensor, target_in: Tensor, out_buffer: Tensor, soft_buffer: Tensor) -> Tensor:
        """Half the sum of both means: `(n, C)` and class ids `(n,)`, `(m, C)` and soft labels `(m, C)`."""
        classes = torch.unique(target_in)
        soft_in = self.recipe.labels_for(initial_labels(target_in.long(), out_in.shape[1]))[:, classes]
        current = self.recipe.criterion(out_in[:, classes], soft_in.to(out_in))
        soft_buffer = self.recipe.labels_for(soft_buffer).to(out_buffer)
        return (self.recipe.criterion(out_buffer, soft_buffer) + current) / 2


class ERACEWithBuffer(ER_ACE):
    """Avalanche's ER_ACE with a buffer of one's own and soft labels.

    As there the buffer is updated before the experience is trained on, so that it holds images of the current classes.
    """

    def __init__(
        self, *, policy: DistilledBuffer, recipe: TrainingRecipe, generator: torch.Generator, **options: Any
    ) -> None:
        super().__init__(**options)
        self.storage_policy, self.recipe, self.generator = policy, recipe, generator
        self.ace_criterion = SoftACE(recipe)

    def _before_training_exp(self, **kwargs: Any) -> None:
        self.storage_policy.post_adapt(self, self.experience)
        if self.experience.current_experience > 0:
            policy = self.storage_policy
            images, _, soft_labels, tasks = read_buffer(policy.buffer, len(policy.classes or ()), self.device)
            # ER_ACE passes the second column on to its criterion, which wants soft labels here.
            columns = [images, soft_labels, tasks]
            self.replay_loader = Replayed(columns, self.batch_size_mem, self.recipe, self.generator)
        super(ER_ACE, self)._before_training_exp(**kwargs)


class DERWithBuffer(DER):
    """Avalanche's DER++ with a buffer of one's own and soft labels.

    In place of class ids its loss gets the probabilities of the soft labels, of current and of replayed images.

    - `memory`: the buffer and its logits.
    """

    def __init__(
        self, *, memory: LogitMemory, recipe: TrainingRecipe, generator: torch.Generator, **options: Any
    ) -> None:
        super().__init__(**options)
        self.memory, self.recipe, self.generator = memory, recipe, generator
        self.replay_loader: Replayed | None = None

    def _before_training_exp(self, **kwargs: Any) -> None:
        if self.experience.current_experience > 0:
            policy = self.memory.policy
            columns = read_buffer(policy.buffer, len(policy.classes or ()), self.device)
            columns.append(self.memory.logits().to(self.device))
            self.replay_loader = Replayed(columns, self.batch_size_mem, self.recipe, self.generator)
        super(DER, self)._before_training_exp(**kwargs)

    def _after_training_exp(self, **kwargs: Any) -> None:
        self.replay_loader = None
        self.memory.post_adapt(self, self.experience)
        super(DER, self)._after_training_exp(**kwargs)

    def _before_forward(self, **kwargs: Any) -> None:
        super(DER, self)._before_forward(**kwargs)
        if self.replay_loader is None:
            return
        images, _, soft_labels, tasks, self.batch_logits = next(self.replay_loader)
        soft_labels = torch.cat([soft_labels, self.mbatch[-2]])
        self.mbatch[0] = torch.cat([images, self.mbatch[0]])
        self.mbatch[1] = F.softmax(self.recipe.labels_for(soft_labels) / self.recipe.temperature, dim=1)
        self.mbatch[-2] = soft_labels
        self.mbatch[-1] = torch.cat([tasks, self.mbatch[-1]])


def online_strategy(
    name: str,
    options: ReplayOptions,
    memory: DistilledBuffer | LogitMemory | None,
    *,
    recipe: TrainingRecipe,
    model: torch.nn.Module,
    num_classes: int,
    generator: torch.Generator,
) -> SupervisedTemplate:
    """A strategy by its name, which trains `model` along the stream.

    - `memory`: a buffer, for "der" with logits; `None` for no replay, with "naive" alone.
    - `recipe`: loss, optimizer and augmentation; `options`: the rest. `generator`: of augmentation and replay.
    """
    assert options.updates is not None
    model.to(options.device)  # before its optimizer is made
    plugins: list[Any] = [Augmented(recipe, generator), StopAfter(options.updates)]
    shared: dict[str, Any] = {
        "model": model, "optimizer": recipe.optimizer(model), "plugins": plugins, "device": options.device,
        "criterion": SoftLabelLoss(
            num_classes, loss=recipe.loss, temperature=recipe.temperature, hard_label_scale=recipe.hard_label_scale
        ),
        "train_mb_size": options.batch_size, "train_epochs": options.updates,  # ended by StopAfter
        "eval_mb_size": EVALUATED, "evaluator": accuracy_evaluator(),
    }  # fmt: skip
    own: dict[str, Any] = {"recipe": recipe, "generator": generator, "batch_size_mem": options.replay_batch_size}
    if name == "er-ace":
        assert isinstance(memory, DistilledBuffer)
        return ERACEWithBuffer(**shared, **own, policy=memory)
    if name == "der":
        assert isinstance(memory, LogitMemory)
        return DERWithBuffer(**shared, **own, memory=memory, alpha=options.alpha, beta=options.beta)
    if isinstance(memory, DistilledBuffer):
        size = options.replay_batch_size
        plugins.append(ReplayPlugin(memory.max_size, batch_size_mem=size, storage_policy=memory))
    return Naive(**shared)

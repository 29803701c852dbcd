"""The number of outputs of a model, found by running it."""

from typing import Any

import torch
from avalanche.models import DynamicModule
from avalanche.models.utils import avalanche_forward
from torch import Tensor, nn

from distill import InputError

__all__ = ["check_outputs", "grows", "model_outputs"]


def grows(model: Any) -> bool:
    """Whether a model has a head that grows with the classes, such as Avalanche's `IncrementalClassifier`."""
    return isinstance(model, nn.Module) and any(isinstance(module, DynamicModule) for module in model.modules())


@torch.no_grad()
def model_outputs(model: Any, images: Tensor, tasks: Tensor) -> int:
    """The number of outputs of `model` for `images` `(n, ...)` of `tasks` `(n,)`; the model is not changed.

    Raises `InputError` when the model has a growing head, fails on the images, or returns no `(n, classes)`.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"the number of classes is unknown: the model is a {type(model).__name__}; give num_classes")
    if grows(model):
        raise InputError(
            f"the head of {type(model).__name__} grows, so the number of classes cannot be inferred; give "
            "num_classes, the total over all experiences"
        )
    modes = {module: module.training for module in model.modules()}
    parameter = next(model.parameters(), torch.empty(0))
    try:
        with torch.random.fork_rng(devices=[]):
            outputs = avalanche_forward(model.eval(), images.to(parameter.device), tasks.to(parameter.device))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{type(model).__name__} fails on images of shape {tuple(images.shape[1:])}, those of the stream "
            f"({reason}); expected a model for these"
        ) from error
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not isinstance(outputs, Tensor) or outputs.ndim != 2:
        given = f"shape {tuple(outputs.shape)}" if isinstance(outputs, Tensor) else type(outputs).__name__
        raise InputError(
            f"{type(model).__name__} returns {given} for {len(images)} images; expected (n, classes): give a model "
            "that returns only the logits"
        )
    return outputs.shape[1]


def check_outputs(model: Any, images: Tensor, tasks: Tensor, num_classes: int) -> None:
    """Raise `InputError` when the number of outputs of `model` is not `num_classes`, unless its head grows."""
    if not grows(model) and (found := model_outputs(model, images, tasks)) != num_classes:
        raise InputError(
            f"{type(model).__name__} returns {found} numbers for an image, but there are {num_classes} classes; "
            "expected one for each class of the whole problem from the first experience on: give num_classes, or a "
            "model with that many outputs"
        )

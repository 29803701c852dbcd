"""Re-initialisation of a model's weights from a generator."""

from collections.abc import Callable, Iterator

import torch
from torch import nn

from continual.model_outputs import grows
from distill import InputError
from distill.networks import Network

__all__ = ["Reset", "check_resettable", "draw_weights"]

Reset = Callable[[], nn.Module]
# Parameters that a weight is computed from, by PyTorch's older weight norm, spectral norm and pruning.
COMPUTED = {f"{name}_{ending}" for name in ("weight", "bias") for ending in ("g", "v", "orig")}


def draw_weights(model: nn.Module, generator: torch.Generator, *, reset: Reset | None = None) -> None:
    """Draw all parameters of `model` anew from `generator`, running statistics included.

    A distill `Network` by its own rule; any other module by the `reset_parameters` of its submodules, on the CPU so
    that every device draws the same numbers; or all of them from a new model that `reset()` returns. The global
    generators keep their state.

    Raises `InputError` when a submodule has parameters but no `reset_parameters`, or `reset()` returns another model.
    """
    if isinstance(model, Network) and reset is None:
        model.reset_parameters(generator)
        return
    check_resettable(model, reset)
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        if reset is not None:
            take_weights(model, reset())
            return
        model.cpu()
        reset_submodules(model, generator)
        model.to(device)


def take_weights(model: nn.Module, fresh: nn.Module) -> None:
    """Give `model` the weights of `fresh`."""
    if not isinstance(fresh, nn.Module):
        raise InputError(f"reset() returns a {type(fresh).__name__}; expected a new model")
    if fresh is model:
        raise InputError("reset() returns the model itself; expected a function that makes a new one each time")
    try:
        model.load_state_dict(fresh.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(
            f"reset() returns a model with different parameters ({reason}); expected one like the model"
        ) from error


def check_resettable(model: nn.Module, reset: Reset | None = None) -> None:
    """Raise `InputError` when new weights for `model` cannot be drawn."""
    if reset is not None:
        if not callable(reset):
            raise InputError(f"reset is a {type(reset).__name__}; expected a function that returns a new model")
        if grows(model):
            raise InputError(
                "reset does not work with a head that grows: a new model would not have the classes seen so far; "
                "remove reset="
            )
        return
    for submodule in submodules_of(model):
        if resetter_of(submodule) is None and next(submodule.parameters(recurse=False), None) is not None:
            raise InputError(
                f"{type(submodule).__name__} has parameters but no reset_parameters() to draw new weights; add one, or "
                "give GDumb reset=, a function that returns a new model"
            )


def submodules_of(module: nn.Module) -> Iterator[nn.Module]:
    """The children first, then the module itself, which may have a rule for all of them; a `Network` as one."""
    if not isinstance(module, Network):
        for child in module.children():
            yield from submodules_of(child)
    yield module


def resetter_of(module: nn.Module) -> Callable[..., object] | None:
    """The method that draws a module's parameters anew, if it has one; that of PyTorch's attention is private."""
    if hasattr(module, "parametrizations") or COMPUTED & module._parameters.keys():
        return None  # it would set the computed weight, not the parameters behind it
    for name in ("reset_parameters", "_reset_parameters"):
        if callable(method := getattr(module, name, None)):
            return method
    return None


def reset_submodules(module: nn.Module, generator: torch.Generator) -> None:
    """Reset every submodule of a module, and the module itself."""
    for submodule in submodules_of(module):
        if isinstance(submodule, Network):
            submodule.reset_parameters(generator)
        elif (reset := resetter_of(submodule)) is not None:
            reset()

"""Fresh weights for a model, from a generator."""

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

    A distill `Network` by its own rule; any other module by the `reset_parameters` of its parts, on the CPU so that
    every device draws the same numbers; or all of them as a model that `reset()` makes has them. Leaves the global
    generators as they were.

    Raises `InputError` when a part holds parameters but has no `reset_parameters`, or `reset()` makes another model.
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
        reset_parts(model, generator)
        model.to(device)


def take_weights(model: nn.Module, fresh: nn.Module) -> None:
    """Give `model` the weights of `fresh`."""
    if not isinstance(fresh, nn.Module):
        raise InputError(f"reset() gives a {type(fresh).__name__}; wanted a freshly made model")
    if fresh is model:
        raise InputError("reset() gives the model itself; wanted a function that makes another one each time")
    try:
        model.load_state_dict(fresh.state_dict())
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"reset() makes a model of other parts ({reason}); wanted one like the model") from error


def check_resettable(model: nn.Module, reset: Reset | None = None) -> None:
    """Raise `InputError` when fresh weights for `model` cannot be drawn."""
    if reset is not None:
        if not callable(reset):
            raise InputError(f"reset is a {type(reset).__name__}; wanted a function that makes a fresh model")
        if grows(model):
            raise InputError("reset does not go with a head that grows: a fresh model has forgotten its classes; leave "
                             "it out")  # fmt: skip
        return
    for part in parts_of(model):
        if resetter_of(part) is None and next(part.parameters(recurse=False), None) is not None:
            raise InputError(
                f"{type(part).__name__} holds parameters but has no reset_parameters() to draw fresh weights with; add "
                "one, or give GDumb reset=, a function that makes a fresh model"
            )


def parts_of(module: nn.Module) -> Iterator[nn.Module]:
    """The children first, then the module itself, which may have a rule for all of them; a `Network` as a whole."""
    if not isinstance(module, Network):
        for child in module.children():
            yield from parts_of(child)
    yield module


def resetter_of(module: nn.Module) -> Callable[..., object] | None:
    """What draws a part's parameters anew, if it has such a thing; PyTorch's attention has a private one."""
    if hasattr(module, "parametrizations") or COMPUTED & module._parameters.keys():
        return None  # it would set the computed weight, not the parameters behind it
    for name in ("reset_parameters", "_reset_parameters"):
        if callable(method := getattr(module, name, None)):
            return method
    return None


def reset_parts(module: nn.Module, generator: torch.Generator) -> None:
    """Reset every part of a module."""
    for part in parts_of(module):
        if isinstance(part, Network):
            part.reset_parameters(generator)
        elif (reset := resetter_of(part)) is not None:
            reset()

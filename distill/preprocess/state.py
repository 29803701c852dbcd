"""Checks of the tensors in the state of a preprocessing."""

import torch

from distill.errors import InputError

__all__ = ["checked_state"]


def checked_state(kind: str, **tensors: tuple[object, int]) -> list[torch.Tensor]:
    """Tensors of a preprocessing's state, each given with its number of axes, as finite float32.

    Raises `InputError` that names the one that is something else.
    """
    checked = []
    for name, (tensor, axes) in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.ndim != axes or not tensor.is_floating_point():
            given = f"a {type(tensor).__name__}"
            if isinstance(tensor, torch.Tensor):
                given = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
            raise InputError(f"{name} of the preprocessing {kind!r} is {given}; expected floats of {axes} axes")
        tensor = tensor.detach().float()
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{name} of the preprocessing {kind!r} holds NaN or infinite values; fit it again")
        checked.append(tensor)
    return checked

"""The LAMB optimizer, one trust ratio for each tensor."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

__all__ = ["LAMB"]


class LAMB(torch.optim.Optimizer):
    """Adam's direction scaled to the norm of the tensor it moves (You et al. 2020), as in optax.

    `p <- p - lr * (|p| / |u|) * u`, `u = m / (sqrt(v) + eps)` with bias-corrected moments; the ratio is 1 where
    either norm is 0. No weight decay, no clipping of gradients or of the ratio, as FRePo uses it. Not taken from a
    library: those that carry LAMB bring clipping or a model zoo with them.

    - `params`: tensors (or groups of them); each has its own ratio.
    - `lr`: relative change of a tensor per step; `betas`, `eps` as in Adam.
    """

    def __init__(
        self,
        params: Iterable[Tensor] | Iterable[dict[str, Any]],
        *,
        lr: float = 3e-4,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Move every tensor that has a gradient."""
        assert closure is None, "LAMB evaluates no closures"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._move(parameter, group)

    def _move(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros(())
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        t = float(state["step"])
        state["exp_avg"].lerp_(parameter.grad, 1 - beta1)
        state["exp_avg_sq"].mul_(beta2).addcmul_(parameter.grad, parameter.grad, value=1 - beta2)
        denominator = (state["exp_avg_sq"] / (1 - beta2**t)).sqrt_().add_(group["eps"])
        update = state["exp_avg"] / (1 - beta1**t) / denominator
        norm, update_norm = parameter.norm(), update.norm()
        ratio = torch.where((norm > 0) & (update_norm > 0), norm / update_norm, torch.ones_like(norm))
        parameter.sub_(update.mul_(ratio * group["lr"]))

"""Meta-gradient by 1-step truncated backpropagation (TBPTT), the ablation of appendix C.1 and Figure 7."""

import torch
from torch import Tensor
from torch.func import functional_call

from distill.distillers.model_pool import PoolModel, squared_error
from distill.distillers.outer_loss import OuterLossOf

__all__ = ["tbptt_loss"]

TINY = 1e-16  # under Adam's square root, whose slope at 0 is infinite: many weights have no gradient at all


def tbptt_loss(
    model: PoolModel,
    images_t: Tensor,
    labels_t: Tensor,
    images_s: Tensor,
    labels_s: Tensor,
    *,
    outer_loss: OuterLossOf = squared_error,
) -> Tensor:
    """The `outer_loss` on a real batch of the network as it would be after one more step of Adam on the distilled set.

    1-step truncated backpropagation through time: differentiable in `images_s` and `labels_s` through that step,
    Adam's own moments included as they are. The step is taken in training mode, the prediction in inference mode, with
    running statistics as that step leaves them, through which no gradient goes; the model itself does not change.
    """
    network = model.network
    weights = {name: weight.detach().requires_grad_(True) for name, weight in network.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in network.named_buffers()}  # training mode moves statistics
    network.train()
    loss_s = squared_error(functional_call(network, {**weights, **buffers}, (images_s,)), labels_s)
    network.eval()
    gradients = torch.autograd.grad(loss_s, list(weights.values()), create_graph=True)
    moved = {
        name: adam_step(model.optimizer, parameter, gradient)
        for (name, parameter), gradient in zip(network.named_parameters(), gradients, strict=True)
    }
    return outer_loss(functional_call(network, {**moved, **buffers}, (images_t,)), labels_t)


def adam_step(optimizer: torch.optim.Adam, parameter: Tensor, gradient: Tensor) -> Tensor:
    """Where one step of `optimizer` along `gradient` would bring `parameter`; differentiable in the gradient."""
    group, state = optimizer.param_groups[0], optimizer.state.get(parameter, {})
    beta1, beta2 = group["betas"]
    step = float(state.get("step", 0)) + 1
    first = (1 - beta1) * gradient + beta1 * state.get("exp_avg", 0)
    second = (1 - beta2) * gradient.square() + beta2 * state.get("exp_avg_sq", 0)
    first, second = first / (1 - beta1**step), second / (1 - beta2**step)
    return parameter.detach() - group["lr"] * first / ((second + TINY).sqrt() + group["eps"])

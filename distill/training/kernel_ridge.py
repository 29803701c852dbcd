"""Kernel ridge regression, on features or by a kernel, with gradients and a guard against ill-conditioned kernels."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from distill.errors import InputError

__all__ = ["REGULARIZATION", "krr_dual", "krr_weights"]

REGULARIZATION = 1e-6  # of the mean diagonal of K_ss, as in KIP and FRePo (A.1)
ROWS = 256  # of the kernel at a time: enough for a matrix product at full speed
GUARD_TRIES = 7  # the ridge grows tenfold each time: from 1e-6 to 1 of the mean diagonal


class _KernelRidge(torch.autograd.Function):
    # W = F^T X with X = A^-1 Y, A = K + lambda I. From the gradient G of W come that of Y, R = A^-1 F G, that of A,
    # -R X^T, and that of F, X G^T - (R X^T + X R^T) F - 2 lambda / |F|^2 <R, X> F; nothing as large as K takes part.

    @staticmethod
    def forward(ctx: Any, features: Tensor, labels: Tensor, regularization: float) -> Tensor:
        exact = features.double()
        kernel = lower_kernel(exact)
        ridge = regularization * kernel.diagonal().mean()
        factor, scale = guarded_cholesky(kernel, ridge)
        dual = torch.cholesky_solve(labels.to(kernel), factor)
        weights = exact.T @ dual
        ctx.save_for_backward(features, factor, dual, weights)
        ctx.ridge_per_square = scale * regularization / len(features)
        return weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        features, factor, dual, weights = ctx.saved_tensors
        exact = features.double()
        right = torch.cholesky_solve(exact @ gradients[0], factor)
        to_features = dual @ (gradients[0] - exact.T @ right).T
        to_features.addmm_(right, weights.T, alpha=-1)
        to_features.add_(exact, alpha=-2 * ctx.ridge_per_square * float((right * dual).sum()))
        return to_features.to(features), right, None


def lower_kernel(features: Tensor) -> Tensor:
    """`F F^T` of features `(n, d)`, the lower triangle alone, which is all that a Cholesky factor is made of."""
    n = len(features)
    kernel = features.new_zeros(n, n)
    for start in range(0, n, ROWS):
        end = min(start + ROWS, n)
        torch.mm(features[start:end], features[:end].T, out=kernel[start:end, :end])
    return kernel


def guarded_cholesky(kernel: Tensor, ridge: Tensor) -> tuple[Tensor, float]:
    """Cholesky factor of `kernel + scale * ridge * I`, and `scale`: the least power of ten that makes it possible.

    Reads the lower triangle of `kernel` alone, and leaves the ridge on its diagonal.
    """
    diagonal = kernel.diagonal().clone()
    for power in range(GUARD_TRIES):
        scale = 10.0**power
        kernel.diagonal().copy_(diagonal + scale * ridge)
        factor, info = torch.linalg.cholesky_ex(kernel)
        if not int(info) and bool(torch.isfinite(factor.diagonal()).all()):
            return factor, scale
    if not bool(diagonal.any()):
        raise InputError(
            f"the kernel of {len(kernel)} distilled images cannot be solved, as their features are all 0: the images "
            "are constant, or every ReLU of the network is inactive; use other images, another norm or network"
        )
    raise InputError(
        f"the kernel of {len(kernel)} distilled images cannot be solved, even with a ridge of "
        f"{10.0 ** (GUARD_TRIES - 1) * REGULARIZATION:g} of its mean diagonal: features are NaN or infinite; lower "
        "learning_rate or pool_learning_rate"
    )


def krr_weights(features: Tensor, labels: Tensor, *, regularization: float = REGULARIZATION) -> Tensor:
    """Weights `W = F^T (F F^T + lambda I)^-1 Y` of the ridge regression from features to labels.

    `features @ W` is FRePo's prediction `K_ts (K_ss + lambda I)^-1 Y_s` (Eq. 2), without forming `K_ts`.
    `features` is `(n, d)`, `labels` `(n, C)`, the result `(d, C)`; `lambda = regularization * trace(K_ss) / n`
    (the released code; A.1 leaves out `/ n`), multiplied by ten while the kernel is not positive definite. Solved in
    float64, whatever the features are. Differentiable in features and labels.

    Raises `InputError` when no ridge makes the kernel positive definite.
    """
    # The rounding of a float32 kernel is as large as lambda. Apple's GPUs have no float64: there the CPU solves.
    given = features.cpu() if features.device.type == "mps" else features
    return _KernelRidge.apply(given, labels.to(given.device, torch.float64), regularization).to(features)


def krr_dual(kernel: Tensor, labels: Tensor, *, regularization: float = REGULARIZATION) -> Tensor:
    """Dual weights `(K + lambda I)^-1 Y` of the ridge regression by a kernel, of which no features are needed.

    `K_ts @ dual` is the prediction. `kernel` is `K_ss`, `(n, n)`, symmetric, `labels` `(n, C)`, as is the result;
    lambda is that of `krr_weights`, and so is the float64 in which all is solved. Differentiable in both; the gradient
    of the kernel goes through lambda as well.

    Raises `InputError` when the kernel is not finite, or no ridge makes it positive definite.

    >>> krr_dual(torch.eye(2), torch.tensor([[2.0], [4.0]]), regularization=1.0)
    tensor([[1.],
            [2.]])
    """
    given = kernel.cpu() if kernel.device.type == "mps" else kernel
    exact = given.double()
    if not bool(torch.isfinite(exact).all()):
        raise InputError(
            f"the kernel of {len(exact)} distilled images is NaN or infinite, as pixels are too large; lower "
            "learning_rate"
        )
    ridge = regularization * exact.diagonal().mean()
    with torch.no_grad():
        _, scale = guarded_cholesky(exact.clone(), ridge)
    factor = torch.linalg.cholesky(exact + scale * ridge * torch.eye(len(exact)).to(exact))
    return torch.cholesky_solve(labels.to(exact), factor).to(kernel)

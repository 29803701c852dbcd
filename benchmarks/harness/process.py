"""How every process of a benchmark is set up: memory, reproducible convolutions, precision of float32 products."""

from typing import Any

import torch

from distill import InputError
from distill.runtime.distributed import ranks_started
from distill.runtime.memory import keep_freed_memory

__all__ = ["precision_for", "set_up_process"]


def has_cpu_bfloat16() -> bool:
    """Whether float32 convolutions can be computed in bfloat16 here."""
    known = torch.backends.mkldnn.is_available() and hasattr(torch.backends.mkldnn, "conv")
    return known and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def has_matrix_unit() -> bool:
    """Whether this CPU has a unit for products of bfloat16 matrices (AMX), several times as fast as float32 ones."""
    return has_cpu_bfloat16() and bool(torch.cpu._is_amx_tile_supported())


def precision_for(device: str, asked: str) -> str:
    """The precision that `asked` is on this machine: "auto" is "bfloat16" on CPUs with a matrix unit for it.

    >>> precision_for("cuda", "auto"), precision_for("cpu", "tf32")
    ('float32', 'tf32')
    """
    if asked != "auto":
        return asked
    return "bfloat16" if device == "cpu" and has_matrix_unit() else "float32"


def set_up_process(*, device: str, precision: str, shares_out: bool = False) -> None:
    """Set up this process; call it once, before tensors are made.

    `shares_out`: whether the program divides its work among processes that `torchrun` starts.

    `precision`: of products of float32 numbers in convolutions and matrix products, not "auto" (see `precision_for`);
    sums and everything else stay float32, but for the maps between a convolution and its pooling, and the kernel is
    solved in float64 whatever it is. "tf32": 10 bits on NVIDIA GPUs; "bfloat16": 7 bits on CPUs that have it.

    Raises `InputError` for a precision that the device does not have, and under `torchrun` for a program that does not
    share out.
    """
    check_precision(precision, device)
    if ranks_started() > 1 and not shares_out:
        raise InputError("this program does not support torchrun (only distillation.py does); use --jobs")
    keep_freed_memory()
    # Convolutions on NVIDIA GPUs give the same bits each time only when asked to.
    torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = True, False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    if has_cpu_bfloat16():
        cpu: Any = torch.backends.mkldnn
        for products in (cpu.conv, cpu.matmul):
            products.fp32_precision = "bf16" if precision == "bfloat16" else "ieee"


def check_precision(precision: str, device: str) -> None:
    """Raise `InputError` for a precision that the device or this version of torch does not have."""
    if precision == "tf32" and not device.startswith("cuda"):
        raise InputError(f"--precision tf32 is for NVIDIA GPUs, but --device is {device}")
    if precision == "bfloat16" and device != "cpu":
        raise InputError(f"--precision bfloat16 is for CPUs, but --device is {device}")
    if precision == "bfloat16" and not has_cpu_bfloat16():
        raise InputError("--precision bfloat16 needs torch 2.9 or newer, and a processor that computes in it")

"""The precision of products of float32 numbers, which torch can lower for a whole process."""

from typing import Any

import torch

__all__ = ["float32_products"]


def float32_products(device: str) -> str:
    """What convolutions and products of float32 matrices are computed in on `device`, as this process is set.

    "float32", "tf32" or "bfloat16"; the lowest where they differ.

    >>> float32_products("cpu")
    'float32'
    """
    backend: Any = torch.backends
    if device.startswith("cuda"):
        parts = getattr(backend.cudnn, "conv", backend.cudnn), backend.cuda.matmul
    else:
        parts = getattr(backend.mkldnn, "conv", None), getattr(backend.mkldnn, "matmul", None)
    found = {precision_of(part) for part in parts}
    return "bfloat16" if "bf16" in found else "tf32" if "tf32" in found else "float32"


def precision_of(part: Any) -> str:
    """torch's own word; before 2.9 it has a switch for TF32 alone."""
    return getattr(part, "fp32_precision", "tf32" if getattr(part, "allow_tf32", False) else "ieee")

"""The ranks of a distillation in several processes under `torchrun`: rows distributed, results gathered."""

import os
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

__all__ = [
    "gathered_rows",
    "is_first_rank",
    "is_own",
    "leave_ranks",
    "own_rows",
    "ranks_started",
    "said_by_first_rank",
    "start_ranks",
    "wait_for_ranks",
    "world_size",
]

PATIENCE = timedelta(days=7)  # the other ranks wait while the first evaluates the distilled set


def world_size() -> int:
    """How many processes work together; 1 without `torchrun`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def is_first_rank() -> bool:
    """Whether this is the process that prints and writes files."""
    return world_size() == 1 or dist.get_rank() == 0


def is_own(task: int) -> bool:
    """Whether this process does task number `task` of those that are independent of each other."""
    return world_size() == 1 or task % dist.get_world_size() == dist.get_rank()


def ranks_started() -> int:
    """How many processes `torchrun` started; 1 without it."""
    launched = dist.is_available() and dist.is_torchelastic_launched()
    return int(os.environ["WORLD_SIZE"]) if launched else 1


def start_ranks(device: str) -> None:
    """Join the processes that `torchrun` started, if any: by NCCL on device "cuda", by Gloo elsewhere.

    "cuda" is then the GPU of the process's local rank.
    """
    if ranks_started() == 1:
        return
    if device == "cuda":
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if device == "cuda" else "gloo", timeout=PATIENCE)


def leave_ranks() -> None:
    """Leave the group of processes, all together: Gloo may abort a process that leaves while others still send."""
    if world_size() > 1:
        wait_for_ranks()
        dist.destroy_process_group()


def said_by_first_rank(answer: bool) -> bool:
    """The first rank's `answer`, for all: so that they go the same way where each alone might see something else."""
    if world_size() == 1:
        return answer
    said = [answer]
    dist.broadcast_object_list(said, src=0)
    return said[0]


def wait_for_ranks() -> None:
    """Wait until all ranks are here."""
    if world_size() > 1:
        dist.barrier()


def own_rows(tensor: Tensor) -> Tensor:
    """This rank's share of the rows of a `tensor` that all ranks have; equally many for each, the last row repeated.

    Its gradient is summed over ranks, so that each of them has that of all rows.
    """
    if world_size() == 1:
        return tensor
    n, share = len(tensor), rows_each(len(tensor))
    first = dist.get_rank() * share
    return _SummedGradient.apply(tensor)[torch.arange(first, first + share).clamp_(max=n - 1).to(tensor.device)]


def gathered_rows(rows: Tensor, n: int) -> Tensor:
    """All `n` rows, of which every rank has its `own_rows`; every rank must compute the gradient of all of them."""
    return rows if world_size() == 1 else _Gathered.apply(rows, n)


def rows_each(n: int) -> int:
    """Rows of `n` that a rank gets."""
    return -(-n // world_size())


class _SummedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous()
        dist.all_reduce(total)
        return total


class _Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, n: int) -> Tensor:
        ctx.share = len(rows)
        every = rows.new_empty(world_size() * len(rows), *rows.shape[1:])
        dist.all_gather(list(every.chunk(world_size())), rows.contiguous())
        return every[:n]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        gradient, first = gradients[0], dist.get_rank() * ctx.share
        own = gradient.new_zeros(ctx.share, *gradient.shape[1:])
        share = gradient[first : first + ctx.share]
        own[: len(share)] = share
        return own, None

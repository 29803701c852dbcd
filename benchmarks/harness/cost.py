"""The cost of a run, and the machine it ran on: versions, seconds, memory."""

import os
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.versions import versions_of
from distill.files import read_json, write_json

__all__ = ["add_process", "machine", "peak_memory_mib", "took"]

PACKAGES = ("frepo-toolkit", "torch", "avalanche-lib", "numpy")


def machine() -> dict[str, Any]:
    """What the results were measured on."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        **versions_of(*PACKAGES),
    }


def processor() -> str:
    """The processor's name, if the system reports it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def peak_memory_mib() -> float:
    """The most memory this process has held so far, in MiB."""
    unit = 2**20 if sys.platform == "darwin" else 2**10  # macOS counts bytes, Linux KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def add_process(folder: Path, started: float, *, workers: Sequence[Mapping[str, Any]] | None = None) -> dict[str, Any]:
    """Record what this process, which began the run at `time.monotonic()` `started`, has used so far.

    Called from time to time, so that the time of a process that is killed is recorded. Returns what all processes that
    have worked on the run used together.

    `workers`: those that work for this process while it waits (default: those of the last call). Their time is not
    added to its own; their memory is, each at its peak, which is the most that can have been needed at once.
    """
    record = folder / "processes.json"
    processes = read_json(record) if record.exists() else []
    own = f"{os.getpid()}-{started:.3f}"
    before: dict[str, Any] = next((process for process in processes if process.get("id") == own), {})
    processes = [process for process in processes if process.get("id") != own]
    seconds = time.monotonic() - started
    processes.append({
        "id": own, "seconds": seconds, "peak_memory_mib": peak_memory_mib(), "machine": machine(),
        "workers": before.get("workers", []) if workers is None else list(workers),
    })  # fmt: skip
    write_json(record, processes)
    return {
        "seconds": sum(process["seconds"] for process in processes),
        "peak_memory_mib": max(map(memory_with_workers, processes)),
        "processes": processes,
    }


def memory_with_workers(process: Mapping[str, Any]) -> float:
    """Peaks of a process and its workers, added up."""
    return process["peak_memory_mib"] + sum(worker["peak_memory_mib"] for worker in process.get("workers", ()))


def took(cost: Mapping[str, Any]) -> str:
    """The cost of a run in words, for the end of its table."""
    return f"{cost['seconds'] / 60:.1f} minutes, {cost['peak_memory_mib'] / 1024:.1f} GiB of memory"

"""Peak memory since a chosen moment, if the system reports it."""

import ctypes
import re
import sys
from pathlib import Path

from benchmarks.harness import cost

__all__ = ["forget_peak_memory", "peak_memory_mib"]

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
FORGET_PEAK = "5"  # see the manual page proc(5)


def forget_peak_memory() -> None:
    """Give freed memory back, and let the peak begin at what is held now. Does nothing but on Linux."""
    if sys.platform.startswith("linux"):
        try:
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            CLEAR_REFS.write_text(FORGET_PEAK)
        except (OSError, AttributeError):  # another C library, or not allowed: the peak is that of the whole process
            return


def peak_memory_mib() -> float:
    """The most memory held since the peak was forgotten, in MiB; of the whole process if it cannot be forgotten."""
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())
    except OSError:
        found = None
    return int(found[1]) / 1024 if found else cost.peak_memory_mib()

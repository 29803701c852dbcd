"""Keeping freed memory in the process, so that large tensors do not cause page faults at every step."""

import ctypes
import os
import sys

__all__ = ["keep_freed_memory"]

# mallopt's parameter numbers, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Make the C library reuse freed memory instead of returning it, and torch use huge pages; `True` if it does.

    A FRePo step on a CPU spends a good part of its time on page faults; on Linux with glibc this avoids them,
    elsewhere nothing happens. It affects the whole process, so programs call it once, before any tensor is created;
    importing this package does not.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read at torch's first allocation
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(M_TOP_PAD, 64 << 20))

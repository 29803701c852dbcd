"""Keeps freed memory in the process, so that big tensors do not fault their pages in anew at every step."""

import ctypes
import os
import sys

__all__ = ["keep_freed_memory"]

# mallopt's parameter numbers, from glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory() -> bool:
    """Ask the C library to reuse freed memory instead of giving it back, and torch for huge pages; True if it will.

    A FRePo step on a CPU spends a good part of its time on such page faults; on Linux with glibc this ends them,
    elsewhere nothing happens. It changes the whole process, so it is for programs to call once, before tensors are
    made, and never done on import.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # read at torch's first allocation
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1) and mallopt(M_TOP_PAD, 64 << 20))

"""Worker processes that end with the process they work for, however it ends."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from joblib import parallel_config
from joblib.parallel import BACKENDS, get_active_backend

__all__ = ["end_with", "workers_end_with_program"]

SECONDS_BETWEEN = 0.5  # how often a worker looks whether its parent is still there


def end_with(parent: int) -> None:
    """End this worker at most half a second after its parent process ends; called once, in the worker.

    The death signal of Linux would come too early: when the thread that started the worker ends.
    """
    threading.Thread(target=end_after, args=(parent,), name="end with the parent process", daemon=True).start()


def end_after(parent: int) -> None:
    """End this process when `parent` is no longer its parent: orphans are given another one."""
    while os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN)
    os._exit(1)


@contextmanager
def workers_end_with_program() -> Iterator[None]:
    """Within this, the workers that joblib starts on this machine end with this process.

    This concerns joblib's default backend: threads end anyway, and a cluster ends its own workers.
    """
    active, _ = get_active_backend()
    if not isinstance(active, BACKENDS["loky"]):
        yield
        return
    active.configure = partial(active.configure, initializer=end_with, initargs=(os.getpid(),))
    with parallel_config(active):
        yield

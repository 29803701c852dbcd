"""Worker processes that end with the process they work for, however it ends.

Needs the standard library, and joblib for `workers_end_with_program`.
"""

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

__all__ = ["end_with", "workers_end_with_program"]

SECONDS_BETWEEN = 0.5  # looks at the other process, where the system cannot tell when it ends


def end_with(process: int) -> None:
    """End this process when the one of id `process` ends, or is gone already; to be called once, in a worker.

    The death signal of Linux would not do: it comes when the thread that started the worker ends.
    """
    wait = waiting_for(process)
    threading.Thread(target=end_after, args=(wait,), name="end with another process", daemon=True).start()


def end_after(wait: Callable[[], object]) -> None:
    """End this process at once when `wait` is over."""
    wait()
    os._exit(1)


def waiting_for(process: int) -> Callable[[], object]:
    """A function that returns when the process of that id is gone."""
    is_parent = os.getppid() == process
    try:
        handle = os.pidfd_open(process)  # Linux tells
    except ProcessLookupError:
        os._exit(1)
    except (AttributeError, OSError):
        return lambda: look_until_gone(process, is_parent)
    watch = select.poll()
    watch.register(handle, select.POLLIN)
    return watch.poll


def look_until_gone(process: int, is_parent: bool) -> None:
    """Return when the process of that id is gone, at most half a second later."""
    while os.getppid() == process if is_parent else exists(process):
        time.sleep(SECONDS_BETWEEN)


def exists(process: int) -> bool:
    """Whether there is a process of that id."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def workers_end_with_program() -> Iterator[None]:
    """Within this, the workers that joblib starts on this machine end with this process.

    That is so where its default backend is active; threads end anyway, and the workers of a cluster are its own to end.
    """
    from joblib import parallel_config
    from joblib.parallel import BACKENDS, get_active_backend

    active, _ = get_active_backend()
    if not isinstance(active, BACKENDS["loky"]):
        yield
        return
    active.configure = partial(active.configure, initializer=end_with, initargs=(os.getpid(),))
    with parallel_config(active):
        yield

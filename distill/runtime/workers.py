"""Worker processes that end with the process they work for, however it ends."""

import os
import select
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

__all__ = ["end_with", "workers_end_with_program"]

SECONDS_BETWEEN = 0.5  # checks of the other process, where the system does not report its end


def end_with(process: int) -> None:
    """End this process when the process with id `process` ends, or if it has ended; to be called once, in a worker.

    The death signal of Linux would not do: it comes when the thread that started the worker ends.
    """
    wait = waiting_for(process)
    threading.Thread(target=end_after, args=(wait,), name="end with another process", daemon=True).start()


def end_after(wait: Callable[[], object]) -> None:
    """End this process at once when `wait` returns."""
    wait()
    os._exit(1)


def waiting_for(process: int) -> Callable[[], object]:
    """A function that returns when the process with that id has ended."""
    is_parent = os.getppid() == process
    try:
        handle = os.pidfd_open(process)  # on Linux
    except ProcessLookupError:
        os._exit(1)
    except (AttributeError, OSError):
        return lambda: look_until_gone(process, is_parent)
    watch = select.poll()
    watch.register(handle, select.POLLIN)
    return watch.poll


def look_until_gone(process: int, is_parent: bool) -> None:
    """Return when the process with that id has ended, at most half a second later."""
    while os.getppid() == process if is_parent else exists(process):
        time.sleep(SECONDS_BETWEEN)


def exists(process: int) -> bool:
    """Whether there is a process with that id."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


@contextmanager
def workers_end_with_program() -> Iterator[None]:
    """Within this, workers that joblib starts on this machine end with this process.

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

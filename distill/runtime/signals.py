"""Stopping programs: SIGTERM as cleanly as Ctrl-C, and neither while processes are being started."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Terminated", "interrupts_held", "terminations_interrupt"]


class Terminated(KeyboardInterrupt):
    """The program received SIGTERM, which `kill`, `timeout` and batch systems send."""


@contextmanager
def terminations_interrupt() -> Iterator[None]:
    """Within this, SIGTERM raises `Terminated` instead of killing the process at once."""
    if not is_main_thread() or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return

    def terminate(*_: Any) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Within this, where processes are started, Ctrl-C and SIGTERM are delayed; they take effect afterwards.

    The processes never receive Ctrl-C, since the program ends them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with terminations_held():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def terminations_held() -> Iterator[None]:
    """Within this, SIGTERM is delayed; unlike a blocked signal, processes started here do not inherit that."""
    if not is_main_thread():
        yield
        return
    came: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
        if came:
            os.kill(os.getpid(), signal.SIGTERM)


def is_main_thread() -> bool:
    """Whether this is the main thread, where alone signals can be handled."""
    return threading.current_thread() is threading.main_thread()

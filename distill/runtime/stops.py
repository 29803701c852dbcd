"""How programs are stopped: SIGTERM as tidily as Ctrl-C, and neither while processes are being started.

Needs the standard library alone.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Terminated", "interrupts_held", "terminations_interrupt"]


class Terminated(KeyboardInterrupt):
    """The program was asked to end by SIGTERM, as `kill`, `timeout` and batch systems do."""


@contextmanager
def terminations_interrupt() -> Iterator[None]:
    """Within this, SIGTERM raises `Terminated` where it would have killed the process on the spot."""
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
    """Within this, where processes are started, Ctrl-C and SIGTERM wait; they take effect afterwards.

    The processes never see Ctrl-C, for the program ends them.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        with terminations_held():
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


@contextmanager
def terminations_held() -> Iterator[None]:
    """Within this SIGTERM waits; unlike a blocked signal, this is nothing that a process started here inherits."""
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
    """Only there signals can be handled."""
    return threading.current_thread() is threading.main_thread()

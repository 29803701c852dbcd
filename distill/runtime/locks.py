"""File locks of the operating system, which end with the process that holds them, however it ends."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

__all__ = ["Held", "lock", "lock_file"]


class Held(Exception):
    """Another process holds the lock; the text says which."""


def lock(handle: int) -> bool:
    """Take the lock of an open file; `False` if another process has it.

    It is kept until the last copy of `handle` is closed. Raises `OSError` where the system or the file system does not
    support locks.
    """
    if sys.platform == "win32":
        raise OSError("no locks of this kind on Windows")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def lock_file(path: Path, *, owner: str) -> Iterator[None]:
    """Hold the file `path` locked within the `with` block, with `owner` written in it; it is removed at the end.

    A file that a killed process has left is taken over. Raises `Held` if another process holds it, and `OSError` if it
    cannot be created. Where locks are unsupported, warns and holds nothing.
    """
    handle = taken(path)
    try:
        os.truncate(handle, 0)
        os.write(handle, owner.encode())
        yield
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)  # still held: whoever opened it in the meantime sees that it is gone
        os.close(handle)


def taken(path: Path) -> int:
    """The handle of the file `path`, locked."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not lock_or_warn(handle, path):
                raise Held(os.read(handle, 1000).decode(errors="replace") or "another process")
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), os.stat(path)):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # removed by its last holder after it was opened here


def lock_or_warn(handle: int, path: Path) -> bool:
    """`lock`, or a warning and `True` where locks are unsupported."""
    try:
        return lock(handle)
    except OSError as error:
        warnings.warn(
            f"files in {path.parent} cannot be locked ({error.strerror or error}); make sure that no two processes use "
            "it at once",
            stacklevel=2,
        )
        return True

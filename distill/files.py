"""Files that are written completely or not at all, and read without executing code from them."""

import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from distill.errors import InputError, shown
from distill.runtime.locks import lock

__all__ = ["PARTIAL", "as_path", "read_json", "remove_partial", "write_atomically", "write_json"]

PARTIAL = ".*-*.partial*"  # the names of files that were being written when a process was killed


def as_path(given: Any, name: str = "path") -> Path:
    """`given` as a path, with a leading `~` expanded; raises `InputError` for anything that is no path."""
    try:
        return Path(os.path.expanduser(os.fsdecode(given)))
    except TypeError as error:
        raise InputError(f"{name} is {shown(given)}; expected a path") from error


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call `write` on a temporary file beside `path`, then rename it to `path`: the file is complete or absent.

    Raises `InputError` when the folder cannot be created or written to, or the disk is full.
    """
    path = as_path(path)
    temporary: Path | None = None
    handle: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept: savefig and others infer the format from it.
        opened, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=f".partial{path.suffix}", dir=path.parent)
        temporary = Path(name)
        handle = locked_while_written(opened)
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files for the owner alone
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)
        if handle is not None:
            os.close(handle)
    return path


def locked_while_written(handle: int) -> int | None:
    """`handle` of a temporary file, locked so that it is no leftover; closed where locks are unsupported."""
    try:
        lock(handle)
    except OSError:
        os.close(handle)
        return None
    return handle


def remove_partial(folder: Path) -> None:
    """Remove partial files of killed processes in `folder` and below; those of running processes stay.

    Where file locks are unsupported, nothing is removed.
    """
    for path in folder.rglob(PARTIAL):
        with suppress(OSError):  # done, or removed by another, in the meantime
            handle = os.open(path, os.O_RDWR)
            try:
                if lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


def write_json(path: str | Path, content: Any) -> Path:
    """Write `content` as indented JSON."""
    text = json.dumps(content, indent=2, allow_nan=True) + "\n"
    return write_atomically(path, lambda file: file.write_text(text))


def read_json(path: str | Path) -> Any:
    """Read a JSON file; raises `InputError` that names the file when it is missing or damaged."""
    path = as_path(path)
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise InputError(f"{path} is damaged: not valid JSON ({error})") from error

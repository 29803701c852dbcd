"""Files that are written atomically, and read without running any code that they hold."""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile

from privacy.errors import InputError, shown

if sys.platform != "win32":
    import fcntl

__all__ = ["PICTURES", "as_path", "jsonable", "read_arrays", "write_arrays", "write_atomically", "write_json"]

PICTURES = (".png", ".pdf", ".svg", ".jpg")  # the suffixes of figures that can be written


def as_path(given: Any) -> Path:
    """`given` as a path, with `~` expanded; raises `InputError` for anything that is not a path."""
    try:
        return Path(os.path.expanduser(os.fsdecode(given)))
    except TypeError as error:
        raise InputError(f"path is {shown(given)}; expected a path") from error


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call `write` on a temporary file beside `path`, then rename it to `path`: the file is whole or absent.

    The temporary file is locked until then, which tells it from one that a killed process left behind.

    Raises `InputError` when the folder cannot be made or written to, or the disk is full.
    """
    path = as_path(path)
    temporary: Path | None = None
    handle: int | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept: savefig and others tell the format from it.
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=f".partial{path.suffix}", dir=path.parent)
        temporary = Path(name)
        if sys.platform == "win32":  # an open file cannot be renamed there
            os.close(handle)
            handle = None
        else:
            with suppress(OSError):  # some network file systems have no locks
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)  # mkstemp makes files that only the owner can read
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


def write_json(path: str | Path, content: Any) -> Path:
    """Write `content` as indented JSON, atomically."""
    text = json.dumps(content, indent=2, allow_nan=True) + "\n"
    return write_atomically(path, lambda file: file.write_text(text))


def jsonable(value: Any) -> Any:
    """`value` as JSON has it: NumPy's numbers as Python's, `None` for NaN and infinity, strings for everything else.

    >>> jsonable({"auc": np.float64(0.75), "spread": float("nan"), 3: Path("a")})
    {'auc': 0.75, 'spread': None, '3': 'a'}
    """
    if isinstance(value, Mapping):
        return {str(key): jsonable(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [jsonable(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write all `arrays` by name to one .npz file, atomically, whatever the suffix of `path`."""
    named: dict = dict(arrays)

    def write(file: Path) -> None:
        with file.open("wb") as opened:  # NumPy adds a suffix to a name, not to an open file
            np.savez_compressed(opened, **named)

    return write_atomically(path, write)


def read_arrays(
    path: str | Path, *, check: Callable[[list[str], Path], None] | None = None
) -> dict[str, np.ndarray]:
    """All arrays of an .npz file, read without unpickling anything.

    `check` is called with the names and the path before any array is read, and may raise `InputError`.

    Raises `InputError` when the file is missing or damaged, or holds Python objects.
    """
    path = as_path(path)
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, NpzFile):
            raise InputError(f"{path} is not an .npz file, but a single array")
        with loaded as file:
            if check is not None:
                check(file.files, path)
            return {name: file[name] for name in file.files}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        if "Object arrays" in str(error):
            raise InputError(
                f"{path} holds an array of Python objects, which is not read because that can run code; write it as "
                "numbers, array.astype(int)"
            ) from error
        raise damaged(path) from error
    except Exception as error:  # zipfile, zlib and NumPy each have their own; NumPy takes any other file for a pickle
        raise damaged(path) from error


def damaged(path: Path) -> InputError:
    """The error for a file whose bytes cannot be read as arrays."""
    return InputError(f"{path} is damaged or not an .npz file of plain arrays; write it again with numpy.savez")

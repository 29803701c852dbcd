"""Arrays in one .npz file, without pickles: reading it runs nobody's code."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from distill.errors import InputError
from distill.files import write_atomically

__all__ = ["read_arrays", "write_arrays"]


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray]) -> Path:
    """Write all `arrays` by name, whole or not at all, whatever the suffix of `path`."""
    named: dict = dict(arrays)

    def write(file: Path) -> None:
        with file.open("wb") as opened:  # NumPy adds a suffix to a name, not to an open file
            np.savez_compressed(opened, **named)

    return write_atomically(path, write)


def read_arrays(path: Path, *, check: Callable[[list[str], Path], None] | None = None) -> dict[str, np.ndarray]:
    """All arrays of an .npz; raises `InputError` when it is missing or damaged, or holds pickles.

    `check` is called with the names and the path before any array is read, and may raise `InputError`.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if not isinstance(loaded, NpzFile):
            raise InputError(f"{path} is no .npz file, but a single array")
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
                f"{path} holds an array of objects, which is not read, since that may run code; write it as numbers, "
                "array.astype(int)"
            ) from error
        raise InputError(f"{path} is damaged or no .npz file of plain arrays; write it anew by numpy.savez") from error
    except Exception as error:  # zipfile, zlib and NumPy each have their own; NumPy takes any other file for a pickle
        raise InputError(f"{path} is damaged or no .npz file of plain arrays; write it anew by numpy.savez") from error

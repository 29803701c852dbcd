"""NumPy's files, .npz and .npy, read without running anybody's code."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib.npyio import NpzFile

from distill.errors import InputError

__all__ = ["NpzArchive", "open_npz", "read_npy"]


class NpzArchive:
    """An open .npz file: the names of its arrays; their shapes, types and values when they are asked for."""

    def __init__(self, path: Path, archive: NpzFile) -> None:
        self.path, self._archive = path, archive

    @property
    def names(self) -> list[str]:
        """The names of all arrays."""
        return list(self._archive.files)

    def header(self, name: str) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and type of an array, whose values are not read; raises `InputError` for one of Python objects."""
        files = self._archive.zip
        assert files is not None  # it is, while the archive is open
        try:
            with files.open(f"{name}.npy") as member:
                version = np.lib.format.read_magic(member)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(member)
        except Exception as error:  # damaged bytes raise whatever they lead to: BadZipFile, ValueError, EOFError, ...
            raise self._damaged(name) from error
        if dtype.hasobject:
            raise InputError(
                f"{name} of {self.path} holds Python objects, which are not read because they can run code; "
                "expected one plain array (of images that all have one shape; of text for classes)"
            )
        return shape, dtype

    def read(self, name: str) -> np.ndarray:
        """An array; raises `InputError` when it is damaged or one of Python objects."""
        self.header(name)
        try:
            return self._archive[name]
        except Exception as error:  # as above
            raise self._damaged(name) from error

    def _damaged(self, name: str) -> InputError:
        return InputError(f"cannot read {name} of {self.path}: the file is damaged; copy or write it again")


@contextmanager
def open_npz(path: Path) -> Iterator[NpzArchive]:
    """The .npz file at `path`, open within the `with` block.

    Raises `InputError` when it is missing, damaged or no .npz file.
    """
    with ExitStack() as stack:
        # Opened here, since NumPy leaves a damaged file open.
        archive = _load(path, ".npz", lambda: stack.enter_context(path.open("rb")))
        if not isinstance(archive, NpzFile):
            raise InputError(f"{path} holds a single array; expected an .npz file of several arrays (numpy.savez)")
        yield NpzArchive(path, stack.enter_context(archive))


def read_npy(path: Path) -> np.ndarray:
    """The array of an .npy file; raises `InputError` when it is missing, damaged or something else."""
    with ExitStack() as stack:
        array = _load(path, ".npy", lambda: stack.enter_context(path.open("rb")))
        if isinstance(array, np.ndarray):
            return array
        stack.enter_context(array)
        raise InputError(f"{path} is an .npz file by another name; rename it")


def _load(path: Path, ending: str, opened: Callable[[], BinaryIO]) -> Any:
    try:
        return np.load(opened(), allow_pickle=False)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    except Exception as error:  # as above
        raise InputError(f"{path} is damaged or no {ending} file; write it again with numpy.savez") from error

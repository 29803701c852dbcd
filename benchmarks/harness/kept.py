"""Results in a run's folder that a resumed run reads instead of making them again."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from distill.files import read_json, write_json

__all__ = ["kept", "save"]

T = TypeVar("T")


class Savable(Protocol):
    """A distilled set or a report."""

    def save(self, path: Path) -> object:
        """Write it to `path`, whole or not at all."""


def save(path: Path, made: Savable) -> object:
    """`made.save(path)`, for `kept`."""
    return made.save(path)


def kept(
    path: Path,
    make: Callable[[], T],
    *,
    read: Callable[[Path], T] = read_json,
    write: Callable[[Path, T], object] = write_json,
) -> Any:
    """What is in the file `path` of a run's folder; where there is none, what `make` gives, written there first.

    What is found was made from the same options and data, since the folder is refused to other runs
    (`benchmarks.harness.folder.open_folder`), and is whole, since `write` writes whole files or none. For results,
    which people read; what only the program reads again is an entry of a `distill.store.Store`.

    - `read`, `write`: of the file; JSON by default, `save` for what saves itself.

    Raises `InputError` that names the file when it is damaged.
    """
    if not path.exists():
        write(path, make())
    return read(path)

"""Results in a run's folder that a resumed run reads instead of making them again."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar

from distill.errors import InputError
from distill.files import read_json, write_json
from distill.store import changes

__all__ = ["kept", "kept_record", "read_figures", "save"]

T = TypeVar("T")
NOT_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class Savable(Protocol):
    """A distilled set or a report."""

    def save(self, path: Path) -> object:
        """Write it to `path`, atomically."""


def save(path: Path, made: Savable) -> object:
    """`made.save(path)`, for `kept`."""
    return made.save(path)


def write_figures(path: Path, content: Any) -> Path:
    """Write `content` as JSON, which has no NaN and no infinities: they are the texts of `NOT_FINITE` there."""
    return write_json(path, as_text(content))


def read_figures(path: Path) -> Any:
    """What `write_figures` wrote; raises `InputError` that names the file when it is missing or damaged."""
    return as_numbers(read_json(path))


def as_text(content: Any) -> Any:
    """The same with texts for NaN and infinities."""
    if isinstance(content, Mapping):
        return {name: as_text(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [as_text(value) for value in content]
    if isinstance(content, float) and not math.isfinite(content):
        return "NaN" if math.isnan(content) else f"{'-' if content < 0 else ''}Infinity"
    return content


def as_numbers(content: Any) -> Any:
    """The same with NaN and infinities for their texts."""
    if isinstance(content, dict):
        return {name: as_numbers(value) for name, value in content.items()}
    if isinstance(content, list):
        return [as_numbers(value) for value in content]
    return NOT_FINITE.get(content, content) if isinstance(content, str) else content


def kept(
    path: Path,
    make: Callable[[], T],
    *,
    read: Callable[[Path], T] = read_figures,
    write: Callable[[Path, T], object] = write_figures,
) -> Any:
    """What is in the file `path` of a run's folder; where there is none, what `make` gives, written there first.

    What is found was made from the same options and data, since the folder is refused to other runs
    (`benchmarks.harness.run_folder.open_folder`), and is whole, since `write` writes whole files or none. For results,
    which people read; what only the program reads again is an entry of a `distill.store.Store`.

    - `read`, `write`: of the file; JSON by default, `save` for what saves itself.

    Raises `InputError` that names the file when it is damaged.
    """
    if not path.exists():
        write(path, make())
    return read(path)


def kept_record(path: Path, make: Callable[[], dict[str, Any]], *, method: str, options: Mapping[str, Any]) -> Any:
    """`kept` for a record with the `options` of its method, in a folder that takes runs with other ones.

    Raises `InputError` where the record that is found was made with other options of `method`.
    """
    record = kept(path, make)
    if changed := changes(record["options"], json.loads(json.dumps(options))):
        words = "; ".join(changed.values())
        raise InputError(f"{path} was made with other options of {method} ({words}); choose another --output")
    return record

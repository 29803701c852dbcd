"""The folder of a run, or its one file: of one set of options and data, and of one process at a time."""

import os
import platform
import shutil
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from benchmarks.harness.versions import COMPARED, versions_of
from distill import InputError, InputWarning
from distill.files import PARTIAL, read_json, remove_partial, write_json
from distill.runtime.locks import Held, lock_file
from distill.store import changes

__all__ = ["check_record", "open_file", "open_folder", "recorded", "space_for", "write_record"]

LITTLE_SPACE = 64 << 20  # bytes for figures, tables and plots
MOST_SPACE = 2 << 30  # whitening, distilled sets and two checkpoints of a pool of width 128, with room to spare
RECORD, LOCK = "options.json", ".lock"
# Options that may differ between a run and its resumption: they change no result, or its last bits at most.
FREE_OPTIONS = {"output", "resume", "data_dir", "cache_dir", "jobs", "backend", "scheduler"}
DATA = "data."  # fingerprints, under the option that holds them
VERSIONS = "versions"  # of the packages, beside the options


@contextmanager
def open_folder(
    folder: Path,
    options: Mapping[str, Any],
    *,
    resume: bool,
    free: Collection[str] = (),
    prepare: Callable[[], object] = lambda: None,
    space: int = LITTLE_SPACE,
) -> Iterator[None]:
    """Open `folder` for a run with `options`: a new one, or the one to resume; locked while open.

    - `options`: JSON-able, with fingerprints of the data under "data".
    - `free`: those that may differ on resuming, besides `FREE_OPTIONS`.
    - `prepare`: called when the folder is open, before anything is measured. Where it raises `InputError`, a new folder
      is emptied again, so that the corrected command finds no other run there.
    - `space`: bytes that the disk should have free.

    Raises `InputError` when the folder cannot be written, another process works in it, it holds a run and `resume` is
    off, or a run of other versions, with other options or data.
    """
    check_space(folder, space)
    record = folder / RECORD
    if holds_other_files(folder):  # looked at before anything is written there
        raise InputError(f"{folder} is not empty and contains no run of this program; choose another --output")
    with removed_if_empty(folder), locked(folder, folder / LOCK, record):
        new = not record.exists()
        if not new:
            if not resume:
                raise InputError(
                    f"{folder} already holds a run; add --resume to resume it, or choose another --output"
                )
            check_record(folder, options, free=free)
        else:
            write_record(folder, options)
        remove_partial(folder)
        try:
            prepare()
        except InputError:
            if new:
                empty(folder)
            raise
        yield


def holds_other_files(folder: Path) -> bool:
    """Whether `folder` has no run in it, but files that no run leaves, even one that was killed at its start."""
    try:
        return (
            folder.is_dir()
            and not (folder / RECORD).exists()
            and any(not path.match(PARTIAL) and path.name != LOCK for path in folder.iterdir())
        )
    except OSError as error:
        raise InputError(f"cannot use {folder}: {error.strerror or error}") from error


def empty(folder: Path) -> None:
    """Remove what a run has left in a folder that was new to it, but for the lock; the record goes last."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == RECORD):
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name != LOCK:
            path.unlink()


@contextmanager
def removed_if_empty(folder: Path) -> Iterator[None]:
    """Remove the folder again, and those above it that were not there either, if it was made for nothing."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except BaseException:
        with suppress(OSError):  # there is something in it
            for path in missing:
                path.rmdir()
        raise


@contextmanager
def open_file(path: Path) -> Iterator[None]:
    """Keep other processes from the file `path`, which is all that a program writes; written or not in the end.

    Raises `InputError` when it is there already, another process is to write it, or it cannot be written.
    """
    if path.exists():
        raise InputError(f"{path} is there already; choose another --output, or remove it")
    with removed_if_empty(path.parent), locked(path.parent, path.with_name(f".{path.name}{LOCK}"), path):
        yield


@contextmanager
def locked(folder: Path, lock: Path, written: Path) -> Iterator[None]:
    """Hold `lock`, which is in `folder`; raises `InputError` when another process does, or it cannot be written.

    `written`: the file that errors name.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock_file(lock, owner=f"process {os.getpid()} on {platform.node()}"))
        except Held as error:
            used = folder if written.name == RECORD else written
            raise InputError(f"{used} is in use by {error}; wait for it, or choose another --output") from error
        except OSError as error:
            raise InputError(f"cannot write {written}: {error.strerror or error}") from error
        yield


def write_record(folder: Path, options: Mapping[str, Any]) -> None:
    """Write the options of the run in `folder`, and the versions that it is made with."""
    write_json(folder / RECORD, {**options, VERSIONS: versions_of(*COMPARED)})


def recorded(folder: Path, option: str) -> Any:
    """An option of the run in `folder`, as `write_record` wrote it; `None` where there is no run or it has none.

    A damaged record is `check_record`'s to refuse.
    """
    try:
        found = read_json(folder / RECORD) if (folder / RECORD).exists() else None
    except InputError:
        return None
    return found.get(option) if isinstance(found, dict) else None


def check_record(folder: Path, options: Mapping[str, Any], *, free: Collection[str] = ()) -> None:
    """Raise `InputError` unless the run in `folder` is one of these versions, with these options and data.

    - `free`: options that may differ.
    """
    found = read_json(folder / RECORD)
    if not isinstance(found, dict):
        raise InputError(f"{folder / RECORD} is damaged: it holds no options; choose another --output")
    check_versions(folder, found.pop(VERSIONS, None))
    before, now = flat(found), flat(options)
    changed = {
        name: words for name, words in changes(before, now).items()
        if name.partition(".")[0] not in {*FREE_OPTIONS, *free}
    }  # fmt: skip
    data = [name.removeprefix(DATA) for name in changed if name.startswith(DATA)]
    if others := [words for name, words in changed.items() if not name.startswith(DATA)]:
        raise InputError(
            f"{folder} holds a run with other options ({'; '.join(others)}); resume with those, or choose another "
            "--output"
        )
    if data and not any(name.startswith(DATA) for name in before):
        raise InputError(
            f"{folder} holds a run of an earlier version, which did not record its data; choose another --output"
        )
    if data:
        raise InputError(
            f"{folder} holds a run on other data ({', '.join(data)} changed since it was started); resume with the "
            "data it was started with, or choose another --output"
        )


def check_versions(folder: Path, before: Any) -> None:
    """Raise `InputError` where a run was started with another version of this toolkit or of torch; warn of NumPy's.

    `before`: as recorded by the run; warns as well where it recorded none.
    """
    record = folder / RECORD
    if not isinstance(before, dict):
        warnings.warn(
            f"{record} names no versions: make sure that the run was started with this toolkit and torch, or its "
            "figures are of two versions", InputWarning, stacklevel=3,
        )  # fmt: skip
        return
    now = versions_of(*COMPARED)
    changed = {name: f"{name} was {before.get(name)}, now {now[name]}" for name in now if before.get(name) != now[name]}
    refused = [words for name, words in changed.items() if name != "numpy"]
    if refused:
        raise InputError(
            f"{folder} holds a run of other versions ({'; '.join(refused)}), whose figures may differ; resume with "
            f'those, choose another --output, or remove "{VERSIONS}" from {record} to mix them'
        )
    for words in changed.values():
        warnings.warn(f"{folder}: {words}; the last bits of figures may differ", InputWarning, stacklevel=3)


def space_for(images: int) -> int:
    """Bytes that a run on so many bytes of training images may need on the disk."""
    return min(MOST_SPACE, LITTLE_SPACE + 20 * images)


def check_space(folder: Path, needed: int) -> None:
    """Raise `InputError` when the disk that `folder` is or will be on has less than so many bytes free."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    disk = shutil.disk_usage(existing)
    if disk.total and disk.free < needed:  # /proc and its like have no size at all
        raise InputError(
            f"{existing} has {disk.free >> 20} MiB left, a run may need {needed >> 20}; make room or choose another "
            "--output"
        )


def flat(options: Mapping[str, Any]) -> dict[str, Any]:
    """Nested options under dotted names, so that a difference can be named."""
    result: dict[str, Any] = {}
    for name, value in options.items():
        inner = flat(value) if isinstance(value, dict) else {}
        result |= {f"{name}.{key}": v for key, v in inner.items()} if inner else {name: value}
    return result

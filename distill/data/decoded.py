"""Decoded image files in a store: a large set is decoded once, and never held in memory as a whole."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from distill.data.decode import DecodeSettings, Fit, decode, unreadable
from distill.errors import InputError, InputWarning
from distill.runtime.progress import progress_bar
from distill.store import MadeFrom, Store

__all__ = ["cached_images"]

FORMAT = 3  # of every entry: raise it when the same files decode to other pixels
READ_WHOLE = 2**28  # bytes: sets of at most this size are identified by their content, larger ones by file status
BATCH = 256  # images decoded side by side
MANY = 2000  # a progress bar is shown from this number of images on


def cached_images(
    files: Sequence[Path],
    *,
    name: str,
    folder: Path,
    resolution: int,
    fit: Fit = "crop",
    look: Callable[[], DecodeSettings] = DecodeSettings,
    others: Sequence[Path] = (),
) -> np.ndarray:
    """The images in `files`, resized: a read-only memory map of uint8 `(n, resolution, resolution, channels)`.

    Decoded at the first call, to the entry `<name>-<resolution>` of the store in `folder`; read from there afterwards.
    The entry knows names, sizes, times and contents of the files, so all are decoded again, and the entry is replaced,
    when one changes, two are swapped, or the entry is damaged. Above `READ_WHOLE` bytes, inodes and times of change
    (ctime), which `cp -p` does not keep, stand for the contents. Warnings of `look` are repeated at every call.

    - `name`: distinguishes this list of files from others in the same cache `folder`.
    - `look`: called only when there is something to decode. `others`: further files that it depends on.

    Raises `InputError` when an image cannot be read or changes meanwhile, the cache cannot be written to, or the disk
    is full.
    """
    signature = _signature(files, others)
    made_from = MadeFrom({"decoding": FORMAT, "resolution": resolution, "fit": fit}, {"files": signature})
    shapes = [(len(files), resolution, resolution, channels) for channels in (1, 3)]
    entry = f"{name}-{resolution}"
    with _naming_another_folder():
        store = Store(folder)
    found = _found(store, entry, made_from, shapes)
    if found is not None:
        for text in found[1]:
            warnings.warn(text, InputWarning, stacklevel=3)
        return found[0]
    chosen, warned = _looked(look)

    def pixels() -> Iterator[bytes]:
        yield from _decode_all(files, chosen, resolution, fit)
        if _signature(files, others) != signature:
            raise InputError(f"image files of {name} changed while they were decoded; load them again")

    with _naming_another_folder():
        path = store.save_array(entry, made_from, shapes[chosen.mode != "L"], pixels(), {"warnings": warned})
    found = _found(store, entry, made_from, shapes)
    if found is None:
        raise InputError(f"{path} was written, but cannot be read; check that no other program writes there")
    return found[0]


def _found(
    store: Store, name: str, made_from: MadeFrom, shapes: Sequence[tuple[int, ...]]
) -> tuple[np.ndarray, list[str]] | None:
    """The images and the warnings about them; `None` where there are none, or damaged ones, or those of other files."""
    try:
        images, metadata = store.load_array(name, made_from) or (None, {})
    except InputError:
        return None
    return None if images is None or images.shape not in shapes else (images, metadata["warnings"])


def _looked(look: Callable[[], DecodeSettings]) -> tuple[DecodeSettings, list[str]]:
    """What `look` finds, and its warnings, which are raised here and again whenever the images are read."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = look()
    for warning in caught:
        warnings.warn(warning.message, warning.category, stacklevel=4)
    return found, [str(warning.message) for warning in caught if issubclass(warning.category, InputWarning)]


@contextmanager
def _naming_another_folder() -> Iterator[None]:
    """Where the store cannot be written to, the error says how to choose another one."""
    try:
        yield
    except InputError as error:
        if not str(error).startswith(("cannot write", "store is")):
            raise  # about an image
        raise InputError(
            f"{error}; decoded images can be kept in another folder (cache_dir=..., --cache-dir or FREPO_CACHE)"
        ) from error


def _signature(files: Sequence[Path], others: Sequence[Path]) -> str:
    digest = hashlib.sha256(f"{len(files)}\n".encode())
    states = {file: _status(file) for file in (*files, *others)}  # files may be among the others
    whole = sum(state.st_size for state in states.values()) <= READ_WHOLE
    identity = {
        file: f"{state.st_size} {state.st_mtime_ns} "
        + (_content(file) if whole else f"{state.st_ctime_ns} {state.st_ino}")
        for file, state in states.items()
    }
    for file in (*files, *others):
        place = f"{file.parent.name}/{file.name}"  # not the whole path: a folder may be moved
        digest.update(f"{place} {identity[file]}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _status(file: Path) -> os.stat_result:
    try:
        return file.stat()
    except OSError as error:
        raise unreadable(file, error) from error


def _content(file: Path) -> str:
    try:
        return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise unreadable(file, error) from error


def _decode_all(files: Sequence[Path], look: DecodeSettings, resolution: int, fit: Fit) -> Iterator[bytes]:
    """The pixels of each image, in order; a batch is decoded at a time."""

    def pixels(file: Path) -> bytes:
        return decode(file, look.mode, resolution=resolution, fit=fit, white=look.white).tobytes()

    bar = progress_bar(shown=len(files) >= MANY, total=len(files), desc="decode", unit="image")
    with bar, ThreadPoolExecutor() as pool:
        for start in range(0, len(files), BATCH):
            for image in pool.map(pixels, files[start : start + BATCH]):
                yield image
                bar.update()

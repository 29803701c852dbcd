"""Decoded image files in one .npy file: a large set is decoded once, and never held in memory as a whole."""

import glob
import hashlib
import json
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np

from distill.data.decode import DecodeSettings as Look
from distill.data.decode import Fit, decode, unreadable
from distill.errors import InputError, InputWarning
from distill.files import read_json, write_atomically
from distill.runtime.progress import progress_bar

__all__ = ["cached_images"]

FORMAT = 3  # part of every signature: raise it when the same files decode to other pixels
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
    look: Callable[[], Look] = Look,
    others: Sequence[Path] = (),
) -> np.ndarray:
    """The images in `files`, resized: a read-only memory map of uint8 `(n, resolution, resolution, channels)`.

    Decoded at the first call, to `folder/<name>-<resolution>-<signature>.npy`; read from there afterwards. The
    signature covers names, sizes, times and contents of the files, so all are decoded again when one changes, two
    are swapped, or the .npy file is damaged. Above `READ_WHOLE` bytes, inodes and times of change (ctime), which
    `cp -p` does not keep, stand for the contents. Outdated files are removed. Warnings of `look` are repeated at
    every call.

    - `name`: distinguishes this list of files from others in the same cache `folder`.
    - `look`: called only when there is something to decode. `others`: further files that it depends on.

    Raises `InputError` when an image cannot be read or changes meanwhile, the cache cannot be written to, or the disk
    is full.
    """
    stem = f"{name}-{resolution}"
    signature = _signature(files, others, resolution, fit)
    path = folder / f"{stem}-{signature}.npy"
    notes = path.with_suffix(".json")  # the warnings about the images, where there were any
    images, warned = _open(path, len(files), resolution), _read_notes(notes)
    if images is None or warned is None:
        chosen, warned = _looked(look)
        if warned:
            _write(notes, lambda partial: partial.write_text(json.dumps(warned)))

        def write(partial: Path) -> None:
            _decode_all(partial, files, chosen, resolution, fit)
            if _signature(files, others, resolution, fit) != signature:
                raise InputError(f"image files of {name} changed while they were decoded; load them again")

        _write(path, write)
        for outdated in set(folder.glob(f"{glob.escape(stem)}-{'[0-9a-f]' * 16}.*")) - {path, notes}:
            with suppress(OSError):  # some systems keep files that are in use
                outdated.unlink()
        images = _open(path, len(files), resolution)
    else:
        for text in warned:
            warnings.warn(text, InputWarning, stacklevel=3)
    if images is None:
        raise InputError(f"{path} was written, but cannot be read; check that no other program writes there")
    return images


def _read_notes(notes: Path) -> list[str] | None:
    """The warnings about the images; `None` where they cannot be read any more."""
    try:
        texts = read_json(notes) if notes.exists() else []
    except InputError:
        return None
    return [str(text) for text in texts] if isinstance(texts, list) else None


def _looked(look: Callable[[], Look]) -> tuple[Look, list[str]]:
    """What `look` finds, and its warnings, which are raised here and again whenever the images are read."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = look()
    for warning in caught:
        warnings.warn(warning.message, warning.category, stacklevel=4)
    return found, [str(warning.message) for warning in caught if issubclass(warning.category, InputWarning)]


def _write(path: Path, write: Callable[[Path], object]) -> None:
    try:
        write_atomically(path, write)
    except InputError as error:
        if not isinstance(error.__cause__, OSError) or not str(error).startswith("cannot write"):
            raise  # about an image
        raise InputError(
            f"{error}; decoded images can be kept in another folder (cache_dir=..., --cache-dir or FREPO_CACHE)"
        ) from error


def _signature(files: Sequence[Path], others: Sequence[Path], resolution: int, fit: Fit) -> str:
    digest = hashlib.sha256(f"{FORMAT} {resolution} {fit} {len(files)}\n".encode())
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
    return digest.hexdigest()[:16]


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


def _open(path: Path, count: int, resolution: int) -> np.ndarray | None:
    """The memory map, or `None` where the file is missing or is not what was written."""
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
        size = path.stat().st_size
    except Exception:  # damaged bytes raise whatever they lead to
        return None
    whole = isinstance(images, np.memmap) and images.dtype == np.uint8 and images.offset + images.nbytes == size
    shapes = [(count, resolution, resolution, channels) for channels in (1, 3)]
    return images if whole and images.shape in shapes else None


def _decode_all(path: Path, files: Sequence[Path], look: Look, resolution: int, fit: Fit) -> None:
    """Write all images as one array, in order, a batch at a time.

    Written, not memory-mapped: a full disk is an error here, and a crash of the process in a memory map.
    """
    shape = (len(files), resolution, resolution, 1 if look.mode == "L" else 3)

    def pixels(file: Path) -> bytes:
        return decode(file, look.mode, resolution=resolution, fit=fit, white=look.white).tobytes()

    bar = progress_bar(shown=len(files) >= MANY, total=len(files), desc="decode", unit="image")
    with bar, ThreadPoolExecutor() as pool, path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
        for start in range(0, len(files), BATCH):
            for image in pool.map(pixels, files[start : start + BATCH]):
                file.write(image)
                bar.update()

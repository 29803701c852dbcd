"""Tensors with metadata in one safetensors file: a format that executes no code when it is read."""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from distill.errors import InputError
from distill.files import as_path, write_atomically

__all__ = ["map_array", "read_tensors", "write_array", "write_tensors"]

# The types of tensors in such files, in the order of safetensors: the later ones are stored first.
DTYPES = {
    torch.bool: "BOOL", torch.uint8: "U8", torch.int8: "I8", torch.int16: "I16", torch.uint16: "U16",
    torch.float16: "F16", torch.bfloat16: "BF16", torch.int32: "I32", torch.uint32: "U32", torch.float32: "F32",
    torch.float64: "F64", torch.int64: "I64", torch.uint64: "U64",
}  # fmt: skip
ARRAY = "array"  # the name of the tensor in a file that `write_array` wrote

T = TypeVar("T")


def write_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> Path:
    """Write tensors and `metadata`, whose values can be written as JSON, to one safetensors file.

    Raises `InputError` when the metadata are no JSON, a tensor is of a type that such files do not have, or the file
    cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if unknown := [name for name, tensor in plain.items() if tensor.dtype not in DTYPES]:
        raise InputError(f"cannot write {path}: {unknown[0]} is {plain[unknown[0]].dtype}; expected bool, int or float")
    # As safetensors orders them: the widest first, so that each is aligned, then by name.
    names = sorted(plain, key=lambda name: (-list(DTYPES).index(plain[name].dtype), name))
    sizes = [(name, DTYPES[plain[name].dtype], tuple(plain[name].shape), plain[name].nbytes) for name in names]
    return write_parts(path, sizes, (content_of(plain[name]) for name in names), metadata)


def content_of(tensor: torch.Tensor) -> memoryview:
    """The bytes of a contiguous tensor on the CPU, without a copy of them."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def write_array(path: str | Path, shape: Sequence[int], parts: Iterable[bytes], metadata: Mapping[str, Any]) -> Path:
    """Write one uint8 array and `metadata` to a safetensors file, part by part: it is never in memory as a whole.

    It is written, not memory-mapped: a full disk is an error here, and a crash of the process in a memory map.

    - `parts`: the bytes of the array in C order, in parts of any length.

    Raises `InputError` as `write_tensors` does, and when the parts are not as long as the shape says.
    """
    length = math.prod(shape)

    def checked() -> Iterator[bytes]:
        written = 0
        for part in parts:
            written += len(part)
            yield part
        if written != length:
            raise InputError(f"cannot write {path}: its parts have {written} bytes; expected {length} for {(*shape,)}")

    return write_parts(path, [(ARRAY, "U8", shape, length)], checked(), metadata)


def write_parts(
    path: str | Path,
    sizes: Sequence[tuple[str, str, Sequence[int], int]],
    parts: Iterable[bytes | memoryview],
    metadata: Mapping[str, Any],
) -> Path:
    """Write a safetensors file part by part.

    Into the very file that `write_atomically` has locked: `safetensors.torch.save_file` makes a file of its own, which
    another process could remove, and which stays when this one is killed.

    - `sizes`: name, type, shape and bytes of each tensor in the order of the file. `parts`: all their bytes.
    """
    header: dict[str, Any] = {"__metadata__": strings} if (strings := as_strings(metadata, path)) else {}
    start = 0
    for name, dtype, shape, length in sizes:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + length]}
        start += length
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned

    def save(file: Path) -> None:
        with file.open("wb") as opened:
            opened.write(len(text).to_bytes(8, "little") + text)
            opened.writelines(parts)

    return write_atomically(path, save)


def as_strings(metadata: Mapping[str, Any], path: str | Path) -> dict[str, str]:
    """Each value as JSON; raises `InputError` where it cannot be."""
    try:
        return {key: json.dumps(value) for key, value in metadata.items()}
    except (TypeError, ValueError) as error:
        raise InputError(f"cannot write {path}: its metadata cannot be written as JSON ({error})") from error


def from_json(text: str) -> Any:
    """The JSON in `text`, or the text itself: other programs write plain text there."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def read_tensors(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote: tensors on the CPU, and the metadata.

    All of it is of one file, even where another process replaces the file in the meantime. Raises `InputError` that
    names the file when it is missing, damaged or not a safetensors file.
    """
    return of_one_file(as_path(path), read_once)


def map_array(path: str | Path) -> tuple[np.ndarray, dict[str, Any]]:
    """What `write_array` wrote, as a read-only memory map, and the metadata; raises `InputError` as `read_tensors`."""
    return of_one_file(as_path(path), map_once)


def of_one_file(path: Path, read: Callable[[Path], T]) -> T:
    """What `read` gives, read again where the file was replaced meanwhile: it opens the file more than once."""
    while True:
        before = identity(path)
        try:
            content = read(path)
        except InputError:
            if identity(path) == before:
                raise
            continue
        if identity(path) == before:
            return content


def identity(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that replaces it; `None` where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def read_once(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors and metadata."""
    with opened(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, metadata_of(file)  # noqa: SIM118 (not a dict)


def map_once(path: Path) -> tuple[np.ndarray, dict[str, Any]]:
    """The memory map and metadata."""
    with opened(path, "np") as file:
        found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        if found.keys() != {ARRAY} or found[ARRAY].get_dtype() != "U8":
            raise InputError(f"{path} is damaged: it holds {', '.join(found) or 'nothing'}; expected one uint8 array")
        shape = tuple(found[ARRAY].get_shape())
        start = path.stat().st_size - math.prod(shape)  # behind it there is nothing: safetensors has looked
        return np.memmap(path, np.uint8, "r", start, shape), metadata_of(file)


def metadata_of(file: Any) -> dict[str, Any]:
    """The metadata of an open safetensors file."""
    return {key: from_json(value) for key, value in (file.metadata() or {}).items()}


@contextmanager
def opened(path: Path, framework: str) -> Iterator[Any]:
    """The safetensors file `path`, looked over; raises `InputError` where it is missing or damaged."""
    if not path.is_file():
        raise InputError(f"cannot read {path}: there is no such file")
    try:
        with safe_open(path, framework=framework) as file:
            yield file
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no safetensors file: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error

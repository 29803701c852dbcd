"""Tensors with metadata in one safetensors file: a format that executes no code when it is read."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from distill.errors import InputError
from distill.files import as_path, write_atomically

__all__ = ["read_tensors", "write_tensors"]


def write_tensors(path: str | Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> Path:
    """Write tensors and `metadata`, whose values can be written as JSON, to one safetensors file.

    Raises `InputError` when the metadata are no JSON or the file cannot be written.
    """
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    try:
        strings = {key: json.dumps(value) for key, value in metadata.items()}
    except (TypeError, ValueError) as error:
        raise InputError(f"cannot write {path}: its metadata cannot be written as JSON ({error})") from error

    def save(file: Path) -> None:
        try:
            save_file(plain, file, metadata=strings)
        except SafetensorError as error:  # how safetensors reports a full disk
            raise OSError(str(error)) from error

    return write_atomically(path, save)


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
    path = as_path(path)
    while True:
        before = identity(path)
        try:
            content = read_once(path)
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
    """Tensors and metadata; safetensors opens the file more than once, so that they may be of two files."""
    if not path.is_file():
        raise InputError(f"cannot read {path}: there is no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = {key: from_json(value) for key, value in (file.metadata() or {}).items()}
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118 (not a dict)
    except SafetensorError as error:
        raise InputError(f"{path} is damaged or no safetensors file: {error}") from error
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error

"""A folder where runs keep what is expensive to make again, each entry with what it was made from."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch

from distill.errors import InputError, shown
from distill.files import as_path
from distill.tensor_files import map_array, read_tensors, write_array, write_tensors

__all__ = ["Content", "Entry", "MadeFrom", "Store", "as_store", "changes"]

FORMAT = 5  # raised whenever networks or optimizers name their tensors anew, or fingerprints are taken otherwise
KEY = "made_from"  # in the metadata of each file

T = TypeVar("T")
Content = tuple[Mapping[str, torch.Tensor], Mapping[str, Any]]  # tensors, and metadata that is JSON-able


@dataclass(frozen=True)
class MadeFrom:
    """What an entry of a `Store` was made from. All of it is JSON-able.

    Two entries are the same only if all of this is the same.
    """

    options: Mapping[str, Any] = field(default_factory=dict)
    """Whatever decides the result and can be read by a person."""
    data: Mapping[str, Any] = field(default_factory=dict)
    """Fingerprints (`distill.fingerprint`), by what they are fingerprints of: "images", "labels", ..."""


@dataclass(frozen=True)
class Entry:
    """What a `Store` gives back: tensors on the CPU, and what goes with them."""

    tensors: dict[str, torch.Tensor]
    metadata: dict[str, Any]


class Store:
    """A folder of entries, each a safetensors file that says what it was made from.

    An entry is written whole or not at all, so that several processes may use one store, and so that a process that
    is killed leaves nothing broken behind. Of two processes that find no entry, each makes it, and the last one saved
    stays. An entry that was made from something else is refused.

    - `folder`: where the entries lie; made when the first one is saved.
    - `shared`: a store that several runs use together, for what does not depend on the size of a set: the networks of
      herding and of teachers, and the experts of MTT. Default: this one.

    Raises `InputError` when `folder` is a file, or no path; methods say what else is refused.

    >>> import tempfile, torch
    >>> store = Store(tempfile.mkdtemp())
    >>> made_from = MadeFrom(options={"steps": 10})
    >>> store.load("network", made_from) is None
    True
    >>> _ = store.save("network", made_from, {"weight": torch.ones(2)}, {"age": 3})
    >>> store.load("network", made_from).metadata
    {'age': 3}
    >>> store.load("network", MadeFrom(options={"steps": 20}))
    Traceback (most recent call last):
        ...
    distill.errors.InputError: ...network.safetensors was made with other options or data (steps was 10, now 20); ...
    """

    def __init__(self, folder: str | Path, *, shared: "Store | None" = None) -> None:
        if shared is not None and not isinstance(shared, Store):
            raise InputError(f"shared is {shown(shared)}; expected a Store, or None")
        self.folder, self.shared = as_path(folder, "store"), shared
        if self.folder.exists() and not self.folder.is_dir():
            raise InputError(f"store is the file {self.folder}; expected a folder")

    def __repr__(self) -> str:
        return f"Store({str(self.folder)!r})"

    def within(self, name: str) -> "Store":
        """The store in the folder `name` of this one."""
        return Store(self.folder / name, shared=self.shared)

    def path(self, name: str) -> Path:
        """The file of the entry `name`."""
        return self.folder / f"{name}.safetensors"

    def load(self, name: str, made_from: MadeFrom) -> Entry | None:
        """The entry `name`, or `None` where there is none.

        Raises `InputError` when the entry was made from something else than `made_from`, by another version of this
        toolkit, or is damaged.
        """
        found = self._read(name, made_from, read_tensors)
        return None if found is None else Entry(*found)

    def save(
        self,
        name: str,
        made_from: MadeFrom,
        tensors: Mapping[str, torch.Tensor],
        metadata: Mapping[str, Any] = MappingProxyType({}),
    ) -> Path:
        """Save an entry, in the place of an older one of that name. `metadata`: JSON-able.

        Raises `InputError` when the folder cannot be written to, or something that must be JSON-able is not.
        """
        return write_tensors(self.path(name), tensors, {**metadata, KEY: as_json(made_from)})

    def load_array(self, name: str, made_from: MadeFrom) -> tuple[np.ndarray, dict[str, Any]] | None:
        """The array of an entry that `save_array` saved, as a read-only memory map, and its metadata; as `load`."""
        return self._read(name, made_from, map_array)

    def save_array(
        self,
        name: str,
        made_from: MadeFrom,
        shape: Sequence[int],
        parts: Iterable[bytes],
        metadata: Mapping[str, Any] = MappingProxyType({}),
    ) -> Path:
        """Save a uint8 array as an entry, part by part, so that it is never in memory as a whole; otherwise as `save`.

        - `shape`: of the array. `parts`: its bytes in C order, in parts of any length; as many as the shape says.

        >>> import tempfile
        >>> store = Store(tempfile.mkdtemp())
        >>> _ = store.save_array("rows", MadeFrom(), (2, 3), (bytes([row] * 3) for row in (7, 9)))
        >>> array, metadata = store.load_array("rows", MadeFrom())
        >>> array.tolist()
        [[7, 7, 7], [9, 9, 9]]
        """
        return write_array(self.path(name), shape, parts, {**metadata, KEY: as_json(made_from)})

    def get(self, name: str, made_from: MadeFrom, make: Callable[[], Content]) -> Entry:
        """The entry `name`; where there is none, what `make` gives (tensors and metadata), saved first.

        Raises `InputError` as `load` and `save` do.
        """
        entry = self.load(name, made_from)
        if entry is None:
            self.save(name, made_from, *make())
            entry = self.load(name, made_from)
        assert entry is not None
        return entry

    def _read(
        self, name: str, made_from: MadeFrom, read: Callable[[Path], tuple[T, dict[str, Any]]]
    ) -> tuple[T, dict[str, Any]] | None:
        path = self.path(name)
        if not path.exists():
            return None
        try:
            content, metadata = read(path)
        except InputError:
            if not path.exists():  # another process has removed it in the meantime
                return None
            raise
        found = metadata.pop(KEY, None)
        if not (
            isinstance(found, dict) and found.get("format") == FORMAT
            and isinstance(found.get("options"), dict) and isinstance(found.get("data"), dict)
        ):  # fmt: skip
            raise InputError(
                f"{path} was made by another version of this toolkit, or is not an entry of a store; remove it or "
                "choose another store"
            )
        if differing := differences(found, as_json(made_from)):
            raise InputError(
                f"{path} was made with other options or data ({differing}); use those it was made with, remove it, or "
                "choose another store"
            )
        return content, metadata

    def get_shared(self, name: str, made_from: MadeFrom, make: Callable[[], Content]) -> Entry:
        """As `get`, from the `shared` store where there is one.

        There a digest of `made_from` is added to the name, so that entries of several runs lie side by side.
        """
        if self.shared is None:
            return self.get(name, made_from, make)
        digest = hashlib.sha256(json.dumps(as_json(made_from), sort_keys=True).encode()).hexdigest()[:12]
        return self.shared.get(f"{name}-{digest}", made_from, make)

    def remove(self, name: str) -> None:
        """Remove the entry `name`, if there is one."""
        self.path(name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def as_store(given: Any) -> Store | None:
    """A `Store` as it is, a folder as a store, and `None` as it is; raises `InputError` for anything else."""
    return given if given is None or isinstance(given, Store) else Store(given)


def as_json(made_from: MadeFrom) -> dict[str, Any]:
    """What is written to the file, as it will be when it is read back."""
    content = {"format": FORMAT, "options": dict(made_from.options), "data": dict(made_from.data)}
    try:
        return json.loads(json.dumps(content))
    except (TypeError, ValueError) as error:
        raise InputError(f"what an entry is made from must be JSON, but it is not: {error}") from error


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    """What options are other ones `now` than `before`, in words, by their names."""
    return {
        name: f"{name} was {before.get(name)!r}, now {now.get(name)!r}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    }


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> str:
    """What `found` says otherwise than `wanted`, in words; "" for nothing."""
    words = list(changes(found["options"], wanted["options"]).values())
    before, now = found["data"], wanted["data"]
    words += [f"other {name}" for name in {**now, **before} if not same(before.get(name, ""), now.get(name, ""))]
    return ", ".join(words)


def same(found: Any, wanted: Any) -> bool:
    """Whether two fingerprints are equal; sums only have to be near enough."""
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys() == {"sums", "tolerance"}:
        sums = found["sums"]
        if not isinstance(sums, list) or len(sums) != len(wanted["sums"]):
            return False
        pairs = zip(sums, wanted["sums"], strict=True)
        return all(isinstance(a, int | float) and abs(a - b) <= wanted["tolerance"] for a, b in pairs)
    return bool(found == wanted)

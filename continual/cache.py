"""Distilled sets in a store, each with what it was made from, so that another run finds them again."""

import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch

from continual.classes_at_once import Part
from distill import Distiller, InputError, PreprocessedImages, SyntheticSet
from distill.distillers.made_from import made_from
from distill.preprocess import KeptElsewhere
from distill.runtime.distributed import world_size
from distill.runtime.locks import Held, lock_file
from distill.store import MadeFrom, Store

__all__ = ["cached", "describe_source"]

SECONDS_BETWEEN = 0.2  # looks at whether the other process is done


def cached(
    store: Store, name: str, source: MadeFrom, data: PreprocessedImages, make: Callable[[Store], SyntheticSet]
) -> SyntheticSet:
    """The set `name` if it is in the store and was made from the same, else what `make` gives, which is kept there.

    `make` takes a store of its own, for what is of no use any more when the set is there. Of several processes that
    want the same set one makes it, and the others wait for that. Raises `InputError` when the entry was made with
    other options or from other images.
    """
    unfinished = store.within(name)
    found = kept_set(store, name, source, data)
    if found is not None:
        unfinished.clear()  # a process that was killed may have left it
        return found
    with one_process(store, name):
        found = kept_set(store, name, source, data)  # another process may have made it in the meantime
        if found is not None:
            return found
        made = make(unfinished)
        # A ZCA matrix takes 19 MB; the stream has it anyway.
        store.save(name, source, *replace(made, preprocessing=KeptElsewhere()).content())
        unfinished.clear()
        return made


def kept_set(store: Store, name: str, source: MadeFrom, data: PreprocessedImages) -> SyntheticSet | None:
    """The set `name`, with the preprocessing of the `data`; `None` where there is none."""
    entry = store.load(name, source)
    if entry is None:
        return None
    try:
        images, labels, class_ids = (entry.tensors[key] for key in ("images", "labels", "class_ids"))
        made_by = entry.metadata["made_by"]
    except KeyError as error:
        raise InputError(f"{store.path(name)} holds no {error}; expected a distilled set; remove the file") from error
    return SyntheticSet(images, labels, class_ids, data.classes, data.preprocessing, made_by)


@contextmanager
def one_process(store: Store, name: str) -> Iterator[None]:
    """Only one process at a time is in the `with` block of this entry; the others wait, with a warning.

    The ranks of one distillation are in it together.
    """
    with ExitStack() as held:
        if world_size() == 1:
            held.enter_context(locked(store, name))
        yield


@contextmanager
def locked(store: Store, name: str) -> Iterator[None]:
    """Hold the lock of an entry, once it is free."""
    path = store.folder / f".{name}-lock.partial"  # named as what is being written: removed if its process was killed
    own = f"process {os.getpid()} on {platform.node()}"
    waited = False
    with ExitStack() as held:
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                held.enter_context(lock_file(path, owner=own))
                break
            except Held as other:
                if not waited:
                    warnings.warn(f"{other} is distilling {store.path(name)}; waiting for it", stacklevel=2)
                waited = True
                time.sleep(SECONDS_BETWEEN)
            except OSError as error:
                raise InputError(f"cannot write {path}: {error.strerror or error}") from error
        yield


def describe_source(
    index: int, distiller: Distiller, data: PreprocessedImages, parts: Sequence[Part], *, seed: int, device: str,
    held_out: PreprocessedImages | None,
) -> MadeFrom:  # fmt: skip
    """What a kept set must have been made from to be used again: options, data and precision, but not the device.

    `parts`: the classes that are distilled together. `held_out`: of all of them. Pixels are compared with a tolerance:
    whitening differs in its last bits from machine to machine.
    """
    described = {
        "experience": index,
        "seed": seed,
        "classes": torch.unique(data.labels).tolist(),
        "counts": torch.bincount(data.labels).tolist(),
        "num_classes": data.num_classes,
        "shape": list(data.images.shape),
        "images_per_class": sorted([c, part.count] for part in parts for c in part.classes),
        "preprocessing": data.preprocessing.kind,
    }
    if len(parts) > len({part.count for part in parts}):  # more than their numbers of images ask for
        described["together"] = [list(part.classes) for part in parts]
    return made_from(distiller, data, asked=described, device=device, held_out=held_out, tolerant=True)

"""Images and labels from array files that other programs wrote, read without executing code from them."""

import io
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.data.array_files import open_npz, read_npy
from distill.errors import InputError, InputWarning

__all__ = ["ImagesAndLabels", "read_images_and_labels"]

# FRePo saves `image` and `label` (its checkpoints: x_proto, y_proto), KIP `images` and `labels`.
IMAGES = ("images", "image", "x", "x_distilled", "x_proto", "x_syn", "image_syn", "images_syn", "syn_images", "data")
LABELS = ("labels", "label", "y", "y_distilled", "y_proto", "y_syn", "label_syn", "labels_syn", "syn_labels",
          "targets", "target")
CONVERT = "if you trust it, load it yourself and save it with numpy.savez(file, images=images, labels=labels)"
Content = torch.Tensor | np.ndarray | Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True)
class ImagesAndLabels:
    """The content of a file, unchanged: tensors of any type and shape; class names if it has an array of them."""

    images: torch.Tensor
    labels: torch.Tensor
    classes: tuple[str, ...] | None


def read_images_and_labels(path: Path, labels: Path | None = None) -> ImagesAndLabels:
    """Read images and labels from `path`, or images from `path` and labels from the file `labels`.

    Reads .npz, .npy, .pt and .pth: arrays under their usual names, a pair (images, labels), a single array, or the
    dict of DC, DSA and DM, `{"data": [[images, labels], ...]}`, of which the last pair is taken.

    Raises `InputError` when a file is missing, damaged, holds pickled objects or lacks images or labels.
    """
    content = _read(path)
    if labels is not None:
        return ImagesAndLabels(_one(content, IMAGES, path), _one(_read(labels), LABELS, labels), _names(content, path))
    pair = _pair(content)
    if pair is not None:
        return ImagesAndLabels(_tensor(pair[0], f"images of {path}"), _tensor(pair[1], f"labels of {path}"), None)
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path} holds {_found(content)}; expected images and labels: if they are in two files "
            "(MTT: images_best.pt and labels_best.pt), give the second as `labels`"
        )
    return ImagesAndLabels(_one(content, IMAGES, path), _one(content, LABELS, path), _names(content, path))


def _pair(content: Content) -> tuple[Any, Any] | None:
    """`(images, labels)` if the content is such a pair, or DC's list of pairs, one for each experiment."""
    if isinstance(content, Mapping):
        pairs = content.get("data")
        content = pairs[-1] if isinstance(pairs, (list, tuple)) and pairs else ()
    if isinstance(content, (list, tuple)) and len(content) == 2:
        return content[0], content[1]
    return None


def _one(content: Content, names: Sequence[str], path: Path) -> torch.Tensor:
    """The array under one of `names`, or the only one there is."""
    kind = names[0]
    if not isinstance(content, Mapping):
        if not isinstance(content, (torch.Tensor, np.ndarray)):
            raise InputError(f"{path} holds {_found(content)}; expected one array of {kind}")
        return _tensor(content, f"{kind} of {path}")
    lower = {str(key).lower(): key for key in content}
    candidates = [lower[name] for name in names if name in lower]
    key = candidates[0] if candidates else None
    if len(candidates) > 1:
        warnings.warn(
            f"{path} has more than one array of {kind}: {key} is taken, {', '.join(map(str, candidates[1:]))} left out",
            InputWarning,
            stacklevel=5,
        )
    if key is None:
        raise InputError(f"{path} has no {kind}: found {_found(content)}; expected one of {', '.join(names)}")
    return _tensor(content[key], f"{key} of {path}")


def _names(content: Content, path: Path) -> tuple[str, ...] | None:
    """The class names in the file, if any."""
    names = content.get("classes") if isinstance(content, Mapping) else None
    if isinstance(names, np.ndarray):
        names = names.tolist()
    if not isinstance(names, (list, tuple)) or not all(isinstance(name, str) for name in names):
        return None  # a number of classes, or something else of that name
    return tuple(names)


def _tensor(value: Any, what: str) -> torch.Tensor:
    try:
        if isinstance(value, np.ndarray):
            value = torch.from_numpy(value.astype(value.dtype.newbyteorder("="), order="C"))
        elif not isinstance(value, torch.Tensor):
            value = torch.tensor(value)
    except (TypeError, ValueError, RuntimeError) as error:  # text, objects, rows of different lengths
        kind = value.dtype if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(f"{what} are {kind}; expected one array of numbers") from error
    value = value.detach()
    return value.to_dense() if value.layout != torch.strided else value


def _found(content: Content) -> str:
    if isinstance(content, (torch.Tensor, np.ndarray)):
        return f"one array of shape {tuple(content.shape)}"
    if isinstance(content, Mapping):
        return ", ".join(str(key) for key in list(content)[:20]) or "nothing"
    return f"a {type(content).__name__}" + (f" of {len(content)}" if isinstance(content, (list, tuple)) else "")


# -- files -------------------------------------------------------------------------------------------------------------


def _read(path: Path) -> Content:
    readers = {".npz": _read_npz, ".npy": read_npy, ".pt": _read_torch, ".pth": _read_torch}
    if path.suffix.lower() not in readers:
        raise InputError(f"cannot import {path}; expected a file that ends in {', '.join(readers)}")
    if not path.is_file():
        raise InputError(f"cannot read {path}: there is no such file")
    return readers[path.suffix.lower()](path)


def _read_npz(path: Path) -> Content:
    """The arrays that may be images, labels or class names; of the others only the names."""
    with open_npz(path) as archive:
        wanted = (*IMAGES, *LABELS, "classes")
        return {name: archive.read(name) if name.lower() in wanted else None for name in archive.names}


def _read_torch(path: Path) -> Content:
    try:
        content = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        with _numpy_numbers_dropped():
            return torch.load(content, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged bytes raise whatever they lead to
        reason = str(error)
        if "GLOBAL" in reason or "allowlisted" in reason or "unrecognized function" in reason:
            what = reason.partition("GLOBAL ")[2].split(" ")[0] or "objects"
            raise _refused(path, f"pickled objects ({what})") from error
        raise InputError(f"{path} is damaged or no file of torch.save; copy it again, or {CONVERT}") from error


def _refused(path: Path, what: str) -> InputError:
    return InputError(f"{path} holds {what}, which are not read because they can run code; {CONVERT}")


class _Dropped:
    """Stands in for a number that is not needed."""

    def __init__(self, *args: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


def _stand_ins() -> Iterable[type]:
    for module, name in (("numpy", "dtype"), ("numpy.core.multiarray", "scalar"), ("numpy._core.multiarray", "scalar")):
        yield type(name, (_Dropped,), {"__module__": module})


def _numpy_numbers_dropped() -> AbstractContextManager[Any]:
    """Let torch read files that contain NumPy numbers, which are dropped; nothing of NumPy is called.

    DC, DSA and DM save their accuracies, NumPy numbers, beside the images; `weights_only` refuses the whole file.
    """
    return torch.serialization.safe_globals(list(_stand_ins()))

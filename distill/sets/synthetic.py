"""A small set of images with soft labels that stands for a large one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from distill.errors import InputError
from distill.files import as_path
from distill.preprocess import Preprocessing
from distill.runtime.checks import class_names, positions, require_a, require_whole, tensor_of
from distill.sets.class_grids import plot_classes, plot_gallery
from distill.tensor_files import read_tensors, write_tensors

__all__ = ["SyntheticSet", "describe", "initial_labels"]

FORMAT = 1
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
GALLERY = 100  # images drawn of a set of one image a class
PICTURES = (".png", ".pdf", ".svg", ".jpg")


@dataclass(frozen=True, eq=False)
class SyntheticSet(Dataset):
    """Images with soft labels, the classes they stand for, and the preprocessing that makes them readable.

    As a torch Dataset, item `i` is `(image, soft label)`.

    - `images`: float tensor of shape `(n, channels, height, width)`, preprocessed: what a network is trained on. Of 16,
      32 or 64 bits, kept as they are given; whatever computes with them does so in float32.
    - `labels`: float tensor of shape `(n, num_classes)`, soft labels (not probabilities: `one-hot - 1 / num_classes`,
      scaled, is where they start).
    - `class_ids`: int64 tensor of shape `(n,)`: the class each image was made for.
    - `classes`: names of all classes of the problem.
    - `preprocessing`: the map from pixels in [0, 1] to `images`, and back.
    - `made_by`: how the set was made: method, options, seed, history. JSON-able.

    Raises `InputError` when shapes do not match or values are NaN or infinite.
    """

    images: torch.Tensor
    labels: torch.Tensor
    class_ids: torch.Tensor
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    made_by: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._take_what_is_meant()
        n, num_classes = len(self.images), len(self.classes)
        for name, shape in {"labels": (n, num_classes), "class_ids": (n,)}.items():
            given = tuple(getattr(self, name).shape)
            if given != shape:
                raise InputError(f"{name} have shape {given}; wanted {shape} for {n} images of {num_classes} classes")
        for name in ("images", "labels"):
            if getattr(self, name).dtype not in FLOATS:
                raise InputError(f"{name} are {getattr(self, name).dtype}; wanted floats of 16, 32 or 64 bits")
        if self.class_ids.dtype != torch.int64:
            raise InputError(f"class_ids are {self.class_ids.dtype}; wanted torch.int64")
        if self.images.ndim != 4 or 0 in self.images.shape[1:]:
            raise InputError(
                f"images have shape {tuple(self.images.shape)}; wanted (n, channels, height, width)"
            )
        if not (bool(torch.isfinite(self.images.float()).all()) and bool(torch.isfinite(self.labels.float()).all())):
            raise InputError("images or labels hold NaN or infinite values: the distillation that made them diverged")
        if n and (int(self.class_ids.min()) < 0 or int(self.class_ids.max()) >= len(self.classes)):
            raise InputError(f"class ids must lie in 0 to {len(self.classes) - 1}")
        if reason := self.preprocessing.misfit(self.images.shape[1:]):
            raise InputError(f"the preprocessing does not go with the images: {reason}")

    def _take_what_is_meant(self) -> None:
        """Arrays and lists as tensors, names as a tuple; raises `InputError` for what is of another kind."""
        for name in ("images", "labels", "class_ids"):
            object.__setattr__(self, name, tensor_of(getattr(self, name), name))
        if not self.class_ids.numel() or self.class_ids.dtype in (torch.int8, torch.uint8, torch.int16, torch.int32):
            object.__setattr__(self, "class_ids", self.class_ids.long())
        if self.images.ndim == 0:
            raise InputError("images are a single number; wanted (n, channels, height, width)")
        object.__setattr__(self, "classes", class_names(self.classes))
        require_a("preprocessing", self.preprocessing, Preprocessing, hint="Identity() where nothing was done")
        if self.made_by is None:  # what JSON's null becomes
            object.__setattr__(self, "made_by", {})
        require_a("made_by", self.made_by, Mapping)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index], self.labels[index]

    @property
    def num_classes(self) -> int:
        """Number of classes of the whole problem."""
        return len(self.classes)

    def subset(self, indices: torch.Tensor) -> "SyntheticSet":
        """The part at `indices` (positions or a boolean mask)."""
        chosen = torch.from_numpy(positions(indices, len(self)))
        parts = {name: getattr(self, name) for name in ("images", "labels", "class_ids")}
        return replace(self, **{name: part[chosen.to(part.device)] for name, part in parts.items()})

    @staticmethod
    def concatenate(parts: Sequence["SyntheticSet"]) -> "SyntheticSet":
        """One set of all `parts`, which must share classes, image shape and preprocessing; `made_by` lists theirs."""
        require_a("parts", parts, list, tuple)
        if not parts:
            raise InputError("nothing to concatenate: 0 synthetic sets were given")
        for part in parts:
            require_a("a part", part, SyntheticSet)
        first = parts[0]
        for part in parts:
            if part.classes != first.classes or part.images.shape[1:] != first.images.shape[1:]:
                raise InputError("synthetic sets of other classes or image shapes cannot be concatenated")
            if not part.preprocessing.same_as(first.preprocessing):
                raise InputError(
                    f"synthetic sets with different preprocessing ({first.preprocessing.kind}, "
                    f"{part.preprocessing.kind}) cannot be concatenated: their images mean different things"
                )
        return SyntheticSet(
            torch.cat([part.images for part in parts]),
            torch.cat([part.labels for part in parts]),
            torch.cat([part.class_ids for part in parts]),
            first.classes,
            first.preprocessing,
            {"parts": [part.made_by for part in parts]} if len(parts) > 1 else first.made_by,
        )

    # -- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write everything to one safetensors file, whole or not at all."""
        return write_tensors(path, *self.content())

    def content(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """What `save` writes: tensors, and metadata that is JSON-able."""
        state = {f"preprocessing.{name}": tensor for name, tensor in self.preprocessing.state().items()}
        tensors = {"images": self.images, "labels": self.labels, "class_ids": self.class_ids, **state}
        metadata = {
            "format": FORMAT,
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.kind,
            "made_by": self.made_by,
        }
        return tensors, metadata

    @classmethod
    def load(cls, path: str | Path) -> "SyntheticSet":
        """Read what `save` wrote. Raises `InputError` when the file is missing, damaged or another kind of file."""
        tensors, metadata = read_tensors(path)
        missing = {"images", "labels", "class_ids"} - tensors.keys() | {"classes", "preprocessing"} - metadata.keys()
        if missing or metadata.get("format") != FORMAT:
            raise InputError(
                f"{path} is no synthetic set of format {FORMAT}"
                + (f": it lacks {', '.join(sorted(missing))}" if missing else f": format {metadata.get('format')}")
            )
        prefix = "preprocessing."
        state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        try:
            preprocessing = Preprocessing.from_state(metadata["preprocessing"], state)
            classes = class_names(metadata["classes"])
            images, labels, class_ids = (tensors[name] for name in ("images", "labels", "class_ids"))
            return cls(images, labels, class_ids, classes, preprocessing, metadata.get("made_by", {}))
        except InputError as error:
            raise InputError(f"{path} holds no valid synthetic set: {error}") from error

    # -- pictures ------------------------------------------------------------------------------------------------

    def pixels(self) -> torch.Tensor:
        """Displayable images: uint8 of shape `(n, height, width, channels)`, preprocessing inverted, clipped."""
        if self.images.shape[1] not in (1, 3):
            raise InputError(f"images have {self.images.shape[1]} channels; wanted 1 or 3 to be looked at")
        unit = self.preprocessing.inverse(self.images.detach().float().cpu())
        return unit.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def plot(self, path: str | Path, *, images_per_class: int = 10, max_classes: int = 20) -> Path:
        """Draw a grid, one row a class with its name, at most `max_classes` rows, `images_per_class` columns.

        A set of one image a class is drawn as a gallery instead, the names above the images, `GALLERY` at most.
        """
        if as_path(path).suffix.lower() not in PICTURES:
            raise InputError(f"cannot draw {path}; wanted a name that ends in {', '.join(PICTURES)}")
        require_whole("images_per_class", images_per_class, least=1)
        require_whole("max_classes", max_classes, least=1)
        class_ids = self.class_ids.cpu()
        if len(torch.unique(class_ids)) == len(self) > 1:
            return plot_gallery(self.pixels(), class_ids, self.classes, path, most=GALLERY)
        return plot_classes(
            self.pixels(), class_ids, self.classes, path, images_per_class=images_per_class, max_classes=max_classes
        )

    def __repr__(self) -> str:
        shape = "x".join(str(size) for size in self.images.shape[1:])
        method = self.made_by.get("method") or "?"
        return f"SyntheticSet({len(self)} images of {shape}, {len(torch.unique(self.class_ids))} classes, by {method})"


def initial_labels(class_ids: torch.Tensor, num_classes: int, *, scale: float | None = None) -> torch.Tensor:
    """Where soft labels start: `scale * (one-hot - 1/C)`, float32 of shape `(n, C)`.

    `scale=None` takes `1 / sqrt(C / 10)` (FRePo, A.1).
    """
    one_hot = torch.nn.functional.one_hot(class_ids, num_classes).float()
    divisor = math.sqrt(num_classes / 10) if scale is None else 1 / scale
    return (one_hot - 1 / num_classes) / divisor


def describe(method: str, options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The `made_by` of a set, in one shape for every distiller."""
    return {"method": method, "options": dict(options), **more}

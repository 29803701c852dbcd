"""A small set of images with soft labels that stands for a large set."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from distill.accounting.ledger import KEY, Ledger, ledger_of, told_budget
from distill.errors import InputError, shown
from distill.files import as_path
from distill.preprocess import Preprocessing
from distill.runtime.checks import class_names, positions, require_a, require_whole, tensor_of
from distill.sets.class_grids import plot_classes, plot_gallery
from distill.tensor_files import read_tensors, write_tensors

__all__ = ["SyntheticSet", "describe", "initial_labels"]

FORMAT = 1
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
GALLERY = 100  # images drawn of a set of one image per class
PICTURES = (".png", ".pdf", ".svg", ".jpg")  # the formats of pictures


@dataclass(frozen=True, eq=False)
class SyntheticSet(Dataset):
    """Images with soft labels, the class of each image, and the preprocessing that turns them back into pixels.

    As a torch Dataset, item `i` is `(image, soft label)`.

    - `images`: float tensor of shape `(n, channels, height, width)`, preprocessed: the input of a network. Of 16, 32 or
      64 bits, stored as given; computations with them use float32.
    - `soft_labels`: float tensor of shape `(n, num_classes)`, no probabilities (they start at
      `one-hot - 1 / num_classes`, scaled). Also available as `labels`, their name in saved files.
    - `class_ids`: int64 tensor of shape `(n,)`: the class that each image was made for.
    - `classes`: names of all classes of the problem.
    - `preprocessing`: the map from pixels in [0, 1] to `images`, and back.
    - `made_by`: how the set was made (method, options, seed, history), as values that can be written as JSON.

    Raises `InputError` when shapes do not match or values are NaN or infinite.

        >>> from distill import Identity
        >>> class_ids = torch.tensor([0, 0, 1])
        >>> labels = initial_labels(class_ids, 2)
        >>> tiny = SyntheticSet(torch.rand(3, 1, 8, 8), labels, class_ids, ("cat", "dog"), Identity())
        >>> tiny
        SyntheticSet(3 images of 1x8x8, 2 classes, by ?)
        >>> tiny.save("tiny.safetensors").name
        'tiny.safetensors'
        >>> torch.equal(SyntheticSet.load("tiny.safetensors").images, tiny.images)
        True
    """

    images: torch.Tensor
    soft_labels: torch.Tensor
    class_ids: torch.Tensor
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    made_by: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._convert_fields()
        n, num_classes = len(self.images), len(self.classes)
        for name, shape in {"soft_labels": (n, num_classes), "class_ids": (n,)}.items():
            given = tuple(getattr(self, name).shape)
            if given != shape:
                raise InputError(f"{name} have shape {given}; expected {shape} for {n} images of {num_classes} classes")
        for name in ("images", "soft_labels"):
            if getattr(self, name).dtype not in FLOATS:
                raise InputError(f"{name} are {getattr(self, name).dtype}; expected floats of 16, 32 or 64 bits")
        if self.class_ids.dtype != torch.int64:
            raise InputError(f"class_ids are {self.class_ids.dtype}; expected torch.int64")
        if self.images.ndim != 4 or 0 in self.images.shape[1:]:
            raise InputError(
                f"images have shape {tuple(self.images.shape)}; expected (n, channels, height, width)"
            )
        if not all(bool(torch.isfinite(tensor.float()).all()) for tensor in (self.images, self.soft_labels)):
            raise InputError("images or labels hold NaN or infinite values: the distillation that made them diverged")
        if n and (int(self.class_ids.min()) < 0 or int(self.class_ids.max()) >= len(self.classes)):
            low, high = int(self.class_ids.min()), int(self.class_ids.max())
            raise InputError(f"class ids run from {low} to {high}; expected 0 to {len(self.classes) - 1}")
        if reason := self.preprocessing.misfit(self.images.shape[1:]):
            raise InputError(f"the preprocessing does not fit the images: {reason}")

    def _convert_fields(self) -> None:
        """Convert arrays and lists to tensors, names to a tuple; raises `InputError` for anything else."""
        for name in ("images", "soft_labels", "class_ids"):
            object.__setattr__(self, name, tensor_of(getattr(self, name), name))
        if not self.class_ids.numel() or self.class_ids.dtype in (torch.int8, torch.uint8, torch.int16, torch.int32):
            object.__setattr__(self, "class_ids", self.class_ids.long())
        if self.images.ndim == 0:
            raise InputError("images are a single number; expected (n, channels, height, width)")
        object.__setattr__(self, "classes", class_names(self.classes))
        require_a("preprocessing", self.preprocessing, Preprocessing, hint="Identity() where nothing was done")
        if self.made_by is None:  # what JSON's null becomes
            object.__setattr__(self, "made_by", {})
        require_a("made_by", self.made_by, Mapping)
        check_made_by(self.made_by)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index], self.soft_labels[index]

    @property
    def labels(self) -> torch.Tensor:
        """The soft labels `(n, num_classes)`, by their name in saved files."""
        return self.soft_labels

    @property
    def num_classes(self) -> int:
        """Number of classes of the whole problem."""
        return len(self.classes)

    @property
    def ledger(self) -> Ledger | None:
        """What was spent of a privacy budget on the set and its parts; `None` where any came without a guarantee."""
        return ledger_of(self.made_by)

    def subset(self, indices: torch.Tensor) -> "SyntheticSet":
        """The images at `indices` (positions or a boolean mask), with everything that belongs to them.

        Raises `InputError` when indices are out of range or a mask has another length.
        """
        chosen = torch.from_numpy(positions(indices, len(self)))
        tensors = {name: getattr(self, name) for name in ("images", "soft_labels", "class_ids")}
        return replace(self, **{name: tensor[chosen.to(tensor.device)] for name, tensor in tensors.items()})

    @staticmethod
    def concatenate(sets: Sequence["SyntheticSet"]) -> "SyntheticSet":
        """One set of all `sets`, in order; `made_by` lists theirs as "parts", beside a method that all have in common.

        Raises `InputError` when there are none, or they differ in classes, image shape or preprocessing.
        """
        require_a("sets", sets, list, tuple)
        if not sets:
            raise InputError("nothing to concatenate: 0 synthetic sets were given")
        for one in sets:
            require_a("a set", one, SyntheticSet)
        first = sets[0]
        for one in sets:
            if one.classes != first.classes or one.images.shape[1:] != first.images.shape[1:]:
                raise InputError("synthetic sets of other classes or image shapes cannot be concatenated")
            if not one.preprocessing.same_as(first.preprocessing):
                raise InputError(
                    f"synthetic sets with different preprocessing ({first.preprocessing.kind}, "
                    f"{one.preprocessing.kind}) cannot be concatenated: their images mean different things"
                )
        methods = {one.made_by.get("method") for one in sets} - {None}
        method = {"method": methods.pop()} if len(methods) == 1 else {}
        return SyntheticSet(
            torch.cat([one.images for one in sets]),
            torch.cat([one.soft_labels for one in sets]),
            torch.cat([one.class_ids for one in sets]),
            first.classes,
            first.preprocessing,
            {**method, "parts": [one.made_by for one in sets]} if len(sets) > 1 else first.made_by,
        )

    # -- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | Path) -> Path:
        """Write everything to one safetensors file, completely or not at all.

        Raises `InputError` when the file cannot be written.
        """
        return write_tensors(path, *self.content())

    def content(self) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
        """What `save` writes: tensors, and metadata that can be written as JSON."""
        state = {f"preprocessing.{name}": tensor for name, tensor in self.preprocessing.state().items()}
        tensors = {"images": self.images, "labels": self.soft_labels, "class_ids": self.class_ids, **state}
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
        """Displayable images: uint8 of shape `(n, height, width, channels)`, preprocessing inverted, clipped.

        Raises `InputError` for images of other than 1 or 3 channels.
        """
        if self.images.shape[1] not in (1, 3):
            raise InputError(f"images have {self.images.shape[1]} channels; expected 1 or 3 to display them")
        unit = self.preprocessing.inverse(self.images.detach().float().cpu())
        return unit.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def plot(self, path: str | Path, *, images_per_class: int = 10, max_classes: int = 20) -> Path:
        """Draw a grid with a row for each class, beside its name, to a .png, .pdf, .svg or .jpg file.

        - `images_per_class`: columns at most. `max_classes`: rows at most, evenly spread over the classes.

        A set of one image per class is drawn as a gallery of at most 100 images, each below the name of its class.

        Raises `InputError` for other file names, and when the file cannot be written.
        """
        if as_path(path).suffix.lower() not in PICTURES:
            raise InputError(f"cannot draw {path}; expected a name that ends in {', '.join(PICTURES)}")
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
        budget = told_budget(self.made_by)
        classes = len(torch.unique(self.class_ids))
        return f"SyntheticSet({len(self)} images of {shape}, {classes} classes, by {method}{budget and ', ' + budget})"


def initial_labels(class_ids: torch.Tensor, num_classes: int, *, scale: float | None = None) -> torch.Tensor:
    """Where soft labels start: `scale * (one-hot - 1/C)`, float32 of shape `(n, C)`.

    - `class_ids`: int64 `(n,)`. `num_classes`: C.
    - `scale`: above 0; `None`: `1 / sqrt(C / 10)` (FRePo, A.1).

    Raises `InputError` for another scale.

        >>> initial_labels(torch.tensor([1]), 10).tolist()
        [[-0.1..., 0.8999..., -0.1..., -0.1..., -0.1..., -0.1..., -0.1..., -0.1..., -0.1..., -0.1...]]
    """
    if scale is not None and not 0 < scale < math.inf:
        raise InputError(f"scale is {scale}; expected more than 0, finite")
    one_hot = torch.nn.functional.one_hot(class_ids, num_classes).float()
    divisor = math.sqrt(num_classes / 10) if scale is None else 1 / scale
    return (one_hot - 1 / num_classes) / divisor


def check_made_by(made_by: Mapping[str, Any]) -> None:
    """Raise `InputError` where what is read of a `made_by` is of another kind than distillers write."""
    lists = (list, tuple)
    kinds: dict[str, tuple[Any, Any, str]] = {
        "options": (Mapping, None, "a mapping"),
        "history": (lists, Mapping, "a list with a mapping for each record"),
        "started_from": (lists, int, "a list of positions"),
        "parts": (lists, Mapping, "a list with a mapping for each part"),
        KEY: (Mapping, None, "a mapping, as Ledger.as_json writes it"),
    }
    for name, (kind, inner, what) in kinds.items():
        value = made_by.get(name)
        if value is None:
            continue
        if not isinstance(value, kind) or (inner and not all(isinstance(one, inner) for one in value)):
            raise InputError(f"{name} in made_by is {shown(value)}; expected {what}")
        for part in value if name == "parts" else ():
            check_made_by(part)
    for record in made_by.get("history") or ():
        if wrong := [key for key, value in record.items() if not isinstance(value, int | float)]:
            raise InputError(f"history in made_by has {wrong[0]} {shown(record[wrong[0]])}; expected a number")


def describe(method: str, options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """The `made_by` of a set, in one shape for every distiller."""
    return {"method": method, "options": dict(options), **more}

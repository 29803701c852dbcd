"""A small set of images with soft labels that stands for a large one."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from distill.errors import InputError
from distill.files import write_atomically
from distill.preprocess import Preprocessing
from distill.tensor_files import read_tensors, write_tensors

__all__ = ["SyntheticSet", "describe", "initial_labels"]

FORMAT = 1
GALLERY = 100  # images drawn of a set of one image a class
PICTURES = (".png", ".pdf", ".svg", ".jpg")


@dataclass(frozen=True, eq=False)
class SyntheticSet(Dataset):
    """Images with soft labels, the classes they stand for, and the preprocessing that makes them readable.

    As a torch Dataset, item `i` is `(image, soft label)`.

    - `images`: float tensor of shape `(n, channels, height, width)`, preprocessed: what a network is trained on.
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
        n, num_classes = len(self.images), len(self.classes)
        for name, shape in {"labels": (n, num_classes), "class_ids": (n,)}.items():
            given = tuple(getattr(self, name).shape)
            if given != shape:
                raise InputError(f"{name} have shape {given}; wanted {shape} for {n} images of {num_classes} classes")
        for name in ("images", "labels"):
            if not getattr(self, name).is_floating_point():
                raise InputError(f"{name} are {getattr(self, name).dtype}; wanted floats")
        if self.class_ids.dtype != torch.int64:
            raise InputError(f"class_ids are {self.class_ids.dtype}; wanted torch.int64")
        if self.images.ndim != 4:
            raise InputError(
                f"images have shape {tuple(self.images.shape)}; wanted (n, channels, height, width)"
            )
        if not (bool(torch.isfinite(self.images).all()) and bool(torch.isfinite(self.labels).all())):
            raise InputError("images or labels hold NaN or infinite values: the distillation that made them diverged")
        if n and (int(self.class_ids.min()) < 0 or int(self.class_ids.max()) >= len(self.classes)):
            raise InputError(f"class ids must lie in 0 to {len(self.classes) - 1}")

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
        return replace(
            self, images=self.images[indices], labels=self.labels[indices], class_ids=self.class_ids[indices]
        )

    @staticmethod
    def concatenate(parts: Sequence["SyntheticSet"]) -> "SyntheticSet":
        """One set of all `parts`, which must share classes, image shape and preprocessing; `made_by` lists theirs."""
        if not parts:
            raise InputError("nothing to concatenate: 0 synthetic sets were given")
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
        state = {f"preprocessing.{name}": tensor for name, tensor in self.preprocessing.state().items()}
        tensors = {"images": self.images, "labels": self.labels, "class_ids": self.class_ids, **state}
        metadata = {
            "format": FORMAT,
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.kind,
            "made_by": self.made_by,
        }
        return write_tensors(path, tensors, metadata)

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
            classes = tuple(metadata["classes"])
            images, labels, class_ids = (tensors[name] for name in ("images", "labels", "class_ids"))
            return cls(images, labels, class_ids, classes, preprocessing, metadata.get("made_by", {}))
        except (InputError, TypeError) as error:
            raise InputError(f"{path} holds no valid synthetic set: {error}") from error

    # -- pictures ------------------------------------------------------------------------------------------------

    def pixels(self) -> torch.Tensor:
        """Displayable images: uint8 of shape `(n, height, width, channels)`, preprocessing inverted, clipped."""
        unit = self.preprocessing.inverse(self.images.detach().float().cpu())
        return unit.clamp(0, 1).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()

    def plot(self, path: str | Path, *, images_per_class: int = 10, max_classes: int = 20) -> Path:
        """Draw a grid, one row a class with its name, at most `max_classes` rows, `images_per_class` columns.

        A set of one image a class is drawn as a gallery instead, the names above the images, `GALLERY` at most.
        """
        from matplotlib.figure import Figure  # no pyplot: no global state, no display needed

        if Path(path).suffix.lower() not in PICTURES:
            raise InputError(f"cannot draw {path}; wanted a name that ends in {', '.join(PICTURES)}")
        if images_per_class < 1 or max_classes < 1:
            raise InputError(f"cannot draw {images_per_class} images of {max_classes} classes; wanted 1 or more")
        present = torch.unique(self.class_ids).tolist()
        if len(present) == len(self) > 1:
            return self._plot_gallery(path)
        shown = [present[i * len(present) // max_classes] for i in range(max_classes)] \
            if len(present) > max_classes else present
        pixels = self.pixels()
        columns = min(images_per_class, max((int((self.class_ids == c).sum()) for c in shown), default=1))
        figure = Figure(figsize=(1.6 + 0.6 * columns, 0.62 * max(len(shown), 1) + 0.1), layout="constrained")
        axes = figure.subplots(max(len(shown), 1), columns, squeeze=False)
        for row, class_id in enumerate(shown):
            rows = pixels[self.class_ids == class_id]
            for column in range(columns):
                axis = axes[row, column]
                axis.set_axis_off()
                if column < len(rows):
                    image = rows[column].squeeze(-1).numpy()
                    axis.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255)
            name = self.classes[class_id].replace("_", " ")
            place = {"transform": axes[row, 0].transAxes, "ha": "right", "va": "center"}
            axes[row, 0].text(-0.15, 0.5, name, fontsize=9, parse_math=False, **place)
        return write_atomically(path, lambda file: figure.savefig(file, dpi=120))

    def _plot_gallery(self, path: str | Path) -> Path:
        """Draw images side by side, ten in a row, each under the name of its class."""
        from matplotlib.figure import Figure

        count = min(len(self), GALLERY)
        pixels, columns = self.pixels(), min(count, 10)
        figure = Figure(figsize=(0.95 * columns, 1.05 * -(-count // columns)), layout="constrained")
        axes = figure.subplots(-(-count // columns), columns, squeeze=False).ravel()
        for axis in axes:
            axis.set_axis_off()
        for i, axis in zip(range(count), axes, strict=False):
            image = pixels[i * len(self) // count].squeeze(-1).numpy()
            name = self.classes[int(self.class_ids[i * len(self) // count])].replace("_", " ")
            axis.imshow(image, cmap="gray" if image.ndim == 2 else None, vmin=0, vmax=255)
            axis.set_title(name if len(name) <= 14 else f"{name[:13]}…", fontsize=7, pad=2, parse_math=False)
        return write_atomically(path, lambda file: figure.savefig(file, dpi=120))

    def __repr__(self) -> str:
        shape = "x".join(str(size) for size in self.images.shape[1:])
        method = self.made_by.get("method", "?")
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

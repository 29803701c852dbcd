"""What every preprocessing is, and those that do nothing."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch

from distill.data.labelled import LabelledImages
from distill.errors import InputError, shown
from distill.preprocess.images import PreprocessedImages
from distill.preprocess.streamed import StreamedImages, is_large
from distill.runtime.checks import require_a

__all__ = ["Identity", "KeptElsewhere", "Preprocessing", "checked_state"]


class Preprocessing(ABC):
    """An invertible map from pixels in [0, 1] to what a network sees.

    Subclasses register under `kind`, which is how a saved set finds its way back.
    """

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type["Preprocessing"]]] = {}

    def __init_subclass__(cls) -> None:
        Preprocessing.kinds[cls.kind] = cls

    @abstractmethod
    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in [0, 1] of shape `(n, channels, height, width)` to network input of the same shape."""

    @abstractmethod
    def inverse(self, images: torch.Tensor) -> torch.Tensor:
        """Network input back to pixels (of real images in [0, 1]; of distilled ones possibly beyond)."""

    @abstractmethod
    def state(self) -> dict[str, torch.Tensor]:
        """All that `from_state` needs to build this preprocessing again."""

    def misfit(self, image_shape: Sequence[int]) -> str | None:
        """Why it is not for images of `(channels, height, width)`; `None` where it is."""
        return None

    @classmethod
    def from_state(cls, kind: str, state: Mapping[str, torch.Tensor]) -> "Preprocessing":
        """Build the preprocessing of that `kind` from its `state`; raises `InputError` for an unknown kind."""
        require_a("state", state, Mapping)
        if not isinstance(kind, str) or kind not in cls.kinds:
            raise InputError(f"unknown preprocessing {shown(kind)}; known: {', '.join(sorted(cls.kinds))}")
        try:
            return cls.kinds[kind](**state)
        except TypeError as error:  # a tensor too few or too many
            given = ", ".join(map(str, state))
            raise InputError(f"{given or 'nothing'} is no state of the preprocessing {kind!r}") from error

    def same_as(self, other: "Preprocessing") -> bool:
        """Whether images preprocessed by both mean the same."""
        if self is other:
            return True
        require_a("the other preprocessing", other, Preprocessing)
        mine, theirs = self.state(), other.state()
        return self.kind == other.kind and all(torch.equal(mine[name].cpu(), theirs[name].cpu()) for name in mine)

    def apply(self, data: LabelledImages, *, stream: bool | None = None) -> PreprocessedImages:
        """Preprocess a whole set, or have it preprocessed image by image when one is asked for.

        - `stream`: which of both; `None`: streamed when the float32 tensor of all images would take more than
          `distill.preprocess.streamed.STREAM_ABOVE` bytes (4 GiB).
        """
        require_a("data", data, LabelledImages, hint="uint8 images with labels and classes")
        if reason := self.misfit((data.images.shape[3], *data.images.shape[1:3])):
            raise InputError(f"the preprocessing does not go with the images: {reason}")
        streamed = StreamedImages(data.images, self)
        streams = is_large(data.images.shape) if stream is None else stream
        images = streamed if streams else streamed[:]
        return PreprocessedImages(images, torch.from_numpy(data.labels), data.classes, self)


class Identity(Preprocessing):
    """Images stay as they are: pixels in [0, 1], or inputs whose preprocessing is not known here."""

    kind = "identity"

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The same tensor."""
        return pixels

    def inverse(self, images: torch.Tensor) -> torch.Tensor:
        """The same tensor."""
        return images

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing to remember."""
        return {}


class KeptElsewhere(Preprocessing):
    """Stands for a preprocessing that was left out of a file because it is kept in another one."""

    kind = "kept-elsewhere"

    missing: ClassVar[str] = "the preprocessing of this set is not in its file; load it from where it was kept"

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Raises `InputError`."""
        raise InputError(self.missing)

    def inverse(self, images: torch.Tensor) -> torch.Tensor:
        """Raises `InputError`."""
        raise InputError(self.missing)

    def state(self) -> dict[str, torch.Tensor]:
        """Nothing is here."""
        return {}


def checked_state(kind: str, **tensors: tuple[object, int]) -> list[torch.Tensor]:
    """Tensors of a preprocessing's state, each given with its number of axes, as finite float32.

    Raises `InputError` that names the one that is something else.
    """
    checked = []
    for name, (tensor, axes) in tensors.items():
        if not isinstance(tensor, torch.Tensor) or tensor.ndim != axes or not tensor.is_floating_point():
            given = f"a {type(tensor).__name__}"
            if isinstance(tensor, torch.Tensor):
                given = f"{tensor.dtype} of shape {tuple(tensor.shape)}"
            raise InputError(f"{name} of the preprocessing {kind!r} is {given}; wanted floats of {axes} axes")
        tensor = tensor.detach().float()
        if not bool(torch.isfinite(tensor).all()):
            raise InputError(f"{name} of the preprocessing {kind!r} holds NaN or infinite values; fit it again")
        checked.append(tensor)
    return checked

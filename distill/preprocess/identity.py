"""No preprocessing, and a placeholder for one that is in another file."""

from typing import ClassVar

import torch

from distill.errors import InputError
from distill.preprocess.base import Preprocessing

__all__ = ["Identity", "KeptElsewhere"]


class Identity(Preprocessing):
    """Leaves images as they are: pixels in [0, 1], or inputs whose preprocessing is unknown."""

    kind = "identity"

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """The same tensor."""
        return pixels

    def inverse(self, images: torch.Tensor) -> torch.Tensor:
        """The same tensor."""
        return images

    def state(self) -> dict[str, torch.Tensor]:
        """No tensors."""
        return {}


class KeptElsewhere(Preprocessing):
    """A placeholder for a preprocessing that was left out of a file because it is in another file."""

    kind = "kept-elsewhere"

    missing: ClassVar[str] = "the preprocessing of this set is not in its file; load it from the file that has it"

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Raises `InputError`."""
        raise InputError(self.missing)

    def inverse(self, images: torch.Tensor) -> torch.Tensor:
        """Raises `InputError`."""
        raise InputError(self.missing)

    def state(self) -> dict[str, torch.Tensor]:
        """No tensors."""
        return {}

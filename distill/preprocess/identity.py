"""Preprocessings that change nothing: none at all, and one whose values are in another file."""

from typing import ClassVar

import torch

from distill.errors import InputError
from distill.preprocess.base import Preprocessing

__all__ = ["Identity", "KeptElsewhere"]


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

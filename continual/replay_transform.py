"""What is done to replayed images in training: as the stream does it, or as the user says."""

import warnings
from collections.abc import Callable
from typing import Any, Literal

from torch import Tensor

from continual.augmentation import check_augmentation
from continual.items import Items
from continual.transforms import stream_augmentation

__all__ = ["ReplayTransform", "Transform"]

Transform = Callable[[Tensor], Tensor] | Literal["stream"] | None


class ReplayTransform:
    """The option `transform` of a buffer, and `current`, the function of one image that it has become.

    `owner`: whose option it is, for the warning.
    """

    def __init__(self, given: Transform, *, owner: str) -> None:
        self.given, self.owner = given, owner
        self.current: Any = None if given == "stream" else given
        self._unsaid = ""  # why the training transform cannot be repeated, until a strategy comes that replays

    def resolve(self, dataset: Any, items: Items) -> None:
        """Find out what is done to the images of `dataset` in training, before anything is stored."""
        image = items.images[0].flatten() if items.layout.vectors else items.images[0]
        if self.given == "stream":
            self.current, self._unsaid = stream_augmentation(dataset, image, self.current)
        elif self.given is not None:
            check_augmentation(self.given, image)

    def warn(self, strategy: Any) -> None:
        """Warn once that images come back as they are, unless the strategy wants them so."""
        if not self._unsaid or getattr(strategy, "augments_by_itself", None) is True:
            return
        reason, self._unsaid = self._unsaid, ""
        warnings.warn(
            f"the training transform of the stream {reason}: replayed images come back without it; give "
            f"{self.owner} transform=, a function of one image tensor, or transform=None",
            stacklevel=3,
        )

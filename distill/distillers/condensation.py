"""What DM, DSA and MTT share: images alone are learned, by SGD, in the networks of dataset condensation."""

from dataclasses import dataclass
from typing import Literal, get_args

from distill.distillers.stepwise_networks import StepwiseInNetworks
from distill.errors import InputError
from distill.runtime.checks import require_choice, require_not_negative

__all__ = ["Condensation", "CondensationNorm"]

CondensationNorm = Literal["none", "instance", "layer", "group"]


@dataclass(frozen=True, kw_only=True)
class Condensation(StepwiseInNetworks):
    """Base of methods by which SGD moves the images, with siamese augmentation; soft labels keep initial values."""

    augment: bool = True
    """Use siamese augmentation: the same random operation for the real and the distilled images of a class."""
    flip: bool | None = None
    """Include horizontal flips in the augmentation. Default: for RGB images only; turn off for RGB digits or letters.
    """
    learning_rate: float
    """Learning rate of SGD on the images; constant."""
    momentum: float = 0.5
    """Momentum of SGD on the images."""
    network: str = "dcconv"
    norm: CondensationNorm = "instance"
    """Normalization of the network: "none", "instance", "layer" or "group"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self, "norm", get_args(CondensationNorm))
        require_not_negative(self, "momentum")

    def check_images(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Raise `InputError` where mirror images or the network do not go with the images."""
        if self.flip and image_shape[0] == 1:
            raise InputError(
                "flip=True needs RGB images, but these have one channel; flipped digits or clothes belong to no class"
            )
        super().check_images(image_shape, num_classes)

    def mirrors(self, image_shape: tuple[int, int, int]) -> bool:
        """Whether augmentation may mirror such images."""
        return image_shape[0] == 3 if self.flip is None else self.flip

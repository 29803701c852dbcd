"""Images that are learned through the codec that they will be stored with."""

from dataclasses import dataclass

from torch import Tensor

from distill.preprocess import Preprocessing
from distill.sets.codecs import ImageCodec, coded

__all__ = ["LOSSY_SHARE", "ThroughCodec"]

LOSSY_SHARE = 0.3  # of the updates, for codecs whose gradient is only estimated


@dataclass(frozen=True)
class ThroughCodec:
    """How networks see images that are learned, from `first_step` on: encoded by `codec` and decoded.

    - `preprocessing`: of the images. `groups`: how many images follow each other of each class; a set is encoded so.
    """

    codec: ImageCodec
    preprocessing: Preprocessing
    groups: tuple[int, ...]
    first_step: int

    def __call__(self, images: Tensor) -> Tensor:
        """What comes back of `images` `(n, channels, height, width)`; differentiable as `coded` says."""
        return coded(images, self.codec, self.preprocessing, groups=self.groups)

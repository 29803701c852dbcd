"""Images that are preprocessed when they are indexed, for sets too large to hold as floats."""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Protocol

import numpy as np
import torch

from distill.data.pixels import positions_in_chunks, unit_pixels

__all__ = ["PixelMap", "StreamedImages", "is_large"]

STREAM_ABOVE = 4 * 2**30  # bytes of float32


def is_large(shape: Sequence[int]) -> bool:
    """Whether images of shape `(n, ...)` are too many to hold as float32 tensors."""
    return 4 * int(np.prod(shape, dtype=object)) > STREAM_ABOVE


class PixelMap(Protocol):
    """The part of a `Preprocessing` that streamed images use."""

    kind: ClassVar[str]

    def forward(self, pixels: torch.Tensor, /) -> torch.Tensor:
        """Pixels in [0, 1] of shape `(n, channels, height, width)` to network input of the same shape."""

    def state(self) -> Mapping[str, torch.Tensor]:
        """The tensors that determine `forward`."""


class StreamedImages:
    """In place of a float tensor `(n, channels, height, width)`: images are preprocessed when they are indexed.

    Offers what distillers use of a tensor: shape, type and device, `len`, indexing, `split` and `to`. `images[:]` is
    the whole tensor. Images are preprocessed as float32 and then converted: a batch equals that of the tensor that
    `Preprocessing.apply` makes of the same set if the preprocessing works pixel by pixel, and differs from it by
    rounding if it multiplies matrices.

    - `pixels`: uint8 `(m, height, width, channels)`, an array or a memory map.
    - `preprocessing`: the map from pixels in [0, 1] to the images.
    - `positions`: which of `pixels` the images are, int64 `(n,)`; `None`: all.
    - `device`, `dtype`: those of the resulting tensors; the preprocessing runs on that device.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        preprocessing: PixelMap,
        *,
        positions: np.ndarray | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.pixels, self.preprocessing, self.positions = pixels, preprocessing, positions
        self.device, self.dtype = torch.device(device), dtype

    def __len__(self) -> int:
        return len(self.pixels if self.positions is None else self.positions)

    @property
    def shape(self) -> torch.Size:
        """Number of images, channels, height, width."""
        height, width, channels = self.pixels.shape[1:]
        return torch.Size((len(self), channels, height, width))

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return 4

    def is_floating_point(self) -> bool:
        """Whether the resulting tensors are floats."""
        return self.dtype.is_floating_point

    def __getitem__(self, index: torch.Tensor | slice) -> torch.Tensor:
        """The preprocessed images at positions (int64 `(k,)`), where a mask (bool `(n,)`) is true, or in a slice."""
        wanted = self._positions(index)
        images = torch.empty((len(wanted), *self.shape[1:]), dtype=self.dtype, device=self.device)
        start = 0
        for chunk in positions_in_chunks(wanted, self.shape[1:]):
            stop = start + len(chunk)
            images[start:stop] = self.preprocessing.forward(unit_pixels(self.pixels[chunk], self.device))
            start = stop
        return images

    def split(self, size: int) -> Iterator[torch.Tensor]:
        """All images in order, preprocessed, `size` at a time; one empty batch if there are none, as `Tensor.split`."""
        return (self[start : start + size] for start in range(0, max(len(self), 1), size))

    def to(self, device: str | torch.device, dtype: torch.dtype) -> "StreamedImages":
        """The same images for another device or float type; `self` if nothing changes."""
        if torch.device(device) == self.device and dtype == self.dtype:
            return self
        return StreamedImages(self.pixels, self.preprocessing, positions=self.positions, device=device, dtype=dtype)

    def select(self, index: torch.Tensor | slice) -> "StreamedImages":
        """The images of `images[index]`, still streamed; no pixel is copied."""
        chosen = self._positions(index)
        return StreamedImages(
            self.pixels, self.preprocessing, positions=chosen, device=self.device, dtype=self.dtype
        )

    def _positions(self, index: torch.Tensor | slice) -> np.ndarray:
        """Positions in `pixels`."""
        if isinstance(index, slice):
            chosen = np.arange(len(self))[index]
        else:
            chosen = index.detach().cpu().numpy()
            if chosen.ndim != 1 or chosen.dtype not in (np.bool_, np.int64):
                raise IndexError(f"index is {index.dtype} of shape {tuple(index.shape)}; expected int64 or bool (k,)")
            if chosen.dtype == np.bool_:
                if len(chosen) != len(self):
                    raise IndexError(f"the mask has {len(chosen)} entries for {len(self)} images")
                chosen = np.flatnonzero(chosen)
        return chosen if self.positions is None else self.positions[chosen]

    def __repr__(self) -> str:
        return f"StreamedImages(shape={tuple(self.shape)}, dtype={self.dtype}, device={self.device})"

"""uint8 images as float pixels in [0, 1], in chunks of bounded memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

__all__ = ["chunk_length", "positions_in_chunks", "unit_pixels"]

CHUNK_IMAGES = 4096  # whitening 50 000 CIFAR images at once would need three copies of them
CHUNK_VALUES = 2**24  # fewer of larger images, so that a chunk takes 64 MB


def chunk_length(image_shape: Sequence[int]) -> int:
    """How many images of shape `image_shape`, axes in any order, to hold as floats at a time."""
    return max(1, min(CHUNK_IMAGES, CHUNK_VALUES // max(int(np.prod(image_shape)), 1)))


def positions_in_chunks(positions: np.ndarray, image_shape: Sequence[int]) -> Iterator[np.ndarray]:
    """`positions` `(n,)` in order, in chunks of at most `chunk_length`."""
    length = chunk_length(image_shape)
    return (positions[start : start + length] for start in range(0, len(positions), length))


def unit_pixels(images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """uint8 `(n, height, width, channels)` to float32 `(n, channels, height, width)` in [0, 1], on `device`."""
    if not images.flags.writeable:  # a memory map; torch warns of such arrays
        images = np.array(images)
    # Moved as bytes, which are a quarter of the floats.
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float().div_(255).contiguous()

"""Vectors whose Euclidean distance says how alike two images are: their pixels, their pattern, their structure."""

from collections.abc import Callable

import numpy as np
from scipy.ndimage import gaussian_filter

__all__ = ["EMBEDDINGS", "Embedding", "centred", "pixels", "structure"]

Embedding = Callable[[np.ndarray], np.ndarray]  # images (n, H, W, channels) to vectors (n, d), float64

LOCAL = 2.0  # pixels: standard deviation of the neighbourhood that local contrast is about
SMALLEST_SIDE = 4  # of an image that is halved once more
LEAST_CONTRAST = 0.1  # of the image's own, below which local contrast is not made larger


def pixels(images: np.ndarray) -> np.ndarray:
    """The pixels: their distance is the root of the mean square difference of a pixel.

    >>> float(np.linalg.norm(np.subtract(*pixels(np.stack([np.zeros((2, 2, 1)), np.full((2, 2, 1), 0.5)])))))
    0.5
    """
    flat = flattened(images)
    return flat / np.sqrt(flat.shape[1])


def centred(images: np.ndarray) -> np.ndarray:
    """The pixels less their mean, with length 1: their distance is `sqrt(2 - 2 r)` for a correlation r.

    Blind to brightness and contrast. An image of one colour becomes 0.
    """
    flat = flattened(images)
    flat -= flat.mean(1, keepdims=True)
    return unit(flat)


def structure(images: np.ndarray) -> np.ndarray:
    """Edges and texture at several scales, blind to brightness and to local contrast, with length 1.

    At each scale, the image less its blurred self, over the local standard deviation, as in the structure term of SSIM
    (Wang et al. 2004); then the image is halved, down to four pixels. All scales have the same weight.
    """
    current, parts = images.astype(np.float64), []
    while True:
        parts.append(unit(flattened(local_contrast(current))))
        height, width = (side - side % 2 for side in current.shape[1:3])
        if min(height, width) < 2 * SMALLEST_SIDE:
            return np.concatenate(parts, axis=1) / np.sqrt(len(parts))
        even = current[:, :height, :width]
        current = even.reshape(len(even), height // 2, 2, width // 2, 2, -1).mean((2, 4))


def local_contrast(images: np.ndarray) -> np.ndarray:
    """Each pixel less the mean of its neighbourhood, over the standard deviation there."""
    edges = images - blurred(images)
    spread = np.sqrt(np.maximum(blurred(edges**2), 0))
    least = LEAST_CONTRAST * images.std(axis=(1, 2, 3), keepdims=True)
    return edges / np.maximum(spread + least, np.finfo(float).tiny)


def blurred(images: np.ndarray) -> np.ndarray:
    """Images under a Gaussian blur of their rows and columns."""
    return gaussian_filter(images, (0, LOCAL, LOCAL, 0), mode="reflect")


def flattened(images: np.ndarray) -> np.ndarray:
    """Images as vectors `(n, d)` float64, a copy."""
    return images.reshape(len(images), -1).astype(np.float64)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors with length 1, in place; those that are as good as 0 become 0."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 1e-9)


EMBEDDINGS: dict[str, Embedding] = {"pixels": pixels, "correlation": centred, "perceptual": structure}

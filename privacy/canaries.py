"""Canaries: records that show whether training memorises, half of them planted and half held out by coins."""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from privacy.errors import InputError, shown
from privacy.validation import as_array, finite_floats, require_one_of, require_whole

__all__ = ["Canaries", "CanaryKind", "make_canaries"]

CanaryKind = Literal["mislabelled", "out_of_distribution", "near_duplicate"]
NOISE = 0.02  # of the range of all pixels: standard deviation of what a near duplicate differs by


@dataclass(frozen=True, eq=False)
class Canaries:
    """Canaries, and which of them are to be planted.

    Train on the data and the planted ones, `canaries.plant(images, labels)`; score all of them with an attack, and give
    the scores and `planted` to `canary_report`.
    """

    images: np.ndarray
    """Images `(n, ...)`, of the shape and type that were given."""
    labels: np.ndarray
    """Labels `(n,)` int64."""
    planted: np.ndarray
    """The coins, boolean `(n,)`: each canary is planted with probability 1/2, whatever the others are."""
    kind: CanaryKind
    """How they were made."""
    sources: np.ndarray
    """Position `(n,)` of the image that each was made from."""

    def __len__(self) -> int:
        return len(self.labels)

    def plant(self, images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels to train on: those given, and the planted canaries after them.

        Raises `InputError` for images of another shape, or a number of labels that does not fit.
        """
        given, own = as_array(images, "images", ndim=self.images.ndim), as_array(labels, "labels", ndim=1)
        if given.shape[1:] != self.images.shape[1:] or own.shape != given.shape[:1]:
            raise InputError(
                f"images have shape {given.shape} and labels {own.shape}; expected (n, "
                f"{', '.join(map(str, self.images.shape[1:]))}), as the canaries are, and (n,)"
            )
        added = self.images[self.planted], self.labels[self.planted]
        return np.concatenate([given, added[0]]), np.concatenate([own, added[1]])

    def __repr__(self) -> str:
        return f"Canaries({len(self)} {self.kind}, {int(self.planted.sum())} planted)"


def make_canaries(
    images: Any, labels: Any, n: int, kind: CanaryKind = "mislabelled", *, classes: int | None = None, seed: int = 0
) -> Canaries:
    """`n` canaries made from images; each is planted or held out by a fair coin of its own.

    How many are planted is therefore random, about half: with exactly half the coins would depend on each other, and
    `epsilon_from_canaries` needs coins that do not. Planted and held-out canaries are made alike, so that only
    training tells them apart.

    - `images` `(N, ...)`: numbers, any layout; `labels` `(N,)`, integers. Take images that nothing else is trained on,
      such as spare ones: a mislabelled canary whose image is also among the training data, with its own label, is
      another experiment.
    - `n`: at most N. Each is made from another image, picked at random; `canaries.sources` says which.
    - `kind`: "mislabelled" (default), an image with the label of another class, at random; "out_of_distribution", the
      pixels of an image in random order, with a random label; "near_duplicate", an image with its own label and noise
      of 2 % of the range of all pixels, which tests whether a copy of a given image can be told from the image.
    - `classes`: number of classes C, by default the highest label plus one.
    - `seed`: of sources, labels, pixels and coins.

    Raises `InputError` where labels do not fit images, `n` exceeds their number, or there is only one class for
    mislabelled canaries.

    >>> import numpy as np
    >>> images, labels = np.zeros((50, 8, 8), np.uint8), np.arange(50) % 10
    >>> canaries = make_canaries(images, labels, 20, seed=1)
    >>> canaries
    Canaries(20 mislabelled, 8 planted)
    >>> bool((canaries.labels == labels[canaries.sources]).any())
    False
    """
    pixels, own = checked_data(images, labels)
    require_whole("n", n, least=2)
    require_one_of("kind", kind, get_args(CanaryKind))
    require_whole("seed", seed, least=0)
    if n > len(own):
        raise InputError(f"n is {n}, more than the {len(own)} images; each canary is made from another one")
    count = checked_classes(classes, own, kind)
    random = np.random.default_rng(seed)
    sources = random.choice(len(own), n, replace=False)
    planted = random.random(n) < 0.5
    made, true = pixels[sources], own[sources]
    if kind == "mislabelled":
        return Canaries(made, (true + random.integers(1, count, n)) % count, planted, kind, sources)
    if kind == "out_of_distribution":
        scrambled = random.permuted(made.reshape(n, -1), axis=1).reshape(made.shape)
        return Canaries(scrambled, random.integers(0, count, n), planted, kind, sources)
    return Canaries(with_noise(made, pixels, random), true, planted, kind, sources)


def with_noise(images: np.ndarray, among: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Images with Gaussian noise, within the range of all images and of their own type."""
    low, high = float(among.min()), float(among.max())
    noisy = np.clip(images + random.normal(0, NOISE * (high - low), images.shape), low, high)
    return noisy.round().astype(images.dtype) if images.dtype.kind in "iu" else noisy.astype(images.dtype)


def checked_data(images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images of numbers, and integer labels, one for each; raises `InputError` for anything else."""
    pixels, own = as_array(images, "images", ndim=4), as_array(labels, "labels", ndim=1)
    if pixels.ndim < 2 or 0 in pixels.shape or pixels.dtype.kind not in "fiu":
        raise InputError(f"images are {pixels.dtype} of shape {pixels.shape}; expected numbers, (n, ...)")
    finite_floats(pixels, "images")
    if own.shape != pixels.shape[:1] or own.dtype.kind not in "iu" or own.min() < 0:
        raise InputError(
            f"labels are {own.dtype} of shape {own.shape}; expected ({len(pixels)},), one integer, 0 or more, for each "
            "image"
        )
    return pixels, own.astype(np.int64)


def checked_classes(classes: Any, labels: np.ndarray, kind: CanaryKind) -> int:
    """The number of classes; raises `InputError` where labels exceed it, or there is no other class."""
    count = int(labels.max()) + 1
    if classes is not None:
        require_whole("classes", classes, least=1)
        if classes < count:
            raise InputError(f"classes is {classes}, but labels go up to {count - 1}; expected {count} or more")
        count = int(classes)
    if kind == "mislabelled" and count < 2:
        raise InputError(f"classes is {shown(count)}; a mislabelled canary needs at least 2")
    return count

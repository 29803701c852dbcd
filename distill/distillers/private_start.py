"""Where privately distilled images start: noise, noisy sums of smoothed images, or public images."""

import math
from typing import Literal

import torch
from torch import Tensor

from distill.accounting.accountant import Release
from distill.accounting.noise_stream import NoiseStream
from distill.accounting.noisy_sums import clip_factors, noisy_group_sums
from distill.errors import InputError
from distill.preprocess import PreprocessedImages
from distill.sets.synthetic import SyntheticSet

__all__ = ["PrivateInit", "low_frequencies", "noisy_means", "public_images", "start_images", "start_releases"]

PrivateInit = Literal["noise", "class-means", "clusters", "public"]

AT_ONCE = 5000  # images
IMAGE_CLIP = 0.36  # root mean square of the pixels of an image, above which it is clipped
OFFSET_CLIP = 0.18  # the same of the difference of an image from the noisy mean of its class
COUNT_WEIGHT = 0.3  # of the count of a group beside the sum of its images, both in units of the clip
MEANS_NOISE = 2.5  # of the first release of "clusters", in units of the second's: sums over whole classes are larger
SMALLEST_GROUP = 0.2  # of the expected size of a group: noisy counts below that are not believed


def start_releases(init: PrivateInit, noise_multiplier: float) -> tuple[Release, ...]:
    """What a start by `init` releases, with this noise."""
    if init == "class-means":
        return (Release("sums of the images of each class", noise_multiplier),)
    if init == "clusters":
        means = Release("sums of the images of each class", MEANS_NOISE * noise_multiplier)
        return means, Release("sums of the images of each cluster, less their class's mean", noise_multiplier)
    return ()


def start_images(
    data: PreprocessedImages,
    class_ids: Tensor,
    *,
    init: PrivateInit,
    noise_multiplier: float,
    noise_std: float,
    frequencies: int,
    noise: NoiseStream,
    directions: torch.Generator,
) -> Tensor:
    """Images `(m, channels, height, width)` to start from, of `class_ids` `(m,)`, equally many of each class in order.

    - "noise": normal of standard deviation `noise_std`. "class-means": the noisy mean of each class, plus such noise.
    - "clusters": images of a class are divided by which of random directions their difference from the noisy mean
      of the class points to most; the start is the noisy mean of each part.

    Means are taken of pixels in [0, 1], and of their lowest `frequencies` x `frequencies` cosine coefficients alone,
    so that there are fewer numbers to add noise to. `noise` draws what hides the records, `directions` the rest.
    """
    shape = (len(class_ids), *data.image_shape)
    if init == "noise":
        return torch.randn(shape, generator=directions) * noise_std
    coefficients = torch.cat(
        [low_frequencies(data.preprocessing.inverse(chunk.cpu()), frequencies) for chunk in data.images.split(AT_ONCE)]
    )
    present = torch.unique(data.labels)
    groups = torch.searchsorted(present, data.labels)
    clip = IMAGE_CLIP * math.sqrt(math.prod(data.image_shape))
    single = init == "class-means"
    means_noise = noise_multiplier if single else MEANS_NOISE * noise_multiplier
    means = noisy_means(
        coefficients, groups, len(present), clip=clip, noise_multiplier=means_noise, noise=noise
    )
    own = torch.searchsorted(present, class_ids)
    started = means[own]
    if not single:
        started = started + cluster_offsets(
            coefficients - means[groups], groups, own, data.image_shape, noise_multiplier, noise, directions
        )
    images = data.preprocessing.forward(from_low_frequencies(started, data.image_shape))
    return images + torch.randn(shape, generator=directions) * noise_std if single else images


def cluster_offsets(
    offsets: Tensor, groups: Tensor, own: Tensor, image_shape: tuple[int, int, int], noise_multiplier: float,
    noise: NoiseStream, directions: torch.Generator,
) -> Tensor:  # fmt: skip
    """Noisy means of `offsets` `(n, d)` of each cluster of each of the classes `groups` `(n,)`: `(m, d)` for `own`."""
    classes, side = int(own.max()) + 1, math.isqrt(offsets.shape[1] // image_shape[0])
    per_class = len(own) // classes
    towards = random_directions(len(own), image_shape[0], side, directions).view(classes, per_class, -1)
    nearest = torch.empty(len(offsets), dtype=torch.long)
    for c in range(classes):
        mine = groups == c
        nearest[mine] = (offsets[mine] @ towards[c].T).argmax(1)
    return noisy_means(
        offsets, groups * per_class + nearest, len(own),
        clip=OFFSET_CLIP * math.sqrt(math.prod(image_shape)), noise_multiplier=noise_multiplier, noise=noise,
    )  # fmt: skip


def noisy_means(
    vectors: Tensor, groups: Tensor, count: int, *, clip: float, noise_multiplier: float, noise: NoiseStream
) -> Tensor:
    """The mean of the vectors `(n, d)` of each group, clipped: one release of noisy sums and noisy counts together."""
    weight = COUNT_WEIGHT * clip
    vectors = vectors.double()
    clipped = vectors * clip_factors(vectors.norm(dim=1), clip)[:, None]
    counted = torch.cat([clipped, clipped.new_full((len(clipped), 1), weight)], 1)
    sums = noisy_group_sums(
        counted, groups, count, clip=math.hypot(clip, weight), noise_multiplier=noise_multiplier, noise=noise
    )
    least = max(1.0, SMALLEST_GROUP * len(vectors) / count)  # the number of records is public
    return (sums[:, :-1] / (sums[:, -1:] / weight).clamp_min(least)).float()


def public_images(path: str, data: PreprocessedImages, class_ids: Tensor) -> Tensor:
    """The first images of each class of the synthetic set at `path`; raises `InputError` where it has too few."""
    given = SyntheticSet.load(path)
    if given.images.shape[1:] != data.image_shape or not given.preprocessing.same_as(data.preprocessing):
        raise InputError(
            f"{path} has images of {tuple(given.images.shape[1:])}, preprocessed by {given.preprocessing.kind}; "
            f"expected {data.image_shape} by {data.preprocessing.kind}, as the private images are"
        )
    chosen = []
    for class_id, wanted in zip(*torch.unique(class_ids, return_counts=True), strict=True):
        positions = torch.nonzero(given.class_ids == class_id).squeeze(1)
        if len(positions) < wanted:
            raise InputError(f"{path} has {len(positions)} images of class {int(class_id)}; expected {int(wanted)}")
        chosen.append(positions[:wanted])
    return given.images[torch.cat(chosen)].float()


def cosines(side: int, frequencies: int) -> Tensor:
    """The lowest `frequencies` rows, all where there are fewer, of the orthonormal cosine transform of that side."""
    points = (torch.arange(side, dtype=torch.float64) + 0.5) / side
    rows = torch.cos(math.pi * torch.arange(min(frequencies, side), dtype=torch.float64)[:, None] * points)
    return (rows / rows.norm(dim=1, keepdim=True)).float()


def low_frequencies(images: Tensor, frequencies: int) -> Tensor:
    """The lowest cosine coefficients of images `(n, channels, height, width)`, in rows: norms do not grow."""
    down, across = cosines(images.shape[2], frequencies), cosines(images.shape[3], frequencies)
    return torch.einsum("ka,ncab,lb->nckl", down, images.float(), across).flatten(1)


def from_low_frequencies(coefficients: Tensor, image_shape: tuple[int, int, int]) -> Tensor:
    """Images `(n, channels, height, width)` that have these coefficients alone."""
    channels, height, width = image_shape
    side = math.isqrt(coefficients.shape[1] // channels)
    down, across = cosines(height, side), cosines(width, side)
    return torch.einsum("ka,nckl,lb->ncab", down, coefficients.view(-1, channels, side, side), across)


def random_directions(count: int, channels: int, side: int, generator: torch.Generator) -> Tensor:
    """Random unit vectors of cosine coefficients, `(count, channels * side**2)`: low frequencies vary most."""
    frequency = torch.arange(side).float()
    spread = 1 / (1 + frequency[:, None].square() + frequency.square()).sqrt()
    drawn = torch.randn(count, channels, side, side, generator=generator) * spread
    return torch.nn.functional.normalize(drawn.flatten(1), dim=1)

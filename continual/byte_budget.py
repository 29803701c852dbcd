"""How many images fit in a memory of so many bytes."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch

from continual.delivery import Key
from continual.items import Items
from continual.memory import Memory
from distill import EncodedSet, ImageCodec, InputError, Preprocessing, SyntheticSet
from distill.distillers.initialize import choose_per_class
from distill.sets.codecs import LabelCodec
from distill.sets.synthetic import initial_labels

__all__ = ["ByteBudget", "ImageSize", "Room", "check_pixels", "most_that_fits", "sample_of"]

SAMPLED_PER_CLASS = 20  # real images that are encoded to find out how many bytes one takes
SAMPLED = 400  # of all classes together
SPARE = 1.15  # real images to choose, of those expected to fit
LEARNED = 1.1  # bytes of a learned image, of those of a real one
EXACT = 1.01  # how far images of a fixed size may be off: class ids take more or fewer bytes by their order
OUTSIDE = 0.05  # how far pixels may be outside of [0, 1]


@dataclass(frozen=True)
class ImageSize:
    """What images take: `overhead + n * each` bytes for `n` of them; `exact`: whatever they show."""

    each: float
    overhead: float
    exact: bool

    def expected(self, *, learned: bool) -> float:
        """Bytes to expect of one more image; `learned`: one that is not real."""
        return self.each * (LEARNED if learned and not self.exact else 1)

    @classmethod
    def measured(cls, sample: SyntheticSet, codec: ImageCodec, labels: LabelCodec) -> "ImageSize":
        """The size of the images of `sample`, found by encoding them once, twice, and with nothing on them.

        >>> from distill import Random, codec_of, load_images
        >>> from distill.sets.codecs import label_codec_of
        >>> digits = Random().distill(load_images("digits"), images_per_class=20)
        >>> ImageSize.measured(digits, codec_of("uint8"), label_codec_of("float16"))
        ImageSize(each=84.0, overhead=43.0, exact=True)
        """

        def nbytes(images: SyntheticSet) -> int:
            return EncodedSet.encode(images, codec=codec, labels=labels).nbytes

        once = nbytes(sample)
        twice = nbytes(sample.subset(torch.arange(len(sample)).repeat_interleave(2)))
        blank = nbytes(replace(sample, images=torch.zeros_like(sample.images)))
        each = (twice - once) / len(sample)
        return cls(each, max(0.0, once - len(sample) * each), exact=blank == once)


def sample_of(
    items: Items, classes: tuple[str, ...], preprocessing: Preprocessing, generator: torch.Generator
) -> SyntheticSet:
    """Some real images of each class of `items`, one class after the other."""
    per_class = min(SAMPLED_PER_CLASS, max(1, SAMPLED // len(torch.unique(items.labels))))
    chosen = choose_per_class(items.labels, per_class, generator)
    class_ids = items.labels[chosen]
    labels = initial_labels(class_ids, len(classes))
    return SyntheticSet(items.images[chosen].float(), labels, class_ids, classes, preprocessing)


def check_pixels(sample: SyntheticSet, codec: ImageCodec) -> None:
    """Raise `InputError` when real images are outside of what the codec stores: their preprocessing is not known."""
    if codec.space != "pixels":
        return
    pixels = codec.to_stored(sample.images, sample.preprocessing)
    back = codec.decode(codec.encode(pixels), pixels.shape)
    low, high = float(pixels.min()), float(pixels.max())
    outside = low < -OUTSIDE or high > 1 + OUTSIDE
    if outside and float(back.min()) >= 0 and float(back.max()) <= 1:
        raise InputError(
            f"the pixels of the stream run from {low:.2f} to {high:.2f}, but codec {codec.spec} stores 0 to 1; give "
            'preprocessing=, that of the stream\'s tensors, or a codec with ":scaled" behind it'
        )


@dataclass(frozen=True)
class Room:
    """What a memory may hold once a delivery has come.

    - `nbytes`: of all images. `shared`: all groups share them anew; otherwise those without new images stay as they
      are.
    - `groups`: how many share. `expected`: how many real images of these groups fit, about. `exact`: not about.
    """

    nbytes: int
    shared: bool
    groups: int
    expected: float
    exact: bool

    def places(self, *, learned: bool) -> int:
        """How many images to plan for; what does not fit in the end is dropped.

        Of real images some more than expected to fit. Of `learned` ones, which belong together, as many as surely fit,
        equally many of each group; or where the next delivery makes them fewer anyway, as many as expected.
        """
        if not learned:
            return math.ceil(self.expected * (1 if self.exact else SPARE))
        if self.shared:
            return int(self.expected)
        fit = self.expected / (1 if self.exact else LEARNED)
        return max(1, int(fit / self.groups + 0.5)) * self.groups

    def check(self, count: int) -> None:
        """Raise `InputError` when `count` images are more than can fit."""
        if count > self.expected * (EXACT if self.exact else LEARNED):
            raise InputError(self.too_many(count, int(self.expected)))

    def too_many(self, count: int, fit: int) -> str:
        """What is wrong when only `fit` of `count` images fit."""
        return (
            f"{count} images of {self.groups} classes do not fit in {self.nbytes} bytes, about {fit} do; expected "
            f"images_per_class of at most {fit // self.groups}, none to get what fits, more memory_bytes or another "
            "codec"
        )


@dataclass(frozen=True)
class ByteBudget:
    """`memory_bytes` for `num_classes` classes: so many for each, or with `adaptive` all of them from the start."""

    memory_bytes: int
    num_classes: int
    adaptive: bool

    def room(self, memory: Memory, new: Mapping[Key, int], size: ImageSize) -> Room:
        """What `memory` may hold with images of the groups in `new`, those of this `size`.

        If there are more groups than classes, as where every task has its own, all share `memory_bytes`.
        """
        groups = len(memory.seen.keys() | new.keys())
        shared = self.adaptive or groups > self.num_classes
        if shared:
            overhead = size.overhead * (1 + len(memory.deliveries))
            expected = (self.memory_bytes - overhead) / size.each
            return Room(self.memory_bytes, shared, groups, max(0.0, expected), size.exact)
        others = memory.nbytes_without(new)
        so_far = self.memory_bytes * groups // self.num_classes
        nbytes = min(so_far, others + self.memory_bytes * len(new) // self.num_classes)
        expected = (nbytes - others - size.overhead) / size.each
        return Room(nbytes, shared, len(new), max(0.0, expected), size.exact)

    def images_per_class(self, size: ImageSize, new: int, *, learned: bool) -> int:
        """About how many images of each class fit, of `new` classes that come together; 0 where not even one does."""
        room = self.memory_bytes / self.num_classes - size.overhead / new
        return max(0, int(room / size.expected(learned=learned) + 1e-9))  # what is exactly enough is enough

    def check(self, size: ImageSize, new: int, *, learned: bool, what: str) -> None:
        """Raise `InputError` when not even one image of each class fits; `new`: classes that come together.

        `what`: how images are encoded, in words.
        """
        if self.images_per_class(size, new, learned=learned) < 1:
            first = size.expected(learned=learned) + size.overhead / new
            raise InputError(
                f"memory_bytes is {self.memory_bytes} for {self.num_classes} classes, but an image takes about "
                f"{first:.0f} bytes as {what}; expected at least {math.ceil(self.num_classes * first)}, or a codec "
                "that takes less"
            )


def most_that_fits(nbytes_of: Callable[[int], int], nbytes: int, most: int) -> int:
    """The greatest number up to `most` for which `nbytes_of` is at most `nbytes`; 0 is taken to fit.

    >>> most_that_fits(lambda count: 5 + 10 * count, 78, 100)
    7
    """
    if (size := nbytes_of(most)) <= nbytes:
        return most
    low, high, low_size, high_size = 0, most, 0, size
    tries = 0
    while high - low > 1:
        tries += 1
        share = 0.5 if tries % 3 == 0 else (nbytes - low_size) / max(1, high_size - low_size)
        middle = min(max(low + int(share * (high - low)), low + 1), high - 1)
        if (size := nbytes_of(middle)) <= nbytes:
            low, low_size = middle, size
        else:
            high, high_size = middle, size
    return low

"""The base of every image codec, and codecs by their names."""

import difflib
import typing
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, ClassVar, Literal

import numpy as np
import torch

from distill.errors import InputError, shown
from distill.preprocess import Preprocessing
from distill.runtime.checks import check_option_types, positions, require_a, require_whole
from distill.sets.codecs.sealed import seal, unseal

__all__ = ["ImageCodec", "Shape", "codec_of", "coded"]

Shape = tuple[int, int, int, int]


@dataclass(frozen=True)
class ImageCodec(ABC):
    """How images lie in memory: `encode` turns a pack of images into bytes, `decode` turns them back.

    A codec is a frozen dataclass of its parameters. It has a `kind`, under which it is registered when it is defined,
    and is written as a spec: the kind and the parameters, "webp:50". One of your own defines `kind`, `_encode`,
    `_decode` and, where images of a pack can be taken out without coding them again, `_subset`.

    - `space`: what `encode` takes and `decode` gives: "pixels", in [0, 1] for real images, or "input", the input of
      the network. The preprocessing between the two, such as a whitening matrix, is not part of a payload, nor of its
      bytes: the stream needs it anyway, for every test image.
    - `per_image`: whether `subset` takes images out of a pack without coding them again.
    - `differentiable`: whether the gradient of `coded` takes the codec into account; otherwise it passes straight.

        >>> codec = codec_of("webp:50")
        >>> images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> payload = codec.encode(images)
        >>> codec.decode(payload, images.shape).shape
        torch.Size([5, 3, 32, 32])
        >>> len(codec.subset(payload, images.shape, [0, 3])) < len(payload)
        True
    """

    kind: ClassVar[str]
    kinds: ClassVar[dict[str, type["ImageCodec"]]] = {}
    space: ClassVar[Literal["input", "pixels"]] = "pixels"
    differentiable: ClassVar[bool] = False

    def __init_subclass__(cls) -> None:
        if "kind" in cls.__dict__:
            ImageCodec.kinds[cls.kind] = cls

    def __post_init__(self) -> None:
        check_option_types(self)

    # -- names ---------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> str:
        """The text that `codec_of` reads as this codec; parameters at the end that have their defaults are left out."""
        ordered = _parameters(type(self))
        words = [str(getattr(self, field.name)) for field in ordered]
        while words and ordered[len(words) - 1].default == getattr(self, ordered[len(words) - 1].name):
            words.pop()
        return ":".join([self.kind, *words])

    @classmethod
    def from_words(cls, words: str) -> "ImageCodec":
        """The codec whose parameters are the `words` behind its kind in a spec, "50:scaled"."""
        given, ordered = words.split(":") if words else [], _parameters(cls)
        required = [field.name for field in ordered if field.default is MISSING]
        if not len(required) <= len(given) <= len(ordered):
            wanted = ":".join([cls.kind, *(field.name.upper() for field in ordered)])
            raise InputError(f"codec {cls.kind!r} was given {len(given)} parameters; expected {wanted}")
        hints = typing.get_type_hints(cls)
        values = {}
        for field, word in zip(ordered, given, strict=False):
            kind = hints[field.name] if hints[field.name] in (int, float) else str
            try:
                values[field.name] = kind(word)
            except ValueError:
                raise InputError(f"{field.name} of codec {cls.kind!r} is {word!r}; expected a number") from None
        return cls(**values)

    # -- bytes ---------------------------------------------------------------------------------------------------

    def encode(self, images: torch.Tensor, *, groups: Sequence[int] | None = None) -> bytes:
        """One payload for all `images`: float tensor `(n, channels, height, width)` in the space of this codec.

        - `groups`: how many images, one group after the other, are likely to be taken out together, such as those of a
          class; `None`: all are one group. Only a codec that is not `per_image` makes use of it.

        The same images give the same bytes. The last 4 are a checksum. Raises `InputError` for other tensors, NaN,
        and shapes that this codec does not take.
        """
        require_a("images", images, torch.Tensor)
        shape = _shape(images.shape)
        if not images.is_floating_point():
            raise InputError(f"images are {images.dtype}; expected floats, such as pixels in [0, 1]")
        self.check_shape(shape[1:])
        plain = images.detach().to("cpu", torch.float32)
        if not bool(torch.isfinite(plain).all()):
            raise InputError("images hold NaN or infinite values, which cannot be encoded")
        sizes = _groups(groups, len(plain))
        return seal(self._encode_groups(plain, sizes) if sizes else b"", self._meant(shape))

    def decode(self, payload: bytes, shape: Sequence[int]) -> torch.Tensor:
        """The images of a payload as a float32 tensor on the CPU; `shape`: theirs, `(n, channels, height, width)`.

        Raises `InputError` when the payload is damaged, or of another codec or shape.
        """
        shape = _shape(shape)
        body = unseal(payload, self._meant(shape))
        return self._decode(body, shape) if shape[0] else torch.zeros(shape)

    def subset(self, payload: bytes, shape: Sequence[int], chosen: Any) -> bytes:
        """The payload of the images at `chosen`: positions, or a boolean mask.

        Codecs that are not `per_image` decode and encode again, which loses a little more each time.
        Raises `InputError` when the payload is damaged or positions are out of range.
        """
        shape = _shape(shape)
        rows = positions(chosen, shape[0]) % max(shape[0], 1)  # -1 is the last
        body = unseal(payload, self._meant(shape))
        return seal(self._subset(body, shape, rows) if len(rows) else b"", self._meant((len(rows), *shape[1:])))

    def check_payload(self, payload: bytes, shape: Sequence[int]) -> None:
        """Raise `InputError` when a payload is damaged, or of another codec or shape; nothing is decoded for it."""
        unseal(payload, self._meant(_shape(shape)))

    def check_shape(self, image_shape: Sequence[int]) -> None:
        """Raise `InputError` when this codec does not take images of shape `(channels, height, width)`."""
        require_a("the shape of an image", image_shape, tuple, list)
        _, channels, height, width = _shape((0, *image_shape))
        self._check_shape(channels, height, width)

    @property
    def per_image(self) -> bool:
        """Whether `subset` takes images out of a pack without coding them again."""
        return type(self)._subset is not ImageCodec._subset

    def _check_shape(self, channels: int, height: int, width: int) -> None:  # noqa: B027 - most take every shape
        """Raise `InputError` when this codec does not take images of this shape."""

    @abstractmethod
    def _encode(self, images: torch.Tensor) -> bytes:
        """The body of a payload; `images`: one or more, float32 on the CPU, finite."""

    def _encode_groups(self, images: torch.Tensor, groups: Sequence[int]) -> bytes:
        """`_encode`, told how many images belong together."""
        return self._encode(images)

    @abstractmethod
    def _decode(self, body: bytes, shape: Shape) -> torch.Tensor:
        """The images of a body that is not damaged: float32 of `shape`."""

    def _subset(self, body: bytes, shape: Shape, rows: np.ndarray) -> bytes:
        """The body of the images at these positions, one or more."""
        return self._encode(self._decode(body, shape)[torch.from_numpy(rows)])

    def _meant(self, shape: Shape) -> str:
        return f"{self.spec} of shape {shape}"

    # -- images of a network -------------------------------------------------------------------------------------

    def to_stored(self, images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
        """Input of a network as what `encode` takes: pixels, or the same images where `space` is "input"."""
        require_a("preprocessing", preprocessing, Preprocessing, hint="Identity() where nothing was done")
        return preprocessing.inverse(images) if self.space == "pixels" else images

    def to_input(self, images: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
        """What `decode` gave as the input of a network."""
        return preprocessing.forward(images) if self.space == "pixels" else images

    def through(
        self, images: torch.Tensor, preprocessing: Preprocessing, *, groups: Sequence[int] | None = None
    ) -> torch.Tensor:
        """What comes back of the input of a network when it is encoded and decoded: same shape, dtype and device.

        `groups`: as of `encode`.
        """
        with torch.no_grad():
            payload = self.encode(self.to_stored(images, preprocessing), groups=groups)
            back = self.decode(payload, images.shape).to(images)
            return self.to_input(back, preprocessing)

    def smooth(self, stored: torch.Tensor) -> torch.Tensor:
        """The part of the round trip that can be differentiated, in the space of this codec; here none of it."""
        return stored


def coded(
    images: torch.Tensor, codec: ImageCodec, preprocessing: Preprocessing, *, groups: Sequence[int] | None = None
) -> torch.Tensor:
    """`codec.through(images, preprocessing)`, with a gradient: for images that are learned through a codec.

    The values are exactly those of `through`; `groups`: as of `encode`. The gradient is that of the differentiable part
    of the round trip (`codec.smooth`), such as shrinking and enlarging; through the rest, such as rounding and WebP, it
    passes as if nothing happened (a straight-through estimate).

        >>> from distill import Identity
        >>> images = torch.rand(2, 3, 8, 8, requires_grad=True)
        >>> coded(images, codec_of("uint8"), Identity()).sum().backward()
        >>> bool((images.grad == 1).all())
        True
    """
    require_a("images", images, torch.Tensor)
    require_a("codec", codec, ImageCodec, hint='made by codec_of("webp:50")')
    smooth = images
    if codec.differentiable:
        smooth = codec.to_input(codec.smooth(codec.to_stored(images, preprocessing)), preprocessing)
    return codec.through(images, preprocessing, groups=groups) + (smooth - smooth.detach())  # adds 0, and its gradient


def codec_of(spec: str | ImageCodec) -> ImageCodec:
    """The codec that a spec names, or the codec itself.

    - "float32", "float16": the input of the network, 4 or 2 bytes a value.
    - "uint8": pixels, 1 byte a value. "webp:QUALITY", "jpeg:QUALITY", "avif:QUALITY": a file for each image, of quality
      0 to 100. Pixels outside [0, 1] are clipped; with ":scaled" behind it ("webp:50:scaled"), the range of the pack is
      stretched to 8 bits instead.
    - "lowres:FACTOR", "lowres:FACTOR+INNER": shrunk by that factor, then coded by INNER, "uint8" if it is left out.
    - "mosaic:INNER": many images in one WebP, JPEG or AVIF file.

    Raises `InputError` for other specs.

        >>> codec_of("lowres:2+webp:50").inner.quality
        50
        >>> codec_of("jpeg:75").spec
        'jpeg:75'
    """
    if isinstance(spec, ImageCodec):
        return spec
    require_a("the codec", spec, str, hint='such as "webp:50"')
    kind, _, words = spec.partition(":")
    if kind not in ImageCodec.kinds:
        close = difflib.get_close_matches(kind, ImageCodec.kinds, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise InputError(f"unknown codec {shown(spec)}; known: {', '.join(sorted(ImageCodec.kinds))}{hint}")
    return ImageCodec.kinds[kind].from_words(words)


def _parameters(cls: type[ImageCodec]) -> list[Any]:
    """The fields of a codec as they follow each other in a spec: those by keyword alone last."""
    return sorted(fields(cls), key=lambda field: field.kw_only)


def _shape(given: Any) -> Shape:
    """A shape as four whole numbers; raises `InputError` for anything else."""
    require_a("the shape of images", given, tuple, list)
    if len(given) != 4:
        raise InputError(f"images have shape {tuple(given)}; expected (n, channels, height, width)")
    for size, least in zip(given, (0, 1, 1, 1), strict=True):
        require_whole("a size of images", size, least=least)
    n, channels, height, width = map(int, given)
    return n, channels, height, width


def _groups(given: Any, count: int) -> list[int]:
    """The sizes of groups of `count` images, one or more each."""
    if given is None:
        given = [count]
    require_a("groups", given, tuple, list, hint="how many images each group has")
    for size in given:
        require_whole("the size of a group", size)
    if sum(given) != count:
        raise InputError(f"groups add up to {sum(given)} for {count} images; expected the size of each group")
    return [int(size) for size in given if size]

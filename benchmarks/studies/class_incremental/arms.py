"""What fills a buffer, how it lies there, and how much of it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from benchmarks.harness.methods import METHODS, NOT_PRIVATE, distiller_class
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions
from distill import InputError
from distill.distillers.stepwise import StepwiseDistiller
from distill.sets.codecs import codec_of, label_codec_of

__all__ = ["IMAGES_PER_CLASS", "Arm", "arms_of", "default_labels", "equal_arms", "parsed_arm", "parsed_arms"]

IMAGES_PER_CLASS = 20  # the paper's memory


@dataclass(frozen=True)
class Arm:
    """A method, codecs for its images and labels, and a number of images or of bytes per class.

    - `through`: whether the method learns its images through the codec.
    """

    method: str
    codec: str
    labels: str
    images_per_class: int | None = None
    memory_bytes: int | None = None
    through: bool = False

    @property
    def name(self) -> str:
        """The method and what is not the default, for tables and plots."""
        words = [self.method]
        own_labels = self.labels != default_labels(self.method, self.codec)
        if self.codec != "float32" or own_labels or self.through:
            words.append(self.codec)
        if own_labels:
            words.append(f"labels {self.labels}")
        if self.through:
            words.append("through")
        return " ".join(words)

    def at(self, memory_bytes: int) -> "Arm":
        """The same with that many bytes per class."""
        return replace(self, memory_bytes=memory_bytes, images_per_class=None)


def default_labels(method: str, codec: str) -> str:
    """How labels lie in memory by default: as the class ids alone, where they follow from these."""
    if codec == "float32":
        return "float32"
    return "uint8" if distiller_class(method).makes_labels else "hard"


def parsed_arm(text: str) -> Arm:
    """`METHOD/CODEC`, `METHOD/CODEC/LABELS` or `METHOD/CODEC/through` as an arm; raises `InputError` for others."""
    method, *rest = text.split("/")
    labels = [word for word in rest[1:] if word != "through"]
    if method not in METHODS or not rest or len(labels) > 1:
        raise InputError(
            f"--arms names {text!r}; expected METHOD/CODEC, such as frepo/webp:50; methods: {', '.join(NOT_PRIVATE)}"
        )
    if METHODS[method].private:
        raise InputError(
            f"--arms names {text!r}, but {method} takes no memory in bytes: how many images fit would be measured on "
            "private ones"
        )
    codec, through = codec_of(rest[0]).spec, "through" in rest[1:]
    if through and not issubclass(distiller_class(method), StepwiseDistiller):
        raise InputError(f"--arms names {text!r}, but {method} learns no images; leave out /through")
    return Arm(
        method, codec, label_codec_of(labels[0]).spec if labels else default_labels(method, codec), through=through
    )


def parsed_arms(texts: Iterable[str]) -> dict[str, Arm]:
    """The arms by what names them; raises `InputError` where two texts name the same."""
    arms: dict[str, Arm] = {}
    for text in dict.fromkeys(texts):
        arm = parsed_arm(text)
        if same := [other for other, known in arms.items() if known == arm]:
            raise InputError(f"--arms {same[0]} and {text} are the same; leave one out")
        arms[text] = arm
    return arms


def arms_of(options: ClassIncrementalOptions, methods: tuple[str, ...]) -> tuple[Arm, ...]:
    """The arms of the class-incremental benchmark; raises `InputError` for codecs that are unknown."""
    if options.images_per_class is not None and options.memory_bytes is not None:
        raise InputError("--images-per-class and --memory-bytes are both given; leave one of them out")
    in_bytes = options.memory_bytes is not None
    if in_bytes and (private := [method for method in methods if METHODS[method].private]):
        raise InputError(
            f"--memory-bytes was given with {', '.join(private)}: how many images fit would be measured on private "
            "ones; give --images-per-class"
        )
    codec = codec_of(options.codec or ("webp:50" if in_bytes else "float32")).spec
    labels = None if options.labels is None else label_codec_of(options.labels).spec
    return tuple(
        Arm(method, codec, labels or default_labels(method, codec), options.images_per_class, options.memory_bytes)
        for method in methods
    )


def equal_arms(options: ClassIncrementalOptions, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
    """The same methods stored with the codec in which they are compared at equal bytes; none where all are equal."""
    if options.memory_bytes is not None or options.equal_bytes == "none" or len(arms) < 2:
        return ()
    codec = codec_of(options.equal_bytes).spec
    return tuple(replace(arm, codec=codec, labels=default_labels(arm.method, codec)) for arm in arms)

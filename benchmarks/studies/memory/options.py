"""The options of the benchmark of replay memories."""

from dataclasses import dataclass
from typing import ClassVar

from benchmarks.harness.options import More, Presets
from benchmarks.studies.class_incremental.options import PRESETS, ArmOptions

__all__ = ["MemoryOptions"]

# Real images with the codecs that serve them best, and a teacher's labels; learned ones through the same codecs.
ARMS = (
    "random/uint8", "random/lowres:2", "random/webp:50", "random/mosaic:avif:30", "random-teacher/mosaic:avif:30",
    "herding/uint8", "herding/webp:50", "herding/mosaic:avif:30",
    "herding-teacher/webp:50", "herding-teacher/mosaic:avif:30",
    "frepo/uint8", "frepo/webp:50", "frepo/webp:50/through", "frepo/mosaic:avif:30/through",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MemoryOptions(ArmOptions):
    """What should a replay memory of a given number of bytes hold? Accuracy against bytes per class.

    Every arm gets the same bytes per class, images, labels and class ids counted, and fills them with as many images as
    fit. After the last class-incremental step, networks are trained from scratch on the memory alone (GDumb), all by
    the same recipe, and tested on all classes.
    """

    main: ClassVar[str] = "benchmarks.studies.memory.study:main"
    presets: ClassVar[Presets] = PRESETS
    memory_bytes: tuple[int, ...] = (1536, 6144, 24_576, 61_440)
    """Bytes per class; a curve has a point for each."""
    arms: tuple[str, ...] = ARMS
    """What fills the memory: METHOD/CODEC, METHOD/CODEC/through for images learned through the codec they are stored
    with, or METHOD/CODEC/LABELS for a codec of the labels other than the default: hard for real images, uint8 for soft
    labels."""
    most_images: More[int] = 100
    """Points at which a method would have to learn more images per class than this are left out, and named."""

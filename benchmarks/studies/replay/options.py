"""The options of the benchmark of replay in Avalanche's own strategies."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchmarks.harness.options import More, Presets
from benchmarks.studies.class_incremental.options import PRESETS, ArmOptions

__all__ = ["NO_REPLAY", "ReplayOptions", "StrategyName"]

StrategyName = Literal["naive", "er-ace", "der", "gdumb"]
NO_REPLAY = "none"
ARMS = (NO_REPLAY, "random/uint8", "random/webp:50", "herding/webp:50", "frepo/uint8", "frepo/webp:50")


@dataclass(frozen=True, kw_only=True)
class ReplayOptions(ArmOptions):
    """Does distilled replay help strategies that keep training one network? Accuracy and forgetting at equal bytes.

    Avalanche's Naive with ReplayPlugin, ER-ACE and DER++ train one network along the stream, by the same recipe for
    every memory; GDumb trains one from scratch after every step, by the recipe of --train-....
    """

    main: ClassVar[str] = "benchmarks.studies.replay.study:main"
    presets: ClassVar[Presets] = PRESETS
    strategies: tuple[StrategyName, ...] = ("naive", "er-ace", "der", "gdumb")
    """Strategies: naive (experience replay by Avalanche's ReplayPlugin), er-ace, der (DER++), gdumb."""
    arms: tuple[str, ...] = ARMS
    """What fills the memory: METHOD/CODEC, METHOD/CODEC/through or METHOD/CODEC/LABELS, as in the benchmark of
    memories; "none" is naive without replay."""
    memory_bytes: int | None = None
    """Bytes per class: images, labels and class ids, and the logits of der. Default: 6144, or what 8 images take as
    pixels if that is less."""
    most_images: More[int] = 100
    """Arms for which a method would have to learn more images per class than this are left out, and named."""
    updates: int | None = None
    """Updates of naive, er-ace and der per step. Default: one epoch of the largest step, or 50 if that is less."""
    learning_rate: More[float] = 1e-3
    """Learning rate of naive, er-ace and der: Adam, constant."""
    batch_size: More[int] = 32
    """Current images per update of naive, er-ace and der."""
    replay_batch_size: More[int] = 32
    """Replayed images per update of naive, er-ace and der."""
    alpha: More[float] = 0.1
    """Weight of the logits in der."""
    beta: More[float] = 0.5
    """Weight of the labels of replayed images in der."""

"""Online streams: experiences that come in many small sub-experiences."""

from dataclasses import dataclass
from typing import Any

from avalanche.benchmarks import OnlineCLExperience

from continual.items import Items
from continual.memory import Memory

__all__ = ["Collected", "has_boundaries", "is_last"]


@dataclass
class Collected:
    """The sub-experiences of an online experience so far, and the memory before them."""

    origin: int  # index of the experience
    items: Items
    counted: tuple[int | None, ...]  # indices of the sub-experiences
    before: Memory
    transform: Any  # of the images in training


def has_boundaries(experience: Any) -> bool:
    """Whether this is a sub-experience with access to the experience that it belongs to."""
    return (
        isinstance(experience, OnlineCLExperience)
        and experience.access_task_boundaries
        and experience.origin_experience is not None
    )


def is_last(experience: Any, count: int) -> bool:
    """Whether no more sub-experiences follow the first `count`.

    Avalanche 0.6 leaves `is_last_subexp` off where the experience divides evenly, so they are counted as well.
    """
    return bool(experience.is_last_subexp) or count == experience.sub_stream_length

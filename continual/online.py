"""Online streams: experiences that come in many small sub-experiences."""

from typing import Any

from avalanche.benchmarks import OnlineCLExperience

__all__ = ["has_boundaries", "is_last"]


def has_boundaries(experience: Any) -> bool:
    """Whether this is a sub-experience that tells which experience it is a part of."""
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

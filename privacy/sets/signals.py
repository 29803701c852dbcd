"""What a distilled set says of each record: distances to its images, and the loss of its kernel ridge regression."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from privacy.sets.embeddings import EMBEDDINGS
from privacy.sets.features import Features
from privacy.sets.images import LabelledImages
from privacy.sets.nearest import Nearest, nearest, nearest_of_class
from privacy.shadow import shadow_outputs

__all__ = ["Signal", "distance_signals", "ridge_signals", "shrunk_deviations"]

SHARED = 4  # weight of the variance that all records share against a record's own, in references
FLOOR = 1e-6  # of the median distance: what a distance of 0 counts as in a ratio


@dataclass(frozen=True, eq=False)
class Signal:
    """What one attack says."""

    title: str
    """The attack's name in prose."""
    scores: np.ndarray
    """Scores of all records, `(n,)`, higher for more like a member."""
    nearest: np.ndarray
    """Position of the image of the set that the score, or a person, compares each record with, `(n,)`."""


@dataclass(frozen=True)
class Distance:
    """One way to measure how near a record is to a set."""

    name: str
    title: str
    embedding: str
    of_class: bool


DISTANCES = (
    Distance("nearest-of-class", "nearest of its class", "pixels", True),
    Distance("nearest", "nearest of all", "pixels", False),
    Distance("correlation", "correlation", "correlation", True),
    Distance("perceptual", "structure", "perceptual", True),
)


def distance_signals(
    distilled: LabelledImages,
    records: LabelledImages,
    public: LabelledImages | None,
    references: Sequence[LabelledImages],
) -> tuple[dict[str, Signal], np.ndarray]:
    """All distances, raw and calibrated, by name; and the plain distance `(n,)` to the nearest image of the class."""
    sets = [distilled, *([] if public is None else [public]), *references]
    signals: dict[str, Signal] = {}
    for each in DISTANCES:
        own, *others = (nearest_of_class if each.of_class else nearest)(records, sets, EMBEDDINGS[each.embedding])
        signals |= calibrated(each, own, others[0] if public is not None else None, others[public is not None :])
    return signals, -signals["nearest-of-class"].scores


def calibrated(
    each: Distance, own: Nearest, public: Nearest | None, references: Sequence[Nearest]
) -> dict[str, Signal]:
    """One distance by itself, and compared with that to public images and to the images of reference sets.

    An image that is easily come near to, such as an empty one, is near to every set. Compared are logarithms: a
    distilled image that has hardly left the record it started from is nearer to it by a factor.
    """
    signals = {each.name: Signal(each.title, -own.distance, own.position)}
    if public is not None:
        scores = log_distance(public) - log_distance(own)
        signals[f"{each.name}-public"] = Signal(f"{each.title} / public", scores, own.position)
    if references:
        logs = np.stack([log_distance(reference) for reference in references])
        scores = (logs.mean(0) - log_distance(own)) / shrunk_deviations(logs)
        signals[f"{each.name}-references"] = Signal(f"{each.title} / references", scores, own.position)
    return signals


def log_distance(found: Nearest) -> np.ndarray:
    """Logarithms of distances, finite also where one is 0."""
    return np.log(found.distance + FLOOR * max(float(np.median(found.distance)), np.finfo(float).tiny))


def shrunk_deviations(values: np.ndarray) -> np.ndarray:
    """Standard deviation `(n,)` over references of values `(references, n)`, drawn towards that of all records.

    Few references say little of a single record's own: the shared variance counts as four more of them. 1 where there
    is a single reference, or no variance at all.
    """
    freedom = len(values) - 1
    own = values.var(0, ddof=1) if freedom else np.zeros(values.shape[1])
    shared = float(own.mean())
    return np.sqrt((freedom * own + SHARED * shared) / (freedom + SHARED)) if shared > 0 else np.ones(values.shape[1])


def ridge_signals(
    distilled: LabelledImages,
    records: LabelledImages,
    references: Sequence[LabelledImages],
    features: Features,
    compared: np.ndarray,
) -> dict[str, Signal]:
    """The loss of kernel ridge regression on the set, by itself and compared with that on reference sets.

    `compared`: the image of the set shown beside each record, `(n,)`.
    """
    classes = number_of_classes([distilled, records, *references])
    labels = [ridge_labels(own, classes) for own in (distilled, *references)]
    outputs = shadow_outputs(features.records, features.sets, labels)
    losses = np.stack([
        squared_errors(given, records.labels, own) for given, own in zip(outputs, labels, strict=True)
    ])
    signals = {"krr": Signal("ridge loss", -losses[0], compared)}
    if references:
        scores = (losses[1:].mean(0) - losses[0]) / shrunk_deviations(losses[1:])
        signals["krr-references"] = Signal("ridge loss / references", scores, compared)
    return signals


def number_of_classes(sides: Sequence[LabelledImages]) -> int:
    """Columns of the soft labels, or the highest class plus one."""
    return max(side.soft.shape[1] if side.soft is not None else int(side.labels.max()) + 1 for side in sides)


def ridge_labels(own: LabelledImages, classes: int) -> np.ndarray:
    """What a set's predictor is fitted to, `(n, C)`: its soft labels, or one-hot labels less `1 / C`."""
    if own.soft is not None:
        return np.pad(own.soft, ((0, 0), (0, classes - own.soft.shape[1])))
    return np.eye(classes)[own.labels] - 1 / classes


def squared_errors(outputs: np.ndarray, labels: np.ndarray, fitted_to: np.ndarray) -> np.ndarray:
    """Half the squared error `(n,)` against one-hot labels, less `1 / C` where the set's own labels sum to about 0."""
    classes = outputs.shape[1]
    centre = 1 / classes if abs(float(fitted_to.sum(1).mean())) < 0.5 else 0.0
    return 0.5 * ((outputs - np.eye(classes)[labels] + centre) ** 2).sum(1)

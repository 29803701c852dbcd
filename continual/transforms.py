"""The training transform of a stream, for images that were stored after its eval transform."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from continual.augmentation import Augmentation, OnPixels, Step, Unnormalize, agree, check_augmentation, commute, sample
from continual.transform_equality import same_step
from distill import InputError

__all__ = ["stream_augmentation"]

# Steps that turn an image into a tensor, or change its type: stored images are float tensors already.
CONVERSIONS = {"ToTensor", "PILToTensor", "ToImage", "ToDtype", "ConvertImageDtype", "ToPILImage", "ToPureTensor"}
ROUNDING = 1.5 / 255  # by how much a step on bytes may differ from the same on floats


@dataclass(frozen=True, eq=False)
class Repeated:
    """The steps of a training transform that are repeated on the result of the eval transform.

    - `undo`: first, to undo a normalisation. `early`: those before the conversion to a float tensor; `late`: those
      after it. `crossed`: steps of both transforms that came after some of these, and are done already.
    """

    undo: list[Step]
    early: list[Step]
    late: list[Step]
    crossed: list[Step]

    def new(self) -> list[Step]:
        """Those that the eval transform lacks, in order."""
        return [step for step in (*self.early, *self.late) if not is_normalize(step)]


def stream_augmentation(
    dataset: Any, image: Tensor, previous: Augmentation | None = None
) -> tuple[Augmentation | None, str]:
    """What the training transform of an Avalanche `dataset` does beyond its eval transform, on tensors; or `None`.

    Normalisation is undone before and repeated after, so that padding has the same colour as in training. Steps that
    both transforms share are done already. It is tried on `image`, a result of the eval transform; `previous` is
    returned if nothing has changed. The second value is why the transform cannot be repeated, or an empty text.
    """
    found = list(augmentations_of(dataset))
    if not any(each.early or each.late for each in found):
        return None, ""
    if not all(same_step(vars(each), vars(found[0])) for each in found):
        return None, "differs from image to image"
    source = {"steps": vars(found[0]), "shape": tuple(image.shape), "dtype": image.dtype}
    if previous is not None and same_step(previous.source, source):
        return previous, ""
    try:
        augmentation = Augmentation(steps_on_tensors(found[0], image), source)
        check_augmentation(augmentation, image)
    except InputError as error:
        return None, f"does not work on the stored tensors ({error})"
    return augmentation, ""


def steps_on_tensors(repeated: Repeated, image: Tensor) -> list[Step]:
    """All steps in order, on bytes if they need that. Raises `InputError` if their order does not allow it."""
    undo, early, late = repeated.undo, repeated.early, repeated.late
    tried = sample(image)
    on_bytes = bool(early) and not agree(Augmentation(early), OnPixels(early), tried, tolerance=ROUNDING)
    if repeated.crossed and (on_bytes or not commute(repeated.new(), repeated.crossed, tried)):
        raise InputError(
            f"{Augmentation(repeated.new())!r} must come before {Augmentation(repeated.crossed)!r}, which is done"
        )
    # Only where it is needed: distilled images may be outside [0, 1], bytes cannot.
    return [*undo, OnPixels(early), *late] if on_bytes else [*undo, *early, *late]


def augmentations_of(dataset: Any) -> Iterator[Repeated]:
    """For each subset of the data with its own transforms, the steps to repeat on its stored images."""
    for train, evaluate in chains(dataset._flat_data):
        undo = [Unnormalize(step) for step in reversed(evaluate) if is_normalize(step)]
        if not all(is_normalize(step) for step in evaluate[len(evaluate) - len(undo) :]):
            undo = []  # another step follows the normalisation, which cannot be undone
        done = [step for step in evaluate if not (undo and is_normalize(step))]
        floats = max((i for i, step in enumerate(train) if makes_floats(step)), default=-1)
        repeated = Repeated(list(undo), [], [], [])
        for i, step in enumerate(train):
            shared = next((other for other in done if same_step(step, other)), None)
            if shared is not None:
                done.remove(shared)
                if repeated.new() and type(step).__name__ not in CONVERSIONS:
                    repeated.crossed.append(step)
            elif type(step).__name__ not in CONVERSIONS:
                (repeated.early if i < floats else repeated.late).append(step)
        normalizations = [[step for step in steps if is_normalize(step)] for steps in (train, evaluate)]
        changes = repeated.new() or not same_step(*normalizations)
        yield repeated if changes else Repeated([], [], [], [])


def makes_floats(step: Any) -> bool:
    """Whether a step converts an image of bytes to a float tensor."""
    name, dtype = type(step).__name__, getattr(step, "dtype", None)
    if name in ("ToDtype", "ConvertImageDtype"):
        return bool(getattr(dtype, "is_floating_point", True))  # a dict of them is for images and more
    return name == "ToTensor"


def chains(data: Any) -> Iterator[tuple[list[Any], list[Any]]]:
    """The steps of the training and the eval transform, once for each path through a tree of Avalanche datasets."""
    own = [steps_of(data, name) for name in ("train", "eval")]
    seen: list[tuple[list[Any], list[Any]]] = []
    for inner in getattr(data, "_datasets", None) or [None]:
        for train, evaluate in chains(inner) if hasattr(inner, "_transform_groups") else [([], [])]:
            both = ([*train, *own[0]], [*evaluate, *own[1]])
            if both not in seen:
                seen.append(both)
                yield both


def steps_of(data: Any, name: str) -> list[Any]:
    """The steps of one level of the tree in the transform group `name`; frozen transforms come first."""
    steps = []
    for kind in ("_frozen_transform_groups", "_transform_groups"):
        groups = getattr(data, kind).transform_groups
        with contextlib.suppress(KeyError):
            steps += flat(groups[name])  # some groups create missing entries
    return steps


def flat(transform: Any) -> list[Any]:
    """A transform of images as the steps it consists of."""
    if transform is None:
        return []
    name = type(transform).__name__
    if name == "TupleTransform":
        return flat(transform.transforms[0]) if transform.transforms else []
    if name in ("MultiParamCompose", "Compose"):
        return [step for inner in transform.transforms for step in flat(inner)]
    if name == "MultiParamTransformCallable":
        return flat(transform.transform)
    if type(transform) is nn.Sequential:
        return [step for inner in transform for step in flat(inner)]
    return [transform]


def is_normalize(step: Any) -> bool:
    """Whether a step is torchvision's `Normalize`, of either version."""
    return type(step).__name__ == "Normalize" and hasattr(step, "mean") and hasattr(step, "std")

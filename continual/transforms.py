"""The training transform of a stream, for images that were kept as its eval transform gave them."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from continual.augmentation import Augmentation, OnPixels, Step, Unnormalize, agree, check_augmentation, commute, sample
from continual.same import same_step
from distill import InputError

__all__ = ["stream_augmentation"]

# Steps that make a tensor of an image, or another type of it: what is kept is a float tensor already.
CONVERSIONS = {"ToTensor", "PILToTensor", "ToImage", "ToDtype", "ConvertImageDtype", "ToPILImage", "ToPureTensor"}
ROUNDING = 1.5 / 255  # what a step on bytes may differ by from the same on floats


@dataclass(frozen=True, eq=False)
class Repeated:
    """The steps of a training transform that are to be repeated on what the eval transform gave.

    `undo`: first, to take back a normalisation; `early`: those that stood before the image was made a float tensor;
    `late`: those after; `crossed`: steps of both transforms that came after some of these, and are done already.
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

    Normalisation is undone before and done again after, so that padding is the colour that it is in training. Steps
    that both transforms share are done already. Tried on `image`, one as the eval transform gives it; `previous` is
    given back where nothing has changed. Where it cannot be repeated comes the reason, else an empty text.
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
        return None, f"does not work on the tensors that are kept ({error})"
    return augmentation, ""


def steps_on_tensors(repeated: Repeated, image: Tensor) -> list[Step]:
    """All steps in order; those on bytes that need them on bytes. Raises `InputError` where order forbids it."""
    undo, early, late = repeated.undo, repeated.early, repeated.late
    tried = sample(image)
    on_bytes = bool(early) and not agree(Augmentation(early), OnPixels(early), tried, tolerance=ROUNDING)
    if repeated.crossed and (on_bytes or not commute(repeated.new(), repeated.crossed, tried)):
        raise InputError(
            f"{Augmentation(repeated.new())!r} must come before {Augmentation(repeated.crossed)!r}, which is done"
        )
    # Distilled images may leave [0, 1], which bytes cannot: only where it is needed.
    return [*undo, OnPixels(early), *late] if on_bytes else [*undo, *early, *late]


def augmentations_of(dataset: Any) -> Iterator[Repeated]:
    """For each part of the data that has transforms of its own, the steps to repeat on what is kept of it."""
    for train, evaluate in chains(dataset._flat_data):
        undo = [Unnormalize(step) for step in reversed(evaluate) if is_normalize(step)]
        if not all(is_normalize(step) for step in evaluate[len(evaluate) - len(undo) :]):
            undo = []  # something else follows the normalisation, which cannot be undone
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
    """Whether a step makes a float tensor of an image of bytes."""
    name, dtype = type(step).__name__, getattr(step, "dtype", None)
    if name in ("ToDtype", "ConvertImageDtype"):
        return bool(getattr(dtype, "is_floating_point", True))  # a dict of them is for images and more
    return name == "ToTensor"


def chains(data: Any) -> Iterator[tuple[list[Any], list[Any]]]:
    """The steps of the training and the eval transform, once for each way through a tree of Avalanche datasets."""
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
            steps += flat(groups[name])  # some groups make up what is missing
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

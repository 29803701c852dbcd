"""The training transform of a stream, for images that were kept as its eval transform gave them."""

import contextlib
import random
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from distill import InputError

__all__ = ["Augmentation", "Unnormalize", "stream_augmentation"]

# Steps that make a tensor of an image, or another type of it: what is kept is a float tensor already.
CONVERSIONS = {"ToTensor", "PILToTensor", "ToImage", "ToDtype", "ConvertImageDtype", "ToPILImage", "ToPureTensor"}


class Unnormalize:
    """The inverse of a torchvision `Normalize`."""

    def __init__(self, normalize: Any) -> None:
        self.mean, self.std = (torch.as_tensor(value).flatten() for value in (normalize.mean, normalize.std))

    def __call__(self, image: Tensor) -> Tensor:
        """The image as it was before."""
        mean, std = (value.to(image).view(-1, 1, 1) for value in (self.mean, self.std))
        return image * std + mean

    def __repr__(self) -> str:
        return "Unnormalize()"


class Augmentation:
    """Transforms of one image tensor, one after the other."""

    def __init__(self, steps: list[Callable[[Any], Any]]) -> None:
        self.steps = steps

    def __call__(self, image: Tensor) -> Tensor:
        """The image `(channels, height, width)` after all steps."""
        for step in self.steps:
            image = step(image)
        return image

    def __repr__(self) -> str:
        return " -> ".join(repr(step) for step in self.steps)


def stream_augmentation(dataset: Any, image: Tensor) -> Augmentation | None:
    """What the training transform of an Avalanche `dataset` does beyond its eval transform, on tensors; or `None`.

    Normalisation is undone before and done again after, so that padding is the colour that it is in training. Steps
    that both transforms share are done already. Tried on `image`, one as the eval transform gives it; where that
    fails, or changes its shape, warns and gives `None`.
    """
    found = list(dict.fromkeys(map(describe, augmentations_of(dataset))))
    if not found or found == [""]:
        return None
    if len(found) > 1:
        warn_of_none("differs from image to image")
        return None
    augmentation = Augmentation(next(steps for steps in augmentations_of(dataset) if steps))
    try:
        check_augmentation(augmentation, image)
    except InputError as error:
        warn_of_none(f"does not work on the tensors that are kept ({error})")
        return None
    return augmentation


def check_augmentation(augmentation: Callable[[Tensor], Any], image: Tensor) -> None:
    """Raise `InputError` unless `augmentation` makes of a copy of `image` one like it; draws no random number."""
    state = random.getstate()
    with torch.random.fork_rng(devices=[]):
        try:
            made = augmentation(image.clone())
        except Exception as error:  # what a transform of the user's own may raise is anybody's guess
            reason = (str(error).splitlines() or [""])[0]
            raise InputError(f"{augmentation!r}: {type(error).__name__}: {reason}") from error
        finally:
            random.setstate(state)
    if not isinstance(made, Tensor) or made.shape != image.shape or not made.is_floating_point():
        given = f"{made.dtype} of shape {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
        raise InputError(f"{augmentation!r} makes {given} of {image.dtype} of shape {tuple(image.shape)}")


def warn_of_none(reason: str) -> None:
    """Warn that images come back as they are."""
    warnings.warn(
        f"the training transform of the stream {reason}: replayed images come back without it; give DistilledBuffer "
        "transform=, a function of one image tensor, or transform=None",
        stacklevel=2,
    )


def augmentations_of(dataset: Any) -> Iterator[list[Callable[[Any], Any]]]:
    """For each part of the data that has transforms of its own, the steps to repeat on what is kept of it."""
    for train, evaluate in chains(dataset._flat_data):
        undo = [Unnormalize(step) for step in reversed(evaluate) if is_normalize(step)]
        if not all(is_normalize(step) for step in evaluate[len(evaluate) - len(undo) :]):
            undo = []  # something else follows the normalisation, which cannot be undone
        done = [step for step in evaluate if not (undo and is_normalize(step))]
        steps: list[Callable[[Any], Any]] = []
        for step in train:
            shared = next((other for other in done if same_step(step, other)), None)
            if shared is not None:
                done.remove(shared)
            elif type(step).__name__ not in CONVERSIONS:
                steps.append(step)
        yield [*undo, *steps] if any(not is_normalize(step) for step in steps) else []


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


def same_step(one: Any, other: Any) -> bool:
    """Whether two steps do the same: one object, or two whose descriptions say it."""
    return one is other or (type(one) is type(other) and " at 0x" not in repr(one) and repr(one) == repr(other))


def describe(steps: list[Any]) -> str:
    """What tells one augmentation from another."""
    return " -> ".join(repr(step) for step in steps)

"""Transforms in training of images that were stored after the eval transform."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from continual.rng_state import preserve_rng_state
from distill import InputError

__all__ = ["Augmentation", "OnPixels", "Unnormalize", "agree", "check_augmentation", "commute", "sample"]

Step = Callable[[Any], Any]
DRAWS = 50  # tries of a transform: a random one may fail on tensors only sometimes


class Unnormalize:
    """The inverse of a torchvision `Normalize`."""

    def __init__(self, normalize: Any) -> None:
        self.mean, self.std = (torch.as_tensor(value).flatten() for value in (normalize.mean, normalize.std))

    def __call__(self, image: Tensor) -> Tensor:
        """The image before normalisation."""
        mean, std = (value.to(image).view(-1, 1, 1) for value in (self.mean, self.std))
        return image * std + mean

    def __repr__(self) -> str:
        return "Unnormalize()"


class Augmentation:
    """Transforms of one image tensor, one after the other. `source`: identifies the transforms of a stream."""

    def __init__(self, steps: Sequence[Step], source: Any = None) -> None:
        self.steps, self.source = list(steps), source

    def __call__(self, image: Tensor) -> Tensor:
        """The image `(channels, height, width)` after all steps."""
        for step in self.steps:
            image = step(image)
        return image

    def __repr__(self) -> str:
        return " -> ".join(repr(step) for step in self.steps)


class OnPixels(Augmentation):
    """Transforms that come before the conversion to a float tensor: they take bytes, fill with 0 to 255, and so on."""

    def __call__(self, image: Tensor) -> Tensor:
        """The image, floats in [0, 1], after all steps on its bytes."""
        made = super().__call__(image.mul(255).round().clamp(0, 255).to(torch.uint8))
        if not isinstance(made, Tensor) or made.dtype != torch.uint8:
            raise TypeError(f"makes {made.dtype if isinstance(made, Tensor) else type(made).__name__} of bytes")
        return made.to(image.dtype) / 255


def check_augmentation(augmentation: Step, image: Tensor) -> None:
    """Raise `InputError` unless `augmentation` of `image` has its shape and type, in each of `DRAWS` tries.

    The global generators keep their state.
    """
    for seed in range(DRAWS):
        with preserve_rng_state(seed):
            try:
                made = augmentation(image.clone())
            except Exception as error:  # a transform of the user may raise anything
                reason = (str(error).splitlines() or [""])[0]
                raise InputError(f"{augmentation!r}: {type(error).__name__}: {reason}") from error
        if not isinstance(made, Tensor) or made.shape != image.shape or not made.is_floating_point():
            given = f"{made.dtype} of shape {tuple(made.shape)}" if isinstance(made, Tensor) else type(made).__name__
            wanted = f"{image.dtype} of shape {tuple(image.shape)}"
            raise InputError(f"{augmentation!r} returns {given} for {wanted}; expected the same")


def agree(one: Step, other: Step, image: Tensor, *, tolerance: float) -> bool:
    """Whether two functions give the same for `image`, up to `tolerance`, in each of `DRAWS` tries."""
    return all(abs_difference <= tolerance for abs_difference in differences(one, other, image))


def differences(one: Step, other: Step, image: Tensor) -> Iterator[float]:
    """The largest difference of the results of two functions, try by try; infinity if one of them fails."""
    for seed in range(DRAWS):
        made = []
        for function in (one, other):
            with preserve_rng_state(seed):
                try:
                    made.append(function(image.clone()))
                except Exception:  # as above
                    yield torch.inf
                    return
        alike = all(isinstance(each, Tensor) and each.shape == made[0].shape for each in made)
        yield float((made[0] - made[1]).abs().max()) if alike else torch.inf


def commute(one: Sequence[Step], other: Sequence[Step], image: Tensor) -> bool:
    """Whether the order of two groups of steps makes no difference."""
    return agree(Augmentation([*one, *other]), Augmentation([*other, *one]), image, tolerance=1e-4)


def sample(image: Tensor) -> Tensor:
    """Random pixels in [0, 1] in the shape and type of `image`, to try transforms on."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, image.shape, generator=generator).to(image.dtype) / 255

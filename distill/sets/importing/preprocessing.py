"""The preprocessing that the caller states for images of another program, and its application."""

import math
from pathlib import Path

import torch

from distill.data.npz import out_of_range
from distill.errors import InputError
from distill.preprocess import Identity, KeptElsewhere, Preprocessing, Standardize
from distill.sets.synthetic import SyntheticSet

__all__ = ["FORMS", "parse_preprocessing", "preprocessed"]

FORMS = "identity, standardize:mean=M,M,M;std=S,S,S (one number per channel), or a .safetensors file of a saved set"


def parse_preprocessing(text: str, *, channels: int) -> Preprocessing:
    """The preprocessing that `text` states, for images of `channels` channels.

    `identity`; `standardize:mean=0.49,0.48,0.45;std=0.25,0.24,0.26`, one number for each channel, of pixels in
    [0, 1]; or the path of a `.safetensors` file of a `SyntheticSet`, whose preprocessing is taken.

    Raises `InputError` for anything else.

        >>> parse_preprocessing("standardize:mean=0.5;std=0.25", channels=1).mean
        tensor([0.5000])
    """
    if text == Identity.kind:
        return Identity()
    if text.endswith(".safetensors"):
        return SyntheticSet.load(text).preprocessing
    kind, _, rest = text.partition(":")
    if kind != Standardize.kind:
        raise InputError(f"preprocessing is {text!r}; expected {FORMS}")
    given = dict(part.split("=", 1) for part in rest.split(";") if "=" in part)
    if sorted(key.strip() for key in given) != ["mean", "std"] or rest.count(";") != 1:
        raise InputError(f"preprocessing is {text!r}; expected a mean and a std: standardize:mean=M,M,M;std=S,S,S")
    values = {key.strip(): _numbers(numbers, f"{key.strip()} of {text!r}", channels) for key, numbers in given.items()}
    if min(values["std"]) <= 0:
        raise InputError(f"std of {text!r} is {min(values['std']):g}; expected more than 0")
    return Standardize(torch.tensor(values["mean"]), torch.tensor(values["std"]))


def _numbers(text: str, what: str, count: int) -> list[float]:
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError as error:
        raise InputError(f"{what} is no list of numbers; expected {count}, with commas between") from error
    if len(numbers) != count:
        raise InputError(f"{what} has {len(numbers)} numbers; expected {count}, one for each channel")
    if not all(math.isfinite(number) for number in numbers):
        raise InputError(f"{what} holds NaN or infinite numbers")
    return numbers


def preprocessed(
    images: torch.Tensor, preprocessing: Preprocessing, *, pixels: bool, path: Path
) -> torch.Tensor:
    """Float images that are preprocessed as stated; raw `pixels` are preprocessed here."""
    if images.dtype == torch.uint8:
        if not pixels:
            raise InputError(
                f"images of {path} are uint8, so raw pixels; say so with `pixels`, and the stated preprocessing "
                f"({preprocessing.kind}) is applied to them"
            )
        images = images.float() / 255
    elif not images.is_floating_point():
        raise InputError(f"images of {path} are {images.dtype}; expected floats, or uint8 pixels")
    images = images.float()
    if not bool(torch.isfinite(images).all()):
        bad = int((~torch.isfinite(images).flatten(1).all(1)).sum())
        raise InputError(f"{bad} of {len(images)} images of {path} hold NaN or infinite values; remove or correct them")
    if pixels:
        if span := out_of_range(float(images.min()), float(images.max())):
            raise InputError(
                f"images of {path} run from {span}; expected pixels in [0, 1]: rescale or clip them, or leave out "
                "`pixels` if they have been preprocessed already"
            )
        images = images.clamp(0, 1)
    _check_fits(preprocessing, images)
    return preprocessing.forward(images) if pixels else images


def _check_fits(preprocessing: Preprocessing, images: torch.Tensor) -> None:
    """Raise `InputError` unless the preprocessing fits images of this shape and is known."""
    if isinstance(preprocessing, KeptElsewhere):
        raise InputError(KeptElsewhere.missing)
    if reason := preprocessing.misfit(images.shape[1:]):
        raise InputError(
            f"the stated preprocessing ({preprocessing.kind}) is not for images of shape {tuple(images.shape[1:])} "
            f"(channels, height, width), but {reason}; expected one that was fitted on images of that shape"
        )

"""Preprocessing that is no release of private records: the same for all images, or fitted on public ones."""

import torch

from distill.errors import InputError
from distill.preprocess import Identity, Preprocessing, Standardize

__all__ = ["check_not_fitted", "fixed_preprocessing"]


def fixed_preprocessing(channels: int) -> Standardize:
    """Pixels in [0, 1] to [-1, 1], whatever the images.

    >>> fixed_preprocessing(1).forward(torch.tensor([[[[0.0, 1.0]]]])).tolist()
    [[[[-1.0, 1.0]]]]
    """
    half = torch.full((channels,), 0.5)
    return Standardize(half, half.clone())


def check_not_fitted(preprocessing: Preprocessing, *, public: bool) -> None:
    """Raise `InputError` for a preprocessing that may be fitted on private records; `public`: the user says it is not.
    """
    if not public and not is_fixed(preprocessing):
        raise InputError(
            f"the images were preprocessed by {preprocessing.kind}, which may have been fitted on the private "
            "records: that would be a release without noise; give raw images, a fixed preprocessing, or "
            "public_preprocessing=True if it was fitted on public images"
        )


def is_fixed(preprocessing: Preprocessing) -> bool:
    """Whether a preprocessing is the same for all images: nothing in it was fitted."""
    if isinstance(preprocessing, Standardize):
        return preprocessing.same_as(fixed_preprocessing(len(preprocessing.mean)))
    return isinstance(preprocessing, Identity)

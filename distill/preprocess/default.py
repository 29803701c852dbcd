"""The preprocessing that the paper uses for each kind of images."""

import numpy as np

from distill.data.labelled import LabelledImages
from distill.preprocess.base import Preprocessing
from distill.preprocess.checkerboard import CheckerboardZCA
from distill.preprocess.standardize import Standardize
from distill.preprocess.zca import ZCA
from distill.runtime.checks import require_a

__all__ = ["default_preprocessing"]


def default_preprocessing(data: LabelledImages) -> Preprocessing:
    """The paper's choice, fitted on `data`: standardisation for one channel, ZCA for RGB, checkerboard ZCA for RGB
    above 64x64.

    Raises `InputError` when there are no images, or the sides of large images are not a multiple of the stride of
    `CheckerboardZCA`.

        >>> from distill import load_images
        >>> default_preprocessing(load_images("digits")).kind
        'standardize'
    """
    require_a("data", data, LabelledImages, hint="uint8 images with labels and classes")
    if data.images.shape[-1] == 1:
        return Standardize.fit(data)
    return ZCA.fit(data) if int(np.prod(data.images.shape[1:])) <= ZCA.largest else CheckerboardZCA.fit(data)

"""Invertible preprocessing: per-channel standardisation and regularised ZCA whitening.

- `base`: what every preprocessing is, and labelled images that went through one; `streamed`: of sets too large to hold.
- `identity`, `standardize`, `zca`, `checkerboard`: the preprocessings; `default`: which of them the paper takes.
"""

from distill.preprocess.base import PreprocessedImages, Preprocessing
from distill.preprocess.checkerboard import CheckerboardZCA
from distill.preprocess.default import default_preprocessing
from distill.preprocess.identity import Identity, KeptElsewhere
from distill.preprocess.standardize import Standardize
from distill.preprocess.streamed import StreamedImages
from distill.preprocess.zca import ZCA

__all__ = [
    "ZCA",
    "CheckerboardZCA",
    "Identity",
    "KeptElsewhere",
    "PreprocessedImages",
    "Preprocessing",
    "Standardize",
    "StreamedImages",
    "default_preprocessing",
]

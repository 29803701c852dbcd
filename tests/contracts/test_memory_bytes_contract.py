"""What a buffer of so many bytes must do, with every codec. Add a codec or a buffer, get its tests free."""

import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import pytest
import torch
from avalanche.training.storage_policy import ClassBalancedBuffer, ExemplarsBuffer, ReservoirSamplingBuffer

from continual import DistilledBuffer, EncodedBuffer, class_incremental
from distill import Distiller, ImageCodec, Random, Standardize, SyntheticSet, codec_of
from distill.sets.synthetic import initial_labels
from smooth_images import smooth

C, STEPS = 6, 3
SHAPE = (3, 16, 16)
PREPROCESSING = Standardize(torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4]))


@dataclass(frozen=True, kw_only=True)
class Noisy(Distiller):
    """Images that take more bytes than real ones, as distilled ones do, with soft labels."""

    method = "noisy"

    def _distill(self, data, run) -> SyntheticSet:
        rows = torch.cat([torch.nonzero(data.labels == c).squeeze(1)[: run.images_per_class] for c in data.classes_here])
        images = data.images[rows] + 0.3 * torch.randn(data.images[rows].shape, generator=run.generator(0))
        labels = initial_labels(data.labels[rows], data.num_classes)
        return SyntheticSet(images, labels, data.labels[rows], data.classes, data.preprocessing, {"method": "noisy"})


CODECS = [
    "float32", "float16", "uint8", "uint8:scaled", "webp:50", "webp:90:scaled", "jpeg:75", "lowres:2", "lowres:2+webp:50",
    "mosaic:webp:50",
]  # fmt: skip
LABELS = ["hard", "uint8", "float16", "float32"]

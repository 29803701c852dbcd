"""Where distilled images start: real images, random or herded, noise, or both."""

from typing import Literal

import torch
from torch import Tensor

from distill.distillers.herding import Herding, herded
from distill.distillers.run import Run
from distill.preprocess import PreprocessedImages
from distill.runtime.seeds import Purpose

__all__ = ["START_HERDING", "Init", "choose_per_class", "initial_images"]

Init = Literal["real", "herded", "noise", "real+noise"]

START_HERDING = Herding(steps=0, width=64, norm="instance")
"""What chooses the images of a herded start: features of an untrained network choose as well as those of a trained one
(docs/recipe.md), and cost nothing."""


def choose_per_class(labels: Tensor, images_per_class: int, generator: torch.Generator) -> Tensor:
    """Positions of `images_per_class` random images of each class present in `labels`, in class order; of a smaller
    class all."""
    chosen = []
    for class_id in torch.unique(labels):
        positions = torch.nonzero(labels == class_id).squeeze(1)
        chosen.append(positions[torch.randperm(len(positions), generator=generator)[:images_per_class]])
    return torch.cat(chosen)


def initial_images(
    data: PreprocessedImages, run: Run, *, init: Init, noise_std: float
) -> tuple[Tensor, Tensor, list[int]]:
    """Images to start from, their class ids, and the positions in `data` of the real images that are in them.

    Equally many of each class present, of a smaller class as many as it has. "real": random real images; "herded":
    those that `START_HERDING` chooses; "noise": normal of standard deviation `noise_std`; "real+noise": the sum of
    random real images and noise.
    """
    generator = run.generator(Purpose.START)
    if init == "herded":
        chosen = herded(START_HERDING, START_HERDING.trained(data, run), data, run)
    else:
        chosen = choose_per_class(data.labels, run.images_per_class, generator)
    images = data.images[chosen].clone()
    if "noise" in init:
        noise = torch.randn(images.shape, generator=generator).to(images) * noise_std
        images = noise if init == "noise" else images + noise
    return images, data.labels[chosen].clone(), [] if init == "noise" else chosen.tolist()

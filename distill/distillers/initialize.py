"""Where distilled images start: real images, noise, or both."""

from typing import Literal

import torch
from torch import Tensor

from distill.preprocess import PreprocessedImages

__all__ = ["Init", "choose_per_class", "initial_images"]

Init = Literal["real", "noise", "real+noise"]


def choose_per_class(labels: Tensor, images_per_class: int, generator: torch.Generator) -> Tensor:
    """Positions of `images_per_class` random images of each class present in `labels`, in class order; of a smaller
    class all."""
    chosen = []
    for class_id in torch.unique(labels):
        positions = torch.nonzero(labels == class_id).squeeze(1)
        chosen.append(positions[torch.randperm(len(positions), generator=generator)[:images_per_class]])
    return torch.cat(chosen)


def initial_images(
    data: PreprocessedImages,
    *,
    images_per_class: int,
    init: Init,
    noise_std: float,
    generator: torch.Generator,
) -> tuple[Tensor, Tensor, list[int]]:
    """Images to start from, their class ids, and the positions in `data` of the real images that are in them.

    Equally many of each class present, of a smaller class as many as it has. "real": random real images; "noise":
    normal of standard deviation `noise_std`; "real+noise": their sum.
    """
    chosen = choose_per_class(data.labels, images_per_class, generator)
    images = data.images[chosen].clone()
    if init != "real":
        noise = torch.randn(images.shape, generator=generator).to(images) * noise_std
        images = noise if init == "noise" else images + noise
    return images, data.labels[chosen].clone(), [] if init == "noise" else chosen.tolist()

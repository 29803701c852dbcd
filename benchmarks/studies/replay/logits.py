"""The logits that DER keeps beside the images of a buffer, in 8 bits."""

from typing import Any

import numpy as np
import torch
from avalanche.benchmarks.utils import AvalancheDataset
from torch import Tensor, nn

from benchmarks.studies.replay.replayed import read_buffer
from continual import DistilledBuffer

__all__ = ["LogitMemory", "logit_bytes"]

BATCH = 500


def logit_bytes(num_classes: int) -> int:
    """Bytes of the logits of one image: 8 bits for each class, the least of them and their step as float16."""
    return num_classes + 4


class LogitMemory:
    """The logits of every image of a buffer, as the network gave them after the step in which the image came.

    For class-incremental streams and buffers that keep what they have: new images come behind the others.

    - `images_per_class`: at most so many, for whose logits there is room.
    """

    def __init__(self, policy: DistilledBuffer, images_per_class: int) -> None:
        self.policy, self.images_per_class = policy, images_per_class
        self._codes = np.empty((0, 0), np.uint8)
        self._ranges = np.empty((0, 2), np.float16)

    @property
    def buffer(self) -> AvalancheDataset:
        """The images."""
        return self.policy.buffer

    @property
    def nbytes(self) -> int:
        """Bytes of all images, labels, class ids and logits."""
        return self.policy.nbytes + self._codes.nbytes + self._ranges.nbytes

    def post_adapt(self, strategy: Any, experience: Any) -> None:
        """Update the buffer, and keep the logits of its new images."""
        # Places that earlier steps left free are none: a step has as many images as where it is filled alone.
        new = self.images_per_class * len(experience.classes_in_this_experience)
        self.policy.resize(strategy, len(self._codes) + new)
        self.policy.post_adapt(strategy, experience)
        images, ids, *_ = read_buffer(self.policy.buffer, len(self.policy.classes or ()), strategy.device)
        before = len(self._codes)
        if set(ids[:before].tolist()) & set(ids[before:].tolist()):
            raise AssertionError("a class of an earlier step came again; logits are kept for class-incremental streams")
        codes, ranges = quantized(logits_of(strategy.model, images[before:]))
        self._codes = np.concatenate([self._codes.reshape(-1, codes.shape[1]), codes])
        self._ranges = np.concatenate([self._ranges, ranges])

    def logits(self) -> Tensor:
        """The logits `(n, C)` of all images, in the order of the buffer."""
        low, step = torch.from_numpy(self._ranges.astype(np.float32)).split(1, dim=1)
        return low + step * torch.from_numpy(self._codes)


@torch.no_grad()
def logits_of(model: nn.Module, images: Tensor) -> Tensor:
    """The logits `(n, C)` that a model gives images in evaluation, on the CPU."""
    training = model.training
    model.eval()
    found = torch.cat([model(batch) for batch in images.split(BATCH)]).float().cpu()
    model.train(training)
    return found


def quantized(logits: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Logits `(n, C)` as uint8 codes `(n, C)` and the range of each row, float16 `(n, 2)`: least value and step."""
    values = logits.numpy()
    low = values.min(1).astype(np.float16)
    step = ((values.max(1) - low.astype(np.float32)) / 255).clip(0).astype(np.float16)
    sizes = np.where(step > 0, step, 1).astype(np.float32)
    codes = np.rint((values - low.astype(np.float32)[:, None]) / sizes[:, None]).clip(0, 255).astype(np.uint8)
    return codes, np.stack([low, step], axis=1)

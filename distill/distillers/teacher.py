"""Real images with the soft labels of a teacher: what soft labels alone gain over hard ones."""

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from distill.distillers.herding import herded
from distill.distillers.initialize import choose_per_class
from distill.distillers.run import Run
from distill.distillers.selection import selected_images
from distill.distillers.trained_network import TrainsNetwork
from distill.networks import Network
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_positive
from distill.runtime.seeds import Purpose
from distill.sets.synthetic import SyntheticSet

__all__ = ["HerdingTeacher", "RandomTeacher", "TeacherLabels", "labels_of_teacher"]

NEVER = 110.0  # temperatures below the mean: exp(-110) is 0 in float32


@dataclass(frozen=True, kw_only=True)
class TeacherLabels(TrainsNetwork):
    """Real images with the soft labels of a teacher: a network trained on all of the data given, and on nothing else.

    Without it as a rival, what soft labels gain is credited to distillation. Source: Qin, Deng & Alvarez-Melis,
    *A Label is Worth a Thousand Images in Dataset Distillation* (NeurIPS 2024). Their teacher saw all classes; here it
    knows those of the data alone, in class-incremental learning those of the step.

    A subclass says in `chosen` which images. Labels are those of `labels_of_teacher`: made for the loss
    "soft-cross-entropy" of a `TrainingRecipe` of the same `temperature`.
    """

    kept_as: ClassVar[str] = "teacher"
    purpose: ClassVar[Purpose] = Purpose.NETWORKS
    selects_real_images: ClassVar[bool] = True
    makes_labels: ClassVar[bool] = True
    augments: ClassVar[bool] = True
    softness: float = 1.0
    """Temperature of the teacher's softmax; above 1, other classes get more of the probability."""
    temperature: float = 0.1
    """Temperature that labels are scaled for: that of the `TrainingRecipe` by which networks are trained on the set."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(self, "softness", "temperature")

    @abstractmethod
    def chosen(self, teacher: Network, data: PreprocessedImages, run: Run) -> Tensor:
        """Positions of the images, class after class, as many as the run wants of each class."""

    def _distill(self, data: PreprocessedImages, run: Run) -> SyntheticSet:
        teacher = self.trained(data, run)
        images = selected_images(self, data, self.chosen(teacher, data, run), run)
        with torch.no_grad():
            features = self.features(teacher, images.images)
            logits = teacher.head(features.to(teacher.head.weight)).cpu()
        present = torch.unique(data.labels)
        labels = labels_of_teacher(logits, present, softness=self.softness, temperature=self.temperature)
        return replace(images, soft_labels=labels)


@dataclass(frozen=True, kw_only=True)
class RandomTeacher(TeacherLabels):
    """Random real images of each class, those of `Random` with the same seed, with a teacher's soft labels.

    >>> from distill import load_images
    >>> RandomTeacher(steps=1, width=4, depth=1).distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by random-teacher)
    """

    method: ClassVar[str] = "random-teacher"

    def chosen(self, teacher: Network, data: PreprocessedImages, run: Run) -> Tensor:
        """Positions of random images."""
        return choose_per_class(data.labels, run.images_per_class, run.generator(Purpose.START))


@dataclass(frozen=True, kw_only=True)
class HerdingTeacher(TeacherLabels):
    """Images herded on a teacher's features, with its soft labels.

    `Herding` trains a network without augmentation, so that it may choose other images.

    >>> from distill import load_images
    >>> HerdingTeacher(steps=1, width=4, depth=1).distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by herding-teacher)
    """

    method: ClassVar[str] = "herding-teacher"

    def chosen(self, teacher: Network, data: PreprocessedImages, run: Run) -> Tensor:
        """Positions of herded images."""
        return herded(self, teacher, data, run)


def labels_of_teacher(logits: Tensor, present: Tensor, *, softness: float = 1.0, temperature: float = 0.1) -> Tensor:
    """Soft labels of which `softmax(labels / temperature)` is the teacher's `softmax(logits / softness)`.

    - `logits`: `(n, C)`. `present`: ids `(k,)` of the classes that the teacher was trained on: the softmax is over
      these, and labels have mean 0 over them. All other classes get one value, far enough below that they have no
      probability.

    >>> labels = labels_of_teacher(torch.tensor([[2.0, 1.0, 5.0]]), torch.tensor([0, 1]))
    >>> [round(p, 4) for p in (labels / 0.1).softmax(1)[0].tolist()], round(1 / (1 + 2.718281828**-1), 4)
    ([0.7311, 0.2689, 0.0], 0.7311)
    """
    scaled = temperature * F.log_softmax(logits[:, present] / softness, dim=1)
    labels = torch.full_like(logits, -NEVER * temperature)
    labels[:, present] = scaled - scaled.mean(1, keepdim=True)
    return labels

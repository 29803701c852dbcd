"""Tiny streams, a distiller that remembers what it was shown, and a recipe that remembers its labels."""

from dataclasses import dataclass, field

import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.training.plugins import EvaluationPlugin
from torch import nn

from continual.scenario import labelled_dataset
from distill import Distiller, Identity, PreprocessedImages, SyntheticSet
from distill.sets.synthetic import describe, initial_labels
from distill.training.recipe import TrainingRecipe

CLASSES = tuple("abcdef")
C = len(CLASSES)


@dataclass(frozen=True, kw_only=True)
class First(Distiller):
    """The first images of each class, with soft labels that no class id leads to; remembers what it was shown."""

    method = "first"
    strength: float = 1.0
    shown: list = field(default_factory=list)

    def _distill(self, data, run) -> SyntheticSet:
        self.shown.append({"data": data, "held_out": run.held_out, "store": run.store, "seed": run.seed})
        chosen = [torch.nonzero(data.labels == c).squeeze(1)[: run.images_per_class] for c in data.labels.unique()]
        rows = torch.cat(chosen)
        class_ids = data.labels[rows]
        labels = initial_labels(class_ids, data.num_classes) + 0.01 * data.images[rows].mean((1, 2, 3)).unsqueeze(1)
        made_by = describe(self.method, self.options())
        return SyntheticSet(data.images[rows], labels, class_ids, data.classes, data.preprocessing, made_by)

    def options(self) -> dict:
        return {"strength": self.strength}


def images(n: int = 60, seed: int = 0, labels: torch.Tensor | None = None) -> PreprocessedImages:
    labels = torch.arange(n) % C if labels is None else labels
    drawn = torch.randn(len(labels), 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return PreprocessedImages(drawn, labels, CLASSES, Identity())


def stream(*parts: PreprocessedImages):
    """A train stream with these experiences."""
    return benchmark_from_datasets(train=[labelled_dataset(part.images, part.labels) for part in parts]).train_stream


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, C))


def silent() -> EvaluationPlugin:
    return EvaluationPlugin()


@dataclass(frozen=True, kw_only=True)
class SpyRecipe(TrainingRecipe):
    labels: list = field(default_factory=list)

    def criterion(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.labels.append(labels.clone())
        return super().criterion(logits, labels)

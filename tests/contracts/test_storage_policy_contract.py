"""What every storage policy must do for GDumb and for Avalanche's ReplayPlugin. Add a policy, get its tests free."""

import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from avalanche.training import Naive
from avalanche.training.plugins import EvaluationPlugin, ReplayPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer, ExemplarsBuffer
from torch import nn

from continual import DistilledBuffer, EncodedBuffer, GDumb, SoftLabelLoss, class_incremental, with_soft_labels
from distill import Distiller, Herding, Identity, PreprocessedImages, Random, SyntheticSet
from distill.sets.synthetic import describe, initial_labels
from distill.training.recipe import TrainingRecipe

CLASSES = tuple("abcdef")
C = len(CLASSES)
STEPS = 3


@dataclass(frozen=True, kw_only=True)
class First(Distiller):
    """The first images of each class, with soft labels that no class id leads to."""

    method = "first"

    def _distill(self, data, run) -> SyntheticSet:
        chosen = [torch.nonzero(data.labels == c).squeeze(1)[: run.images_per_class] for c in data.labels.unique()]
        rows = torch.cat(chosen)
        class_ids = data.labels[rows]
        labels = initial_labels(class_ids, data.num_classes) + 0.01 * data.images[rows].mean((1, 2, 3)).unsqueeze(1)
        made_by = describe(self.method, self.options())
        return SyntheticSet(data.images[rows], labels, class_ids, data.classes, data.preprocessing, made_by)


def images(n: int, seed: int) -> PreprocessedImages:
    drawn = torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return PreprocessedImages(drawn, torch.arange(n) % C, CLASSES, Identity())


def model() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, C))


def silent() -> EvaluationPlugin:
    return EvaluationPlugin()


POLICIES: dict[str, Callable[[], ExemplarsBuffer]] = {
    "distilled": lambda: DistilledBuffer(First(), images_per_class=3, num_classes=C),
    "distilled, model's classes": lambda: DistilledBuffer(First(), images_per_class=3),
    "distilled, max_size 7": lambda: DistilledBuffer(First(), images_per_class=3, num_classes=C, max_size=7),
    "random": lambda: DistilledBuffer(Random(), images_per_class=3, classes=CLASSES),
    "herding": lambda: DistilledBuffer(Herding(steps=1, width=2), images_per_class=3, classes=CLASSES),
    "distilled, so many bytes": lambda: DistilledBuffer(First(), memory_bytes=2500, num_classes=C),
    "distilled, shared bytes": lambda: DistilledBuffer(First(), memory_bytes=2500, num_classes=C, adaptive=True),
    "class-balanced": lambda: ClassBalancedBuffer(max_size=12),
    "class-balanced, encoded": lambda: EncodedBuffer(
        policy=ClassBalancedBuffer(1), memory_bytes=1500, codec="uint8:scaled", num_classes=C
    ),
    "class-balanced, encoded, model's classes": lambda: EncodedBuffer(
        policy=ClassBalancedBuffer(1), memory_bytes=1500, codec="float32"
    ),
}


@pytest.fixture(params=POLICIES.values(), ids=POLICIES.keys())
def policy(request: pytest.FixtureRequest) -> ExemplarsBuffer:
    return request.param()


@pytest.fixture
def benchmark():
    return class_incremental(images(60, 0), images(12, 1), steps=STEPS)


def test_gdumb_trains_on_any_policy(policy: ExemplarsBuffer, benchmark) -> None:
    strategy = GDumb(model=model(), storage_policy=policy, train_steps=2, evaluator=silent())
    seen: set[int] = set()
    for experience in benchmark.train_stream:
        strategy.train(experience)
        seen |= experience.classes_in_this_experience
        assert set(policy.buffer.targets) == seen
        assert 0 < len(policy.buffer) <= policy.max_size
    strategy.eval(benchmark.test_stream)


def test_replay_plugin_takes_any_policy(policy: ExemplarsBuffer, benchmark) -> None:
    network = model()
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01),
        train_mb_size=8,
        plugins=[ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)],
        evaluator=silent(),
    )
    with warnings.catch_warnings(record=True) as caught:
        strategy.train(benchmark.train_stream)  # hard labels, Avalanche's own cross-entropy
    assert len(set(policy.buffer.targets)) == C
    if isinstance(policy, DistilledBuffer | EncodedBuffer):  # Avalanche's plugin calls what its own policies deprecate
        assert not [one for one in caught if "deprecated function update" in str(one.message)]


def test_soft_labels_with_any_policy(policy: ExemplarsBuffer, benchmark) -> None:
    network = model()
    strategy = Naive(
        model=network,
        optimizer=torch.optim.SGD(network.parameters(), lr=0.01),
        criterion=SoftLabelLoss(C),
        train_mb_size=8,
        plugins=[ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)],
        evaluator=silent(),
    )
    strategy.train(benchmark.train_stream)
    strategy.eval(benchmark.test_stream)
    assert len(set(policy.buffer.targets)) == C


def test_buffer_items_are_well_formed(policy: ExemplarsBuffer, benchmark) -> None:
    strategy = GDumb(model=model(), storage_policy=policy, train_steps=1, evaluator=silent())
    strategy.train(benchmark.train_stream)
    for image, target, soft, task in with_soft_labels(policy.buffer, C):
        assert image.shape == (1, 4, 4)
        assert image.dtype == torch.float32
        assert int(soft.argmax()) == int(target)
        assert soft.shape == (C,)
        assert task == 0
    assert isinstance(policy.buffer.targets[0], int)


def test_resize_keeps_fewer_of_every_class(policy: ExemplarsBuffer, benchmark) -> None:
    GDumb(model=model(), storage_policy=policy, train_steps=1, evaluator=silent()).train(benchmark.train_stream)
    policy.resize(None, C)
    assert policy.max_size == C
    assert Counter(policy.buffer.targets) == dict.fromkeys(range(C), 1)


def test_training_recipe_with_augmentation(policy: ExemplarsBuffer, benchmark) -> None:
    recipe = TrainingRecipe(train_steps=2, batch_size=4, loss="soft-cross-entropy")
    GDumb(model=model(), storage_policy=policy, recipe=recipe, evaluator=silent()).train(benchmark.train_stream[0])

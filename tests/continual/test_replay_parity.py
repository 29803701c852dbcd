"""Our buffer with random images against Avalanche's stock policies, at the same memory, on streams of every kind."""

import os
import random
from collections.abc import Callable
from functools import cache

import pytest
import torch
from avalanche.benchmarks import CLScenario, benchmark_from_datasets, nc_benchmark
from avalanche.benchmarks.scenarios.online import split_continuous_linear_decay_stream, split_online_stream
from avalanche.models import MTSimpleMLP
from avalanche.training import Naive
from avalanche.training.plugins import ReplayPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer, ExemplarsBuffer, ParametricBuffer
from torch import nn
from torch.utils.data import TensorDataset

from continual import DistilledBuffer, GDumb, accuracy_evaluator, class_incremental, experience_accuracies
from continual.scenario import labelled_dataset
from distill import PreprocessedImages, Random, load_images
from distill.preprocess import default_preprocessing
from distill.training.recipe import TrainingRecipe

PER_CLASS, CLASSES, DOMAINS = 20, 10, 5
LONG = bool(os.environ.get("FREPO_LONG"))
WITHIN = 2.0 if LONG else 3.0  # points; fewer seeds differ by more
RECIPE = TrainingRecipe(
    loss="soft-cross-entropy", learning_rate=3e-3, warmup_steps=20, batch_size=64, train_steps=300, augment=False
)


@cache
def digits() -> tuple[PreprocessedImages, PreprocessedImages]:
    raw = load_images("digits")
    preprocessing = default_preprocessing(raw)
    return preprocessing.apply(raw), preprocessing.apply(load_images("digits", split="test"))


def permuted() -> tuple[list, CLScenario]:
    """Five domains: digits with their pixels in another order each time."""
    orders = [torch.randperm(64, generator=torch.Generator().manual_seed(k)) for k in range(DOMAINS)]
    train, test = (
        [labelled_dataset(data.images.flatten(1)[:, order].view(data.images.shape), data.labels) for order in orders]
        for data in digits()
    )
    scenario = benchmark_from_datasets(train=train, test=test)
    return list(scenario.train_stream), scenario


def tasks() -> tuple[list, CLScenario]:
    """Five tasks of two classes, class ids from 0 in each."""
    train, test = (TensorDataset(data.images[:], data.labels) for data in digits())
    scenario = nc_benchmark(train, test, 5, task_labels=True, class_ids_from_zero_in_each_exp=True, seed=0)
    return list(scenario.train_stream), scenario


def blurry() -> tuple[list, CLScenario]:
    """Class-incremental with gliding boundaries, in sub-experiences of 60 images."""
    scenario = class_incremental(*digits(), steps=5)
    torch.manual_seed(0)
    return list(split_continuous_linear_decay_stream(scenario.train_stream, 60, 5, 3, shuffle=True)), scenario


def online() -> tuple[list, CLScenario]:
    """Class-incremental in sub-experiences of 60 images, with boundaries."""
    scenario = class_incremental(*digits(), steps=5)
    return list(split_online_stream(scenario.train_stream, 60, seed=0, access_task_boundaries=True)), scenario


def online_without_boundaries() -> tuple[list, CLScenario]:
    """The same, boundaries hidden."""
    scenario = class_incremental(*digits(), steps=5)
    return list(split_online_stream(scenario.train_stream, 60, seed=0)), scenario


STREAMS = {
    "domain-incremental": permuted,
    "task-incremental": tasks,
    "blurry": blurry,
    "online": online,
    "online without boundaries": online_without_boundaries,
}


def policy_of(ours: bool, stream: str, seed: int) -> ExemplarsBuffer:
    """The memory of both ends at `PER_CLASS` images of each of ten classes; from the start as many in all, or not."""
    torch.manual_seed(seed)
    random.seed(seed)  # ParametricBuffer draws from there
    by_task, size = stream == "task-incremental", PER_CLASS * CLASSES
    if ours:
        classes = 2 if by_task else CLASSES
        return DistilledBuffer(Random(), images_per_class=PER_CLASS, seed=seed, num_classes=classes, max_size=size,
                               adaptive=True)  # fmt: skip
    return ParametricBuffer(size, groupby="task") if by_task else ClassBalancedBuffer(size)


def model_of(stream: str) -> nn.Module:
    if stream == "task-incremental":
        return MTSimpleMLP(input_size=64, hidden_size=64)
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, CLASSES))


def by_gdumb(policy: ExemplarsBuffer, model: nn.Module, experiences: list, seed: int):
    classes = 2 if isinstance(model, MTSimpleMLP) else CLASSES
    strategy = GDumb(model=model, storage_policy=policy, recipe=RECIPE, num_classes=classes, seed=seed,
                     evaluator=accuracy_evaluator())  # fmt: skip
    if classes == 2:  # the head grows with every task
        strategy.train(experiences)
        return strategy
    for experience in experiences[:-1]:
        policy.post_adapt(strategy, experience)
    strategy.train(experiences[-1])
    return strategy


def by_replay(policy: ExemplarsBuffer, model: nn.Module, experiences: list, seed: int):
    torch.manual_seed(seed)
    strategy = Naive(
        model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), criterion=nn.CrossEntropyLoss(),
        train_mb_size=20, train_epochs=3, eval_mb_size=500,
        plugins=[ReplayPlugin(mem_size=policy.max_size, batch_size_mem=20, storage_policy=policy)],
        evaluator=accuracy_evaluator(),
    )  # fmt: skip
    strategy.train(experiences)
    return strategy


def accuracy(train: Callable, stream: str, *, ours: bool, seed: int) -> float:
    """Mean accuracy over the experiences of the test stream, in %."""
    experiences, scenario = STREAMS[stream]()
    torch.manual_seed(seed)
    model = model_of(stream)
    strategy = train(policy_of(ours, stream, seed), model, experiences, seed)
    _, found = experience_accuracies(strategy, scenario.test_stream)
    return 100 * sum(found) / len(found)


def compared(train: Callable, stream: str, seeds: range) -> tuple[list[float], list[float]]:
    """Accuracies of ours and of the stock policy."""
    return tuple([accuracy(train, stream, ours=ours, seed=seed) for seed in seeds] for ours in (True, False))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Call to deprecated function")
@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("train", [by_gdumb, by_replay])
def test_no_more_than_some_points_behind_the_stock_policy(train: Callable, stream: str) -> None:
    seeds = range(15 if LONG and train is by_gdumb else 5)
    ours, stock = (sum(values) / len(seeds) for values in compared(train, stream, seeds))
    print(f"{stream}, {train.__name__}, {len(seeds)} seeds: ours {ours:.1f}, stock {stock:.1f}")
    assert ours > stock - WITHIN


@pytest.mark.parametrize("ours", [True, False])
def test_no_domain_is_forgotten_under_gdumb(ours: bool) -> None:
    """A buffer that keeps the last domain alone is at chance on the others."""
    experiences, scenario = permuted()
    strategy = by_gdumb(policy_of(ours, "domain-incremental", 0), model_of("domain-incremental"), experiences, 0)
    _, found = experience_accuracies(strategy, scenario.test_stream)
    assert min(found) > 0.5

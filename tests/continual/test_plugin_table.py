"""Which of Avalanche's plugins run with which loss, and in GDumb: found by running them, kept as a table in the docs.

`python tests/continual/test_plugin_table.py` writes the table anew.
"""

import random
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from avalanche.models import SimpleMLP
from avalanche.training import Naive
from avalanche.training.plugins import (
    AGEMPlugin,
    EarlyStoppingPlugin,
    EWCPlugin,
    FromScratchTrainingPlugin,
    GDumbPlugin,
    GEMPlugin,
    GSS_greedyPlugin,
    LFLPlugin,
    LRSchedulerPlugin,
    LwFPlugin,
    MASPlugin,
    MIRPlugin,
    RARPlugin,
    ReplayPlugin,
    RWalkPlugin,
    SynapticIntelligencePlugin,
)
from torch import nn

from continual import DistilledBuffer, GDumb, SoftLabelLoss, accuracy_evaluator, class_incremental
from distill import Identity, InputError, PreprocessedImages, Random
from distill.training.recipe import TrainingRecipe

DOCS = Path(__file__).parents[2] / "docs" / "replay.md"
C = 6

PLUGINS: dict[str, Callable] = {
    "EWCPlugin": lambda optimizer: EWCPlugin(ewc_lambda=0.1),
    "LwFPlugin": lambda optimizer: LwFPlugin(alpha=1, temperature=2),
    "SynapticIntelligencePlugin": lambda optimizer: SynapticIntelligencePlugin(si_lambda=0.1),
    "MASPlugin": lambda optimizer: MASPlugin(),
    "RWalkPlugin": lambda optimizer: RWalkPlugin(),
    "AGEMPlugin": lambda optimizer: AGEMPlugin(patterns_per_experience=10, sample_size=10),
    "GEMPlugin": lambda optimizer: GEMPlugin(patterns_per_experience=10, memory_strength=0.5),
    "MIRPlugin": lambda optimizer: MIRPlugin(batch_size_mem=4, mem_size=12, subsample=8),
    "RARPlugin": lambda optimizer: RARPlugin(batch_size_mem=4, mem_size=12),
    "GSS_greedyPlugin": lambda optimizer: GSS_greedyPlugin(mem_size=12, mem_strength=5, input_size=[1, 4, 4]),
    "LFLPlugin": lambda optimizer: LFLPlugin(lambda_e=0.1),
    "EarlyStoppingPlugin": lambda optimizer: EarlyStoppingPlugin(patience=1, val_stream_name="test_stream"),
    "LRSchedulerPlugin": lambda optimizer: LRSchedulerPlugin(torch.optim.lr_scheduler.StepLR(optimizer, 1)),
    "FromScratchTrainingPlugin": lambda optimizer: FromScratchTrainingPlugin(),
    "GDumbPlugin": lambda optimizer: GDumbPlugin(mem_size=12),
    "ReplayPlugin": lambda optimizer: ReplayPlugin(mem_size=12),
}


def benchmark():
    parts = []
    for n, seed in ((36, 0), (12, 1)):
        drawn = torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
        parts.append(PreprocessedImages(drawn, torch.arange(n) % C, tuple("abcdef"), Identity()))
    return class_incremental(*parts, steps=3)


def model() -> nn.Module:
    return SimpleMLP(input_size=16, hidden_size=8, num_classes=C, drop_rate=0)


def buffer() -> DistilledBuffer:
    return DistilledBuffer(Random(), images_per_class=2, num_classes=C)


def train_naive(make: Callable | None, criterion: Callable) -> torch.Tensor:
    network, policy = model(), buffer()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    plugins = [ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)]
    plugins += [] if make is None else [make(optimizer)]
    strategy = Naive(
        model=network, optimizer=optimizer, criterion=criterion, train_mb_size=6, train_epochs=2, eval_mb_size=12,
        plugins=plugins, evaluator=accuracy_evaluator(), eval_every=1 if needs_evaluation(plugins) else -1,
    )  # fmt: skip
    return trained(strategy)


def train_gdumb(make: Callable | None) -> torch.Tensor:
    network = model()
    plugins = [] if make is None else [make(torch.optim.SGD(network.parameters(), lr=0.01))]
    strategy = GDumb(
        model=network, storage_policy=buffer(), recipe=TrainingRecipe(train_steps=6, batch_size=6, augment=False),
        plugins=plugins, evaluator=accuracy_evaluator(), eval_every=1 if needs_evaluation(plugins) else -1,
    )  # fmt: skip
    return trained(strategy)


def needs_evaluation(plugins: list) -> bool:
    return any(isinstance(plugin, EarlyStoppingPlugin) for plugin in plugins)


def trained(strategy) -> torch.Tensor:
    scenario = benchmark()
    for experience in scenario.train_stream:
        strategy.train(experience, eval_streams=[scenario.test_stream])
    return nn.utils.parameters_to_vector(strategy.model.parameters()).detach()


def outcome(train: Callable[[Callable | None], torch.Tensor], make: Callable, *, compare: bool) -> str:
    """What becomes of a plugin, in a word or two."""
    torch.manual_seed(0)
    random.seed(0)  # A-GEM shuffles what it keeps with it
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = train(make)
        except InputError:
            return "refused"
        except Exception as error:  # Avalanche's plugins raise what they raise
            return f"{type(error).__name__}"
    warned = any("has no effect in GDumb" in str(warning.message) for warning in caught)
    if compare and torch.equal(found, without_plugin(train)):
        return "no effect, warns" if warned else "runs, changes nothing here"
    return "runs"


@cache
def without_plugin(train: Callable[[Callable | None], torch.Tensor]) -> torch.Tensor:
    torch.manual_seed(0)
    return train(None)


COLUMNS: dict[str, Callable[[Callable], str]] = {
    "`CrossEntropyLoss`": lambda make: outcome(lambda m: train_naive(m, nn.CrossEntropyLoss()), make, compare=False),
    "`SoftLabelLoss`": lambda make: outcome(lambda m: train_naive(m, SoftLabelLoss(C)), make, compare=False),
    "in our GDumb": lambda make: outcome(train_gdumb, make, compare=True),
}


def row(name: str) -> str:
    return " | ".join([f"| `{name}`", *(column(PLUGINS[name]) for column in COLUMNS.values())]) + " |"


def header() -> list[str]:
    return [f"| plugin | {' | '.join(COLUMNS)} |", "| --- " * (len(COLUMNS) + 1) + "|"]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", PLUGINS)
def test_the_table_in_the_docs_says_what_happens(name: str) -> None:
    assert row(name) in DOCS.read_text().splitlines()


@pytest.mark.filterwarnings("ignore")
def test_plugins_without_effect_warn_and_those_that_replace_the_data_are_refused() -> None:
    wanted = {"LRSchedulerPlugin": "no effect, warns", "ReplayPlugin": "refused", "GDumbPlugin": "refused"}
    assert {name: COLUMNS["in our GDumb"](PLUGINS[name]) for name in wanted} == wanted


def write_table() -> None:
    """Put the table into the docs, in the place of the old one or of a line PLUGINS."""
    lines = DOCS.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line == "PLUGINS" or line.startswith("| plugin |"))
    end = next((i for i in range(start, len(lines)) if not lines[i].startswith(("|", "PLUGINS"))), len(lines))
    lines[start:end] = [*header(), *map(row, PLUGINS)]
    DOCS.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    write_table()

"""Replay in Avalanche's own strategies: every strategy with every memory, at equal bytes per class."""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.harness.checks import check_at_least
from benchmarks.harness.experiment import run_experiment
from benchmarks.harness.kept import kept, kept_record
from benchmarks.harness.methods import METHODS
from benchmarks.harness.tasks import Tasks
from benchmarks.studies.class_incremental.arms import Arm, parsed_arms
from benchmarks.studies.class_incremental.streams import (
    StreamStudy,
    buffer_of,
    gdumb,
    images_that_fit,
    some_measured,
)  # fmt: skip
from benchmarks.studies.replay.logits import LogitMemory, logit_bytes
from benchmarks.studies.replay.options import NO_REPLAY, ReplayOptions
from benchmarks.studies.replay.report import describe, describe_memory, reported
from benchmarks.studies.replay.strategies import online_strategy
from continual import DistilledBuffer, experience_accuracies
from continual.rng_state import preserve_rng_state
from distill import InputError
from distill.runtime.seeds import generator_for

__all__ = ["ReplayStudy", "main"]

PIXEL_IMAGES = 8  # that the memory of small images holds by default
MOST_BYTES = 6144
LEAST_UPDATES = 50


def main(options: ReplayOptions) -> None:
    """Run the benchmark and write its folder."""
    run_experiment(ReplayStudy, options)


class ReplayStudy(StreamStudy):
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    # A point depends on its strategy, method, codecs and class order alone, so that others may be added to a run.
    free_options: ClassVar[frozenset[str]] = frozenset({"arms", "strategies", "seeds", "most_images", *METHODS})
    options: ReplayOptions

    def __init__(self, options: ReplayOptions) -> None:
        check_at_least(options, 1, "memory_bytes", "most_images", "updates", "batch_size", "replay_batch_size")
        check_at_least(options, 0, "alpha", "beta")
        if not options.learning_rate > 0:
            raise InputError(f"--learning-rate is {options.learning_rate}; expected a number above 0")
        self.arms = parsed_arms(text for text in options.arms if text != NO_REPLAY)
        super().__init__(options, tuple(dict.fromkeys(arm.method for arm in self.arms.values())))
        self.options = self._with_defaults(options)
        self.online = replace(  # what is mixed or averaged is for networks that are trained from scratch on the memory
            self.recipe, learning_rate=options.learning_rate, batch_size=options.batch_size, warmup_steps=0,
            cutmix=0.0, average=0.0,
        )  # fmt: skip
        self.check_arms(self.arms.values())

    def _with_defaults(self, options: ReplayOptions) -> ReplayOptions:
        """The options with what depends on the data."""
        memory_bytes, updates = options.memory_bytes, options.updates
        if memory_bytes is None:
            memory_bytes = min(MOST_BYTES, PIXEL_IMAGES * math.prod(self.train.images.shape[1:]))
        if updates is None:
            largest = max(self.sizes) * len(self.train) / self.train.num_classes  # in any class order, about
            updates = max(LEAST_UPDATES, math.ceil(largest / options.batch_size))
        return replace(options, memory_bytes=memory_bytes, updates=updates)

    @staticmethod
    def default_folder(options: ReplayOptions) -> Path:
        """Named for the data set and the steps."""
        return Path("results") / f"replay-{Path(options.dataset).stem}-{options.steps}steps"

    def measure(self, tasks: Tasks) -> list[dict[str, Any]]:
        """The records of every strategy, arm, class order and network."""
        seeds, strategies = self.options.seeds, tuple(dict.fromkeys(self.options.strategies))
        for seed in seeds:
            self.preprocessing(seed)  # fitted by one process, found by the others
        steps = range(self.options.steps)
        # Of naive, er-ace and gdumb one memory is the same, which the first of them stands for here.
        memories = [name for name in strategies if name != "der"][:1] + ["der"] * ("der" in strategies)
        ahead = [(name, text, seed, k) for seed in seeds for name in memories for text in self.arms for k in steps]
        tasks.results(fill_ahead, ahead, unit="memory", describe=describe_memory)
        points = [("naive", NO_REPLAY, seed) for seed in seeds if NO_REPLAY in self.options.arms]
        points += [(name, text, seed) for seed in seeds for name in strategies for text in self.arms]
        streams = [(*point, i) for point in points for i in range(self.options.networks)]
        return some_measured(tasks.results(measure_stream, streams, unit="stream", describe=describe))

    def report(self, measured: list[dict[str, Any]], cost: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Draw the plot; returns the results by name and the table."""
        return reported(self.folder, self.record(), measured)

    def places(self) -> Iterator[str]:
        """Where the plot is."""
        yield f"accuracy by strategy and memory: {self.folder / 'replay.png'}"


# -- memories ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """What a strategy gives an arm: the arm with the bytes of its images, and the most images per class, if limited."""

    arm: Arm
    images_per_class: int | None


def share_of(run: ReplayStudy, strategy: str, text: str, seed: int) -> Share | str:
    """What an arm gets in a strategy; or why it is left out, in words."""
    most = run.options.memory_bytes
    assert most is not None
    beside = logit_bytes(run.train.num_classes) if strategy == "der" else 0
    arm = run.arms[text].at(most)
    fit = images_that_fit(run, arm, seed, more=beside)
    if fit < 1:
        return "no image fits"
    if not run.distiller(arm).selects_real_images and fit > run.options.most_images:
        return f"{fit} images per class fit, more than --most-images {run.options.most_images}"
    return Share(arm.at(most - fit * beside), fit if beside else None)


def memory_of(run: ReplayStudy, share: Share, seed: int, *, store: Path) -> DistilledBuffer | LogitMemory:
    """An empty memory, which finds in `store` what was distilled before."""
    policy = buffer_of(run, share.arm, seed, store=store)
    return policy if share.images_per_class is None else LogitMemory(policy, share.images_per_class)


def memory_folder(run: ReplayStudy, strategy: str, text: str, seed: int) -> Path:
    """Where the memory of an arm is kept; der has one of its own, as fewer images fit beside their logits."""
    beside = "with-logits" if strategy == "der" else "images"
    return run.folder / "memories" / beside / in_words(text) / f"order-{seed}"


def in_words(text: str) -> str:
    """The name of an arm as the name of a folder."""
    return text.replace("/", "_").replace(":", "-")


def fill_ahead(run: ReplayStudy, strategy: str, text: str, seed: int, k: int) -> Iterator[dict[str, Any]]:
    """The memory of one step alone, kept in its store, where every stream finds it."""
    share = share_of(run, strategy, text, seed)
    if isinstance(share, str):
        yield {"arm": run.arms[text].name, "order": seed, "step": k + 1, "left_out": share}
        return
    store = memory_folder(run, strategy, text, seed)
    make = partial(filled, run, share, seed, k, store=store)
    yield kept_record(
        store / f"step-{k + 1}.json", make, method=share.arm.method, options=run.distiller(share.arm).options()
    )


def filled(run: ReplayStudy, share: Share, seed: int, k: int, *, store: Path) -> dict[str, Any]:
    """The record of the memory of one step, distilled now."""
    started = time.monotonic()
    policy = buffer_of(run, share.arm, seed, store=store)
    if share.images_per_class is not None:
        policy.resize(None, share.images_per_class * run.sizes[k])
    policy.post_adapt(None, run.benchmark(seed).train_stream[k])
    return {
        "arm": share.arm.name,
        "order": seed,
        "step": k + 1,
        "images": len(policy.buffer),
        "bytes": policy.nbytes,
        "options": run.distiller(share.arm).options(),
        "seconds": time.monotonic() - started,
    }


# -- streams -----------------------------------------------------------------------------------------------------------


def measure_stream(run: ReplayStudy, strategy: str, text: str, seed: int, index: int) -> Iterator[dict[str, Any]]:
    """One strategy with one memory, one class order and one network; or why it is left out."""
    share = None if text == NO_REPLAY else share_of(run, strategy, text, seed)
    arm = text if share is None else run.arms[text].name
    about = {"strategy": strategy, "arm": arm, "order": seed, "network": index + 1}
    if isinstance(share, str):
        yield {**about, "left_out": share}
        return
    store = memory_folder(run, strategy, text, seed)
    path = run.folder / strategy / in_words(text) / f"order-{seed}" / f"network-{index + 1}.json"
    yield {**about, **kept(path, partial(trained, run, strategy, share, seed, index, store=store))}


def trained(
    run: ReplayStudy, name: str, share: Share | None, seed: int, index: int, *, store: Path
) -> dict[str, Any]:
    """One network along the stream: its accuracy on each step when it was learned, and on all at the end."""
    benchmark, started = run.benchmark(seed), time.monotonic()
    memory = None if share is None else memory_of(run, share, seed, store=store)
    strategy = strategy_of(run, name, memory, seed, index)
    learned = []
    for k, experience in enumerate(benchmark.train_stream):
        # Avalanche's loaders draw from the global generators.
        with preserve_rng_state(generator_for(seed, index, k).initial_seed() % 2**32):
            strategy.train(experience, eval_streams=[])
        learned.append(experience_accuracies(strategy, benchmark.test_stream[k : k + 1])[0])
    accuracy, at_end = experience_accuracies(strategy, benchmark.test_stream)
    return {
        "accuracy": accuracy,
        "forgetting": mean_loss(learned, at_end),
        "accuracy_when_learned": learned,
        "accuracy_at_end": at_end,
        "images_per_class": (0 if memory is None else len(memory.buffer)) / run.train.num_classes,
        "bytes_per_class": (0 if memory is None else memory.nbytes) / run.train.num_classes,
        "seconds": time.monotonic() - started,
    }


def mean_loss(learned: list[float], at_end: list[float]) -> float | None:
    """Avalanche's forgetting of a stream: accuracy lost since a step was learned, mean of all but the last.

    >>> mean_loss([0.9, 0.8, 0.7], [0.5, 0.6, 0.7])
    0.30000000000000004
    """
    losses = [first - last for first, last in zip(learned[:-1], at_end[:-1], strict=True)]
    return sum(losses) / len(losses) if losses else None


def strategy_of(
    run: ReplayStudy, name: str, memory: DistilledBuffer | LogitMemory | None, seed: int, index: int
) -> Any:
    """A strategy with network number `index` of a class order, the same for every strategy and memory."""
    if name == "gdumb":
        assert isinstance(memory, DistilledBuffer)
        return gdumb(run, memory, seed=seed, index=index)
    generator, (train, _) = generator_for(seed, index), run.images(seed)
    model = run.recipe.build(image_shape=train.image_shape, num_classes=train.num_classes, generator=generator)
    return online_strategy(
        name, run.options, memory, recipe=run.online, model=model, num_classes=train.num_classes, generator=generator
    )

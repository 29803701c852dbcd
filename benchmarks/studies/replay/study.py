"""Replay in Avalanche's own strategies: every strategy with every memory, at equal bytes per class."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.harness.checks import check_at_least
from benchmarks.harness.experiment import run_experiment
from benchmarks.harness.kept import kept
from benchmarks.harness.methods import METHODS
from benchmarks.harness.tasks import Tasks
from benchmarks.studies.class_incremental.arms import Arm, parsed_arm
from benchmarks.studies.class_incremental.streams import StreamStudy, buffer_of, gdumb, images_that_fit
from benchmarks.studies.replay.logits import logit_bytes
from benchmarks.studies.replay.options import NO_REPLAY, ReplayOptions
from benchmarks.studies.replay.report import describe, describe_memory, reported
from benchmarks.studies.replay.strategies import DERWithBuffer, online_strategy
from continual import DistilledBuffer, experience_accuracies
from continual.rng_state import preserve_rng_state
from distill import InputError
from distill.runtime.seeds import generator_for
from distill.store import changes

__all__ = ["ReplayStudy", "main"]

PIXEL_IMAGES = 8  # that the memory of small images holds by default
MOST_BYTES = 6144


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
        self.arms = {text: parsed_arm(text) for text in dict.fromkeys(options.arms) if text != NO_REPLAY}
        super().__init__(options, tuple(dict.fromkeys(arm.method for arm in self.arms.values())))
        if options.memory_bytes is None:
            height, width, channels = self.train.images.shape[1:]
            self.options = replace(options, memory_bytes=min(MOST_BYTES, PIXEL_IMAGES * height * width * channels))
        self.online = replace(
            self.recipe, learning_rate=options.learning_rate, batch_size=options.batch_size, warmup_steps=0
        )
        self.check_arms(self.arms.values())

    @staticmethod
    def default_folder(options: ReplayOptions) -> Path:
        """Named for the data set and the steps."""
        return Path("results") / f"replay-{Path(options.dataset).stem}-{options.steps}steps"

    def measure(self, tasks: Tasks) -> list[dict[str, Any]]:
        """The records of every strategy, arm and class order."""
        seeds, strategies = self.options.seeds, tuple(dict.fromkeys(self.options.strategies))
        for seed in seeds:
            self.preprocessing(seed)  # fitted by one process, found by the others
        steps = range(self.options.steps)
        # Of naive, er-ace and gdumb one memory is the same, which the first of them stands for here.
        memories = [*[name for name in strategies if name != "der"][:1], *[name for name in strategies if name == "der"]]
        ahead = [(name, text, seed, k) for seed in seeds for name in memories for text in self.arms for k in steps]
        tasks.results(fill_ahead, ahead, unit="memory", describe=describe_memory)
        points = [("naive", NO_REPLAY, seed) for seed in seeds if NO_REPLAY in self.options.arms]
        points += [(name, text, seed) for seed in seeds for name in strategies for text in self.arms]
        return tasks.results(measure_stream, points, unit="stream", describe=describe)

    def report(self, measured: list[dict[str, Any]], cost: Mapping[str, Any]) -> tuple[dict[str, Any], str]:
        """Draw the plot; returns the results by name and the table."""
        return reported(self.folder, self.record(), measured)

    def places(self) -> Iterator[str]:
        """Where the plot is."""
        yield f"accuracy by strategy and memory: {self.folder / 'replay.png'}"


# -- memories ----------------------------------------------------------------------------------------------------------


def arm_for(run: ReplayStudy, strategy: str, text: str, seed: int) -> Arm | str:
    """The arm with the bytes that a strategy leaves its images; or why none fits, in words."""
    most = run.options.memory_bytes
    assert most is not None
    beside = logit_bytes(run.train.num_classes) if strategy == "der" else 0
    arm = run.arms[text].at(most)
    fit = images_that_fit(run, arm, seed, more=beside)
    if fit < 1:
        return "no image fits"
    if not run.distiller(arm).selects_real_images and fit > run.options.most_images:
        return f"{fit} images per class fit, more than --most-images {run.options.most_images}"
    return replace(arm, memory_bytes=most - fit * beside, images_per_class=fit if beside else None)


def memory_folder(run: ReplayStudy, strategy: str, text: str, seed: int) -> Path:
    """Where the memory of an arm is kept; der has one of its own, as fewer images fit beside their logits."""
    beside = "with-logits" if strategy == "der" else "images"
    return run.folder / "memories" / beside / in_words(text) / f"order-{seed}"


def in_words(text: str) -> str:
    """The name of an arm as the name of a folder."""
    return text.replace("/", "_").replace(":", "-")


def fill_ahead(run: ReplayStudy, strategy: str, text: str, seed: int, k: int) -> Iterator[dict[str, Any]]:
    """The memory of one step alone, kept in its store, where every stream finds it."""
    folder, arm = memory_folder(run, strategy, text, seed), arm_for(run, strategy, text, seed)
    if isinstance(arm, str):
        yield {"arm": text, "order": seed, "step": k + 1, "left_out": arm}
        return

    def make() -> dict[str, Any]:
        policy, started = buffer_of(run, arm, seed, store=folder), time.monotonic()
        policy.post_adapt(None, run.benchmark(seed).train_stream[k])
        return {
            "arm": arm.name, "order": seed, "step": k + 1, "images": len(policy.buffer), "bytes": policy.nbytes,
            "options": run.distiller(arm).options(), "seconds": time.monotonic() - started,
        }  # fmt: skip

    path = folder / f"step-{k + 1}.json"
    record = kept(path, make)
    now = json.loads(json.dumps(run.distiller(arm).options()))
    if changed := changes(record["options"], now):
        words = "; ".join(changed.values())
        raise InputError(f"{path} was made with other options of {arm.method} ({words}); choose another --output")
    yield record


# -- streams -----------------------------------------------------------------------------------------------------------


def measure_stream(run: ReplayStudy, strategy: str, text: str, seed: int) -> Iterator[dict[str, Any]]:
    """One strategy with one memory on one class order, all its networks; or why it is left out."""
    arm = None if text == NO_REPLAY else arm_for(run, strategy, text, seed)
    about = {"strategy": strategy, "arm": text if arm is None else run.arms[text].name, "order": seed}
    if isinstance(arm, str):
        yield {**about, "left_out": arm}
        return
    store = memory_folder(run, strategy, text, seed)
    folder = run.folder / strategy / in_words(text) / f"order-{seed}"
    streams = [
        kept(folder / f"network-{i + 1}.json", partial(trained, run, strategy, arm, seed, i, store=store))
        for i in range(run.options.networks)
    ]
    held = {name: streams[0][name] for name in ("images_per_class", "bytes_per_class")}
    figures = {name: [stream[name] for stream in streams] for name in ("accuracy", "forgetting", "seconds")}
    yield {**about, **held, **figures, "seconds": sum(figures["seconds"]), "networks": streams}


def trained(
    run: ReplayStudy, name: str, arm: Arm | None, seed: int, index: int, *, store: Path
) -> dict[str, Any]:
    """One network along the stream: its accuracy on each step when it was learned, and on all at the end."""
    benchmark, started = run.benchmark(seed), time.monotonic()
    policy = None if arm is None else buffer_of(run, arm, seed, store=store)
    strategy = strategy_of(run, name, policy, seed, index)
    after_own = []
    for k, experience in enumerate(benchmark.train_stream):
        # Avalanche's loaders draw from the global generators.
        with preserve_rng_state(generator_for(seed, index, k).initial_seed() % 2**32):
            strategy.train(experience, eval_streams=[])
        after_own.append(experience_accuracies(strategy, benchmark.test_stream[k : k + 1])[0])
    accuracy, at_end = experience_accuracies(strategy, benchmark.test_stream)
    losses = [first - last for first, last in zip(after_own[:-1], at_end[:-1], strict=True)]
    held = 0 if policy is None else policy.nbytes + (strategy.memory.nbytes if name == "der" else 0)
    images = 0 if policy is None else len(policy.buffer)
    return {
        "accuracy": accuracy,
        "forgetting": sum(losses) / len(losses) if losses else None,
        "accuracy_by_step": {"when learned": after_own, "at the end": at_end},
        "images_per_class": images / run.train.num_classes,
        "bytes_per_class": held / run.train.num_classes,
        "seconds": time.monotonic() - started,
    }


def strategy_of(run: ReplayStudy, name: str, policy: DistilledBuffer | None, seed: int, index: int) -> Any:
    """A strategy with network number `index` of a class order, the same for every strategy and memory."""
    if name == "gdumb":
        assert policy is not None
        return gdumb(run, policy, seed=seed, index=index)
    generator, (train, _) = generator_for(seed, index), run.images(seed)
    model = run.recipe.build(image_shape=train.image_shape, num_classes=train.num_classes, generator=generator)
    return online_strategy(
        name, run.options, policy, recipe=run.online, model=model, num_classes=train.num_classes, generator=generator
    )

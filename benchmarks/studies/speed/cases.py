"""What the speed benchmark measures: cases, each in a process of its own, so that its peak memory is its own."""

import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import active_children, get_context
from typing import Any

import numpy as np
import torch

from benchmarks.harness.process import set_up_process
from benchmarks.harness.versions import versions_of
from benchmarks.studies.speed.flops import network_cost, step_operations, training_operations
from benchmarks.studies.speed.memory import forget_peak_memory, peak_memory_mib
from benchmarks.studies.speed.naive import PlainStep, PlainTraining
from distill import DM, DSA, FRePo, PreprocessedImages, SyntheticSet, TrainingRecipe
from distill.distillers.features import features_of
from distill.distillers.frepo import FRePoState, meta_loss, sample_batch, with_mirror_images
from distill.distillers.run import Run
from distill.distillers.stepwise import StepwiseDistiller
from distill.networks import build_network
from distill.preprocess import Identity
from distill.runtime.signals import interrupts_held
from distill.runtime.workers import end_with

__all__ = ["Case", "measured"]

CEILING_SIDE = 2048  # of the square matrices whose product is the ceiling
CEILING_REPEATS = 8
SLOW = 5.0  # seconds of a first call that is long enough to be counted by itself


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to measure.

    - `what`: "frepo", "plain", "jax", "dm", "dsa" (steps), "training", "plain training" (updates of an evaluation
      network) or "attacks". `width`, `images` (distilled ones), `batch`, `resolution`, `channels`, `classes`, `mirror`.
    - `chunk_size`, `distilled_batch`: FRePo's. `precision`: see `process.set_up_process`.
    - `time_for`: steps are timed until this many seconds have passed, at least `least` of them.
    - `turn`: counted from 1 where a case is measured several times; parts of a step are timed in the first alone.
    """

    what: str
    width: int = 64
    images: int = 100
    batch: int = 256
    resolution: int = 32
    channels: int = 3
    classes: int = 100
    mirror: bool = False
    chunk_size: int = FRePo.chunk_size
    distilled_batch: int | None = None
    device: str = "cpu"
    precision: str = "float32"
    time_for: float = 2.0
    least: int = 3
    turn: int = 1


def measured(case: Case) -> dict[str, Any]:
    """Measure a case in a fresh process; `{"failed": reason}` if it was killed, for example because memory ran out."""
    with ProcessPoolExecutor(1, get_context("spawn"), initializer=end_with, initargs=(os.getpid(),)) as pool:
        try:
            with interrupts_held():
                result = pool.submit(measure, case)
            return result.result()
        except KeyboardInterrupt:
            for process in active_children():
                process.kill()
            raise
        except BrokenProcessPool:
            return {"failed": "the process was killed, most likely because memory ran out"}
        except torch.OutOfMemoryError:
            return {"failed": "out of memory on the device"}


def measure(case: Case) -> dict[str, Any]:
    """Seconds (median, least, most), operations, the ceiling beside them, and peak memory, of one case."""
    set_up_process(device=case.device, precision=case.precision)
    kinds: dict[str, Callable[[Case], dict[str, Any]]] = {
        "frepo": measure_frepo,
        "plain": measure_plain,
        "jax": measure_jax,
        "dm": measure_matching,
        "dsa": measure_matching,
        "training": measure_training,
        "plain training": measure_training,
        "attacks": measure_attacks,
    }
    return kinds[case.what](case)


class Clock:
    """Times calls on a device, and knows how much memory was taken at most since it was made."""

    def __init__(self, case: Case) -> None:
        self.case, self.cuda = case, case.device.startswith("cuda")
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        else:
            forget_peak_memory()
        self.before = self.peak_so_far_mib()

    def wait(self) -> None:
        """Wait until the device has finished its work."""
        if self.cuda:
            torch.cuda.synchronize()
        elif self.case.device.startswith("mps"):
            torch.mps.synchronize()

    def time(self, call: Callable[[], Any], *, warm_up: int = 1) -> dict[str, float]:
        """Seconds of `call`, called again and again: median, least and most."""
        taken: list[float] = []
        while len(taken) < warm_up + self.case.least or sum(taken[warm_up:]) < self.case.time_for:
            started = time.perf_counter()
            call()
            self.wait()
            taken.append(time.perf_counter() - started)
            if sum(taken) > 2 * SLOW and max(taken) > SLOW:
                break
        taken = taken[warm_up:] or taken[-1:]
        return {"median": statistics.median(taken), "least": min(taken), "most": max(taken), "n": len(taken)}

    def peak_mib(self) -> float:
        """Peak memory since this clock was made, in MiB: on a GPU what torch allocated, else resident memory."""
        return self.peak_so_far_mib() - self.before

    def peak_so_far_mib(self) -> float:
        """What was held at most since the last time that was forgotten."""
        return torch.cuda.max_memory_allocated() / 2**20 if self.cuda else peak_memory_mib()


def ceiling(device: str) -> float:
    """Operations per second of a float32 matrix product, the best of some."""
    left, right = (torch.randn(CEILING_SIDE, CEILING_SIDE).to(device) for _ in range(2))
    wait = torch.cuda.synchronize if device.startswith("cuda") else lambda: None
    taken = []
    for _ in range(CEILING_REPEATS + 2):
        started = time.perf_counter()
        product = left @ right
        wait()
        float(product[0, 0])  # waits on other devices
        taken.append(time.perf_counter() - started)
    return 2 * CEILING_SIDE**3 / min(taken[2:])


def real_images(case: Case, per_class: int) -> PreprocessedImages:
    """Noise for images: their content does not change the time."""
    n, generator = per_class * case.classes, torch.Generator().manual_seed(0)
    images = torch.randn(n, case.channels, case.resolution, case.resolution, generator=generator)
    labels = torch.arange(case.classes).repeat(per_class)
    return PreprocessedImages(images, labels, tuple(map(str, range(case.classes))), Identity())


def frepo_of(case: Case) -> FRePo:
    """The paper's options in the case's size."""
    return FRePo(
        width=case.width,
        batch_size=case.batch,
        mirror=case.mirror,
        chunk_size=case.chunk_size,
        distilled_batch_size=case.distilled_batch,
        pool_size=2,  # memory and time of a step do not depend on it
    )


def run_of(case: Case) -> Run:
    """The arguments of the case's distillation."""
    return Run(images_per_class=case.images // case.classes, device=case.device)


def started(case: Case) -> tuple[FRePo, FRePoState, PreprocessedImages]:
    """A distillation before its first step, models renewed at once so that all weights are plausible."""
    distiller = frepo_of(case)
    per_class = max(case.images // case.classes, -(-case.batch // case.classes))
    data = distiller.prepare(real_images(case, per_class), run_of(case))
    return distiller, distiller.start(data, run_of(case)), data


def measure_frepo(case: Case) -> dict[str, Any]:
    """A step, and its parts on their own; "rest" is what is left."""
    distiller, state, data = started(case)
    clock = Clock(case)
    whole = clock.time(lambda: distiller.step(state, data), warm_up=2)
    peak = clock.peak_mib()
    model = state.pool.sample()
    images_t, labels_t = sample_batch(data, case.batch, state.generator)

    @torch.no_grad()
    def real() -> torch.Tensor:
        return features_of(model.network, images_t, chunk_size=case.chunk_size)

    features_t = real()

    def meta() -> None:
        images_s, labels_s = state.sample(case.distilled_batch)
        if case.mirror:
            images_s, labels_s = with_mirror_images(images_s, labels_s)
        features_s = features_of(model.network, images_s, chunk_size=case.chunk_size)
        loss = meta_loss(features_t, labels_t, features_s, labels_s, regularization=distiller.regularization)
        torch.autograd.grad(loss, state.distilled())

    def pool() -> None:
        state.pool.train(model, state.images.detach(), state.labels.detach())

    operations = operations_of(case, distiller, state, data)
    return {
        "seconds": whole,
        "operations": sum(operations.values()),
        **timed_parts(clock, {"real": real, "meta": meta, "pool": pool}, operations),
        "peak_memory_mib": peak,
        "ceiling": ceiling(case.device),
    }


def timed_parts(clock: Clock, parts: dict[str, Callable[[], Any]], operations: dict[str, int]) -> dict[str, Any]:
    """Seconds and operations of each part of a step, as "parts" of a record; nothing after the first turn."""
    if clock.case.turn > 1:
        return {}
    timed = {name: {"seconds": clock.time(part), "operations": operations[name]} for name, part in parts.items()}
    return {"parts": timed}


def measure_plain(case: Case) -> dict[str, Any]:
    """The plain step, and how far its meta-gradient is from the toolkit's."""
    distiller, state, data = started(case)
    model = state.pool.models[0]
    clock = Clock(case)
    plain, generator = PlainStep(distiller, state, model), torch.Generator().manual_seed(2)
    timed = clock.time(lambda: plain.step(*sample_batch(data, case.batch, generator)))
    peak = clock.peak_mib()
    return {
        "seconds": timed,
        "operations": sum(operations_of(case, distiller, state, data).values()),
        "peak_memory_mib": peak,
        "gradient_difference": gradient_difference(distiller, state, sample_batch(data, case.batch, generator)),
        "ceiling": ceiling(case.device),
    }


def measure_jax(case: Case) -> dict[str, Any]:
    """The step in JAX, and its parts, in as many threads as torch has; compiled before it is timed."""
    os.environ.update(NPROC=str(torch.get_num_threads()), JAX_PLATFORMS="cpu")  # JAX reads them when it starts
    from benchmarks.studies.speed.jax_step import JaxStep, to_numpy

    distiller, state, data = started(case)
    images, labels = map(to_numpy, sample_batch(data, len(data), state.generator))
    generator, clock = np.random.default_rng(0), Clock(case)
    theirs = JaxStep(distiller, state, state.pool.models[0])

    def step() -> None:
        chosen = generator.permutation(len(images))[: case.batch]
        theirs.step(images[chosen], labels[chosen])

    step()
    timed = clock.time(step)
    images_t, labels_t = images[: case.batch], labels[: case.batch]
    features_t, operations = theirs.real(images_t), operations_of(case, distiller, state, data)
    meta = partial(theirs.meta, features_t, labels_t)
    return {
        "seconds": timed,
        "operations": sum(operations.values()),
        **timed_parts(clock, {"real": partial(theirs.real, images_t), "meta": meta, "pool": theirs.pool}, operations),
        "peak_memory_mib": clock.peak_mib(),
        "ceiling": ceiling(case.device),
        **versions_of("jax"),
    }


def gradient_difference(distiller: FRePo, state: FRePoState, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Distance of the toolkit's meta-gradient by the images and the plain one's, over the length of the latter."""
    model = state.pool.models[0]
    plain = PlainStep(distiller, state, model)
    plain.step(*batch)
    images_s, labels_s = with_mirror_images(*state.distilled()) if distiller.mirror else state.distilled()
    (ours,) = torch.autograd.grad(distiller.loss(model, *batch, images_s, labels_s), [state.images])
    theirs = plain.images.grad
    assert theirs is not None
    return float((ours - theirs).norm() / theirs.norm())


def operations_of(case: Case, distiller: FRePo, state: FRePoState, data: PreprocessedImages) -> dict[str, int]:
    """Operations of a step, by part."""
    cost, real = network_cost(state.pool.models[0].network, data.image_shape), min(case.batch, len(data))
    return step_operations(distiller, cost, images=len(state.images), classes=case.classes, real=real)


def measure_matching(case: Case) -> dict[str, Any]:
    """An update of the images by DM or DSA, in their own network; `batch` real images of each class."""
    per_class = case.images // case.classes
    options: dict[str, Any] = {"width": case.width, "batch_size": case.batch}
    # As the paper timed it: one update and one pass of the network, its optimistic estimate.
    loops = {"outer_loop": 1, "inner_loop": 1} if case.what == "dsa" else {}
    make: Callable[..., StepwiseDistiller] = DSA if case.what == "dsa" else DM
    distiller = make(**options, **loops)
    data = distiller.prepare(real_images(case, max(per_class, case.batch)), run_of(case))
    state = distiller.start(data, run_of(case))
    clock = Clock(case)
    timed = clock.time(lambda: distiller.step(state, data), warm_up=1)
    return {"seconds": timed, "peak_memory_mib": clock.peak_mib(), "ceiling": ceiling(case.device)}


def measure_training(case: Case) -> dict[str, Any]:
    """An update of an evaluation network on `batch` of the distilled images, augmented, by the published recipe."""
    recipe = TrainingRecipe(width=case.width, batch_size=case.batch)
    generator = torch.Generator().manual_seed(0)
    shape = (case.channels, case.resolution, case.resolution)
    network = build_network(
        recipe.network, image_shape=shape, num_classes=case.classes, width=case.width, norm=recipe.norm,
        generator=generator,
    ).to(case.device)  # fmt: skip
    synthetic = noise_set(case)
    images, labels = synthetic.images[: case.batch].to(case.device), synthetic.labels[: case.batch].to(case.device)
    optimizer = recipe.optimizer(network.train())
    plain = PlainTraining(recipe, network)

    def ours() -> None:
        loss = recipe.criterion(network(recipe.transform(images, generator)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    clock = Clock(case)
    call = ours if case.what == "training" else lambda: plain.step(images, labels, generator)
    timed = clock.time(call, warm_up=3)
    return {
        "seconds": timed,
        "operations": training_operations(network_cost(network, shape), len(images)),
        "peak_memory_mib": clock.peak_mib(),
        "ceiling": ceiling(case.device),
    }


def noise_set(case: Case) -> SyntheticSet:
    """A set of noise with random soft labels."""
    generator = torch.Generator().manual_seed(0)
    class_ids = torch.arange(case.classes).repeat_interleave(case.images // case.classes)
    shape = (len(class_ids), case.channels, case.resolution, case.resolution)
    labels = torch.randn(len(class_ids), case.classes, generator=generator)
    images = torch.randn(shape, generator=generator)
    return SyntheticSet(images, labels, class_ids, tuple(map(str, range(case.classes))), Identity(), {})


def measure_attacks(case: Case) -> dict[str, Any]:
    """Each attack on `batch` members and as many others, of `classes` classes, in one process."""
    from privacy import ATTACKS, AttackRecords, audit

    generator = np.random.default_rng(0)
    sides = []
    for confidence in (2.0, 1.5):  # members are a little easier
        labels = generator.integers(case.classes, size=case.batch)
        logits = generator.normal(size=(case.batch, case.classes))
        logits[np.arange(case.batch), labels] += confidence
        sides.append((logits.astype(np.float32), labels))
    records = AttackRecords(members=sides[0], non_members=sides[1])
    clock = Clock(case)
    seconds, scores = {}, {}
    for name in (name for name, attack in ATTACKS.items() if not attack.needs):
        began = time.perf_counter()
        report = audit(records, attacks=name, jobs=1, splits=1)
        seconds[name], scores[name] = time.perf_counter() - began, report.result(name).auc.value
    return {"attacks": seconds, "auc": scores, "peak_memory_mib": clock.peak_mib(), "ceiling": ceiling(case.device)}

"""The sets of the distillation benchmark: made or imported, evaluated on every network, and drawn."""

import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.harness.kept import kept, read_figures, save
from benchmarks.studies.distillation.curve import measure_curve, snapshots_for
from benchmarks.studies.distillation.evaluation_networks import Column
from benchmarks.studies.distillation.run import DistillationRun, Row
from benchmarks.studies.distillation.saved_sets import read_set
from distill import SyntheticSet
from distill.distillers.stepwise import StepwiseDistiller
from distill.errors import NotFiniteError
from distill.files import read_json, write_json
from distill.preprocess import KeptElsewhere
from distill.runtime.distributed import is_first_rank, is_own, said_by_first_rank, wait_for_ranks
from distill.runtime.seeds import Purpose, generator_for
from distill.sets.drawing import plot_before_after, plot_evolution, plot_labels, save_gif
from distill.sets.synthetic import initial_labels
from distill.store import Store
from distill.training.evaluation import evaluate_network

__all__ = ["evaluations", "pictures"]

FRAMES = 12  # of a film strip; more would be too small to see


def evaluations(run: DistillationRun, row: Row, seed: int) -> Iterator[dict[str, Any]]:
    """A record for each network trained on the set of a row and seed; those found in the folder are not made again."""
    folder = run.folder_of(row, seed)
    synthetic = set_of(run, row, seed)
    cost = read_json(folder / "distilled.json")
    networks = [(column, index) for column in run.columns for index in range(run.options.networks)]
    paths = [folder / "networks" / f"{column.name.replace(':', '-')}-{index}.json" for column, index in networks]
    for number, ((column, index), path) in enumerate(zip(networks, paths, strict=True)):
        if is_own(number):
            kept(path, partial(evaluated, run, synthetic, column, seed, index))
    wait_for_ranks()
    measure_curve(run, row, seed, lambda so_far, index: evaluated(run, so_far, run.columns[0], seed, index))
    for (column, _), path in zip(networks, paths, strict=True):
        yield {
            "row": row.name, "method": row.method, "seed": seed, "column": column.name, "images": len(synthetic),
            "distil": cost, **read_figures(path),
        }  # fmt: skip


def evaluated(run: DistillationRun, synthetic: SyntheticSet, column: Column, seed: int, index: int) -> dict[str, Any]:
    """One network trained and tested; a training that diverged has accuracies of NaN, and the run continues."""
    started = time.monotonic()
    failed: dict[str, Any] = {}
    try:
        network, krr = evaluate_network(
            synthetic,
            run.tested_as(synthetic.preprocessing),
            recipe=column.recipe,
            generator=generator_for(seed, Purpose.EVALUATION, index),
            device=run.options.device,
            progress=is_first_rank(),
        )
    except NotFiniteError as error:
        network, krr, failed = float("nan"), float("nan"), {"failed": str(error)}
    seconds = time.monotonic() - started
    return {"index": index, "accuracy": network, "krr_accuracy": krr, "seconds": seconds, **failed}


def set_of(run: DistillationRun, row: Row, seed: int) -> SyntheticSet:
    """The set of a row and seed: found in the folder, distilled, or read from its file."""
    path = run.folder_of(row, seed) / "synthetic.safetensors"
    if not said_by_first_rank(path.exists()):  # the others may see what it has saved since
        save_by_first_rank(path, made_set(run, row, seed, path))
    synthetic = SyntheticSet.load(path)
    if is_first_rank():
        checkpoints(run, path).clear()
    return synthetic


def save_by_first_rank(path: Path, synthetic: SyntheticSet) -> None:
    """Save the set, which all ranks have, once; when this returns it can be read by all."""
    if is_first_rank():
        save(path, synthetic)
    wait_for_ranks()


def checkpoints(run: DistillationRun, path: Path) -> Store:
    """The store of checkpoints, which are of no use once the set at `path` is saved; networks are in the run's."""
    return Store(path.with_name("checkpoint"), shared=run.networks)


def made_set(run: DistillationRun, row: Row, seed: int, path: Path) -> SyntheticSet:
    """Make the set to be saved at `path`; what it cost is written first, beside it."""
    started = time.monotonic()
    if row.file is not None:
        synthetic = read_set(row.file, run.options, run.test, run.preprocessing)
    else:
        synthetic = distilled(run, row, seed, checkpoints(run, path))
    if is_first_rank():
        per_class = run.options.images_per_class
        updates = row.distiller.updates(per_class) if isinstance(row.distiller, StepwiseDistiller) else None
        seconds = time.monotonic() - started
        write_json(path.with_name("distilled.json"), {"seconds": seconds, "updates": updates})
    return synthetic


def distilled(run: DistillationRun, row: Row, seed: int, store: Store) -> SyntheticSet:
    """Distil, and keep the images as they were whenever something was recorded."""
    assert row.distiller is not None

    def keep(step: int, so_far: SyntheticSet) -> None:
        if is_first_rank():
            path = snapshot_folder(run, row, seed) / f"{step:08}.safetensors"
            replace(so_far, preprocessing=KeptElsewhere()).save(path)

    data = run.data_for(row.distiller)
    return row.distiller.distill(
        data,
        images_per_class=run.options.images_per_class,
        seed=seed,
        device=run.options.device,
        # Recorded, never used to change anything; a private method has nothing to do with it.
        held_out=None if row.distiller.is_private else run.tested_as(data.preprocessing),
        store=store,
        progress=True,
        on_record=keep,
        snapshots=snapshots_for(run, row, seed),
    )


# -- pictures ----------------------------------------------------------------------------------------------------------


def snapshot_folder(run: DistillationRun, row: Row, seed: int) -> Path:
    """Where a set is kept as it was on the way."""
    return run.folder_of(row, seed) / "snapshots"


def pictures(run: DistillationRun, row: Row, seed: int) -> None:
    """Draw the set: its images, its soft labels, and how they came about; what is drawn already is left."""
    folder = run.folder_of(row, seed)
    synthetic = SyntheticSet.load(folder / "synthetic.safetensors")
    if not (folder / "images.png").exists():
        synthetic.plot(folder / "images.png")
    if labels_learned(synthetic) and not (folder / "labels.png").exists():
        plot_labels(synthetic, folder / "labels.png")
    paths = spread_over(sorted(snapshot_folder(run, row, seed).glob("*.safetensors")))
    if len(paths) < 2 or (folder / "evolution.gif").exists():
        return
    sets = [replace(SyntheticSet.load(path), preprocessing=synthetic.preprocessing) for path in paths]
    steps = [int(path.stem) for path in paths]
    plot_before_after(sets[0], sets[-1], folder / "before-after.png")
    plot_evolution(sets, steps, folder / "evolution.png")
    save_gif(sets, steps, folder / "evolution.gif")


def labels_learned(synthetic: SyntheticSet) -> bool:
    """Whether the soft labels are others than those that distillations start from, whatever their scale."""
    start = initial_labels(synthetic.class_ids, synthetic.num_classes)
    return not torch.allclose(synthetic.labels * (start.max() / synthetic.labels.max()), start, atol=1e-5)


def spread_over(paths: list[Path]) -> list[Path]:
    """At most `FRAMES` of them, evenly spread, first and last included."""
    count = min(len(paths), FRAMES)
    return [paths[round(i * (len(paths) - 1) / max(count - 1, 1))] for i in range(count)]

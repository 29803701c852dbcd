"""The sets of the distillation benchmark: made or imported, evaluated on every network, and drawn."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill import InputError, Preprocessing, SyntheticSet
from distill.drawing import plot_before_after, plot_evolution, plot_labels, save_gif
from distill.evaluation import evaluate_network
from distill.files import read_json, write_json
from distill.imported import import_set, parse_preprocessing
from distill.preprocess import KeptElsewhere
from distill.seeds import generator_for
from distill.synthetic import initial_labels
from distillation_run import Row, Run

__all__ = ["evaluations", "pictures"]


def evaluations(run: Run, row: Row, seed: int) -> Iterator[dict[str, Any]]:
    """A record for each network trained on the set of a row and seed; those found in the folder are not made again."""
    folder = run.folder_of(row, seed)
    synthetic = set_of(run, row, seed)
    cost = read_json(folder / "distilled.json")
    for column in run.columns:
        for index in range(run.arguments.networks):
            path = folder / "networks" / f"{column.name.replace(':', '-')}-{index}.json"
            if not path.exists():
                started = time.monotonic()
                network, krr = evaluate_network(
                    synthetic,
                    run.tested_as(synthetic.preprocessing),
                    recipe=column.recipe,
                    generator=generator_for(seed, 5, index),
                    device=run.arguments.device,
                    progress=True,
                )
                seconds = time.monotonic() - started
                write_json(path, {"index": index, "accuracy": network, "krr_accuracy": krr, "seconds": seconds})
            yield {
                "row": row.name, "method": row.method, "seed": seed, "column": column.name, "images": len(synthetic),
                "distil": cost, **read_json(path),
            }  # fmt: skip


def set_of(run: Run, row: Row, seed: int) -> SyntheticSet:
    """The set of a row and seed: found in the folder, distilled, or read from its file."""
    folder = run.folder_of(row, seed)
    path, checkpoint = folder / "synthetic.safetensors", folder / "checkpoint.safetensors"
    if not path.exists():
        started = time.monotonic()
        synthetic = set_from_file(run, row) if row.distiller is None else distilled(run, row, seed, checkpoint)
        seconds = time.monotonic() - started
        write_json(folder / "distilled.json", {"seconds": seconds, "updates": updates_of(synthetic)})
        synthetic.save(path)
    checkpoint.unlink(missing_ok=True)
    return SyntheticSet.load(path)


def distilled(run: Run, row: Row, seed: int, checkpoint: Path) -> SyntheticSet:
    """Distil, and keep the images as they were whenever something was recorded."""
    assert row.distiller is not None
    assert run.data is not None

    def keep(step: int, so_far: SyntheticSet) -> None:
        replace(so_far, preprocessing=KeptElsewhere()).save(snapshot_folder(run, row, seed) / f"{step:08}.safetensors")

    return row.distiller.with_options(seed=seed).distill(
        run.data,
        held_out=run.tested_as(run.data.preprocessing),  # recorded, never used to change anything
        checkpoint=checkpoint,
        progress=True,
        on_record=keep,
    )


def updates_of(synthetic: SyntheticSet) -> int | None:
    """How often the images were updated, where the set tells."""
    history = synthetic.made_by.get("history") or []
    return int(history[-1]["step"]) if history else None


def set_from_file(run: Run, row: Row) -> SyntheticSet:
    """A saved set, this toolkit's or others'; raises `InputError` when it does not go with the data set."""
    assert row.file is not None
    arguments, classes = run.arguments, run.test.classes
    if row.file.suffix == ".safetensors":
        synthetic = SyntheticSet.load(row.file)
    else:
        synthetic = import_set(
            row.file,
            preprocessing=stated_preprocessing(run, row.file),
            classes=classes,
            layout=arguments.layout,
            pixels=arguments.pixels,
            labels=arguments.labels,
        )
    height, width, channels = run.test.images.shape[1:]
    if synthetic.classes != classes or synthetic.images.shape[1:] != (channels, height, width):
        raise InputError(
            f"{row.file} has {synthetic.num_classes} classes ({', '.join(synthetic.classes[:3])}, ...) and images of "
            f"{tuple(synthetic.images.shape[1:])}, {run.test.name} {len(classes)} ({', '.join(classes[:3])}, ...) and "
            f"{(channels, height, width)}; name the --dataset it was distilled from"
        )
    return synthetic


def stated_preprocessing(run: Run, file: Path) -> Preprocessing:
    """What `--preprocessing` says of others' sets."""
    text = run.arguments.preprocessing
    if text is None:
        raise InputError(
            f"{file} does not say how its images were preprocessed; say it with --preprocessing "
            "(identity, 'standardize:mean=...;std=...', a set of this toolkit, or fit)"
        )
    if text == "fit":
        assert run.preprocessing is not None
        return run.preprocessing
    return parse_preprocessing(text, channels=run.test.images.shape[-1])


# -- pictures ----------------------------------------------------------------------------------------------------------


def snapshot_folder(run: Run, row: Row, seed: int) -> Path:
    """Where a set is kept as it was on the way."""
    return run.folder_of(row, seed) / "snapshots"


def pictures(run: Run, row: Row, seed: int) -> None:
    """Draw the set: its images, its soft labels, and how they came about; what is drawn already is left."""
    folder = run.folder_of(row, seed)
    synthetic = SyntheticSet.load(folder / "synthetic.safetensors")
    if not (folder / "images.png").exists():
        synthetic.plot(folder / "images.png")
    learned = not synthetic.labels.equal(initial_labels(synthetic.class_ids, synthetic.num_classes))
    if learned and not (folder / "labels.png").exists():
        plot_labels(synthetic, folder / "labels.png")
    paths = sorted(snapshot_folder(run, row, seed).glob("*.safetensors"))
    if len(paths) < 2 or (folder / "evolution.gif").exists():
        return
    sets = [replace(SyntheticSet.load(path), preprocessing=synthetic.preprocessing) for path in paths]
    steps = [int(path.stem) for path in paths]
    plot_before_after(sets[0], sets[-1], folder / "before-after.png")
    plot_evolution(sets, steps, folder / "evolution.png")
    save_gif(sets, steps, folder / "evolution.gif")

"""Accuracy against seconds of distilling: the sets of one run, as they stood after parts of its time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.harness.kept import kept, read_figures
from benchmarks.harness.results import mean_and_spread, percent
from benchmarks.studies.distillation.run import DistillationRun, Row
from distill import Snapshots, SyntheticSet
from distill.distillers.stepwise import StepwiseDistiller
from distill.files import read_json, write_json
from distill.preprocess import KeptElsewhere
from privacy.tables import text_table

__all__ = ["SHARES", "curve_cells", "curve_records", "curve_table", "measure_curve", "snapshots_for"]

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of the seconds of a distillation; after all of them it is the set itself
NAMES = {1 / 16: "1/16", 1 / 8: "1/8", 1 / 4: "1/4", 1 / 2: "1/2", 1.0: "all"}


def share_by_step(run: DistillationRun, row: Row) -> dict[int, float]:
    """The steps of a row's distillation after which its set is looked at, with the share of its seconds until then.

    Where `--seconds` was given, these begin with the training of networks that a method needs, and a share within that
    has no step; otherwise shares are those of the steps.
    """
    distiller = row.distiller
    if not run.options.curve or not isinstance(distiller, StepwiseDistiller):
        return {}
    updates = distiller.updates(run.options.images_per_class)
    whole = row.seconds_of_networks + updates * row.seconds_per_step
    steps = {round((share * whole - row.seconds_of_networks) / row.seconds_per_step): share for share in SHARES}
    return {step: share for step, share in steps.items() if 0 < step < updates}


def curve_folder(run: DistillationRun, row: Row, seed: int) -> Path:
    """Where the sets of the curve are, and what was measured on them."""
    return run.folder_of(row, seed) / "curve"


def snapshots_for(run: DistillationRun, row: Row, seed: int) -> Snapshots | None:
    """What keeps the sets of the curve as a row is distilled; `None` where there are none."""
    assert row.distiller is not None
    shares = share_by_step(run, row)
    if not shares:
        return None
    updates = row.distiller.updates(run.options.images_per_class) if isinstance(row.distiller, StepwiseDistiller) else 0
    shares[updates] = 1.0

    def keep(step: int, seconds: float, so_far: SyntheticSet) -> None:
        path = curve_folder(run, row, seed) / f"{step:08}.safetensors"
        if step < updates:
            replace(so_far, preprocessing=KeptElsewhere()).save(path)
        about = {"step": step, "share": shares[step], "seconds": row.seconds_of_networks + seconds}
        write_json(path.with_suffix(".json"), about)

    return Snapshots(tuple(shares), keep)


def measure_curve(run: DistillationRun, row: Row, seed: int, evaluated: Any) -> None:
    """Train the networks of the first column on the sets of the curve, those of the folder not again.

    - `evaluated(synthetic, index)`: the record of network number `index` on a set.
    """
    preprocessing = SyntheticSet.load(run.folder_of(row, seed) / "synthetic.safetensors").preprocessing
    for path in sorted(curve_folder(run, row, seed).glob("*.safetensors")):
        so_far = replace(SyntheticSet.load(path), preprocessing=preprocessing)
        for index in range(run.options.networks):
            kept(path.with_name(f"{path.stem}-network-{index}.json"), partial(evaluated, so_far, index))


def curve_records(run: DistillationRun, networks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A record for each row, seed, set of the curve and network; of the last set those of `networks`, the run's own."""
    return [record for row in run.rows for seed in run.seeds_of(row) for record in of_set(run, row, seed, networks)]


def of_set(
    run: DistillationRun, row: Row, seed: int, networks: Sequence[Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """Those of one distillation; nothing where the row has no curve."""
    for path in sorted(curve_folder(run, row, seed).glob("????????.json")):
        about = {"row": row.name, "method": row.method, "seed": seed, **read_json(path)}
        if about["share"] < 1:
            found = [read_figures(path.with_name(f"{path.stem}-network-{i}.json")) for i in range(run.options.networks)]
        else:
            found = [dict(own) for own in networks if (own["row"], own["seed"], own["column"])
                     == (row.name, seed, run.columns[0].name)]  # fmt: skip
        for own in found:
            yield {**about, **{name: own[name] for name in ("index", "accuracy", "krr_accuracy")}}


def curve_cells(records: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each row and share of its seconds: accuracy over seeds and networks, and the mean of the seconds."""
    cells = []
    for row, share in dict.fromkeys((record["row"], record["share"]) for record in records):
        own = [record for record in records if (record["row"], record["share"]) == (row, share)]
        mean, spread = mean_and_spread([record["accuracy"] for record in own])
        seconds = sum(record["seconds"] for record in own) / len(own)
        cells.append({
            "row": row, "method": own[0]["method"], "share": share, "seconds": seconds, "step": own[0]["step"],
            "n": len(own), "mean": mean, "std": spread,
        })  # fmt: skip
    return cells


def curve_table(cells: Sequence[Mapping[str, Any]]) -> str:
    """A line for each row, a column for each share of its seconds: the accuracy, and the seconds until then."""
    found = {(cell["row"], cell["share"]): f"{percent(cell)} ({cell['seconds']:.3g} s)" for cell in cells}
    lines = [["after seconds of distilling", *NAMES.values()]]
    for row in dict.fromkeys(cell["row"] for cell in cells):
        lines.append([row, *(found.get((row, share), "") for share in NAMES)])
    return text_table(lines)

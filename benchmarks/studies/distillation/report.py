"""What the distillation benchmark leaves behind: results as JSON, a table, plots."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.harness.cost import took
from benchmarks.harness.paper_results import TABLE_1, TABLE_2, TABLE_7
from benchmarks.harness.results import mean_and_spread, paired_leads, percent
from benchmarks.studies.distillation.curve import curve_cells, curve_records, curve_table
from benchmarks.studies.distillation.plots import (
    SECONDS_PLOT,
    plot_columns,
    plot_curves,
    plot_rows,
    plot_seconds,
    plot_sweep,
)
from benchmarks.studies.distillation.run import DistillationRun
from distill import SyntheticSet
from distill.data.labelled import DATASETS
from privacy.tables import text_table

__all__ = ["describe", "reported"]


def describe(records: Sequence[dict[str, Any]]) -> str:
    """One line on the networks trained on one set."""
    first = records[0]
    parts = [f"{cell['column']} {percent(cell)}" for cell in summarize(records)]
    return f"{first['row']}, seed {first['seed']}: {first['images']} images, accuracy {', '.join(parts)} %"


def reported(
    run: DistillationRun, records: list[dict[str, Any]], cost: Mapping[str, Any]
) -> tuple[dict[str, Any], str]:
    """Draw the plots from a record for each row, seed, column and network; returns the results and the table."""
    folder = run.folder
    cells = summarize(records)
    leads = lead_over_others(records)
    paper = TABLE_1.get(published_key(run), {})
    measured = "accuracy on held-out images" if run.options.held_out else "test accuracy"
    first = [cell for cell in cells if cell["column"] == run.columns[0].name]
    if run.options.sweep:
        option, *values = run.options.sweep
        value_of = {row.name: row.value for row in run.rows}
        plot_sweep(folder / "sweep.png", first, option, value_of, values, title(run), measured)
    if len(run.columns) > 1:
        plot_columns(folder / "accuracy.png", cells, title(run), measured)
    else:
        plot_rows(folder / "accuracy.png", cells, title(run), measured, paper)
    plot_curves(folder / "curves.png", histories(run), title(run))
    curve = curve_records(run, records)
    along = curve_cells(curve)
    if run.options.curve:
        plot_seconds(folder / SECONDS_PLOT, along, first, title(run), measured)
    tables = f"{format_table(run, cells)}\n\n" + (f"{curve_table(along)}\n\n" if along else "")
    text = f"{protocol(run)}\n\n{tables}{notes(run, cells, leads, cost)}"
    results = {"summary": cells, "leads": leads, "networks": records}
    return {**results, "curve": {"summary": along, "networks": curve}} if run.options.curve else results, text


def title(run: DistillationRun) -> str:
    """What all plots are of."""
    if run.options.set:
        return f"{run.train.name}, saved sets"
    count = run.options.images_per_class
    return f"{run.train.name}, {count} image{'s' * (count > 1)} a class"


def summarize(records: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each row and column: mean and standard deviation over seeds and networks; time of a distillation."""
    cells = []
    for row, column in dict.fromkeys((record["row"], record["column"]) for record in records):
        own = [record for record in records if (record["row"], record["column"]) == (row, column)]
        mean, spread = mean_and_spread([record["accuracy"] for record in own])
        krr_mean, krr_spread = mean_and_spread([record["krr_accuracy"] for record in own])
        distilled = {record["seed"]: record["distil"] for record in own}.values()
        cells.append({
            "row": row, "method": own[0]["method"], "column": column, "n": len(own), "images": own[0]["images"],
            "mean": mean, "std": spread, "krr_mean": krr_mean, "krr_std": krr_spread,
            "failed": sum("failed" in record for record in own),
            "updates": own[0]["distil"]["updates"],
            "distil_seconds": sum(part["seconds"] for part in distilled) / len(distilled),
            "train_seconds": sum(record["seconds"] for record in own) / len(own),
        })  # fmt: skip
    return cells


def lead_over_others(records: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """FRePo's lead over each other row, on the first column: differences of the same seed and network."""
    first = records[0]["column"]
    values = {(r["row"], r["seed"], r["index"]): r["accuracy"] for r in records if r["column"] == first}
    return paired_leads(values, of="frepo")


def protocol(run: DistillationRun) -> str:
    """One paragraph that says how the results came about."""
    options, recipe = run.options, run.columns[0].recipe
    where = f"{options.held_out} held-out training images per class" if options.held_out else "the test images"
    seeds, networks = ", ".join(map(str, options.seeds)), f"{options.networks} networks"
    spread = f"over seeds {seeds} and {networks} each"
    if options.set or len(options.seeds) == 1:
        made = "" if options.set else f" (distillation seed {seeds})"
        spread = f"over {networks} trained on each one set{made}"
    budget = ""
    if options.seconds:
        budget = f"\nEvery method that learns images was allotted the steps of {options.seconds:g} s."
    if run.choice is not None:
        budget = f"\n{run.choice.words}."
    return (
        f"{title(run)}, preset {options.preset}.\nAccuracy in % on {where}; mean ± standard deviation {spread},\n"
        f"all trained from scratch by one recipe on the set alone (width {recipe.width}, {recipe.loss}, Adam "
        f"{recipe.learning_rate:g}).{budget}"
    )


def format_table(run: DistillationRun, cells: list[dict[str, Any]]) -> str:
    """Rows against columns; or, where there is one network, everything about each row."""
    if len(run.columns) > 1:
        return columns_table(run, cells)
    rows = [["", "images", "updates", "seconds", "network", "KRR"]]
    for cell in cells:
        updates = "-" if cell["updates"] is None else str(cell["updates"])
        krr = percent({"mean": cell["krr_mean"], "std": cell["krr_std"], "n": cell["n"]})
        seconds = f"{cell['distil_seconds']:.0f}"
        rows.append([cell["row"], str(cell["images"]), updates, seconds, percent(cell), krr])
    return text_table(rows)


def columns_table(run: DistillationRun, cells: list[dict[str, Any]]) -> str:
    """A line for each network, a column for each row: there are more networks than methods."""
    names = [row.name for row in run.rows]
    found = {(cell["row"], cell["column"]): percent(cell) for cell in cells}
    lines = [["trained", *names]]
    lines += [[column.name, *(found.get((name, column.name), "") for name in names)] for column in run.columns]
    return text_table(lines)


def notes(
    run: DistillationRun, cells: list[dict[str, Any]], leads: dict[str, dict[str, Any]], cost: Mapping[str, Any]
) -> str:
    """What stands under the table: FRePo's lead, the paper's results, what it took."""
    lines = [
        f"frepo - {other}: {percent(lead, sign='+')} points (same seed and network, n = {lead['n']})"
        for other, lead in leads.items()
    ]
    lines += proven(run)
    lines += published(run)
    failed = [cell["row"] for cell in cells if cell["failed"]]
    if failed:
        lines.append(f"trainings diverged (NaN) on {', '.join(failed)}: lower --train-learning-rate")
    if run.options.resume:
        lines.append("resumed: the seconds leave out what a stopped process spent on the set it was stopped in")
    lines.append(took(cost))
    return "\n".join(lines) + "\n"


def published_key(run: DistillationRun) -> tuple[str, int]:
    """Where the paper's tables may have results of the same images, as many per class, tested alike."""
    options = run.options
    same = options.dataset in DATASETS and not (options.held_out or options.set or options.resolution)
    return (options.dataset if same else "", options.images_per_class)


def published(run: DistillationRun) -> list[str]:
    """The paper's results for this data set and size, if it has them; their budgets were other ones."""
    key = published_key(run)
    if key not in TABLE_1:
        return []
    figures = ", ".join(f"{name} {value}" for name, value in TABLE_1[key].items())
    lines = [
        f"published: {figures}\n(FRePo: 500 000 steps and more, width 128; the others by their own budgets, on their "
        "own networks)"
    ]
    if any("learn_labels" in row.name for row in run.rows) and key in TABLE_7:
        pairs = (f"{kind} labels {network} (KRR {krr})" for kind, (network, krr) in TABLE_7[key].items())
        lines.append(f"published: {', '.join(pairs)}")
    if key == ("cifar10", 10) and len(run.columns) > 1:
        for method, own in TABLE_2.items():
            lines.append(f"published: {method} " + ", ".join(f"{name} {value}" for name, value in own.items()))
    return lines


def proven(run: DistillationRun) -> list[str]:
    """What the ledgers of private sets come to, and what is different for them."""
    found = []
    for row in run.rows:
        if row.distiller is not None and row.distiller.is_private:
            sets = [SyntheticSet.load(run.folder_of(row, seed) / "synthetic.safetensors") for seed in run.seeds_of(row)]
            ledgers = [synthetic.ledger for synthetic in sets if synthetic.ledger is not None]
            epsilon = max(ledger.epsilon for ledger in ledgers)
            found.append(f"{row.name} {epsilon:.3g} at delta {ledgers[0].delta:g}")
    if not found:
        return []
    return [f"epsilon, for one record more or less, all of it counted: {', '.join(found)}; images fixed to [-1, 1]"]


def histories(run: DistillationRun) -> dict[str, list[list[dict[str, float]]]]:
    """What was recorded along the way, by row, for each seed."""
    found = {}
    for row in run.rows:
        sets = [SyntheticSet.load(run.folder_of(row, seed) / "synthetic.safetensors") for seed in run.seeds_of(row)]
        own = [synthetic.made_by["history"] for synthetic in sets if synthetic.made_by.get("history")]
        if own:
            found[row.name] = own
    return found

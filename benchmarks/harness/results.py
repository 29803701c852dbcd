"""Summaries of results, and the files that a benchmark writes."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from distill.files import write_atomically, write_json

__all__ = [
    "Records",
    "mean_and_spread",
    "paired_leads",
    "percent",
    "print_table",
    "summarized",
    "tested_on",
    "whole_bytes",
    "write_results",
]

Records = list[dict[str, Any]]


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (NaN for one value); both NaN if a value is NaN."""
    if any(map(math.isnan, values)):
        return float("nan"), float("nan")
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else float("nan")


def whole_bytes(number: float) -> str:
    """Bytes for tables, rounded up: as many hold what these do."""
    return str(math.ceil(number))


def percent(point: Mapping[str, Any], *, sign: str = "") -> str:
    """Mean and standard deviation, of `n` values, in %."""
    spread = f"±{100 * point['std']:.1f}" if point["n"] > 1 else ""
    return f"{100 * point['mean']:{sign}.1f}{spread}"


def tested_on(options: Mapping[str, Any]) -> str:
    """What accuracy is measured on, in words: the test images, or `held_out` training images."""
    return f"{options['held_out']} held-out training images per class" if options["held_out"] else "test images"


def paired_leads(values: Mapping[tuple[Any, ...], float], *, of: str) -> dict[str, dict[str, Any]]:
    """The lead of one method over each other: mean and spread of the differences where all but the method is equal.

    `values`: accuracies by method and whatever else tells two measurements apart (seed, network, ...).
    """
    leads = {}
    for other in dict.fromkeys(method for method, *_ in values if method != of):
        differences = [
            values[(of, *rest)] - value
            for (method, *rest), value in values.items()
            if method == other and (of, *rest) in values
        ]
        if differences:
            mean, spread = mean_and_spread(differences)
            leads[other] = {"mean": mean, "std": spread, "n": len(differences)}
    return leads


def summarized(
    records: Iterable[dict[str, Any]], rows: str, columns: str, summary_of: Callable[[Records], dict[str, Any]]
) -> dict[str, dict[Any, dict[str, Any]]]:
    """`summary_of` the records that are equal in `rows` and `columns`: by the value of the one, then of the other.

    Values are in the order in which they come; records that say why they were left out do not count.
    """
    groups: dict[str, dict[Any, Records]] = {}
    for record in records:
        if "left_out" not in record:
            groups.setdefault(record[rows], {}).setdefault(record[columns], []).append(record)
    return {row: {column: summary_of(own) for column, own in columns_.items()} for row, columns_ in groups.items()}


def write_results(folder: Path, results: Mapping[str, Any], table: str) -> None:
    """Write the results of a run as results.json, which other programs can read, and as table.txt."""
    write_json(folder / "results.json", without_nan(results))
    write_atomically(folder / "table.txt", lambda file: file.write_text(table.rstrip("\n") + "\n"))


def print_table(folder: Path) -> None:
    """Print the table that `write_results` wrote."""
    print("\n" + (folder / "table.txt").read_text())


def without_nan(content: Any) -> Any:
    """Replace NaN and infinities by `None`, as JSON has neither."""
    if isinstance(content, dict):
        return {name: without_nan(value) for name, value in content.items()}
    if isinstance(content, list | tuple):
        return [without_nan(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content

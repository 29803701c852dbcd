"""What the speed benchmark leaves behind: results as JSON, tables, plots with growth exponents."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.harness.cost import machine
from benchmarks.harness.paper_results import TABLE_8, TABLE_9, TABLE_10, TABLE_11
from benchmarks.studies.speed.plots import plot_growth, plot_parts
from privacy.tables import text_table

__all__ = ["describe", "reported"]

Record = dict[str, Any]

HEADINGS = {
    "target": "Against a plain eager step (32x32 RGB, 100 classes)",
    "jax": "Against the authors' step in JAX, in turns; 200 images and their mirror images",
    "batch": "By batch of real images (width 64, 200 distilled images)",
    "resolution": "By resolution (width 32, 100 distilled images, batch 256)",
    "training": "Training an evaluation network (an update on 500 images, augmented)",
    "large": "Many distilled images (width 128, batch 1024): in chunks computed twice, and by parts of 1000 per step",
}


def describe(record: Record) -> str:
    """One line on one case."""
    sizes = f"width {record['width']}, {record['images']} images, batch {record['batch']}, side {record['resolution']}"
    size = f"{code_of(record)}, {sizes}"
    if "attacks" in record:
        return "attacks: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in record["attacks"].items())
    if "seconds" not in record:
        return f"{size}: {record.get('failed') or record['left_out']}"
    return f"{size}: {time_of(record)} s, {share_of(record)} of the ceiling, {record['peak_memory_mib']:.0f} MiB"


def code_of(record: Record) -> str:
    """What was measured, and in which precision if the case has one of its own."""
    return record["what"] + (" bfloat16" if record["precision"] == "bfloat16" else "")


def reported(folder: Path, records: list[Record]) -> tuple[dict[str, Any], str]:
    """Draw the plots from a record for each case; returns the results and the tables."""
    growth = {study: exponents(records, study, key) for study, key in (("width", "width"), ("images", "images"))}
    plot_growth(folder / "growth.png", records, growth)
    plot_parts(folder / "parts.png", [r for r in records if "parts" in r and r["study"] in ("width", "images")])
    return {"growth": growth, "cases": records}, "\n\n".join([about(records), *sections(records, growth)])


def about(records: Sequence[Record]) -> str:
    """What was measured where."""
    of, ceilings = machine(), [r["ceiling"] / 1e9 for r in records if "ceiling" in r and r["precision"] == "float32"]
    device = of["gpu"] if records[0]["device"].startswith("cuda") else of["processor"]
    least, most = (min(ceilings), max(ceilings)) if ceilings else (math.nan, math.nan)
    return (
        f"{device}, {of['threads']} threads, torch {of['torch']}.\n"
        f"Ceiling: {least:.0f} to {most:.0f} GFLOP/s, a float32 matrix product beside every case; share: of it.\n"
        "s: median per step. GFLOP: what the algorithm needs, whatever an implementation does. MiB: peak memory beyond "
        "the start."
    )


def sections(records: Sequence[Record], growth: dict[str, Any]) -> list[str]:
    """A table for each study that was run."""
    found = {study: [r for r in records if r["study"] == study] for study in dict.fromkeys(r["study"] for r in records)}
    makers: dict[str, Callable[[list[Record]], str]] = {
        "jax": jax_table,
        "width": lambda rows: growth_table(rows, "width", (TABLE_8, TABLE_9), growth["width"]),
        "images": lambda rows: growth_table(rows, "images", (TABLE_10, TABLE_11), growth["images"]),
        "attacks": attacks_table,
    }
    tables = [makers.get(study, lambda rows: compared_table(rows))(rows) for study, rows in found.items()]
    parts = [r for r in records if "parts" in r]
    return [*tables, *([parts_table(parts)] if parts else [])]


def time_of(record: Record | None) -> str:
    """Median seconds, or a dash."""
    if record is None or "seconds" not in record:
        return "–"
    seconds = record["seconds"]["median"]
    return f"{seconds:.3f}" if seconds < 1 else f"{seconds:.2f}"


def share_of(record: Record) -> str:
    """Share of the ceiling that was measured beside a case, in %; a dash in bfloat16, whose ceiling is another."""
    if "operations" not in record or "seconds" not in record or record["precision"] == "bfloat16":
        return "–"
    return f"{100 * share(record):.0f} %"


def share(record: Record) -> float:
    """Operations needed, over what the ceiling would do in that time."""
    return record["operations"] / record["seconds"]["median"] / record["ceiling"]


def sizes(record: Record) -> tuple[Any, ...]:
    """What two cases have to share to be compared."""
    return tuple(record[key] for key in ("width", "images", "batch", "resolution", "mirror", "distilled_batch"))


def compared_table(rows: list[Record]) -> str:
    """The toolkit beside the plain implementation."""
    plain = {sizes(row): row for row in rows if row["what"].startswith("plain")}
    lines = []
    for row in rows:
        if row["what"].startswith("plain"):
            continue
        other = plain.get(sizes(row))
        lines.append([
            str(row["width"]), str(row["images"]), str(row["distilled_batch"] or "all"), str(row["batch"]),
            str(row["resolution"]), f"{row['operations'] / 1e9:.0f}" if "operations" in row else "–",
            time_of(row), share_of(row), memory_of(row), time_of(other), memory_of(other), faster(row, other),
            f"{other['gradient_difference']:.0e}" if other and "gradient_difference" in other else "–",
        ])  # fmt: skip
    heads = [
        "width", "images", "a step", "batch", "side", "GFLOP", "s", "share", "MiB", "plain s", "plain MiB", "x faster",
        "gradient differs",
    ]  # fmt: skip
    return f"{HEADINGS[rows[0]['study']]}\n{text_table([heads, *lines])}"


def memory_of(record: Record | None) -> str:
    """Peak memory in MiB, or a dash."""
    return f"{record['peak_memory_mib']:.0f}" if record and "peak_memory_mib" in record else "–"


def faster(record: Record, other: Record | None) -> str:
    """How many times as long the other takes."""
    if other is None or "seconds" not in other or "seconds" not in record:
        return "–"
    return f"{other['seconds']['median'] / record['seconds']['median']:.2f}"


def jax_table(rows: list[Record]) -> str:
    """The toolkit, in each precision, and the step in JAX: means over the turns, and the range of their ratios."""
    by: dict[tuple[int, str], list[Record]] = {}
    for row in rows:
        if "seconds" in row:
            by.setdefault((row["width"], code_of(row)), []).append(row)
    lines = []
    for width, batch in dict.fromkeys((row["width"], row["batch"]) for row in rows):
        ours, lowered, theirs = (by.get((width, code), []) for code in ("frepo", "frepo bfloat16", "jax"))
        lines.append([
            str(width), str(batch), f"{ours[0]['operations'] / 1e9:.0f}" if ours else "–", mean_time(ours),
            mean_time(lowered), mean_time(theirs), ratio(theirs, ours), ratio(theirs, lowered),
        ])  # fmt: skip
    heads = ["width", "batch", "GFLOP", "s", "bfloat16 s", "JAX s", "JAX s / s", "JAX s / bfloat16 s"]
    versions = sorted({row["jax"] for row in rows if "jax" in row})
    with_version = f" (jax {', '.join(versions)})" if versions else ""
    return f"{HEADINGS['jax']}{with_version}\n{text_table([heads, *lines])}"


def mean_time(turns: list[Record]) -> str:
    """Mean of the turns' median seconds, or a dash."""
    return f"{fmean(row['seconds']['median'] for row in turns):.3f}" if turns else "–"


def ratio(theirs: list[Record], ours: list[Record]) -> str:
    """Their seconds over ours, by turn: the mean, and the least and most; or a dash."""
    pairs = [(a, b) for a in theirs for b in ours if a["turn"] == b["turn"]]
    found = [a["seconds"]["median"] / b["seconds"]["median"] for a, b in pairs]
    return f"{fmean(found):.2f} ({min(found):.2f} to {max(found):.2f})" if found else "–"


def growth_table(rows: list[Record], key: str, paper: tuple[Any, Any], growth: dict[str, Any]) -> str:
    """Seconds and memory of all methods by size, the paper's beside them."""
    by = {(row["what"], row[key]): row for row in rows}
    methods = list(dict.fromkeys(row["what"] for row in rows))
    names = {"frepo": "FRePo", "dm": "DM", "dsa": "DSA"}
    lines = []
    for size in sorted({row[key] for row in rows}):
        cells = [str(size)]
        for what in methods:
            record, name = by.get((what, size)), names.get(what)
            cells += [time_of(record), memory_of(record)]
            if name:
                cells += [f"{paper[0][size][name] / 1e3:.4g}", f"{paper[1][size][name]:.3g}"]
        lines.append(cells)
    last = ["growth"]
    for what in methods:
        own = growth.get(what, {})
        last += [exponent(own.get("seconds")), exponent(own.get("peak_memory_mib"))]
        if what in names:
            theirs = growth.get(f"{what} (paper)", {})
            last += [exponent(theirs.get("seconds")), exponent(theirs.get("peak_memory_mib"))]
    heads = [key]
    for what in methods:
        heads += [f"{what} s", "MiB", *(["paper s", "GB"] if what in names else [])]
    fixed = "100 distilled images" if key == "width" else "width 64"
    title = f"By {key} ({fixed}, batch 256, of each class for DM and DSA); paper: Tables 8 to 11, on an RTX 6000"
    note = "growth: exponent of the last three sizes. –: left out, as too long or not published"
    return f"{title}\n{text_table([heads, *lines, last])}\n{note}"


def exponent(value: float | None) -> str:
    """An exponent as text."""
    return "–" if value is None else f"^{value:.2f}"


def exponents(records: Sequence[Record], study: str, key: str) -> dict[str, dict[str, float]]:
    """Growth exponents of seconds and memory by method, and those of the paper's results at the same sizes."""
    found: dict[str, dict[str, float]] = {}
    rows = [record for record in records if record["study"] == study and "seconds" in record]
    for what in dict.fromkeys(row["what"] for row in rows):
        own = [(row[key], row["seconds"]["median"], row["peak_memory_mib"]) for row in rows if row["what"] == what]
        found[what] = slopes(own)
        times, memories = (TABLE_8, TABLE_9) if study == "width" else (TABLE_10, TABLE_11)
        name = {"frepo": "FRePo", "dm": "DM", "dsa": "DSA"}.get(what)
        if name:
            found[f"{what} (paper)"] = slopes([(size, times[size][name], memories[size][name]) for size in times])
    return found


def slopes(points: list[tuple[float, float, float]]) -> dict[str, float]:
    """Exponents of the second and third number by the first, over the last three points; none for fewer."""
    if len(points) < 3:
        return {}
    (x1, *first), _, (x3, *last) = points[-3:]
    names = ("seconds", "peak_memory_mib")
    return {
        name: math.log(end / start) / math.log(x3 / x1)
        for name, start, end in zip(names, first, last, strict=True)
        if min(start, end) > 0
    }


def parts_table(rows: list[Record]) -> str:
    """Every FRePo step by part."""
    lines = []
    for row in rows:
        sizes = [str(row[key]) for key in ("width", "images", "batch", "resolution")]
        cells = [row["study"], code_of(row), *sizes, time_of(row)]
        for part in row["parts"].values():
            cells.append(f"{part['seconds']['median']:.3f} ({share_of({**row, **part})})")
        rest = row["seconds"]["median"] - sum(part["seconds"]["median"] for part in row["parts"].values())
        lines.append([*cells, f"{max(rest, 0.0):.3f}"])
    heads = [
        "study", "what", "width", "images", "batch", "side", "step s", "real features", "meta-gradient",
        "pool training", "rest",
    ]  # fmt: skip
    return f"A FRePo step by part: seconds, and share of the ceiling\n{text_table([heads, *lines])}"


def attacks_table(rows: list[Record]) -> str:
    """Seconds of each attack."""
    row = rows[0]
    if "attacks" not in row:
        return f"Attacks: {row.get('failed')}"
    lines = [[name, f"{seconds:.2f}"] for name, seconds in row["attacks"].items()]
    title = f"The five attacks on {row['batch']} members and as many others of {row['classes']} classes, in one process"
    return f"{title}\n{text_table([['attack', 's'], *lines])}"

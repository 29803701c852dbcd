"""What the benchmark of replay memories tells: its table, its plot, and where one kind of arm overtakes the other."""

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmarks.harness.methods import COLOURS, distiller_class
from benchmarks.harness.plots import accuracy_axis, draw
from benchmarks.harness.results import Records, percent, summarized, tested_on
from benchmarks.studies.class_incremental.report import point_of
from privacy.tables import text_table

__all__ = ["crossover", "reported", "summarize"]

Summary = Mapping[str, Mapping[int, Mapping[str, Any]]]
MARKERS = {
    "uint8": "s", "webp": "o", "jpeg": "D", "avif": "h", "lowres": "v", "float32": "x", "float16": "x",
    "mosaic:webp": "P", "mosaic:jpeg": "d", "mosaic:avif": "X",
}  # fmt: skip


def reported(folder: Path, options: dict[str, Any], records: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Draw the plot from one record for each arm, size and order; returns the results by name and the table."""
    summary = summarize(records)
    draw(
        folder / "memory.png",
        f"{options['dataset']}, {options['steps']} class-incremental steps, all classes",
        (11, 5),
        lambda axes: fill(axes, summary),
    )
    real, learned = (best(summary, learned=learned) for learned in (False, True))
    results = {"summary": summary, "best_real": real, "best_learned": learned, "points": records}
    return results, format_table(options, records, summary)


def summarize(records: Records) -> dict[str, dict[int, dict[str, Any]]]:
    """For each arm and size: mean and standard deviation over orders and networks, and what the memory holds."""

    def point(own: Records) -> dict[str, Any]:
        return {**point_of(own), "seconds": sum(sum(record["seconds"].values()) for record in own)}

    return summarized(records, "arm", "size", point)


def learns(arm: str) -> bool:
    """Whether the method of an arm learns its images."""
    return not distiller_class(arm.split()[0]).selects_real_images


def best(summary: Summary, *, learned: bool) -> dict[int, dict[str, Any]]:
    """The best arm of one kind at each size: its name and accuracy."""
    found: dict[int, dict[str, Any]] = {}
    for arm, points in summary.items():
        for size, point in points.items():
            if learns(arm) == learned and (size not in found or point["mean"] > found[size]["mean"]):
                found[size] = {"arm": arm, **point}
    return dict(sorted(found.items()))


def crossover(summary: Summary) -> str:
    """Where the best arm of real images overtakes the best one of learned images, in words.

    Between two sizes the lead is interpolated linearly in the logarithm of the bytes. The best arms are chosen by the
    accuracy that is shown, so a lead within the spread says nothing.
    """
    real, learned = best(summary, learned=False), best(summary, learned=True)
    leads = {size: learned[size]["mean"] - real[size]["mean"] for size in real if size in learned}
    lines = [lead_in_words(size, learned[size], real[size]) for size in leads]
    sizes = list(leads)
    for small, large in itertools.pairwise(sizes):
        if leads[small] * leads[large] < 0:
            share = leads[small] / (leads[small] - leads[large])
            at = math.exp(math.log(small) + share * (math.log(large) - math.log(small)))
            lines.append(f"crossover: about {at:.0f} bytes per class")
    if len(sizes) > 1 and not any(line.startswith("crossover") for line in lines):
        lines.append("crossover: none between these sizes")
    return "\n".join(lines)


def lead_in_words(size: int, learned: Mapping[str, Any], real: Mapping[str, Any]) -> str:
    """Which kind of images is ahead at a size, and whether by more than the spread."""
    lead = learned["mean"] - real["mean"]
    spread = math.hypot(*(0.0 if math.isnan(point["std"]) else point["std"] for point in (learned, real)))
    unclear = "" if abs(lead) > spread else ", no more than the spread"
    return (
        f"at {size} bytes per class: {learned['arm']} {percent(learned)}, {real['arm']} {percent(real)}: "
        f"{'learned' if lead > 0 else 'real'} images lead by {100 * abs(lead):.1f} points{unclear}"
    )


def format_table(options: dict[str, Any], records: list[dict[str, Any]], summary: Summary) -> str:
    """Accuracy of each arm at each size, how many images that is, what was left out, and the crossover."""
    sizes = sorted(options["memory_bytes"])
    rows = [["bytes per class", *map(str, sizes), "minutes"]]
    for arm, points in summary.items():
        cells = [cell(points.get(size)) for size in sizes]
        minutes = sum(point["seconds"] for point in points.values()) / 60
        rows.append([arm, *cells, f"{minutes:.1f}"])
    left_out = dict.fromkeys(
        f"left out: {r['arm']} at {r['size']} bytes: {r['left_out']}" for r in records if "left_out" in r
    )
    about = (
        f"{options['dataset']}, {options['steps']} class-incremental steps, preset {options['preset']}.\n"
        f"Accuracy in % over all classes on {tested_on(options)}, after the last step; mean ± standard deviation over "
        "class\n"
        f"orders {options['seeds']} and {options['networks']} networks each, all trained by the same recipe on the "
        "memory alone; in\nbrackets: images per class. Bytes count images, labels and class ids.\n"
    )
    return "\n".join([about, text_table(rows), *left_out, "", crossover(summary)])


def cell(point: Mapping[str, Any] | None) -> str:
    """Accuracy, and images per class."""
    return "-" if point is None else f"{percent(point)} ({point['images_per_class']:.0f})"


def fill(axes: Axes, summary: Summary) -> None:
    """A line for each arm: colour by method, marker by codec, filled where images were learned through it."""
    for arm, points in summary.items():
        method, *rest = arm.split()
        codec = (rest or ["float32"])[0]
        sizes = sorted(points)
        axes.errorbar(
            sizes, [points[size]["mean"] for size in sizes],
            yerr=[0 if math.isnan(points[size]["std"]) else points[size]["std"] for size in sizes],
            label=arm, color=COLOURS.get(method), marker=marker_of(codec), capsize=2, alpha=0.9,
            markerfacecolor=None if "through" in rest else "white",
            linestyle={"lowres": ":", "uint8": "--"}.get(codec.partition(":")[0], "-"),
        )  # fmt: skip
    axes.set_xscale("log")
    ticks = sorted({size for points in summary.values() for size in points})
    axes.set_xticks(ticks, [f"{size:,}".replace(",", " ") for size in ticks])
    axes.minorticks_off()
    axes.set_xlabel("bytes per class: images, labels and class ids")
    accuracy_axis(axes, "y", name="accuracy over all classes")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def marker_of(codec: str) -> str:
    """Of a codec's first part, of a mosaic's with its format; another one where low resolution is coded further."""
    kind, *rest = codec.split(":")
    return "^" if "+" in codec else MARKERS.get(f"{kind}:{rest[0]}" if kind == "mosaic" else kind, ".")

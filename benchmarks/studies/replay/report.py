"""What the benchmark of replay tells: its table and its plot."""

import math
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from benchmarks.harness.methods import COLOURS, distiller_class
from benchmarks.harness.plots import accuracy_axis, draw
from benchmarks.harness.results import Records, mean_and_spread, percent, summarized, tested_on, whole_bytes
from benchmarks.studies.replay.options import NO_REPLAY
from privacy.tables import text_table

__all__ = ["describe", "describe_memory", "reported", "summarize"]

Summary = Mapping[str, Mapping[str, Mapping[str, Any]]]
HATCHES = {"uint8": "", "webp": "//", "jpeg": "\\\\", "lowres": ".."}


def describe_memory(record: Mapping[str, Any]) -> str:
    """One line on the memory of one step."""
    where = f"{record['arm']} order {record['order']} step {record['step']}"
    if "left_out" in record:
        return f"{where}: left out, {record['left_out']}"
    return f"{where}: {record['images']} images in {record['bytes']} bytes"


def describe(record: Mapping[str, Any]) -> str:
    """One line on one network of one strategy with one memory."""
    where = f"{record['strategy']}, {record['arm']}, order {record['order']}, network {record['network']}"
    if "left_out" in record:
        return f"{where}: left out, {record['left_out']}"
    return (
        f"{where}: {record['images_per_class']:.1f} images and {whole_bytes(record['bytes_per_class'])} bytes "
        f"per class, accuracy {100 * record['accuracy']:.1f} %"
    )


def reported(folder: Path, options: dict[str, Any], records: list[dict[str, Any]]) -> tuple[dict[str, Any], str]:
    """Draw the plot from one record for each strategy, arm, order and network; returns the results and the table."""
    summary = summarize(records)
    stream = f"{options['dataset']}, {options['steps']} class-incremental steps"
    title = f"{stream}, {options['memory_bytes']} bytes per class"
    draw(folder / "replay.png", title, (9, 4.5), lambda axes: fill(axes, summary))
    return {"summary": summary, "points": records}, format_table(options, records, summary)


def summarize(records: Records) -> dict[str, dict[str, dict[str, Any]]]:
    """For each strategy and arm: accuracy and forgetting over orders and networks, and what the memory holds."""
    return summarized(records, "strategy", "arm", point_of)


def point_of(records: Records) -> dict[str, Any]:
    """Of one strategy and arm: accuracy and forgetting, what the memory holds, and seconds in all."""
    figures: dict[str, Any] = {}
    for name in ("accuracy", "forgetting"):
        values = [record[name] for record in records if record[name] is not None]
        if values:
            mean, spread = mean_and_spread(values)
            figures[name] = {"mean": mean, "std": spread, "n": len(values)}
    held = {name: statistics.mean(r[name] for r in records) for name in ("images_per_class", "bytes_per_class")}
    return {**figures, **held, "seconds": sum(record["seconds"] for record in records)}


def format_table(options: dict[str, Any], records: list[dict[str, Any]], summary: Summary) -> str:
    """Accuracy and forgetting of each strategy with each memory, what that holds, and what was left out."""
    rows = [["strategy", "memory", "images per class", "bytes per class", "accuracy", "forgetting", "minutes"]]
    for strategy, arms in summary.items():
        for arm, point in arms.items():
            rows.append([
                strategy, arm, f"{point['images_per_class']:.1f}", whole_bytes(point["bytes_per_class"]),
                percent(point["accuracy"]), percent(point["forgetting"]) if "forgetting" in point else "-",
                f"{point['seconds'] / 60:.1f}",
            ])  # fmt: skip
    left_out = dict.fromkeys(
        f"left out: {r['strategy']}, {r['arm']}: {r['left_out']}" for r in records if "left_out" in r
    )
    return "\n".join([protocol(options), text_table(rows), *left_out, *leads(summary)])


def protocol(options: dict[str, Any]) -> str:
    """One paragraph that says how the results came about."""
    return (
        f"{options['dataset']}, {options['steps']} class-incremental steps, at most {options['memory_bytes']} bytes "
        f"per class, preset {options['preset']}.\n"
        f"Accuracy in % over all classes on {tested_on(options)}, after the last step. Forgetting: accuracy on the\n"
        "classes of a step when they were learned less that after the last step, in points, mean over all steps but\n"
        f"the last. Mean ± standard deviation over class orders {options['seeds']} and {options['networks']} networks "
        "each. Bytes count images,\nlabels, class ids, and the logits of der. naive, er-ace and der: "
        f"{options['updates']} updates per step, Adam {options['learning_rate']:g},\n{options['batch_size']} current "
        f"and {options['replay_batch_size']} replayed images per update; gdumb: from scratch on the memory alone.\n"
    )


def leads(summary: Summary) -> list[str]:
    """For each strategy the best memory of learned and of real images, and which is ahead."""
    lines = []
    for strategy, arms in summary.items():
        by_kind: dict[bool, str] = {}
        for arm in arms:
            if arm == NO_REPLAY:
                continue
            kind = learns(arm)
            if kind not in by_kind or mean_of(arms[arm]) > mean_of(arms[by_kind[kind]]):
                by_kind[kind] = arm
        if len(by_kind) == 2:
            lead = mean_of(arms[by_kind[True]]) - mean_of(arms[by_kind[False]])
            spread = math.hypot(*(spread_of(arms[arm]) for arm in by_kind.values()))
            alone = any(math.isnan(arms[arm]["accuracy"]["std"]) for arm in by_kind.values())
            unclear = ", one network: no spread" if alone else "" if abs(lead) > spread else ", no more than the spread"
            lines.append(
                f"{strategy}: {by_kind[True]} - {by_kind[False]} (best learned, best real): {100 * lead:+.1f} "
                f"points{unclear}"
            )
    return ["", *lines] if lines else []


def learns(arm: str) -> bool:
    """Whether the method of an arm learns its images."""
    return not distiller_class(arm.split()[0]).selects_real_images


def mean_of(point: Mapping[str, Any]) -> float:
    """The mean accuracy of a point."""
    return point["accuracy"]["mean"]


def spread_of(point: Mapping[str, Any]) -> float:
    """The standard deviation of the accuracy of a point; 0 for one network."""
    return 0.0 if math.isnan(point["accuracy"]["std"]) else point["accuracy"]["std"]


def fill(axes: Axes, summary: Summary) -> None:
    """A group of bars for each strategy, a bar for each memory: colour by method, hatch by codec."""
    arms = list(dict.fromkeys(arm for points in summary.values() for arm in points if arm != NO_REPLAY))
    floor = summary.get("naive", {}).get(NO_REPLAY)
    width = 0.8 / max(1, len(arms))
    for i, arm in enumerate(arms):
        method, *rest = arm.split()
        codec = (rest or ["float32"])[0].partition(":")[0]
        at = [(place, points[arm]) for place, points in enumerate(summary.values()) if arm in points]
        axes.bar(
            [place + (i - (len(arms) - 1) / 2) * width for place, _ in at], [mean_of(point) for _, point in at], width,
            yerr=[spread_of(point) for _, point in at], capsize=2, label=arm, color=COLOURS.get(method),
            hatch=HATCHES.get(codec, ""), edgecolor="white", ecolor="black",
        )  # fmt: skip
    if floor is not None:
        axes.axhline(mean_of(floor), color="black", linestyle=":", label="no replay (naive)")
    axes.set_xticks(range(len(summary)), list(summary))
    accuracy_axis(axes, "y", name="accuracy over all classes")
    axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1))

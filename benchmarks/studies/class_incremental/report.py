"""What the class-incremental benchmark tells: its results, its table, its plots."""

import statistics
from pathlib import Path
from typing import Any

from benchmarks.harness.methods import METHODS, chosen_methods
from benchmarks.harness.paper_results import CLASS_INCREMENTAL
from benchmarks.harness.results import mean_and_spread, paired_leads, percent, tested_on, whole_bytes
from benchmarks.studies.class_incremental.plots import plot_accuracy, plot_krr
from continual import average_incremental_accuracy, forgetting
from privacy.tables import text_table

__all__ = ["describe_equal", "describe_step", "memory_of", "point_of", "reported"]


def describe_step(record: dict[str, Any]) -> str:
    """One line on one step."""
    accuracy = 100 * sum(record["accuracy"]) / len(record["accuracy"])
    return (
        f"{record['method']:8} order {record['order']} step {record['step']:2}: {record['classes_seen']:3} classes, "
        f"{record['images']:4} images, accuracy {accuracy:.1f} %"
    )


def describe_equal(record: dict[str, Any]) -> str:
    """One line on one arm after the last step."""
    accuracy = 100 * sum(record["accuracy"]) / len(record["accuracy"])
    return (
        f"{record['arm']} order {record['order']}: {record['images_per_class']:.1f} images and "
        f"{whole_bytes(record['bytes_per_class'])} bytes per class, accuracy {accuracy:.1f} %"
    )


def reported(
    folder: Path, options: dict[str, Any], records: list[dict[str, Any]], equal: list[dict[str, Any]]
) -> tuple[dict[str, Any], str]:
    """Draw the plots; returns the results by name and the table.

    - `records`: of each method, order and step. `equal`: of each method and order at equal bytes.
    """
    summary, leads = summarize(records), final_leads(records)
    title = f"{options['dataset']}, {options['steps']} steps, {memory_of(options)}"
    plot_accuracy(folder / "accuracy.png", title, summary, published(options))
    if "frepo" in summary:
        plot_krr(folder / "krr-accuracy.png", folder, options)
    results = {"summary": summary, "leads": leads, "steps": records, "equal_bytes": equal}
    return results, format_table(options, summary, leads) + (format_equal(equal) if equal else "")


def summarize(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """For each method and step: mean and standard deviation over orders and networks; seconds summed."""
    summary: dict[str, dict[str, Any]] = {}
    for method in dict.fromkeys(record["method"] for record in records):
        own = [record for record in records if record["method"] == method]
        curve = []
        for step in sorted({record["step"] for record in own}):
            at_step = [record for record in own if record["step"] == step]
            values = [value for record in at_step for value in record["accuracy"]]
            mean, spread = mean_and_spread(values)
            curve.append(
                {"classes_seen": at_step[0]["classes_seen"], "mean": mean, "std": spread, "n": len(values)}
            )
        seconds = {what: sum(record["seconds"][what] for record in own) for what in ("distil", "train")}
        held = statistics.mean(record["bytes_per_class"] for record in at_step)
        summary[method] = {"curve": curve, "bytes_per_class": held, "seconds": seconds, **over_the_stream(own)}
        if "epsilon" in at_step[0]:  # of the last step: everything that the stream spent
            summary[method] |= {name: max(record[name] for record in at_step) for name in ("epsilon", "delta")}
    return summary


def over_the_stream(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Average incremental accuracy and forgetting of one method, over class orders and networks."""
    averages, losses = [], []
    for order in dict.fromkeys(record["order"] for record in records):
        own = sorted((r for r in records if r["order"] == order), key=lambda r: r["step"])
        for network in range(len(own[0]["accuracy"])):
            averages.append(average_incremental_accuracy([record["accuracy"][network] for record in own]))
            if all("accuracy_by_step" in record for record in own):  # records of older versions have none
                losses.append(forgetting([record["accuracy_by_step"][network] for record in own]))
    figures = {"average_incremental_accuracy": averages, "forgetting": [loss for loss in losses if loss is not None]}
    result = {}
    for name, values in figures.items():
        if values:
            mean, spread = mean_and_spread(values)
            result[name] = {"mean": mean, "std": spread, "n": len(values)}
    return result


def final_leads(records: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """FRePo's lead over each other method at the last step: differences of the same order and network."""
    last = max(record["step"] for record in records)
    final = {(r["method"], r["order"], i): a for r in records if r["step"] == last for i, a in enumerate(r["accuracy"])}
    return paired_leads(final, of="frepo")


def protocol(options: dict[str, Any]) -> str:
    """One paragraph that says how the results came about."""
    fitted = "all classes (future ones too, as published)" if options["fit_preprocessing"] == "all" \
        else "the classes of the first step only"
    how = f"Preprocessing fitted on {fitted}."
    if any(METHODS[method].private for method in chosen_methods(options["method"])):
        how = "Preprocessing fixed, as private methods want it."
    first = f" (the first of {options['first']} classes)" if options.get("first") else ""
    budget = f"{options['chosen']['words']}.\n" if "chosen" in options else ""
    return (
        f"{options['dataset']}, {options['steps']} class-incremental steps{first}, "
        f"{memory_of(options)}, preset {options['preset']}.\n"
        f"Accuracy in % on {tested_on(options)} of all classes seen so far; mean ± standard deviation over class\n"
        f"orders {options['seeds']} and {options['networks']} networks each, all trained by the same recipe on the "
        f"buffer alone.\n{how}\n{budget}"
    )


def memory_of(options: dict[str, Any]) -> str:
    """What every class has in the buffer, in words."""
    codec = options["arms"][0]["codec"]
    stored = "" if codec == "float32" else f" stored as {codec}"
    if options["memory_bytes"] is not None:
        return f"{options['memory_bytes']} bytes per class{stored}"
    return f"{options['images_per_class']} images per class{stored}"


def format_table(
    options: dict[str, Any], summary: dict[str, dict[str, Any]], leads: dict[str, dict[str, Any]]
) -> str:
    """The accuracy table, the lead of FRePo over each other method, and the paper's final results."""
    curves = {method: own["curve"] for method, own in summary.items()}
    classes = [point["classes_seen"] for point in next(iter(curves.values()))]
    rows = [["classes seen", *map(str, classes), "bytes per class", "minutes"]]
    for method, curve in curves.items():
        minutes = sum(summary[method]["seconds"].values()) / 60
        held = whole_bytes(summary[method]["bytes_per_class"])
        rows.append([method, *(percent(point) for point in curve), held, f"{minutes:.1f}"])
    lines = [text_table(rows)]
    for name in ("average_incremental_accuracy", "forgetting"):
        found = [f"{method} {percent(own[name])}" for method, own in summary.items() if name in own]
        if found:
            lines.append(f"{name.replace('_', ' ')}: {', '.join(found)}")
    budgets = [f"{method} {own['epsilon']:.3g} at delta {own['delta']:g}" for method, own in summary.items()
               if "epsilon" in own]  # fmt: skip
    if budgets:
        lines.append(f"epsilon of the whole stream, for one training image more or less: {', '.join(budgets)}")
    for other, lead in leads.items():
        points = percent(lead, sign="+")
        lines.append(f"frepo - {other} over all classes: {points} points (same order and network, n = {lead['n']})")
    if options["resume"]:
        lines.append("resumed: the minutes leave out what a stopped process spent on the step it was stopped in")
    if paper := published(options):
        figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in paper.items())
        lines.append(f"published, all classes (FRePo: 500 000 distillation steps, width 128; DM by its own): {figures}")
    return protocol(options) + "\n" + "\n".join(lines)


def point_of(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Of one arm after the last step: mean and standard deviation over orders and networks, and what its memory holds.

    - `records`: those of `benchmarks.studies.class_incremental.streams.final_record`.
    """
    values = [value for record in records for value in record["accuracy"]]
    mean, spread = mean_and_spread(values)
    held = {name: statistics.mean(r[name] for r in records) for name in ("images_per_class", "bytes_per_class")}
    return {"mean": mean, "std": spread, "n": len(values), **held}


def format_equal(records: list[dict[str, Any]]) -> str:
    """The methods at equal bytes, after the last step."""
    rows = [["at equal bytes, all classes", "images per class", "bytes per class", "accuracy"]]
    for arm in dict.fromkeys(record["arm"] for record in records):
        point = point_of([record for record in records if record["arm"] == arm])
        rows.append([arm, f"{point['images_per_class']:.1f}", whole_bytes(point["bytes_per_class"]), percent(point)])
    return "\n\n" + text_table(rows)


def published(options: dict[str, Any]) -> dict[str, float]:
    """The paper's results for this data set, steps and memory, if it has them; its budget was another one."""
    comparable = options["images_per_class"] == 20 and not options["held_out"] and not options.get("first")
    comparable &= all(arm["codec"] == "float32" for arm in options["arms"])
    return CLASS_INCREMENTAL.get((options["dataset"], options["steps"]), {}) if comparable else {}

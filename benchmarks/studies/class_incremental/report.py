"""What the class-incremental benchmark leaves behind: figures as JSON, a table, plots."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from benchmarks.harness.methods import COLOURS
from benchmarks.harness.results import mean_and_spread, paired_leads, percent, write_results
from continual import average_incremental_accuracy, forgetting
from distill import SyntheticSet
from distill.files import write_atomically

__all__ = ["print_table", "write_report"]

# Final accuracy over all classes, 20 images a class: Zhou et al. 2022, section 5.1.
PAPER_FINAL = {("cifar100", 5): {"FRePo": 0.416, "DM": 0.339}, ("cifar100", 10): {"FRePo": 0.380, "DM": 0.340}}


def write_report(folder: Path, options: dict[str, Any], records: list[dict[str, Any]], cost: dict[str, Any]) -> None:
    """Write results.json, table.txt and the plots from one record for each method, order and step."""
    summary = summarize(records)
    leads = final_leads(records)
    results = {"options": options, "cost": cost, "summary": summary, "leads": leads, "steps": records}
    write_results(folder, results)
    table = format_table(options, summary, leads)
    write_atomically(folder / "table.txt", lambda file: file.write_text(table))
    plot_accuracy(folder / "accuracy.png", options, summary)
    if "frepo" in summary:
        plot_krr(folder / "krr-accuracy.png", folder, options)


def print_table(folder: Path) -> None:
    """Print the table that `write_report` wrote."""
    print("\n" + (folder / "table.txt").read_text())


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
        seconds = {part: sum(record["seconds"][part] for record in own) for part in ("distil", "train")}
        summary[method] = {"curve": curve, "seconds": seconds, **over_the_stream(own)}
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
    """One paragraph that says how the figures came about."""
    fitted = "all classes (future ones too, as published)" if options["fit_preprocessing"] == "all" \
        else "the classes of the first step only"
    where = f"{options['held_out']} held-out training images a class" if options["held_out"] else "test images"
    first = f" (the first of {options['first']} classes)" if options.get("first") else ""
    return (
        f"{options['dataset']}, {options['steps']} class-incremental steps{first}, "
        f"{options['images_per_class']} images a class, preset {options['preset']}.\n"
        f"Accuracy in % on {where} of all classes seen so far; mean ± standard deviation over class\n"
        f"orders {options['seeds']} and {options['networks']} networks each, all trained by the same recipe on the "
        f"buffer alone.\nPreprocessing fitted on {fitted}.\n"
    )


def format_table(
    options: dict[str, Any], summary: dict[str, dict[str, Any]], leads: dict[str, dict[str, Any]]
) -> str:
    """The accuracy table, the lead of FRePo over each other method, and the paper's final figures."""
    curves = {method: part["curve"] for method, part in summary.items()}
    classes = [point["classes_seen"] for point in next(iter(curves.values()))]
    rows = [["classes seen", *map(str, classes), "minutes"]]
    for method, curve in curves.items():
        minutes = sum(summary[method]["seconds"].values()) / 60
        rows.append([method, *(percent(point) for point in curve), f"{minutes:.1f}"])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines.insert(1, "-" * len(lines[0]))
    for name in ("average_incremental_accuracy", "forgetting"):
        found = [f"{method} {percent(part[name])}" for method, part in summary.items() if name in part]
        if found:
            lines.append(f"{name.replace('_', ' ')}: {', '.join(found)}")
    for other, lead in leads.items():
        points = percent(lead, sign="+")
        lines.append(f"frepo - {other} over all classes: {points} points (same order and network, n = {lead['n']})")
    if options["resume"]:
        lines.append("resumed: the minutes leave out what a stopped process spent on the step it was stopped in")
    if paper := paper_final(options):
        figures = ", ".join(f"{name} {100 * value:.1f}" for name, value in paper.items())
        lines.append(f"published, all classes (500 000 distillation steps, width 128): {figures}")
    return protocol(options) + "\n" + "\n".join(lines) + "\n"


def paper_final(options: dict[str, Any]) -> dict[str, float]:
    """The paper's figures for this data set, steps and memory, if it has them; its budget was another one."""
    comparable = options["images_per_class"] == 20 and not options["held_out"] and not options.get("first")
    return PAPER_FINAL.get((options["dataset"], options["steps"]), {}) if comparable else {}


def plot_accuracy(path: Path, options: dict[str, Any], summary: dict[str, dict[str, Any]]) -> None:
    """Accuracy against classes seen, one line a method, a band of one standard deviation; the paper's final marks."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for method, part in summary.items():
        classes = [point["classes_seen"] for point in part["curve"]]
        means = [point["mean"] for point in part["curve"]]
        axes.plot(classes, means, marker="o", markersize=4, label=method, color=COLOURS.get(method))
        if part["curve"][0]["n"] > 1:
            low = [point["mean"] - point["std"] for point in part["curve"]]
            high = [point["mean"] + point["std"] for point in part["curve"]]
            axes.fill_between(classes, low, high, alpha=0.2, color=COLOURS.get(method), linewidth=0)
    for (name, value), marker in zip(paper_final(options).items(), "*X", strict=False):
        colour = COLOURS.get(name.lower(), "tab:green")
        axes.scatter(classes[-1], value, marker=marker, s=90, color=colour, edgecolors="black", linewidths=0.6,
                     label=f"{name}, paper (final)", zorder=3)
    axes.set_xlabel("classes seen")
    axes.set_ylabel("accuracy over classes seen")
    axes.set_title(f"{options['dataset']}, {options['steps']} steps, {options['images_per_class']} images a class")
    axes.set_xticks(classes)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    lowest, highest = axes.get_ylim()
    if lowest < highest / 2:  # from 0, unless the lines would only crowd at the top
        axes.set_ylim(0, highest)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    write_atomically(path, lambda file: figure.savefig(file, dpi=150))


def plot_krr(path: Path, folder: Path, options: dict[str, Any]) -> None:
    """KRR accuracy on images that were not distilled, of the same classes: one line a distillation, and their mean."""
    histories = [
        part["history"]
        for seed in options["seeds"]
        for step in range(options["steps"])
        for part in parts_of(SyntheticSet.load(folder / "frepo" / f"order-{seed}" / f"experience-{step}.safetensors"))
    ]
    histories = [history for history in histories if history and "krr_accuracy" in history[0]]
    if not histories:
        return
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    steps = [entry["step"] for entry in histories[0]]
    lines = [[entry["krr_accuracy"] for entry in history] for history in histories]
    for line in lines:
        axes.plot(steps, line, color="tab:gray", alpha=0.4, linewidth=1)
    axes.plot(steps, [sum(values) / len(values) for values in zip(*lines, strict=True)], color="tab:red", marker="o",
              label=f"mean of {len(lines)} distillations")
    axes.set_xlabel("distillation step")
    axes.set_ylabel("KRR accuracy, images not distilled")
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    write_atomically(path, lambda file: figure.savefig(file, dpi=150))


def parts_of(synthetic: SyntheticSet) -> list[dict[str, Any]]:
    """How each part of a set was made."""
    return synthetic.made_by.get("parts", [synthetic.made_by])

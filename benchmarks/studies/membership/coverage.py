"""How often the audit's intervals cover the truth, and how often its verdict is a false alarm, by simulation."""

import sys
import time
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from joblib import Parallel, delayed
from scipy.stats import norm
from threadpoolctl import threadpool_limits

from benchmarks.harness.checks import check_at_least
from benchmarks.harness.run_folder import open_folder
from benchmarks.studies.membership.options import CoverageOptions
from distill import InputError
from distill.files import write_atomically
from distill.store import MadeFrom, Store
from privacy import AttackRecords, AuditReport, Interval, auc_interval, audit, tpr_interval
from privacy.attacks import FEWEST
from privacy.intervals import Split
from privacy.metrics import FPR_LEVELS
from privacy.slices import WHOLE
from privacy.tables import text_table
from privacy.verdict import verdict_of

AUCS = (0.5, 0.6, 0.75, 0.9, 0.97, 0.998)
SIZES = ((3, 3), (6, 6), (10, 10), (20, 20), (50, 50), (200, 200), (2000, 2000), (50, 1000), (500, 2000))
KINDS = ("normal", "wide", "few")  # members' scores: moved, moved and twice as wide, or a share of them far above all
LEAKS = {"none": (0.0, 0.0), "weak": (0.7, 0.0), "strong": (3.0, 0.0), "extreme": (9.0, 0.0), "few": (0.0, 0.05)}
CLASSES = 10


def drawn_scores(kind: str, auc: float, n: int, m: int, generator: np.random.Generator) -> Split:
    """Scores of members and non-members with a known AUC."""
    members, others = generator.normal(size=n), generator.normal(size=m)
    if kind == "few":
        members[generator.random(n) < 2 * auc - 1] += 100
        return members, others
    spread = 2.0 if kind == "wide" else 1.0
    return spread * members + norm.ppf(auc) * np.hypot(1, spread), others


def true_tpr(kind: str, auc: float, fpr: float) -> float:
    """The TPR at an FPR of `drawn_scores`."""
    if kind == "few":
        return 2 * auc - 1 + (2 - 2 * auc) * fpr
    spread = 2.0 if kind == "wide" else 1.0
    return float(norm.sf((norm.isf(fpr) - norm.ppf(auc) * np.hypot(1, spread)) / spread))


def simulate_scores(kind: str, auc: float, size: tuple[int, int], draws: int, seed: int) -> dict[str, list[float]]:
    """For each figure: how many intervals cover the truth, how many there are, and the sum of their widths."""
    generator = np.random.default_rng([seed, KINDS.index(kind), AUCS.index(auc), *size])
    counts: dict[str, list[float]] = {}
    for i in range(draws):
        scores = [drawn_scores(kind, auc, *size, generator)]
        count(counts, "AUC", auc_interval(scores), auc)
        for fpr in FPR_LEVELS if i < draws // 4 else ():  # these take longer
            count(counts, f"TPR at {100 * fpr:g} %", tpr_interval(scores, fpr), true_tpr(kind, auc, fpr))
    return counts


def count(counts: dict[str, list[float]], name: str, interval: Interval, truth: float) -> None:
    """Add an interval, if it is one, to the counts of its name."""
    entry = counts.setdefault(name, [0, 0, 0.0])
    if interval.known:
        entry[0] += truth in interval
        entry[1] += 1
        entry[2] += interval.high - interval.low


def drawn_records(leak: str, size: int, generator: np.random.Generator) -> AttackRecords:
    """Records of a model that is right in about 3 of 4 cases, with as many members as non-members."""
    gap, share = LEAKS[leak]

    def side(is_member: bool) -> tuple[np.ndarray, np.ndarray]:
        labels = generator.integers(CLASSES, size=size)
        logits = generator.normal(0, 1.5, (size, CLASSES))
        exposed = 9 * (generator.random(size) < share) if is_member else 0
        logits[np.arange(size), labels] += generator.normal(4, 1.5, size) + gap * is_member + exposed
        return logits, labels

    return AttackRecords(members=side(True), non_members=side(False))


def simulate_audit(leak: str, size: int, seed: int, by_class: bool) -> dict[str, Any]:
    """The figures of one audit, and both verdicts: on all records, and with the slices."""
    records = drawn_records(leak, size, np.random.default_rng([seed, list(LEAKS).index(leak), size]))
    with threadpool_limits(1):
        report = audit(records, seed=seed, jobs=1, by_class=by_class)
    whole = verdict_of([result for result in report.results if result.slice == WHOLE])
    return {
        "figures": {r.attack: figures_of(report, r.attack) for r in report.results if r.slice == WHOLE},
        "above_chance": {r.attack: r.advantage > r.chance_advantage for r in report.results if r.slice == WHOLE},
        "whole": [whole.leaks_on_average, whole.exposes_a_few],
        "sliced": [report.verdict.leaks_on_average, report.verdict.exposes_a_few],
    }


def figures_of(report: AuditReport, attack: str) -> dict[str, tuple[float, float, float]]:
    """Value and ends of every figure of an attack on all records."""
    result = report.result(attack)
    named = {"AUC": result.auc} | {f"TPR at {100 * fpr:g} %": tpr for fpr, tpr in result.tpr_at_fpr}
    return {name: (i.value, i.low, i.high) for name, i in named.items()}


def coverage_of_audits(audits: list[dict[str, Any]]) -> dict[str, dict[str, list[float]]]:
    """By attack and figure: covered, intervals, sum of widths, and the mean value, which is the truth."""
    found: dict[str, dict[str, list[float]]] = {}
    for attack in audits[0]["figures"]:
        for name in audits[0]["figures"][attack]:
            values = np.array([each["figures"][attack][name] for each in audits], float)
            if np.isnan(values).any():
                continue
            truth = values[:, 0].mean()
            covered = (values[:, 1] <= truth) & (truth <= values[:, 2])
            widths = (values[:, 2] - values[:, 1]).sum()
            found.setdefault(attack, {})[name] = [int(covered.sum()), len(values), float(widths), float(truth)]
    return found


def run(
    tasks: Iterable[tuple[str, Callable[[], Any]]], store: Store, name: str, made_from: MadeFrom, jobs: int
) -> dict[str, Any]:
    """Results of these tasks by name, those found in the entry `name` not made again; kept there as they come.

    The entry may hold more of them, of a run that was asked for more.
    """
    tasks = list(tasks)
    found = store.load(name, made_from)
    kept: dict[str, Any] = found.metadata["results"] if found else {}
    missing = [task for task in tasks if task[0] not in kept]
    results = Parallel(n_jobs=jobs, return_as="generator_unordered")(delayed(named)(*each) for each in missing)
    saved = time.monotonic()
    for i, (task, result) in enumerate(results, 1):
        kept[task] = result
        if time.monotonic() - saved > 30 or i == len(missing):
            store.save(name, made_from, {}, {"results": kept})
            saved = time.monotonic()
            print(f"{name}: {i} of {len(missing)}", file=sys.stderr)
    return {task: kept[task] for task, _ in tasks}


def named(name: str, task: Callable[[], Any]) -> tuple[str, Any]:
    """The name and the result of a task."""
    return name, task()


def share(counts: list[float], digits: int = 1) -> str:
    """Coverage in %, or a dash where there are no intervals."""
    return f"{100 * counts[0] / counts[1]:.{digits}f}" if counts[1] else "–"


def scores_tables(found: dict[str, Any]) -> str:
    """Coverage by figure, side sizes and AUC: the lowest and the highest over the kinds of distributions."""
    names = ["AUC", *(f"TPR at {100 * fpr:g} %" for fpr in FPR_LEVELS)]
    lines = []
    for name in names:
        rows = [["members, non-members", *map(str, AUCS)]]
        for size in SIZES:
            cells = []
            for auc in AUCS:
                own = [found[f"{kind} {auc} {size}"].get(name, [0, 0, 0]) for kind in KINDS]
                values = [100 * c[0] / c[1] for c in own if c[1]]
                cells.append(f"{min(values):.0f}–{max(values):.0f}" if values else "–")
            rows.append([f"{size[0]}, {size[1]}", *cells])
        lines += [f"{name}: coverage in %, lowest and highest of {len(KINDS)} kinds of scores, by true AUC",
                  text_table(rows), ""]
    return "\n".join(lines)


def audits_tables(audits: dict[str, list[dict[str, Any]]]) -> str:
    """Coverage of whole audits by leak, size and attack, and what their verdicts say."""
    coverage = {name: coverage_of_audits(own) for name, own in audits.items()}
    attacks = list(next(iter(coverage.values())))
    lines = []
    for figure in ("AUC", *(f"TPR at {100 * fpr:g} %" for fpr in FPR_LEVELS)):
        rows = [["leak, records a side", "audits", *attacks]]
        for name, own in coverage.items():
            if figure in own[attacks[0]]:
                cells = [f"{share(own[a][figure])} ({own[a][figure][3]:.3f})" for a in attacks]
                rows.append([name, str(len(audits[name])), *cells])
        if len(rows) > 1:
            lines += [f"{figure}: coverage in % (and the true value)", text_table(rows), ""]
    return "\n".join([*lines, "verdict: audits that say so, in %", verdict_table(audits)])


def verdict_table(audits: dict[str, list[dict[str, Any]]]) -> str:
    """How often verdicts find a leak: by question, on all records and with slices."""
    head = ["on average", "a few", "either", "by class too, either", "advantage above chance"]
    rows = [["leak, records a side", "audits", *head]]
    for name, own in audits.items():
        whole, sliced = (np.array([each[key] for each in own]) for key in ("whole", "sliced"))
        above = np.mean([value for each in own for value in each["above_chance"].values()])
        cells = [*whole.mean(0), whole.any(1).mean(), sliced.any(1).mean(), above]
        rows.append([name, str(len(own)), *(f"{100 * value:.1f}" for value in cells)])
    return text_table(rows)


def check_options(options: CoverageOptions) -> None:
    """Raise `InputError` for numbers that make no sense."""
    check_at_least(options, 1, "draws", "audits")
    check_at_least(options, 0, "noise", "seed")
    if min(options.sizes) < FEWEST or len(set(options.sizes)) < len(options.sizes):
        sizes = " ".join(map(str, options.sizes))
        raise InputError(f"--sizes are {sizes}; expected different numbers of {FEWEST} or more")
    if options.jobs < 1 and options.jobs != -1:
        raise InputError(f"--jobs is {options.jobs}; expected at least 1, or -1 for one on each core")


def main(options: CoverageOptions) -> None:
    """Simulate, print the tables and keep them; raises `InputError` for a folder of another seed or other draws."""
    check_options(options)
    record = {"draws": options.draws, "seed": options.seed}  # of other options, more simulations may be added
    with open_folder(options.output, record, resume=options.resume):
        simulate(options)


def simulate(options: CoverageOptions) -> None:
    """All that the folder does not hold yet, and the tables."""
    began = time.monotonic()
    store, seed = Store(options.output), options.seed
    scores = run(
        ((f"{kind} {auc} {size}", partial(simulate_scores, kind, auc, size, options.draws, seed))
         for kind, auc, size in product(KINDS, AUCS, SIZES)),
        store, "scores", MadeFrom({"draws": options.draws, "seed": seed}), options.jobs,
    )
    print(scores_tables(scores), flush=True)
    numbers = {(leak, size): options.audits for size in options.sizes for leak in LEAKS}
    if 200 in options.sizes:
        numbers["none", 200] = max(options.noise, options.audits)
    audits = run(
        ((f"{leak}, {size} #{i}", partial(simulate_audit, leak, size, seed + i, size == 200))
         for i in range(max(numbers.values())) for (leak, size), number in numbers.items() if i < number),
        store, "audits", MadeFrom({"seed": seed}), options.jobs,
    )
    grouped: dict[str, list[dict[str, Any]]] = {}
    for leak, size in product(LEAKS, options.sizes):
        for name, result in audits.items():
            if name.startswith(f"{leak}, {size} #"):
                grouped.setdefault(f"{leak}, {size}", []).append(result)
    text = scores_tables(scores) + "\n" + audits_tables(grouped)
    write_atomically(options.output / "table.txt", lambda file: file.write_text(text + "\n"))
    print(audits_tables(grouped))
    print(f"\n{(time.monotonic() - began) / 60:.1f} minutes; {options.output}")

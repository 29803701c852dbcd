"""Runs attacks on records and puts what they found in a report."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits

from distill.errors import InputError
from distill.workers import workers_end_with_program
from privacy.attacks import Attack, Part, Scores, gather
from privacy.metrics import REPLICATES
from privacy.official import check_official, official_scores
from privacy.records import AttackRecords
from privacy.registry import ATTACKS, chosen_attacks
from privacy.report import AuditReport
from privacy.slices import Masks, checked_slices

__all__ = ["Engine", "audit"]

Engine = Literal["fast", "tf-privacy"]


@workers_end_with_program()
def audit(
    records: AttackRecords,
    *,
    attacks: str | Attack | Sequence[str | Attack] = "all",
    engine: Engine = "fast",
    seed: int = 0,
    jobs: int | None = None,
    by_class: bool = False,
    by_correctness: bool = False,
    masks: Mapping[str, Masks] | None = None,
    replicates: int = REPLICATES,
    info: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> AuditReport:
    """Attack a model through its records and report how well members are told from non-members.

    - `attacks`: "all", or some of "threshold", "lr", "mlp", "rf", "knn", or attacks of your own (`privacy.Attack`).
    - `engine`: "fast" is ours; "tf-privacy" runs TensorFlow Privacy's own code on the same records, where installed.
    - `seed`: the same seed gives the same scores, whatever `jobs` and the number of threads are.
    - `jobs`: processes side by side; `None` takes one for each core.
    - `by_class`, `by_correctness`, `masks`: also report on parts of the records: on each class, on those the model
      gets right and wrong, and on any parts of your own, `{name: (members, non_members)}`, boolean masks or positions,
      `None` for a whole side. The attacks are not trained anew for a part: for that, audit `records.subset(...)`.
    - `replicates`: of the bootstrap behind every confidence interval.
    - `info`: anything JSON-able to keep with the report (the model's name, its test accuracy, training steps).
    - `progress`: show a progress bar.

    Raises `InputError` when an attack or a mask does not go with the records, or the engine is not installed.
    """
    if engine not in get_args(Engine):
        raise InputError(f"engine is {engine!r}; wanted one of {', '.join(get_args(Engine))}")
    if jobs is not None and jobs < 1:
        raise InputError(f"jobs is {jobs}; wanted at least 1")
    if seed < 0 or replicates < 2:
        raise InputError(f"seed is {seed}, replicates {replicates}; wanted a seed of 0 or more, 2 replicates or more")
    chosen = chosen_attacks(attacks)
    for attack in chosen:
        attack.check(records)
    slices = checked_slices(records, by_class=by_class, by_correctness=by_correctness, masks=masks or {})
    run = run_fast if engine == "fast" else run_official
    jobs, started = jobs or cpu_count(), time.monotonic()
    scores = run(records, chosen, seed=seed, jobs=jobs, progress=progress)
    return AuditReport.of(
        records,
        scores,
        titles={attack.name: attack.title for attack in chosen},
        slices=slices,
        replicates=replicates,
        seed=seed,
        run={"engine": engine, "jobs": jobs, "seconds": time.monotonic() - started},
        info=dict(info or {}),
    )


def run_fast(
    records: AttackRecords, attacks: list[Attack], *, seed: int, jobs: int, progress: bool
) -> dict[str, Scores]:
    """Scores of our attacks, the parts of all of them side by side, the dearest first."""
    work = [(attack, part) for attack in attacks for part in attack.parts(records, seed=seed)]
    work.sort(key=lambda item: -item[0].cost)
    jobs = min(jobs, sum(attack.cost > 0 for attack, _ in work)) or 1
    tasks = (delayed(run_part)(part) for _, part in work)
    results = shown(Parallel(n_jobs=jobs, return_as="generator")(tasks), len(work), progress)
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {attack.name: [] for attack in attacks}
    for (attack, _), result in zip(work, results, strict=True):
        found[attack.name].append(result)
    return {name: gather(records, parts) for name, parts in found.items()}


def run_part(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """One part on one thread: sums in another order would give other last digits on another number of threads."""
    with threadpool_limits(1):
        return part()


def run_official(
    records: AttackRecords, attacks: list[Attack], *, seed: int, jobs: int, progress: bool
) -> dict[str, Scores]:
    """Scores of TensorFlow Privacy's attacks."""
    check_official()
    if unknown := [attack.name for attack in attacks if attack.name not in ATTACKS]:
        raise InputError(f"TensorFlow Privacy has no attack {', '.join(unknown)}; wanted some of {', '.join(ATTACKS)}")
    names = [attack.name for attack in attacks]
    jobs = min(jobs, len(names))
    tasks = (delayed(official_scores)(records, name, seed=seed) for name in names)
    results = shown(Parallel(n_jobs=jobs, return_as="generator")(tasks), len(names), progress)
    return dict(zip(names, results, strict=True))


def shown(results: Any, total: int, progress: bool) -> Any:
    """`results` under a progress bar, if one is wanted."""
    if not progress:
        return results
    from distill.progress import progress_bar  # tqdm is not needed without it

    return progress_bar(results, shown=True, total=total, desc="attack", unit="part")

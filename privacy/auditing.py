"""Runs attacks on records and puts what they found in a report."""

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from privacy.attacks import Attack, Part, Scores, gather, split_seed
from privacy.errors import InputError
from privacy.exposed import checked_images
from privacy.inputs import require_flag, require_mapping, require_one_of, require_whole
from privacy.official import check_official, official_scores
from privacy.records import AttackRecords
from privacy.registry import ATTACKS, chosen_attacks
from privacy.report import AuditReport
from privacy.slices import Masks, checked_slices
from privacy.workers import workers_end_with_program

__all__ = ["Engine", "audit"]

Engine = Literal["fast", "tf-privacy"]
MANY_RECORDS = 3000  # on the smaller side: so many need fewer splits, and take longer
SPLITS = 3
SPLITS_OF_MANY = 2


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
    splits: int | None = None,
    images: Any = None,
    info: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> AuditReport:
    """Attack a model through its records and report how well members are told from non-members.

    - `attacks`: "all", or some of "threshold", "lr", "mlp", "rf", "knn", or attacks of your own (`privacy.Attack`).
    - `engine`: "fast" is ours; "tf-privacy" runs TensorFlow Privacy's own code on the same records, where installed.
    - `seed`: the same seed gives the same scores, whatever `jobs` and the number of threads are.
    - `jobs`: processes side by side; `None` takes one for each core.
    - `by_class`, `by_correctness`, `masks`: also report on parts of the records: on each class, on those the model
      gets right and wrong, and on any parts of your own, `{name: (members, non_members)}`: masks (a vector of zeros and
      ones for all records of a side) or positions, `None` for a whole side. The attacks are not trained anew for a
      part: for that, audit `records.subset(...)`.
    - `splits`: how often the records are split anew for the attacks that are trained; figures are means over splits.
      `None` takes 3, or 2 from 3000 records a side on, and 1 for "tf-privacy". A trained attack on a single split has
      no interval.
    - `images`: of the members, `(n, H, W)` or `(n, H, W, channels)`, integers 0 to 255 or floats 0 to 1: the report
      shows those of the most exposed.
    - `info`: anything JSON-able to keep with the report (the model's name, its test accuracy, training steps).
    - `progress`: show a progress bar.

    Raises `InputError` when an attack, a mask or the images do not go with the records, or the engine is not installed.
    """
    if not isinstance(records, AttackRecords):
        raise InputError(f"records is a {type(records).__name__}; wanted AttackRecords(members=..., non_members=...)")
    require_one_of("engine", engine, get_args(Engine))
    for name, value, least in (("jobs", jobs, 1), ("splits", splits, 1), ("seed", seed, 0)):
        if value is not None or name == "seed":
            require_whole(name, value, least=least)
    for name, flag in (("by_class", by_class), ("by_correctness", by_correctness)):
        require_flag(name, flag)
    require_mapping("masks", {} if masks is None else masks, "{name: (members, non_members)}")
    require_mapping("info", {} if info is None else info, "{name: value}")
    chosen = chosen_attacks(attacks)
    for attack in chosen:
        attack.check(records)
    slices = checked_slices(records, by_class=by_class, by_correctness=by_correctness, masks=masks or {})
    pictures = checked_images(images, len(records.members))
    run = run_fast if engine == "fast" else run_official
    jobs, splits, started = jobs or cpu_count(), splits or default_splits(records, engine), time.monotonic()
    scores = run(records, chosen, seed=seed, splits=splits, jobs=jobs, progress=progress)
    return AuditReport.of(
        records,
        scores,
        titles={attack.name: attack.title for attack in chosen},
        slices=slices,
        images=pictures,
        seed=seed,
        run={"engine": engine, "jobs": jobs, "splits": splits, "seconds": time.monotonic() - started},
        info=dict(info or {}),
    )


def default_splits(records: AttackRecords, engine: Engine) -> int:
    """How often the records are split anew where the caller does not say."""
    if engine == "tf-privacy":
        return 1
    return SPLITS if min(len(records.members), len(records.non_members)) < MANY_RECORDS else SPLITS_OF_MANY


def run_fast(
    records: AttackRecords, attacks: list[Attack], *, seed: int, splits: int, jobs: int, progress: bool
) -> dict[str, Scores]:
    """Scores of our attacks, the parts of all of them side by side, the slowest first."""
    work = [
        (attack, split, part)
        for attack in attacks
        for split in range(splits if attack.trained else 1)
        for part in attack.parts(records, seed=split_seed(seed, split))
    ]
    work.sort(key=lambda item: -item[0].cost)
    jobs = min(jobs, sum(attack.cost > 0 for attack, *_ in work)) or 1
    tasks = (delayed(run_part)(part) for *_, part in work)
    results = with_progress(Parallel(n_jobs=jobs, return_as="generator")(tasks), len(work), progress)
    found: dict[tuple[str, int], list[tuple[np.ndarray, np.ndarray]]] = {}
    for (attack, split, _), result in zip(work, results, strict=True):
        found.setdefault((attack.name, split), []).append(result)
    def scores_of(attack: Attack) -> Scores:
        parts = [found.get((attack.name, split), []) for split in range(splits if attack.trained else 1)]
        return Scores.mean([gather(records, own, name=attack.name) for own in parts], trained=attack.trained)

    return {attack.name: scores_of(attack) for attack in attacks}


def run_part(part: Part) -> tuple[np.ndarray, np.ndarray]:
    """One part on one thread: sums in another order would give other last digits on another number of threads."""
    with threadpool_limits(1):
        return part()


def run_official(
    records: AttackRecords, attacks: list[Attack], *, seed: int, splits: int, jobs: int, progress: bool
) -> dict[str, Scores]:
    """Scores of TensorFlow Privacy's attacks."""
    check_official()
    if unknown := [attack.name for attack in attacks if attack.name not in ATTACKS]:
        raise InputError(f"TensorFlow Privacy has no attack {', '.join(unknown)}; wanted some of {', '.join(ATTACKS)}")
    work = [(attack, split) for attack in attacks for split in range(splits if attack.trained else 1)]
    tasks = (
        delayed(official_scores)(records, attack.name, seed=split_seed(seed, split)) for attack, split in work
    )
    run = Parallel(n_jobs=min(jobs, len(work)), return_as="generator")(tasks)
    results = list(with_progress(run, len(work), progress))
    return {
        attack.name: Scores.mean(
            [(r.members, r.non_members) for (owner, _), r in zip(work, results, strict=True) if owner is attack],
            trained=attack.trained,
        )
        for attack in attacks
    }


def with_progress(results: Iterable[Any], total: int, progress: bool) -> Iterable[Any]:
    """`results` under a progress bar, if one is wanted; in log files it is written now and then only."""
    pace = 0.2 if sys.stderr.isatty() else 30.0
    return tqdm(
        results, disable=not progress, leave=None, dynamic_ncols=True, mininterval=pace, total=total, desc="attack",
        unit="part",
    )  # fmt: skip

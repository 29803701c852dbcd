"""Runs attacks on records and puts what they found in a report."""

import platform
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, get_args

import numpy as np
from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits

from privacy.attacks import ATTACKS, Attack, Task, chosen_attacks
from privacy.attacks.base import split_seed
from privacy.errors import InputError
from privacy.exposed import checked_images
from privacy.progress import with_progress
from privacy.records import AttackRecords
from privacy.report import AuditReport
from privacy.scores import Scores, gather
from privacy.slices import Masks, checked_slices
from privacy.tf_privacy import ATTACK_TYPES, check_official, official_scores, official_versions
from privacy.validation import require_flag, require_mapping, require_one_of, require_whole
from privacy.workers import workers_end_with_program

__all__ = ["Engine", "audit"]

Engine = Literal["fast", "tf-privacy"]
MANY_RECORDS = 3000  # members or non-members, whichever are fewer: this many need fewer splits, and take longer
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
    """Attack a model through its records and report how well members are distinguished from non-members.

    - `attacks`: some of "threshold", "lr", "mlp", "rf", "knn", with references also "lira", "rmia", "calibrated",
      "bavaria", with features "quantile", or your own attacks (`privacy.Attack`); "all" is every attack that needs
      nothing the records lack.
    - `engine`: "fast", this package's attacks; "tf-privacy", TensorFlow Privacy's own code on the same records, if
      installed.
    - `seed`: the same seed gives the same scores, whatever `jobs` and the number of threads are.
    - `jobs`: how many processes run in parallel; `None` takes one for each core.
    - `by_class`, `by_correctness`, `masks`: also report on slices of the records: on each class, on those the model
      gets right and wrong, and on your own, `{name: (members, non_members)}`: masks (a vector of zeros and ones for all
      records of a side) or positions, `None` for a whole side. The attacks are not trained again for a slice: for that,
      audit `records.subset(...)`.
    - `splits`: how often the records are split again for the attacks that are trained; results are means over splits.
      `None` takes 3, or 2 from 3000 records a side on, and 1 for "tf-privacy". A trained attack on a single split has
      no interval.
    - `images`: of the members, `(n, H, W)` or `(n, H, W, channels)`, integers 0 to 255 or floats 0 to 1: the report
      shows those of the most exposed.
    - `info`: anything that JSON can hold, to keep with the report (the model's name, `test_accuracy`, `train_steps`).
    - `progress`: show a progress bar.

    Raises `InputError` when an attack, a mask or the images do not fit the records, or the engine is not installed.

    >>> generator = np.random.default_rng(0)
    >>> labels = np.zeros(100, int)
    >>> members = generator.normal(3, 1, (100, 2)) * [1, 0]  # surer of the label than the non-members
    >>> non_members = generator.normal(1, 1, (100, 2)) * [1, 0]
    >>> records = AttackRecords(members=(members, labels), non_members=(non_members, labels))
    >>> report = audit(records, attacks="threshold", jobs=1)
    >>> print(report.result("threshold").auc)
    0.928 [0.883, 0.957]
    >>> report.verdict.leaks
    True
    """
    if not isinstance(records, AttackRecords):
        raise InputError(f"records is a {type(records).__name__}; expected AttackRecords(members=..., non_members=...)")
    require_one_of("engine", engine, get_args(Engine))
    for name, value, least in (("jobs", jobs, 1), ("splits", splits, 1), ("seed", seed, 0)):
        if value is not None or name == "seed":
            require_whole(name, value, least=least)
    for name, flag in (("by_class", by_class), ("by_correctness", by_correctness), ("progress", progress)):
        require_flag(name, flag)
    require_mapping("masks", {} if masks is None else masks, "{name: (members, non_members)}")
    require_mapping("info", {} if info is None else info, "{name: value}")
    chosen = chosen_attacks(attacks, records, known_to=ATTACKS if engine == "fast" else ATTACK_TYPES)
    for attack in chosen:
        attack.check_needs(records)
        attack.check(records)
    slices = checked_slices(records, by_class=by_class, by_correctness=by_correctness, masks=masks or {})
    pictures = checked_images(images, int(records.is_member.sum()))
    run_attacks = run_fast if engine == "fast" else run_official
    jobs, splits, started = jobs or cpu_count(), splits or default_splits(records, engine), time.monotonic()
    scores = run_attacks(records, chosen, seed=seed, splits=splits, jobs=jobs, progress=progress)
    run = {"engine": engine, "jobs": jobs, "splits": splits, "seconds": time.monotonic() - started, "seed": seed}
    return AuditReport.of(
        records,
        scores,
        titles={attack.name: attack.title for attack in chosen},
        slices=slices,
        images=pictures,
        run=run | {"versions": versions(engine)},
        info=dict(info or {}),
    )


def default_splits(records: AttackRecords, engine: Engine) -> int:
    """How often the records are split again where the caller does not say."""
    if engine == "tf-privacy":
        return 1
    smaller = min(records.is_member.sum(), (~records.is_member).sum())
    return SPLITS if smaller < MANY_RECORDS else SPLITS_OF_MANY


def run_fast(
    records: AttackRecords, attacks: list[Attack], *, seed: int, splits: int, jobs: int, progress: bool
) -> dict[str, Scores]:
    """Scores of our attacks, the tasks of all of them in parallel, the most expensive first."""
    runs = [(attack, split) for attack in attacks for split in range(splits if attack.trained else 1)]
    work = [
        (attack, split, task)
        for attack, split in runs
        for task in attack.tasks(records, seed=split_seed(seed, split))
    ]
    work.sort(key=lambda item: -item[0].cost)
    jobs = min(jobs, sum(attack.cost > 0 for attack, *_ in work)) or 1
    done = Parallel(n_jobs=jobs, return_as="generator")(delayed(run_task)(task) for *_, task in work)
    results: dict[tuple[str, int], list[tuple[np.ndarray, np.ndarray]]] = {(a.name, split): [] for a, split in runs}
    for (attack, split, _), result in zip(work, with_progress(done, len(work), progress), strict=True):
        results[attack.name, split].append(result)
    scores = {key: gather(len(records), own, name=key[0]) for key, own in results.items()}
    return joined(records, attacks, scores)


def run_task(task: Task) -> tuple[np.ndarray, np.ndarray]:
    """One task on one thread: on another number of threads, sums in another order would change the last digits."""
    with threadpool_limits(1):
        return task()


def run_official(
    records: AttackRecords, attacks: list[Attack], *, seed: int, splits: int, jobs: int, progress: bool
) -> dict[str, Scores]:
    """Scores of TensorFlow Privacy's attacks."""
    check_official()
    if records.kind not in ("logits", "probabilities"):
        raise InputError(f'the records are {records.kind}; TensorFlow Privacy attacks "logits" or "probabilities"')
    if unknown := [attack.name for attack in attacks if attack.name not in ATTACK_TYPES]:
        raise InputError(
            f"TensorFlow Privacy has no attack {', '.join(unknown)}; expected any of {', '.join(ATTACK_TYPES)}"
        )
    runs = [(attack.name, split) for attack in attacks for split in range(splits if attack.trained else 1)]
    done = Parallel(n_jobs=min(jobs, len(runs)), return_as="generator")(
        delayed(official_scores)(records, name, seed=split_seed(seed, split)) for name, split in runs
    )
    found = zip(runs, with_progress(done, len(runs), progress), strict=True)
    return joined(records, attacks, {key: scores.values for key, scores in found})


def joined(
    records: AttackRecords, attacks: list[Attack], scores: Mapping[tuple[str, int], np.ndarray]
) -> dict[str, Scores]:
    """The scores of every attack from those of its splits, which are `scores[name, split]`."""
    return {
        attack.name: Scores(
            np.stack([values for (name, _), values in scores.items() if name == attack.name]),
            records.is_member,
            attack.trained,
        )
        for attack in attacks
    }


def versions(engine: Engine) -> dict[str, str]:
    """Versions of Python and of the packages that the results depend on."""
    found = {"python": platform.python_version()}
    for package in ("frepo-toolkit", "numpy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            found[package] = "not installed"
    return found | (official_versions() if engine == "tf-privacy" else {})

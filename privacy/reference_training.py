"""Training reference models: which records each is trained on, and what all say of all records."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from joblib import Parallel, cpu_count, delayed
from threadpoolctl import threadpool_limits

from privacy.errors import InputError
from privacy.files import as_path, jsonable, read_arrays, write_arrays
from privacy.progress import with_progress
from privacy.references import References
from privacy.validation import as_array, require_flag, require_whole
from privacy.workers import workers_end_with_program

__all__ = ["reference_splits", "train_references"]

Fit = Callable[..., Any]  # inputs, labels, seed=... -> a trained model
PredictOutputs = Callable[[Any, Any], Any]  # model, inputs -> outputs (k, C)


def reference_splits(records: int, models: int, seed: int) -> np.ndarray:
    """Which records each reference is trained on, booleans `(models, records)`: every record is in half of the models.

    Each pair of models divides the records at random into two halves (Carlini et al. 2022), so that `models` must be
    even, and sizes differ by one record at most. The first models do not depend on how many follow.

    >>> splits = reference_splits(5, 4, seed=0)
    >>> splits.sum(0).tolist(), splits.sum(1).tolist()
    ([2, 2, 2, 2, 2], [2, 3, 2, 3])
    """
    require_whole("records", records, least=2)
    require_whole("models", models, least=2)
    require_whole("seed", seed, least=0)
    if models % 2:
        raise InputError(f"models is {models}; expected an even number, so that every record is in half of them")
    generator = np.random.default_rng([seed, 6])
    splits = np.zeros((models, records), bool)
    for first in range(0, models, 2):
        splits[first, generator.permutation(records)[: records // 2]] = True
        splits[first + 1] = ~splits[first]
    return splits


@workers_end_with_program()
def train_references(
    fit: Fit,
    predict: PredictOutputs,
    *,
    members: Sequence[Any],
    non_members: Sequence[Any],
    splits: Any,
    seed: int = 0,
    jobs: int | None = None,
    folder: str | Path | None = None,
    identity: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> References:
    """Train a reference on each split of the records, and ask it for its outputs for all of them.

    - `fit(inputs, labels, seed=...)`: trains a model, the way the attacked one was trained; `seed`: below 2**32,
      another one for each reference. `predict(model, inputs)`: its outputs `(k, C)` for any number of inputs. With
      `jobs` other than 1 both run in other processes.
    - `members`, `non_members`: `(inputs, labels)` of the attacked model's members and non-members, arrays whose first
      axis is that of the records.
    - `splits`: booleans `(models, records)`, members first: `reference_splits(len(members) + len(non_members), 16, 0)`.
    - `jobs`: how many references are trained side by side; `None`: one for each core. Numerical libraries get an equal
      share of the cores.
    - `folder`: where each reference's outputs are written as soon as it is trained. If the same call is made again,
      what is there is not trained again. `identity`: what else the outputs depend on, such as `{"epochs": 20}`: neither
      `fit` nor `predict` can be compared with those of an earlier call.
    - `progress`: show a progress bar with the time left.

    Raises `InputError` when the splits do not fit the records, outputs are not one row for each record, or the folder
    holds references of other data, splits or identity.

    >>> from sklearn.naive_bayes import GaussianNB
    >>> generator = np.random.default_rng(0)
    >>> inputs, labels = generator.normal(size=(40, 3)), np.arange(40) % 2
    >>> train_references(
    ...     lambda inputs, labels, *, seed: GaussianNB().fit(inputs, labels),
    ...     lambda model, inputs: model.predict_proba(inputs),
    ...     members=(inputs[:20], labels[:20]),
    ...     non_members=(inputs[20:], labels[20:]),
    ...     splits=reference_splits(40, 4, seed=0),
    ...     jobs=1,
    ... )
    References(4 models, 20 members, 20 non-members, online)
    """
    require_whole("seed", seed, least=0)
    require_whole("jobs", 1 if jobs is None else jobs, least=1)
    require_flag("progress", progress)
    sides = [checked_data(members, "members"), checked_data(non_members, "non_members")]
    inputs, labels = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    splits = checked_splits(splits, len(labels))
    seeds = [int(np.random.SeedSequence([seed, model]).generate_state(1)[0]) for model in range(len(splits))]
    files = [None] * len(splits) if folder is None else [
        as_path(folder) / f"reference-{model:03}.npz" for model in range(len(splits))
    ]  # fmt: skip
    names = identities(inputs, labels, splits, seeds, identity or {})
    found = {model: kept(file, names[model]) for model, file in enumerate(files) if file is not None and file.exists()}
    missing = [model for model in range(len(splits)) if model not in found]
    jobs = min(jobs or cpu_count(), max(len(missing), 1))
    done = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(train_one)(
            fit, predict, inputs, labels, splits[model], model=model, seed=seeds[model], file=files[model],
            identity=names[model], threads=max(1, cpu_count() // jobs),
        )
        for model in missing
    )  # fmt: skip
    found |= dict(with_progress(done, len(missing), progress, desc="references", unit="model"))
    outputs = np.stack([found[model] for model in range(len(splits))])
    count = len(sides[0][1])
    return References(
        member_outputs=outputs[:, :count], non_member_outputs=outputs[:, count:],
        member_in=splits[:, :count], non_member_in=splits[:, count:],
    )  # fmt: skip


def train_one(
    fit: Fit, predict: PredictOutputs, inputs: np.ndarray, labels: np.ndarray, split: np.ndarray, *, model: int,
    seed: int, file: Path | None, identity: str, threads: int,
) -> tuple[int, np.ndarray]:  # fmt: skip
    """Train one reference, and write its outputs for all records `(n, C)`, float32; its number and its outputs."""
    with threadpool_limits(threads):
        trained = fit(inputs[split], labels[split], seed=seed)
        outputs = as_array(predict(trained, inputs), f"outputs of reference {model}", ndim=2)
    if outputs.ndim not in (1, 2) or len(outputs) != len(labels):
        raise InputError(
            f"predict gives outputs of shape {outputs.shape} for {len(labels)} records; expected ({len(labels)}, C)"
        )
    outputs = outputs.astype(np.float32)
    if file is not None:
        write_arrays(file, {"outputs": outputs, "identity": np.array(identity)})
    return model, outputs


def checked_data(given: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and labels of a side as arrays of one length; raises `InputError` otherwise."""
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise InputError(f"{name} is a {type(given).__name__}; expected (inputs, labels)")
    inputs, labels = np.asarray(given[0]), np.asarray(given[1])
    if inputs.ndim == 0 or labels.ndim == 0 or not len(labels) or len(inputs) != len(labels):
        raise InputError(
            f"{name} have inputs of shape {inputs.shape} and labels of shape {labels.shape}; expected as many inputs "
            "as labels, at least one"
        )
    return inputs, labels


def checked_splits(given: Any, records: int) -> np.ndarray:
    """Splits `(R, n)` as booleans, each with records in it; raises `InputError` otherwise."""
    splits = as_array(given, "splits", ndim=2)
    if splits.ndim != 2 or splits.shape[1] != records or not len(splits) or not np.isin(splits, (0, 1)).all():
        raise InputError(
            f"splits are {splits.dtype} of shape {splits.shape}; expected booleans of shape (models, {records}), "
            f"members first, such as reference_splits({records}, 16, seed=0)"
        )
    splits = splits.astype(bool)
    if (splits.sum(1) == 0).any():
        raise InputError(f"split {int((splits.sum(1) == 0).argmax())} has no record; expected some in each")
    return splits


def identities(
    inputs: np.ndarray, labels: np.ndarray, splits: np.ndarray, seeds: Sequence[int], given: Mapping[str, Any]
) -> list[str]:
    """What each reference's outputs depend on: the records, its split, its seed and what the caller says."""
    data = hashlib.sha256()
    for array in (inputs, labels):
        data.update(f"{array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return [
        json.dumps(
            {"data": data.hexdigest(), "split": hashlib.sha256(np.packbits(split).tobytes()).hexdigest(), "seed": seed,
             "identity": jsonable(given)},
            sort_keys=True,
        )
        for split, seed in zip(splits, seeds, strict=True)
    ]  # fmt: skip


def kept(file: Path, identity: str) -> np.ndarray:
    """The outputs in a file of an earlier call; raises `InputError` where they depend on something else."""
    arrays = read_arrays(file)
    if not {"outputs", "identity"} <= set(arrays):
        raise InputError(f"{file} is no reference's outputs; remove it, or give another folder")
    found, wanted = json.loads(str(arrays["identity"])), json.loads(identity)
    if differing := [name for name in wanted if found.get(name) != wanted[name]]:
        raise InputError(
            f"{file} holds the outputs of a reference with another {', '.join(differing)}; give another folder, or "
            "remove this one to train again"
        )
    return arrays["outputs"]

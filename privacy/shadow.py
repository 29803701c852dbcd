"""Outputs of shadow distillations: kernel ridge regression of many sets in the features of a few networks."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from privacy.errors import InputError
from privacy.validation import as_array, checked_list, finite_floats, require_number

__all__ = ["RIDGE", "matrix", "require_ridge", "ridge_weights", "shadow_outputs"]

RIDGE = 1e-6  # of the mean diagonal of the kernel, as in FRePo
ROWS = 4096  # of the records at a time: bounds the memory of their features in float64


def shadow_outputs(
    record_features: Sequence[Any],
    set_features: Sequence[Sequence[Any]],
    set_labels: Sequence[Any],
    *,
    ridge: float = RIDGE,
) -> np.ndarray:
    """What kernel ridge regression on each of several sets predicts for all records, `(shadows, records, C)` float64.

    A shadow is a set distilled from a part of the records that is known to the attacker. In place of a network trained
    on it, its predictor is `f(x) F^T (F F^T + lambda I)^-1 Y`, with the features F and labels Y of the set and
    `lambda = ridge trace(F F^T) / n` (FRePo, equation 4), the mean over the networks. The features of the records are
    computed once for each network, and serve all shadows. Solved in float64, sets of equal size together.

    - `record_features`: for each network the features of all records, `(records, d)`.
    - `set_features`: for each shadow a list with, for each network, the features of its set, `(n, d)`. `d` may differ
      from network to network, `n` from shadow to shadow.
    - `set_labels`: for each shadow the labels that its set was distilled with, `(n, C)`.
    - `ridge`: above 0, a share of the mean diagonal of the kernel.

    The outputs are regressions of the labels, not logits: of labels that are 1 less the mean, a sure answer is about 1.
    Multiply by what a logit should be where an attack reads them as logits.

    Raises `InputError` where numbers of networks, shadows, images or dimensions do not match, values are not finite, or
    all features of a set are 0.

    >>> import numpy as np
    >>> random = np.random.default_rng(0)
    >>> records = [random.normal(size=(50, 8)), random.normal(size=(50, 6))]       # 2 networks
    >>> sets = [[random.normal(size=(4, 8)), random.normal(size=(4, 6))] for _ in range(3)]   # of 3 shadows
    >>> shadow_outputs(records, sets, [np.eye(4)] * 3).shape
    (3, 50, 4)
    """
    require_ridge(ridge)
    networks, sets, labels = checked_shadows(record_features, set_features, set_labels)
    classes = labels[0].shape[1]
    total = np.zeros((len(networks[0]), len(sets) * classes))
    for i, records in enumerate(networks):
        weights = weights_of_all([own[i] for own in sets], labels, ridge)
        side_by_side = weights.transpose(1, 0, 2).reshape(records.shape[1], -1)
        for start in range(0, len(records), ROWS):
            total[start : start + ROWS] += records[start : start + ROWS].astype(np.float64) @ side_by_side
    return (total / len(networks)).reshape(-1, len(sets), classes).transpose(1, 0, 2)


def weights_of_all(features: list[np.ndarray], labels: list[np.ndarray], ridge: float) -> np.ndarray:
    """The ridge weights of all sets, `(shadows, d, C)`: those of equal size are solved together."""
    weights = np.empty((len(features), features[0].shape[1], labels[0].shape[1]))
    sizes = np.array([len(own) for own in labels])
    for size in np.unique(sizes):
        which = np.flatnonzero(sizes == size)
        weights[which] = ridge_weights(
            np.stack([features[i] for i in which]), np.stack([labels[i] for i in which]), ridge=ridge
        )
    return weights


def ridge_weights(features: np.ndarray, labels: np.ndarray, *, ridge: float = RIDGE) -> np.ndarray:
    """`F^T (F F^T + lambda I)^-1 Y` of features `(..., n, d)` and labels `(..., n, C)`: `(..., d, C)` float64.

    >>> ridge_weights(np.eye(2), np.array([[1.0], [3.0]]), ridge=1.0).ravel().tolist()
    [0.5, 1.5]
    """
    exact = features.astype(np.float64)
    turned = np.swapaxes(exact, -1, -2)
    kernel = exact @ turned
    mean = np.trace(kernel, axis1=-2, axis2=-1) / kernel.shape[-1]
    if not np.all(mean > 0):
        raise InputError(
            "all features of a set are 0, so that its kernel cannot be solved; expected features of its images, such "
            "as the inputs of a network's last layer"
        )
    kernel += ridge * mean[..., None, None] * np.eye(kernel.shape[-1])
    return turned @ np.linalg.solve(kernel, labels.astype(np.float64))


def checked_shadows(
    record_features: Any, set_features: Any, set_labels: Any
) -> tuple[list[np.ndarray], list[list[np.ndarray]], list[np.ndarray]]:
    """The arrays of all networks and shadows; raises `InputError` where they do not match."""
    record_features = checked_list("record_features", record_features, "arrays (records, d), one for each network")
    set_features = checked_list("set_features", set_features, "lists of arrays (n, d), one for each shadow")
    set_labels = checked_list("set_labels", set_labels, "arrays (n, C), one for each shadow")
    networks = [matrix(given, f"record_features of network {i}") for i, given in enumerate(record_features)]
    if not networks or len({len(own) for own in networks}) > 1:
        counts = ", ".join(str(len(own)) for own in networks) or "no"
        raise InputError(f"record_features are of {counts} records; expected the same records for at least one network")
    if len(set_features) != len(set_labels) or not len(set_labels):
        raise InputError(
            f"set_features are of {len(set_features)} shadows and set_labels of {len(set_labels)}; expected both for "
            "each of at least one shadow"
        )
    labels = [matrix(given, f"set_labels of shadow {k}") for k, given in enumerate(set_labels)]
    if len({own.shape[1] for own in labels}) > 1:
        raise InputError(f"set_labels are of {sorted({own.shape[1] for own in labels})} classes; expected one number")
    sets = []
    for k, given in enumerate(set_features):
        given = checked_list(f"set_features of shadow {k}", given, "arrays (n, d), one for each network")
        if len(given) != len(networks):
            raise InputError(
                f"set_features of shadow {k} are of {len(given)} networks; expected {len(networks)}, as record_features"
            )
        own = [matrix(each, f"set_features of shadow {k}, network {i}") for i, each in enumerate(given)]
        for i, each in enumerate(own):
            if each.shape != (len(labels[k]), networks[i].shape[1]):
                raise InputError(
                    f"set_features of shadow {k}, network {i}, have shape {each.shape}; expected "
                    f"{(len(labels[k]), networks[i].shape[1])}: an image for each label, dimensions as in "
                    "record_features"
                )
        sets.append(own)
    return networks, sets, labels


def require_ridge(ridge: Any) -> None:
    """Raise `InputError` unless the ridge is a number above 0."""
    require_number("ridge", ridge, least=0)
    if ridge == 0:
        raise InputError(f"ridge is 0; expected a number above 0, such as {RIDGE:g}")


def matrix(given: Any, name: str) -> np.ndarray:
    """An array `(n, d)` of finite numbers, in float64 only where it was; raises `InputError` for anything else."""
    array = as_array(given, name, ndim=2)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name} have shape {array.shape}; expected (n, d)")
    finite_floats(array, name)
    return array

"""Six records of three classes."""

import numpy as np
from scipy.special import log_softmax

from privacy import AttackRecords


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(logits, axis=1))


OUTPUTS = np.random.default_rng(0).normal(size=(6, 3))
LABELS = np.array([0, 1, 2, 0, 1, 2])
GOOD = (OUTPUTS, LABELS)
GOOD_ROWS = softmax(OUTPUTS)


def changed(array: np.ndarray, position, value) -> np.ndarray:
    array = array.copy()
    array[position] = value
    return array


def assert_same(one: AttackRecords, other: AttackRecords) -> None:
    assert one.kind == other.kind
    for name in ("members", "non_members"):
        for part, value in vars(getattr(one, name)).items():
            found = getattr(getattr(other, name), part)
            assert np.array_equal(found, value)
            assert found.dtype == value.dtype

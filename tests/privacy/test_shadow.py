"""Kernel ridge regression of shadow sets, against solving each by itself."""

import time

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge

from distill.training.kernel_ridge import krr_weights
from privacy import InputError, shadow_outputs


def shadows(sizes=(4, 6, 4), dims=(7, 30), records=25, classes=3, dtype=np.float64):
    random = np.random.default_rng(0)

    def draw(*shape):
        return random.normal(size=shape).astype(dtype)

    sets = [[draw(n, d) for d in dims] for n in sizes]
    return [draw(records, d) for d in dims], sets, [draw(n, classes) for n in sizes]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_outputs_are_those_of_scikit_learn_shadow_by_shadow(dtype):
    networks, sets, labels = shadows(dtype=dtype)
    outputs = shadow_outputs(networks, sets, labels, ridge=1e-2)
    assert outputs.dtype == np.float64
    for k, (own, wanted) in enumerate(zip(sets, labels, strict=True)):
        each = []
        for records, features in zip(networks, own, strict=True):
            exact = features.astype(np.float64)
            alpha = 1e-2 * np.trace(exact @ exact.T) / len(exact)
            model = KernelRidge(alpha=alpha).fit(exact, wanted.astype(np.float64))
            each.append(model.predict(records.astype(np.float64)))
        np.testing.assert_allclose(outputs[k], np.mean(each, axis=0), rtol=1e-9, atol=1e-9)


def test_outputs_are_those_of_the_distillers_own_ridge():
    networks, sets, labels = shadows(sizes=(5,), dims=(40,))
    weights = krr_weights(torch.from_numpy(sets[0][0]), torch.from_numpy(labels[0]))
    np.testing.assert_allclose(shadow_outputs(networks, sets, labels)[0], networks[0] @ weights.numpy(), rtol=1e-6)


def test_a_set_gives_its_own_labels_back():
    _, sets, labels = shadows(sizes=(5,), dims=(40,))
    np.testing.assert_allclose(shadow_outputs(sets[0], sets, labels, ridge=1e-9)[0], labels[0], atol=1e-6)


def test_arrays_of_several_arrays_are_lists_of_them():
    networks, sets, labels = shadows(sizes=(4, 4), dims=(7, 7))
    stacked = shadow_outputs(np.stack(networks), np.stack([np.stack(own) for own in sets]), np.stack(labels))
    assert (stacked == shadow_outputs(networks, sets, labels)).all()


def test_more_records_than_are_held_at_once():
    networks, sets, labels = shadows(records=5000, dims=(6,))
    whole = shadow_outputs(networks, sets, labels)
    parts = [shadow_outputs([networks[0][part]], sets, labels) for part in (slice(0, 4500), slice(4500, None))]
    np.testing.assert_allclose(whole, np.concatenate(parts, axis=1), rtol=1e-9)


def test_sixteen_shadows_take_little_time():
    networks, sets, labels = shadows(sizes=(100,) * 16, dims=(512,) * 2, records=2000, classes=10, dtype=np.float32)
    start = time.perf_counter()
    assert shadow_outputs(networks, sets, labels).shape == (16, 2000, 10)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda n, s, y: ([], s, y), "record_features are of no records; expected the same records"),
        (lambda n, s, y: ([n[0], n[1][:9]], s, y), "record_features are of 25, 9 records; expected the same records"),
        (lambda n, s, y: (n, s[:2], y), "set_features are of 2 shadows and set_labels of 3"),
        (lambda n, s, y: (n, [s[0][:1], *s[1:]], y), "set_features of shadow 0 are of 1 networks; expected 2"),
        (lambda n, s, y: (n, [s[1], *s[1:]], y), r"set_features of shadow 0, network 0, have shape \(6, 7\); expected "
         r"\(4, 7\)"),
        (lambda n, s, y: (n, s, [y[0][:, :2], *y[1:]]), r"set_labels are of \[2, 3\] classes; expected one number"),
        (lambda n, s, y: (n, s, [y[0][:, 0], *y[1:]]), r"set_labels of shadow 0 have shape \(4,\); expected \(n, d\)"),
        (lambda n, s, y: ([n[0] * np.nan, n[1]], s, y), "record_features of network 0 contain NaN"),
        (lambda n, s, y: (n, [[a * 0 for a in s[0]], *s[1:]], y), "all features of a set are 0"),
    ],
)  # fmt: skip
def test_what_does_not_match_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        shadow_outputs(*change(*shadows()))


def test_no_ridge_is_refused():
    with pytest.raises(InputError, match="ridge is 0; expected a number above 0"):
        shadow_outputs(*shadows(), ridge=0)

"""Losses and margins are exact however sure the model is."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from attacked import GOOD, GOOD_ROWS, LABELS, OUTPUTS, softmax
from privacy import AttackRecords
from privacy.margins import cross_entropy, excess_margins, margins
from privacy.metrics import auc_of


@given(
    st.integers(0, 2**32),
    st.sampled_from([1e-4, 1.0, 30.0, 1e4, 1e100]),
    st.integers(1, 20),
    st.integers(2, 12),
)
@settings(max_examples=50, deadline=None)
def test_cross_entropy_of_logits_is_that_of_scipy(seed, scale, n, classes):
    generator = np.random.default_rng(seed)
    logits, labels = scale * generator.normal(size=(n, classes)), generator.integers(classes, size=n)
    wanted = -log_softmax(logits, axis=1)[np.arange(n), labels]
    found = cross_entropy(logits, labels, "logits")
    assert np.allclose(found, wanted, rtol=1e-12, atol=1e-14 * scale)
    assert (found >= 0).all()


def test_cross_entropy_is_that_of_torch():
    torch = pytest.importorskip("torch")
    wanted = torch.nn.functional.cross_entropy(torch.from_numpy(OUTPUTS), torch.from_numpy(LABELS), reduction="none")
    assert np.allclose(cross_entropy(OUTPUTS, LABELS, "logits"), wanted, rtol=1e-12)
    assert np.allclose(cross_entropy(GOOD_ROWS, LABELS, "probabilities"), wanted, rtol=1e-12)


def test_probability_of_zero_has_a_large_finite_loss():
    losses = cross_entropy(np.array([[0.0, 1.0], [0.0, 1.0], [1e-200, 1.0]]), np.array([0, 1, 0]), "probabilities")
    assert np.isfinite(losses).all()
    assert losses[1] == 0
    assert losses[0] > losses[2] > 400


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1.0, 1e3, 1e100, 1e300])
@pytest.mark.parametrize("classes", [2, 5])
def test_confidence_ranks_as_logits_of_any_scale_do(scale, classes):
    generator = np.random.default_rng(classes)
    logits, labels = generator.normal(size=(500, classes)), generator.integers(classes, size=500)
    exact = np.array([
        z[y] - np.log(np.mean(np.exp(1e-3 * np.delete(z, y)))) / 1e-3 if scale < 1 else z[y] - np.delete(z, y).max()
        for z, y in zip(logits, labels, strict=True)
    ])
    found = excess_margins(logits * scale, labels, "logits") / scale
    assert len(np.unique(found)) == 500
    if scale != 1:  # neither a mean nor a maximum
        assert np.corrcoef(found, exact)[0, 1] > 0.999


@pytest.mark.parametrize(("centres", "auc"), [((50, 45), 0.9998), ((36, 33), 0.983)])
def test_very_sure_models_are_told_apart(centres, auc):
    """Two logits, one of them 0: the margin is the other, N(c, 1), and the AUC is Phi(difference / sqrt 2)."""
    generator = np.random.default_rng(0)
    sides = [
        (np.column_stack([centre + generator.normal(size=1000), np.zeros(1000)]), np.zeros(1000, int))
        for centre in centres
    ]
    records = AttackRecords(members=sides[0], non_members=sides[1])
    assert auc_of(*np.split(records.confidence(), 2)) == pytest.approx(auc, abs=0.005)
    assert auc_of(-records.members.losses, -records.non_members.losses) == pytest.approx(auc, abs=0.005)


def test_margin_is_the_logarithm_of_the_odds():
    odds = GOOD_ROWS[np.arange(6), LABELS] / (1 - GOOD_ROWS[np.arange(6), LABELS])
    assert np.allclose(margins(OUTPUTS, LABELS, "logits"), np.log(odds), rtol=1e-12)
    assert np.allclose(margins(GOOD_ROWS, LABELS, "probabilities"), np.log(odds), rtol=1e-12)


def test_probabilities_rounded_to_one_are_still_told_apart_by_the_others_and_noted():
    logits = np.array([[20.0, 0, 1], [30, 0, 1], [25, 0, 1]])
    rounded = softmax(logits).astype(np.float32)
    assert (rounded[:, 0] == 1).all()
    labels = np.zeros(3, int)
    records = AttackRecords(members=(rounded, labels), non_members=(rounded, labels), outputs="probabilities")
    assert np.argsort(records.confidence()[:3]).tolist() == [0, 2, 1]
    (note,) = records.notes
    assert "exactly 1 for 3 of 3 members and 3 of 3 non-members" in note
    assert "give logits" in note


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_probabilities_of_a_few_digits_are_taken_and_noted(digits):
    rows = np.random.default_rng(0).dirichlet(np.ones(10), size=50).round(digits)
    labels = np.arange(50) % 10
    records = AttackRecords(members=(rows, labels), non_members=(rows, labels), outputs="probabilities")
    assert f"the probabilities have {digits} digits after the point" in records.notes[0]
    assert AttackRecords(members=(OUTPUTS, LABELS), non_members=(OUTPUTS, LABELS)).notes == []


def test_cross_entropy_given_in_single_precision_is_computed_again():
    """Above a margin of about 17 it is 0 in float32, so that very sure answers would all be the same."""
    generator = np.random.default_rng(0)
    sides = []
    for centre in (25, 20):
        logits = np.column_stack([centre + generator.normal(size=500), np.zeros(500)]).astype(np.float32)
        losses = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, dtype=np.float32))
        assert (losses == 0).mean() > 0.9
        sides.append((logits, np.zeros(500, int), losses))
    records = AttackRecords(members=sides[0], non_members=sides[1])
    assert auc_of(*np.split(records.confidence(), 2)) > 0.99
    assert "which was computed again in double precision" in records.notes[0]


def test_losses_of_another_kind_that_are_tied_are_noted():
    losses = np.array([0.0, 0, 0, 7, 8, 9])
    records = AttackRecords(members=(*GOOD, losses), non_members=(*GOOD, losses + 1))
    assert records.losses_given
    assert "3 of 6 members and 3 of 6 non-members share one loss" in records.notes[0]

"""ROC, AUC, members found at a low FPR, advantage: each beside the obvious way to work it out."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.metrics import roc_auc_score

from privacy import InputError, Interval, Roc, auc_ceiling, auc_of, roc_of
from privacy.metrics import chance_advantage, members_above, placements

TIED = st.lists(st.integers(0, 6), min_size=1, max_size=30)
UNTIED = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)
SCORES = TIED | UNTIED


def area(curve: Roc) -> float:
    return metrics.auc(curve.fpr, curve.tpr)


def pairs_won(members, non_members) -> float:
    """AUC by counting pairs, ties half."""
    return float(np.mean([(a > b) + 0.5 * (a == b) for a, b in product(members, non_members)]))


def rates(members: np.ndarray, non_members: np.ndarray) -> list[tuple[float, float]]:
    """(FPR, TPR) of every threshold there is."""
    thresholds = [np.inf, *members, *non_members]
    return [(float(np.mean(non_members >= t)), float(np.mean(members >= t))) for t in thresholds]


def drawn(n: int, m: int, shift: float = 0.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(shift, 1, n), generator.normal(0, 1, m)


# -- one curve -----------------------------------------------------------------------------------------------------


@given(SCORES, SCORES)
@settings(max_examples=100, deadline=None)
def test_auc_is_the_share_of_pairs_won(members, non_members):
    wanted = pairs_won(members, non_members)
    members, non_members = np.array(members, float), np.array(non_members, float)
    truth = np.r_[np.ones(len(members)), np.zeros(len(non_members))]
    roc = roc_of(members, non_members)
    assert auc_of(members, non_members) == pytest.approx(wanted, abs=1e-12)
    assert area(roc) == pytest.approx(wanted, abs=1e-12)
    placed = placements(members, non_members)
    assert (placed.members.mean(), placed.non_members.mean()) == pytest.approx((wanted, wanted), abs=1e-12)
    assert roc_auc_score(truth, np.r_[members, non_members]) == pytest.approx(wanted, abs=1e-12)
    assert auc_of(non_members, members) == pytest.approx(1 - wanted, abs=1e-12)


@given(SCORES, SCORES)
@settings(max_examples=100, deadline=None)
def test_curve_runs_from_corner_to_corner_through_thresholds_alone(members, non_members):
    members, non_members = np.array(members, float), np.array(non_members, float)
    roc = roc_of(members, non_members)
    assert (roc.fpr[0], roc.tpr[0]) == (0, 0)
    assert (roc.fpr[-1], roc.tpr[-1]) == (1, 1)
    assert (np.diff(roc.fpr) >= 0).all()
    assert (np.diff(roc.tpr) >= 0).all()
    assert set(zip(roc.fpr.tolist(), roc.tpr.tolist(), strict=True)) <= set(rates(members, non_members))


@given(UNTIED, UNTIED)
@settings(max_examples=100, deadline=None)
def test_members_above_are_counted_one_by_one(members, non_members):
    members, non_members = np.unique(members), np.setdiff1d(non_members, members)
    wanted = [np.sum(members > other) for other in np.sort(non_members)[::-1]]
    assert members_above(members, non_members).tolist() == [0, *wanted, len(members)]


@given(TIED, TIED, st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_ties_are_broken_at_random(members, non_members, seed):
    """The mean over random orders within ties is what is counted."""
    members, non_members = np.array(members, float), np.array(non_members, float)
    generator = np.random.default_rng(seed)
    orders = []
    for _ in range(400):
        nudged = (side + generator.uniform(0, 1e-3, len(side)) for side in (members, non_members))
        orders.append(members_above(*nudged))
    found = members_above(members, non_members)
    assert found == pytest.approx(np.mean(orders, axis=0), abs=0.25 * len(members) ** 0.5 + 0.01)


def test_a_false_positive_rate_inside_a_tie_finds_its_share():
    """Label-only: 60 of 100 members and 30 of 100 non-members score 1. Ten false positives lie in that tie."""
    members, non_members = np.arange(100) < 60, np.arange(100) < 30
    counts = members_above(members.astype(float), non_members.astype(float))
    assert counts[11] == pytest.approx(60 * 11 / 31)
    assert counts[30] == pytest.approx(60 * 30 / 31)
    assert counts[31] == pytest.approx(60 + 40 / 71)


@given(SCORES, SCORES)
@settings(max_examples=50, deadline=None)
def test_mean_curve_has_the_mean_area_and_runs_from_corner_to_corner(members, non_members):
    members, non_members = np.array(members, float), np.array(non_members, float)
    curves = [roc_of(members, non_members), roc_of(np.sin(members), np.sin(non_members)), roc_of(-members, non_members)]
    mean = Roc.mean(curves)
    assert area(mean) == pytest.approx(np.mean([area(curve) for curve in curves]), abs=1e-12)
    assert (mean.fpr[0], mean.tpr[0], mean.fpr[-1], mean.tpr[-1]) == (0, 0, 1, 1)
    assert (np.diff(mean.tpr) >= -1e-12).all()
    assert Roc.mean(curves[:1]) is curves[0]


def test_advantage_of_noise_stays_below_what_chance_gives_in_nineteen_of_twenty_cases():
    exceeded = [
        roc_of(*drawn(60, 90, seed=seed)).advantage > chance_advantage(60, 90, trained=False) for seed in range(600)
    ]
    assert 0.02 <= np.mean(exceeded) <= 0.07
    assert chance_advantage(60, 90, trained=True) > chance_advantage(60, 90, trained=False)


@given(SCORES, SCORES)
@settings(max_examples=100, deadline=None)
def test_advantage_is_the_largest_gap(members, non_members):
    members, non_members = np.array(members, float), np.array(non_members, float)
    wanted = max(abs(tpr - fpr) for fpr, tpr in rates(members, non_members))
    assert roc_of(members, non_members).advantage == pytest.approx(wanted, abs=1e-12)
    assert roc_of(non_members, members).advantage == pytest.approx(wanted, abs=1e-12)


def test_scores_that_are_all_equal_are_guessing():
    roc = roc_of(np.ones(7), np.ones(5))
    assert area(roc) == auc_of(np.ones(7), np.ones(5)) == 0.5
    assert roc.advantage == 0
    assert members_above(np.ones(7), np.ones(5))[1:-1] == pytest.approx(7 * np.arange(1, 6) / 6)


def test_perfect_scores():
    members, non_members = np.arange(10, 20), np.arange(10)
    roc = roc_of(members, non_members)
    assert (auc_of(members, non_members), roc.advantage) == (1, 1)
    assert members_above(members, non_members).tolist() == [0] + [10] * 11
    assert auc_of(non_members, members) == 0


def test_interval_says_what_it_is():
    assert str(Interval(0.51234, 0.4, 0.6)) == "0.512 [0.400, 0.600]"
    assert 0.4 in Interval(0.5, 0.4, 0.6)
    assert 0.61 not in Interval(0.5, 0.4, 0.6)
    assert Interval(0.02, 0.001, 0.05).text(1, 100, " %") == "2.0 % [0.1, 5.0]"


def test_an_interval_that_is_none_is_not_shown():
    alone, nothing = Interval(0.5, why="too few"), Interval(float("nan"), why="too few")
    assert (str(alone), str(nothing)) == ("0.500", "–")
    assert not alone.known
    assert 0.5 not in alone


# -- arithmetic ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.integers(1, 40))
@settings(max_examples=50, deadline=None)
def test_ceiling_is_what_an_attack_without_a_mistake_reaches(seen_of_members, non_members):
    seen, members = seen_of_members
    scores = np.arange(members) < seen  # those that the model saw above all others, which are tied
    reached = auc_of(scores.astype(float), np.zeros(non_members))
    assert auc_ceiling(seen, members) == pytest.approx(reached, abs=1e-12)


def test_ceiling_of_the_papers_setting():
    assert auc_ceiling(500, 10_000) == pytest.approx(0.525)
    assert auc_ceiling(10, 10) == 1


@pytest.mark.parametrize("comparisons", [0, -1, 1.5, True])
def test_an_interval_is_stretched_for_one_comparison_or_more(comparisons):
    with pytest.raises(InputError, match=r"comparisons is .* a whole number, 1 or more"):
        Interval(0.5, 0.4, 0.6).stretched(comparisons)

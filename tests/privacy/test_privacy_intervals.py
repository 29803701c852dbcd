"""Intervals: their coverage, their width beside known formulas, and where there is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from privacy import Interval, auc_difference, auc_interval, auc_of, tpr_interval
from privacy.intervals import FEWEST_RECORDS, ONE_SPLIT, mean_interval

SCORES = st.lists(st.integers(0, 6), min_size=1, max_size=30) | st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30)


def drawn(n: int, m: int, shift: float = 0.0, seed: int = 0, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    return generator.normal(shift, spread, n), generator.normal(0, 1, m)


def slow(*sizes):
    return pytest.param(*sizes, marks=pytest.mark.slow)


def width(interval: Interval) -> float:
    return interval.high - interval.low


# -- AUC -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(6, 6), (20, 20), slow(50, 200), slow(300, 300)])
@pytest.mark.parametrize("auc", [0.5, 0.75, 0.97])
@pytest.mark.parametrize("spread", [1.0, 2.0])
def test_auc_interval_covers_the_truth_about_nineteen_times_in_twenty(n, m, auc, spread):
    shift = norm.ppf(auc) * np.hypot(1, spread)
    covered = [auc in auc_interval([drawn(n, m, shift, seed, spread)]) for seed in range(400)]
    assert 0.915 <= np.mean(covered) <= 0.995


def test_auc_interval_has_the_width_of_the_formula():
    """Without a difference the AUC's variance is (n + m + 1) / 12nm, whatever the scores' distribution."""
    interval = auc_interval([drawn(300, 500)])
    assert interval.value in interval
    assert width(interval) == pytest.approx(2 * 1.96 * np.sqrt(801 / (12 * 300 * 500)), rel=0.05)


@pytest.mark.parametrize("n", [6, 10, 100])
def test_no_interval_is_a_point(n):
    """Even perfect scores of few records leave room for an AUC below 1; a bootstrap says [1, 1]."""
    perfect = auc_interval([(np.arange(n, 2 * n), np.arange(n))])
    assert (perfect.value, perfect.high) == (1, 1)
    assert 1 - 5 / n < perfect.low < 1 - 1 / n
    assert width(auc_interval([(np.ones(n), np.ones(n))])) > 0


def test_more_records_narrow_the_interval():
    few, many = (auc_interval([drawn(n, n, 1)]) for n in (50, 800))
    assert width(many) < 0.35 * width(few)


@given(SCORES, SCORES)
@settings(max_examples=50, deadline=None)
def test_intervals_lie_between_zero_and_one_around_their_value(members, non_members):
    split = (np.array(members, float), np.array(non_members, float))
    for interval in (auc_interval([split]), tpr_interval([split], 0.1)):
        if interval.known:
            assert 0 <= interval.low <= interval.value <= interval.high <= 1
        else:
            assert interval.why
    assert auc_interval([split]).value == pytest.approx(auc_of(*split), abs=1e-12)


def test_fewer_than_six_records_have_no_interval():
    for sides in ((FEWEST_RECORDS - 1, 50), (50, FEWEST_RECORDS - 1)):
        found = auc_interval([drawn(*sides)])
        assert not found.known
        assert found.why == "fewer than 6 records on a side"
    assert auc_interval([drawn(FEWEST_RECORDS, FEWEST_RECORDS)]).known


# -- splits --------------------------------------------------------------------------------------------------------


def test_a_trained_attack_on_one_split_has_no_interval():
    split = drawn(50, 50)
    for found in (auc_interval([split], trained=True), tpr_interval([split], 0.1, trained=True)):
        assert not found.known
        assert found.why == ONE_SPLIT
    assert auc_interval([split]).known


def linear_attack(features: np.ndarray, is_member: np.ndarray, generator: np.random.Generator) -> tuple:
    """A least-squares attack in two folds: what a trained attack comes to, without its time."""
    order = generator.permutation(len(features))
    order = np.r_[order[is_member[order]], order[~is_member[order]]]  # stratified: every second record of each side
    halves = order[::2], order[1::2]
    scores = np.empty(len(features))
    for train, scored in (halves, halves[::-1]):
        direction = features[train][is_member[train]].mean(0) - features[train][~is_member[train]].mean(0)
        scores[scored] = features[scored] @ direction
    return scores[is_member], scores[~is_member]


def splits_of(n: int, gap: float, seed: int, number: int = 3) -> list[tuple]:
    generator = np.random.default_rng(seed)
    is_member = np.arange(2 * n) < n
    features = generator.normal(size=(2 * n, 8)) + gap * is_member[:, None]
    return [linear_attack(features, is_member, generator) for _ in range(number)]


@pytest.mark.parametrize("gap", [0.0, 0.3])
def test_intervals_of_trained_attacks_cover_their_expected_figure(gap):
    """One split alone covers in 83 % of cases where nothing leaks: both folds err in the same direction."""
    audits = [splits_of(60, gap, seed) for seed in range(400)]
    intervals = [auc_interval(splits, trained=True) for splits in audits]
    truth = np.mean([interval.value for interval in intervals])
    assert 0.925 <= np.mean([truth in interval for interval in intervals]) <= 0.985
    alone = np.mean([truth in auc_interval(splits[:1]) for splits in audits])
    assert alone < (0.88 if gap == 0 else 0.96)


def test_figures_are_means_over_splits():
    splits = splits_of(40, 0.2, 0)
    wanted = np.mean([auc_of(*split) for split in splits])
    assert auc_interval(splits, trained=True).value == pytest.approx(wanted)
    rates = [tpr_interval([split], 0.1).value for split in splits]
    assert tpr_interval(splits, 0.1, trained=True).value == pytest.approx(np.mean(rates))


# -- TPR -----------------------------------------------------------------------------------------------------------


def test_tpr_is_the_share_above_the_threshold_that_lets_so_many_through():
    members, non_members = drawn(200, 300, 1)
    third, fourth = (np.mean(members > np.sort(non_members)[::-1][k]) for k in (2, 3))
    # 0.01 of 300 non-members: the 3.01-th highest, since the j-th has an expected FPR of j / 301.
    assert tpr_interval([(members, non_members)], 0.01).value == pytest.approx(0.99 * third + 0.01 * fourth)
    assert tpr_interval([(np.arange(100), np.arange(100) - 0.5)], 0.1).value == pytest.approx(0.101)


@pytest.mark.parametrize(("m", "level"), [(1000, 0.001), (100, 0.01), (10, 0.1), (250, 0.01)])
def test_tpr_of_noise_is_its_fpr_on_average(m, level, monkeypatch):
    monkeypatch.setattr("privacy.intervals.mixture_ends", lambda *given: (0.0, 1.0))  # only values are looked at
    generator = np.random.default_rng(0)
    found = [tpr_interval([(generator.random(50), generator.random(m))], level).value for _ in range(3000)]
    assert np.mean(found) == pytest.approx(level, rel=0.15)


@pytest.mark.parametrize(
    ("non_members", "level", "known"), [(999, 0.001, False), (1000, 0.001, True), (99, 0.01, False)]
)
def test_a_rate_below_one_false_positive_cannot_be_measured(non_members, level, known):
    found = tpr_interval([drawn(50, non_members, 1)], level)
    assert found.known == known
    assert (found.value == found.value) == known
    assert known or found.why == f"fewer than {round(1 / level)} non-members"


@pytest.mark.parametrize(
    ("n", "m", "level"), [(50, 50, 0.1), slow(300, 300, 0.1), (300, 1000, 0.01), slow(200, 2000, 0.001)]
)
@pytest.mark.parametrize("kind", ["noise", "average", "few"])
def test_tpr_interval_covers_the_truth(n, m, level, kind):
    """At least; where few false positives are allowed it covers in more than 97 %."""
    truth = {"noise": level, "average": norm.sf(norm.isf(level) - 1), "few": 0.2 + 0.8 * level}[kind]
    covered = []
    for seed in range(150):
        members, non_members = drawn(n, m, float(kind == "average"), seed)
        if kind == "few":
            members[np.random.default_rng(seed + 1000).random(n) < 0.2] += 50
        covered.append(truth in tpr_interval([(members, non_members)], level))
    assert np.mean(covered) >= 0.91


def test_many_records_narrow_the_tpr_interval_to_the_binomial_one():
    interval = tpr_interval([drawn(2000, 50_000, 1)], 0.1)
    share = interval.value
    assert width(interval) == pytest.approx(2 * 1.96 * np.sqrt(share * (1 - share) / 2000), rel=0.1)


# -- means and differences -----------------------------------------------------------------------------------------


def test_mean_of_repetitions_is_narrower_by_their_root():
    one = Interval(0.6, 0.5, 0.72)
    four = mean_interval([one] * 4)
    assert (four.value, four.low, four.high) == pytest.approx((0.6, 0.55, 0.66))
    assert not mean_interval([one, Interval(0.5, why="too few")]).known


def test_difference_of_the_same_scores_is_nothing():
    scores = [[drawn(40, 50, 1, seed)] for seed in range(3)]
    assert auc_difference(scores, scores) == Interval(0.0, 0.0, 0.0)


def test_difference_is_the_mean_over_repetitions():
    first, second = ([[drawn(30, 40, shift, seed)] for seed in range(3)] for shift in (2, 1))
    wanted = np.mean([auc_of(*a) - auc_of(*b) for (a,), (b,) in zip(first, second, strict=True)])
    found = auc_difference(first, second)
    assert found.value == pytest.approx(wanted)
    assert 0 < found.low < found.value < found.high
    assert auc_difference(second, first).value == pytest.approx(-wanted)


def test_pairing_narrows_the_difference_of_scores_that_go_together():
    members, non_members = drawn(200, 200, 1)
    generator = np.random.default_rng(1)
    alike = tuple(side + generator.normal(0, 0.1, len(side)) for side in (members, non_members))
    shuffled = tuple(generator.permutation(side) for side in alike)  # the same AUC, but of other records
    first = [[(members, non_members)]]
    paired, unpaired = auc_difference(first, [[alike]]), auc_difference(first, [[shuffled]])
    assert paired.value == pytest.approx(unpaired.value)
    assert width(paired) < 0.3 * width(unpaired)


@pytest.mark.parametrize("trained", [False, True])
def test_difference_covers_the_truth_about_nineteen_times_in_twenty(trained):
    """Two attacks of the same AUC on the same records."""
    covered = []
    for seed in range(200):
        if trained:
            first, second = splits_of(50, 0.1, seed), splits_of(50, 0.1, seed + 5000)
        else:
            scores, noise = drawn(50, 50, 1, seed), drawn(50, 50, 0, 1000 + seed)
            first, second = (
                [tuple(2 * side + sign * extra for side, extra in zip(scores, noise, strict=True))]
                for sign in (1.5, -1.5)
            )
        covered.append(0 in auc_difference([first], [second], trained=trained))
    assert 0.9 <= np.mean(covered) <= 0.995

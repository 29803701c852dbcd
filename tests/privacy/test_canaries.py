"""Canaries: how they are made, and what a report says of those that were found."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from scipy.stats import binom, binomtest
from sklearn.datasets import load_digits

from privacy import InputError, canary_report, make_canaries

KINDS = ("mislabelled", "out_of_distribution", "near_duplicate")


def pictures(n: int = 60, seed: int = 0, dtype=np.uint8) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.integers(0, 256, (n, 6, 5)).astype(dtype), np.arange(n) % 4


@pytest.mark.parametrize("kind", KINDS)
@given(n=st.integers(2, 60), seed=st.integers(0, 1000), extra=st.integers(0, 3))
def test_canaries_are_made_from_other_images_each(kind, n, seed, extra):
    images, labels = pictures()
    canaries = make_canaries(images, labels, n, kind, classes=4 + extra, seed=seed)
    assert len(canaries) == len(set(canaries.sources.tolist())) == n
    assert canaries.images.shape == (n, 6, 5)
    assert canaries.images.dtype == images.dtype
    assert canaries.planted.dtype == bool
    assert canaries.labels.min() >= 0
    assert canaries.labels.max() < 4 + extra
    sources = images[canaries.sources]
    if kind == "mislabelled":
        assert (canaries.images == sources).all()
        assert (canaries.labels != labels[canaries.sources]).all()
    elif kind == "out_of_distribution":
        assert (np.sort(canaries.images.reshape(n, -1)) == np.sort(sources.reshape(n, -1))).all()
        assert (canaries.images != sources).any(axis=(1, 2)).all()
    else:
        assert (canaries.labels == labels[canaries.sources]).all()
        assert 0 < np.abs(canaries.images.astype(float) - sources).max() < 255 * 0.12


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_decides(kind):
    images, labels = pictures(dtype=np.float32)
    first, again, other = (make_canaries(images, labels, 30, kind, seed=seed) for seed in (1, 1, 2))
    for name in ("images", "labels", "planted", "sources"):
        assert (getattr(first, name) == getattr(again, name)).all()
    assert (first.sources != other.sources).any()
    assert first.images.dtype == np.float32


def test_coins_are_fair_and_independent():
    images, labels = pictures()
    coins = np.array([make_canaries(images, labels, 20, seed=seed).planted for seed in range(300)])
    assert binomtest(int(coins.sum()), coins.size).pvalue > 1e-4
    pairs = coins[:, ::2] & coins[:, 1::2]
    assert binomtest(int(pairs.sum()), pairs.size, 0.25).pvalue > 1e-4
    assert coins.sum(1).var() == pytest.approx(5, rel=0.35)  # exactly half planted would have none


def test_wrong_labels_are_uniform_among_the_others():
    images, labels = np.zeros((3000, 2, 2)), np.zeros(3000, int)
    counts = np.bincount(make_canaries(images, labels, 3000, classes=4).labels, minlength=4)
    assert counts[0] == 0
    assert counts[1:].min() > binom.isf(1 - 1e-5, 3000, 1 / 3)


def test_planting_adds_the_planted_ones():
    images, labels = pictures()
    canaries = make_canaries(*pictures(seed=1), 10)
    planted_images, planted_labels = canaries.plant(images, labels)
    assert len(planted_images) == len(planted_labels) == 60 + canaries.planted.sum()
    assert (planted_images[60:] == canaries.images[canaries.planted]).all()
    with pytest.raises(InputError, match=r"images have shape \(60, 6, 4\) and labels \(60,\); expected \(n, 6, 5\)"):
        canaries.plant(images[..., :4], labels)


def test_a_model_that_memorises_is_told_from_one_that_does_not():
    """Distance to the nearest training image of the label finds every planted canary, to the mean of the label none."""
    pixels, labels = load_digits(return_X_y=True)
    canaries = make_canaries(pixels[1000:], labels[1000:], 400, seed=3)
    train = canaries.plant(pixels[:1000], labels[:1000])
    of_label = [train[0][train[1] == label] for label in range(10)]
    nearest = [-cdist(canaries.images, own).min(1) for own in of_label]
    to_mean = [-np.linalg.norm(canaries.images - own.mean(0), axis=1) for own in of_label]
    memorised, averaged = (
        canary_report(np.choose(canaries.labels, scores), canaries.planted) for scores in (nearest, to_mean)
    )
    assert memorised.found[0].fpr == averaged.found[0].fpr == 0.01
    assert memorised.found[0].found == memorised.planted
    assert memorised.epsilon.epsilon > 3.5
    assert averaged.found[0].found < 0.06 * averaged.planted
    assert averaged.epsilon.epsilon < 0.3


def test_thresholds_come_from_held_out_canaries_where_there_are_enough():
    random = np.random.default_rng(0)
    planted = np.arange(4000) % 2 == 0
    scores = random.normal(size=4000) + 2 * planted
    for non_members in (None, random.normal(-5, 1, 4000)):  # ordinary records are easier: they are not asked
        report = canary_report(scores, planted, non_members=non_members)
        assert [row.threshold_from for row in report.found] == ["held-out canaries"] * 2
        assert [row.held_out_found for row in report.found] == [2, 20]
        for row in report.found:
            threshold = np.sort(scores[~planted])[-row.held_out_found - 1]
            assert row.found == (scores[planted] > threshold).sum()
            interval = binomtest(row.found, 2000).proportion_ci(method="exact")
            assert (row.share.low, row.share.high) == pytest.approx((interval.low, interval.high))
        assert report.notes == ()


def test_thresholds_of_ordinary_records_are_named():
    random = np.random.default_rng(0)
    planted = np.arange(40) % 2 == 0
    report = canary_report(random.normal(3, 1, 40), planted, non_members=random.normal(size=5000))
    assert {row.threshold_from for row in report.found} == {"ordinary non-members"}
    assert report.found[1].found > 10
    assert report.found[1].held_out_found > 10  # unlike ordinary records, and found without training
    assert report.epsilon.epsilon == 0
    assert "compare with the held-out canaries" in str(report)
    assert "ordinary non-members" in str(report)


def test_rates_without_a_threshold_are_left_out(tmp_path):
    planted = np.arange(40) % 2 == 0
    report = canary_report(np.arange(40.0), planted)
    assert report.found == ()
    assert "0.1 % and 1 % false positives cannot be estimated from 20 held-out canaries" in str(report)
    written = json.loads(report.to_json(tmp_path / "canaries.json").read_text())
    assert (written["planted"], written["held_out"], written["epsilon"]["epsilon"]) == (20, 20, 0)


def test_equal_scores_are_no_finds():
    planted = np.arange(400) % 2 == 0
    report = canary_report(np.ones(400), planted, non_members=np.ones(2000))
    assert [row.found for row in report.found] == [0, 0]
    assert report.epsilon.epsilon == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 61}, "n is 61, more than the 60 images; each canary is made from another one"),
        ({"n": 1}, "n is 1; expected a whole number, 2 or more"),
        ({"kind": "wrong"}, "kind is 'wrong'; expected one of mislabelled, out_of_distribution, near_duplicate"),
        ({"classes": 3}, "classes is 3, but labels go up to 3; expected 4 or more"),
        ({"labels": np.zeros(60, int)}, "classes is 1; a mislabelled canary needs at least 2"),
        ({"labels": np.zeros(59, int)}, r"labels are int64 of shape \(59,\); expected \(60,\), one integer"),
        ({"labels": np.zeros(60)}, r"labels are float64 of shape \(60,\)"),
        ({"images": np.full((60, 2, 2), np.nan)}, "images contain NaN or infinite values in 60 of 60 records"),
        ({"images": np.zeros(60)}, r"images are float64 of shape \(60,\); expected numbers, \(n, ...\)"),
    ],
)
def test_what_no_canaries_can_be_made_of_is_refused(options, message):
    images, labels = pictures()
    with pytest.raises(InputError, match=message):
        make_canaries(**{"images": images, "labels": labels, "n": 10, **options})

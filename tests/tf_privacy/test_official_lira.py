"""LiRA beside TensorFlow Privacy's advanced attacks, on the same log-odds; `make test-tf-privacy` runs this."""

import numpy as np
import pytest
from scipy.stats import rankdata

from privacy import AttackRecords, LiRA, References, reference_splits
from privacy.errors import InputError
from privacy.tf_privacy import check_official

try:
    check_official()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

SIZE, CLASSES = 100, 5


def advanced_mia():
    from tensorflow_privacy.privacy.privacy_tests.membership_inference_attack import advanced_mia

    return advanced_mia


def logits_of(models: int, *, spread_in: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits `(1 + models, 2 SIZE, C)` of the attacked model and of references; labels; what each was trained on."""
    generator = np.random.default_rng(0)
    labels = generator.integers(CLASSES, size=2 * SIZE)
    inside = np.concatenate(((np.arange(2 * SIZE) < SIZE)[None], reference_splits(2 * SIZE, models, seed=0)))
    logits = generator.normal(size=(2 * SIZE, CLASSES)) + 0.5 * generator.normal(size=(1 + models, 2 * SIZE, CLASSES))
    logits[:, np.arange(2 * SIZE), labels] += 2 * inside * generator.normal(1, spread_in, size=inside.shape)
    return logits.astype(np.float32).astype(np.float64), labels, inside


def ours(models: int, **options) -> AttackRecords:
    logits, labels, inside = logits_of(models, **options)
    return AttackRecords(
        members=(logits[0, :SIZE], labels[:SIZE]), non_members=(logits[0, SIZE:], labels[SIZE:]),
        references=References(
            member_outputs=logits[1:, :SIZE], non_member_outputs=logits[1:, SIZE:],
            member_in=inside[1:, :SIZE], non_member_in=inside[1:, SIZE:],
        ),
    )  # fmt: skip


def statistics(models: int, **options) -> tuple[np.ndarray, list, list]:
    """Theirs: of the attacked model `(n, 1)`, and of the references with and without each record `(k, 1)`."""
    logits, labels, inside = logits_of(models, **options)
    found = np.stack([advanced_mia().calculate_statistic(each, labels) for each in logits])[..., None]
    records = range(len(labels))
    return found[0], *([found[1:][mask[1:, i], i] for i in records] for mask in (inside, ~inside))


def test_log_odds_are_theirs():
    target, _, _ = statistics(8)
    np.testing.assert_allclose(ours(8).signals.target, target[:, 0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("variance", ["own", "shared"])
@pytest.mark.parametrize("spread_in", [1.0, 0.1])
def test_online_scores_are_theirs(variance, spread_in):
    """Theirs are `log out - log in`, low for members."""
    given = statistics(8, spread_in=spread_in)
    theirs = advanced_mia().compute_score_lira(*given, fix_variance=variance == "shared", median_or_mean="mean")
    scores = LiRA(variance=variance).scores(ours(8, spread_in=spread_in))
    np.testing.assert_allclose(scores.values, -theirs, rtol=1e-6, atol=1e-6)


def test_offline_scores_rank_records_as_their_offset_does():
    """With one variance for all, a deviation from the mean of the references without a record is their offset."""
    theirs = advanced_mia().compute_score_offset(*statistics(8), option="out", median_or_mean="mean")
    scores = LiRA(mode="offline", variance="shared").scores(ours(8))
    np.testing.assert_allclose(scores.values / scores.values.std(), theirs / theirs.std(), rtol=1e-6, atol=1e-6)


def test_own_variances_offline_are_their_density_where_confidence_is_high():
    """Theirs is two-sided: low density is evidence, also of too little confidence. Above the mean both rank alike."""
    target, _, without = statistics(8)
    theirs = advanced_mia().compute_score_lira(target, [], without, option="out", median_or_mean="mean")
    spreads = np.array([each.std() for each in without])
    deviations = np.sqrt(np.maximum(-2 * (theirs + np.log(spreads * np.sqrt(2 * np.pi))), 0))
    scores = LiRA(mode="offline", variance="own").scores(ours(8)).values
    above = scores > 0
    assert above.sum() > SIZE
    assert np.array_equal(rankdata(scores[above]), rankdata(deviations[above]))

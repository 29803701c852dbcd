"""Attacks with reference models, beside slow and obvious versions of themselves and closed forms.

What every attack must do is in `test_attack_contract.py`.
"""

import numpy as np
import pytest
from scipy import optimize, special, stats

from privacy import RMIA, AttackRecords, BaVarIA, Calibrated, InputError, LiRA, References, auc_of, audit
from privacy.attacks import ATTACKS, chosen_attacks
from privacy.attacks.reference_attack import normal_deviate
from referenced import as_logits, gaussian_records

WITH_REFERENCES = [attack for attack in ATTACKS.values() if "references" in attack.needs]
every = pytest.mark.parametrize("attack", WITH_REFERENCES, ids=lambda attack: attack.name)


def margins_of(records: AttackRecords) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds of the attacked model (n,) and of the references (R, n), and which were trained on what, by hand."""
    references = records.references
    outputs = np.concatenate((references.member_outputs, references.non_member_outputs), axis=1).astype(float)
    return (
        records.outputs[:, 0] - records.outputs[:, 1],
        outputs[..., 0] - outputs[..., 1],
        np.concatenate((references.member_in, references.non_member_in), axis=1),
    )


def loop(records: AttackRecords, score) -> list[float]:
    """`score(target, in, out)` for each record, of its log-odds alone."""
    target, references, trained_on = margins_of(records)
    return [
        score(float(target[i]), references[trained_on[:, i], i], references[~trained_on[:, i], i])
        for i in range(len(target))
    ]


# -- beside slow versions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spread_in", [1.0, 0.3])
def test_lira_online_with_own_variances_is_the_log_likelihood_ratio_of_two_normals(spread_in):
    records = gaussian_records(30, 40, models=8, spread_in=spread_in)
    slow = loop(
        records,
        lambda x, having, without: stats.norm.logpdf(x, having.mean(), having.std())
        - stats.norm.logpdf(x, without.mean(), without.std()),
    )
    np.testing.assert_allclose(LiRA(variance="own").scores(records).values, slow, rtol=1e-5)


def test_lira_shares_one_variance_for_references_with_and_one_for_those_without_a_record():
    """The published plotting script uses the spread of those with it for both; here they differ threefold."""
    records = gaussian_records(300, 300, models=8, spread_in=1 / 3)
    deviations = [[], []]
    loop(records, lambda x, *kinds: [deviations[i].extend(kind - kind.mean()) for i, kind in enumerate(kinds)])
    having_spread, without_spread = (np.std(values) for values in deviations)
    assert without_spread / having_spread == pytest.approx(3, abs=0.2)
    slow = loop(
        records,
        lambda x, having, without: stats.norm.logpdf(x, having.mean(), having_spread)
        - stats.norm.logpdf(x, without.mean(), without_spread),
    )
    np.testing.assert_allclose(LiRA(variance="shared").scores(records).values, slow, rtol=1e-4, atol=1e-4)


def test_lira_offline_is_one_sided():
    records = gaussian_records(30, 40, models=6, online=False)
    ranks = stats.rankdata(loop(records, lambda x, having, without: x - without.mean()))
    assert np.array_equal(stats.rankdata(LiRA(variance="shared").scores(records).values), ranks)
    own = stats.rankdata(loop(records, lambda x, having, without: (x - without.mean()) / without.std()))
    assert np.array_equal(stats.rankdata(LiRA(variance="own").scores(records).values), own)


def test_lira_offline_uses_only_references_without_the_record():
    records = gaussian_records(30, 40, models=8)
    ranks = stats.rankdata(loop(records, lambda x, having, without: x - without.mean()))
    assert np.array_equal(stats.rankdata(LiRA(mode="offline").scores(records).values), ranks)


def test_lira_shares_variances_until_there_are_many_references():
    for models, variance in ((8, "shared"), (62, "shared"), (64, "own")):
        records = gaussian_records(20, 20, models=models)
        assert np.array_equal(LiRA().scores(records).values, LiRA(variance=variance).scores(records).values)


def test_calibrated_is_the_difference_in_loss():
    records = gaussian_records(30, 40, models=8)
    slow = loop(records, lambda x, having, without: np.log1p(np.exp(-without)).mean() - np.log1p(np.exp(-x)))
    np.testing.assert_allclose(Calibrated().scores(records).values, slow, rtol=1e-5, atol=1e-6)


def slow_rmia_ratio(online: bool, a: float = 0.3):
    def ratio(x, having, without):
        out = special.expit(without).mean()
        pr = (out + special.expit(having).mean()) / 2 if online else ((1 + a) * out + (1 - a)) / 2
        return special.expit(x) / pr

    return ratio


@pytest.mark.parametrize(("online", "a"), [(True, 0.3), (False, 0.3), (False, 0.0), (False, 1.0)])
def test_rmia_is_the_log_ratio_of_probabilities(online, a):
    records = gaussian_records(30, 40, models=8)
    attack = RMIA(mode="online" if online else "offline", a=a)
    slow = np.log(loop(records, slow_rmia_ratio(online, a)))
    np.testing.assert_allclose(attack.scores(records).values, slow, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gamma", [1.0, 2.0])
@pytest.mark.parametrize("online", [True, False])
def test_rmia_counts_population_records_as_published(gamma, online):
    records = gaussian_records(30, 40, models=8)
    ratios = loop(records, slow_rmia_ratio(online))
    slow = [np.mean([x / z >= gamma for z in ratios]) for x in ratios]
    attack = RMIA(mode="online" if online else "offline", count=True, gamma=gamma)
    np.testing.assert_allclose(attack.scores(records).values, slow, atol=1e-12)


def test_rmia_counts_the_population_that_is_given():
    records, other = gaussian_records(30, 40, models=4, online=False), gaussian_records(50, 50, models=4, online=False)
    given = records.references
    population = (other.outputs, np.concatenate((other.references.member_outputs,
                  other.references.non_member_outputs), axis=1), other.labels)  # fmt: skip
    records = AttackRecords(
        members=(records.members.outputs, records.members.labels),
        non_members=(records.non_members.outputs, records.non_members.labels),
        references=References(
            member_outputs=given.member_outputs, non_member_outputs=given.non_member_outputs, population=population
        ),
    )
    ratios, others = loop(records, slow_rmia_ratio(False)), loop(other, slow_rmia_ratio(False))
    slow = [np.mean([x / z >= 1.5 for z in others]) for x in ratios]
    np.testing.assert_allclose(RMIA(count=True, gamma=1.5).scores(records).values, slow, atol=1e-12)


def test_rmia_tells_records_apart_where_probabilities_round_to_one():
    """At a margin of 60 a probability is 1 in float64, and the loss 1e-26."""
    values = np.array([40.0, 50.0, 60.0])
    without = as_logits(np.full((2, 3), 41.0))
    references = References(member_outputs=without, non_member_outputs=without)
    side = (as_logits(values), np.zeros(3, int))
    scores = RMIA(a=1.0).scores(AttackRecords(members=side, non_members=side, references=references))
    expected = np.exp(-41.0) - np.exp(-values)
    np.testing.assert_allclose(scores.members, expected, rtol=1e-6)


def slow_prior(samples: list[np.ndarray]) -> tuple[float, float]:
    """Degrees of freedom and variance whose log F distribution has the moments of the log variances (Smyth 2004)."""
    own = len(samples[0]) - 1
    logs = np.log([np.var(each, ddof=1) for each in samples])
    rest = np.var(logs) - special.polygamma(1, own / 2)
    half = optimize.brentq(lambda x: special.polygamma(1, x) - rest, 1e-3, 1e5)
    return 2 * half, np.exp(np.mean(logs) - special.digamma(own / 2) + np.log(own / 2) + special.digamma(half)
                            - np.log(half))  # fmt: skip


@pytest.fixture
def uneven() -> AttackRecords:
    """Each record has a spread of its own: inverse gamma with 4 degrees of freedom."""
    generator = np.random.default_rng(3)
    spreads, is_member = np.sqrt(4 / generator.chisquare(4, 600)), np.arange(600) < 300
    target = spreads * generator.normal(size=600) + 2 * is_member
    references = as_logits(spreads * generator.normal(size=(8, 600)) + 2 * (np.arange(8) < 4)[:, None])
    inside = np.repeat((np.arange(8) < 4)[:, None], 300, axis=1)
    labels = np.zeros(300, int)
    return AttackRecords(
        members=(as_logits(target[:300]), labels), non_members=(as_logits(target[300:]), labels),
        references=References(member_outputs=references[:, :300], non_member_outputs=references[:, 300:],
                              member_in=inside, non_member_in=inside),
    )  # fmt: skip


def test_bavaria_predicts_by_students_t_with_a_prior_from_all_records(uneven):
    having, without = [], []
    loop(uneven, lambda x, each, other: (having.append(each), without.append(other)))
    priors = [slow_prior(samples) for samples in (having, without)]
    assert priors[1][0] == pytest.approx(4, abs=2)

    def density(x, samples, prior):
        degrees = prior[0] + len(samples) - 1
        scale = np.sqrt((prior[0] * prior[1] + len(samples) * np.var(samples)) / degrees * (1 + 1 / len(samples)))
        return stats.t.logpdf(x, degrees, samples.mean(), scale)

    slow = loop(uneven, lambda x, each, other: density(x, each, priors[0]) - density(x, other, priors[1]))
    np.testing.assert_allclose(BaVarIA().scores(uneven).values, slow, rtol=1e-4, atol=1e-4)


def test_bavaria_offline_is_one_sided(uneven):
    without = []
    loop(uneven, lambda x, each, other: without.append(other))
    degrees, variance = slow_prior(without)

    def deviation(x, each, other):
        spread = np.sqrt((degrees * variance + len(other) * np.var(other)) / (degrees + len(other) - 1))
        return (x - other.mean()) / spread

    ranks = stats.rankdata(loop(uneven, deviation))
    assert np.array_equal(stats.rankdata(BaVarIA(mode="offline").scores(uneven).values), ranks)


def test_bavaria_is_better_than_either_variance_where_they_differ_a_little(uneven):
    found = [auc(attack, uneven) for attack in (BaVarIA(), LiRA(variance="shared"), LiRA(variance="own"))]
    assert found[0] > max(found[1:]) + 0.01


def test_bavaria_shares_one_variance_where_all_are_alike():
    records = gaussian_records(100, 100, models=2)
    ranks = [stats.rankdata(attack(mode="offline").scores(records).values) for attack in (BaVarIA, LiRA)]
    assert np.array_equal(*ranks)


# -- closed forms ------------------------------------------------------------------------------------------------------


def auc(attack, records: AttackRecords) -> float:
    scores = attack.scores(records)
    return auc_of(scores.members, scores.non_members)


@pytest.mark.parametrize("models", [1, 2, 16])
@pytest.mark.parametrize("attack", [LiRA(), BaVarIA()], ids=lambda attack: attack.name)
def test_offline_attacks_have_the_auc_and_tpr_of_two_normals(attack, models):
    """Scores differ by `shift`, with the variance of a value and of a mean over `models`: 1 + 1 / models."""
    records = gaussian_records(20_000, 20_000, shift=2.0, models=models, online=False)
    distance = 2 / np.sqrt(1 + 1 / models)
    result = audit(records, attacks=attack, jobs=1).result(attack.name)
    assert result.auc.value == pytest.approx(stats.norm.cdf(distance / np.sqrt(2)), abs=0.01)
    for fpr in (0.001, 0.01, 0.1):
        expected = stats.norm.sf(stats.norm.isf(fpr) - distance)
        assert result.tpr(fpr).value == pytest.approx(expected, abs=0.02 + 0.2 * expected)


@pytest.mark.parametrize("attack", [LiRA(), LiRA(variance="shared"), BaVarIA()], ids=str)
def test_online_attacks_come_near_the_best_test_with_many_references(attack):
    records = gaussian_records(4000, 4000, shift=2.0, models=128)
    assert auc(attack, records) == pytest.approx(stats.norm.cdf(2 / np.sqrt(2)), abs=0.012)


def test_references_take_away_how_hard_records_are():
    records = gaussian_records(4000, 4000, shift=1.0, models=16, difficulty=3.0)
    plain = auc(ATTACKS["threshold"], records)
    assert plain == pytest.approx(stats.norm.cdf(1 / np.sqrt(2 * 10)), abs=0.02)
    assert auc(LiRA(), records) > plain + 0.1


@pytest.mark.parametrize("degrees", [1.0, 2.0, 7.0, 63.0])
def test_normal_deviate_is_close_to_the_exact_one_and_keeps_the_order(degrees):
    t = np.linspace(-8, 8, 101)
    found = normal_deviate(t, np.full(101, degrees))
    assert (np.diff(found) > 0).all()
    np.testing.assert_allclose(found, stats.norm.isf(stats.t.sf(t, degrees)), atol=0.06, rtol=0.03)


# -- what they need ----------------------------------------------------------------------------------------------------


@every
def test_an_attack_without_references_says_so_in_one_line(attack):
    records = gaussian_records(20, 20)
    bare = AttackRecords(**{name: (side.outputs, side.labels) for name, side in
                            (("members", records.members), ("non_members", records.non_members))})  # fmt: skip
    wanted = rf"the {attack.name} attack needs reference models: AttackRecords\(..., references=References\(...\)\)$"
    for run in (attack.scores, lambda records: audit(records, attacks=["threshold", attack.name])):
        with pytest.raises(InputError, match=wanted):
            run(bare)


def test_all_attacks_are_those_that_the_records_allow():
    records = gaussian_records(20, 20)
    assert {attack.name for attack in WITH_REFERENCES} < {attack.name for attack in chosen_attacks("all", records)}
    assert ", 8 reference models; engine" in str(audit(records, attacks="lira", jobs=1))


@pytest.mark.parametrize("attack", [LiRA(mode="online"), RMIA(mode="online"), BaVarIA(mode="online")], ids=str)
def test_online_attacks_without_references_of_both_kinds_say_so(attack):
    with pytest.raises(InputError, match=r"is to be online, but 40 of 40 records .* use mode=\"offline\", or splits"):
        attack.scores(gaussian_records(20, 20, online=False))


@pytest.mark.parametrize(
    ("attack", "message"),
    [
        (LiRA(mode="both"), "mode is 'both'; expected one of auto, online, offline"),
        (LiRA(variance="global"), "variance is 'global'; expected one of auto, shared, own"),
        (LiRA(variance="own"), "a variance of its own needs two references"),
        (RMIA(a=1.5), "a is 1.5; expected a number, from 0 to 1"),
        (RMIA(gamma=0.5), "gamma is 0.5; expected a number, 1 or more"),
        (RMIA(count="yes"), "count is 'yes'; expected True or False"),
    ],
    ids=str,
)
def test_options_that_are_none_are_refused(attack, message):
    with pytest.raises(InputError, match=message):
        attack.scores(gaussian_records(20, 20, models=2))


@every
def test_one_reference_is_enough(attack):
    assert auc(attack, gaussian_records(200, 200, shift=3.0, models=1, online=False)) > 0.8


@every
@pytest.mark.parametrize("rounded", [np.float16, np.float32])
def test_probabilities_rounded_to_one_are_scored(attack, rounded):
    """A forest's votes: exactly 0 and 1, for the attacked model and for references."""
    generator = np.random.default_rng(0)
    votes = generator.binomial(20, 0.9, size=(9, 80)).astype(rounded) / 20
    votes[0, :40] = 1
    outputs = np.stack((votes, 1 - votes), axis=-1)
    labels = np.zeros(40, int)
    records = AttackRecords(
        members=(outputs[0, :40], labels), non_members=(outputs[0, 40:], labels), outputs="probabilities",
        references=References(member_outputs=outputs[1:, :40], non_member_outputs=outputs[1:, 40:]),
    )  # fmt: skip
    assert auc(attack, records) > 0.85


@every
def test_more_references_for_one_side_tell_nothing(attack):
    """Half of the references were trained on each member, none on a non-member: the means would differ in variance."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(40):
        margins = 2 * generator.normal(size=400) + generator.normal(size=(5, 400))
        outputs, labels, inside = as_logits(margins), np.zeros(200, int), np.zeros((4, 200), bool)
        inside[:3] = True
        records = AttackRecords(
            members=(outputs[0, :200], labels), non_members=(outputs[0, 200:], labels),
            references=References(member_outputs=outputs[1:, :200], non_member_outputs=outputs[1:, 200:],
                                  member_in=inside),
        )  # fmt: skip
        scores = attack.scores(records)
        found.append(np.std(scores.members) / np.std(scores.non_members))
    assert np.mean(found) == pytest.approx(1, abs=0.06)  # 1.26 if all counted

"""The verdict: seldom a false alarm, and both kinds of leak found."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from privacy import Attack, AttackRecords, Interval, Roc, Scores, Summary, audit
from privacy.attack_results import auc_p_values, found_of, found_p_value, rank_sum_p_values, result_of
from privacy.verdict import FALSE_ALARMS, verdict_of


def records(n: int, seed: int, *, gap: float = 0.0, exposed: int = 0, m: int | None = None) -> AttackRecords:
    """Two classes; members' margins are higher by `gap`, those of some of them by far."""
    generator = np.random.default_rng(seed)
    members, others = generator.normal(gap, 1, n), generator.normal(0, 1, m or n)
    members[:exposed] += 30
    sides = [(np.column_stack([margins, 0 * margins]), np.zeros(len(margins), int)) for margins in (members, others)]
    return AttackRecords(members=sides[0], non_members=sides[1])


class Noise(Attack):
    """Scores that know nothing."""

    title, cost = "noise", 0.0

    def __init__(self, number: int) -> None:
        self.name = f"noise-{number}"

    def tasks(self, records, *, seed):
        generator = np.random.default_rng([seed, int(self.name[6:])])
        return [lambda: (np.arange(len(records)), generator.normal(size=len(records)))]


@pytest.mark.slow
def test_false_alarms_are_at_most_one_in_twenty(monkeypatch):
    """Five attacks on all records and on two halves: fifteen results, each of which could look like a leak."""
    # Neither TPR nor advantage counts for a verdict; both take longer than the rest.
    monkeypatch.setattr("privacy.attack_results.tpr_interval", lambda *given, **options: Interval(0.0))
    monkeypatch.setattr("privacy.attack_results.roc_of", lambda *split: Roc(np.zeros(2), np.zeros(2)))
    masks = {"all records": np.ones(400, bool), "first": np.arange(400) % 2 == 0, "second": np.arange(400) % 2 == 1}
    generator = np.random.default_rng(0)
    alarms, uncorrected = [], []
    for _ in range(200):
        attacks = [Scores.of(generator.normal(size=200), generator.normal(size=200)) for _ in range(5)]
        results = [result_of(f"{i}", name, scores.at(mask)) for name, mask in masks.items()
                   for i, scores in enumerate(attacks)]  # fmt: skip
        alarms.append(verdict_of(results).leaks)
        uncorrected.append(any(result.auc.low > 0.5 for result in results))
    assert np.mean(alarms) <= FALSE_ALARMS + 0.02  # a standard error and a half
    assert np.mean(uncorrected) > 0.12


def test_a_leak_on_average_is_found_and_named():
    report = audit(records(200, 0, gap=0.7), attacks=["threshold", Noise(0)], jobs=1)
    assert report.verdict.leaks_on_average
    first, *_ = report.answers()
    assert first.startswith("On average: members can be distinguished from non-members. The attack “threshold” ranks a")
    assert f"(AUC {report.result('threshold').auc}); guessing does in 50 %." in first


@pytest.mark.parametrize(("n", "exposed", "false_positives"), [(5000, 105, 5), (200, 16, 0), (2000, 40, 2)])
def test_an_exposed_few_are_found_where_the_average_is_that_of_guessing(n, exposed, false_positives):
    given = records(n, 1, exposed=exposed)
    report = audit(given, attacks=["threshold", Noise(0)], jobs=1)
    assert report.verdict.exposes_a_few
    _, second, _ = report.answers()
    assert second.startswith("The exposed few: some members are. The attack “threshold” finds ")
    assert report.verdict.found.false_positives == false_positives or n == 200
    assert report.verdict.found.members >= exposed


def test_an_exposed_few_of_another_attack_than_the_strongest_are_not_hidden():
    """One attack has the highest AUC, another finds members without a mistake."""
    generator = np.random.default_rng(0)
    members, others = generator.normal(size=2000), generator.normal(size=2000)
    few = np.where(np.arange(2000) < 60, 20, members)
    results = [
        result_of("average", "all records", Scores.of(members + 0.3, others)),
        result_of("few", "all records", Scores.of(few, generator.normal(size=2000))),
    ]
    verdict = verdict_of(results)
    assert (verdict.average.attack, verdict.few.attack) == ("average", "few")
    assert verdict.leaks_on_average
    assert verdict.exposes_a_few


def test_found_by_chance_are_as_many_as_the_hypergeometric_says():
    assert found_p_value(3, 0, 10, 10, 1.0) == pytest.approx((10 / 20) * (9 / 19) * (8 / 18))
    assert found_p_value(4.7, 2, 50, 60, 1.0) == pytest.approx(hypergeom.sf(3, 110, 50, 6))
    assert found_p_value(0, 2, 50, 60, 1.0) == 1


@pytest.mark.slow
def test_p_values_of_noise_are_those_of_chance():
    generator = np.random.default_rng(0)
    averages, few = [], []
    for _ in range(2000):
        scores = Scores.of(generator.normal(size=40), generator.normal(size=60))
        averages.append(auc_p_values(scores)[0])
        few.append(found_of(scores, tested=True)[0].p)
    levels = [0.01, 0.05, 0.5]
    assert [np.mean(np.array(averages) < level) for level in levels] == pytest.approx(levels, abs=0.025)
    assert np.mean(np.array(few) < 0.05) <= 0.06


def test_two_scores_alone_have_fishers_exact_p_value():
    """Label-only: 1 of 6 non-members is wrong, and none of 500 members."""
    members, non_members = np.ones(500), np.r_[np.zeros(1), np.ones(5)]
    found, reverse = rank_sum_p_values(members, non_members)
    assert found == pytest.approx(6 / 506)
    assert reverse == 1
    assert rank_sum_p_values(non_members, members) == pytest.approx((1, 6 / 506))


@pytest.mark.parametrize(("n", "m", "levels"), [(500, 20, 3), (40, 8, 1000), (6, 900, 4), (200, 200, 5)])
def test_p_values_of_ties_and_unequal_sides_are_not_too_small(n, m, levels):
    """Most scores are equal, and a few of few levels are not."""
    generator = np.random.default_rng(0)
    alarms = []
    for _ in range(1500):
        scores = generator.integers(1, levels, n + m) * (generator.random(n + m) < 0.02) if levels < 1000 else (
            generator.normal(size=n + m)
        )
        alarms.append(np.array(rank_sum_p_values(scores[:n], scores[n:])) < 0.025)
    assert (np.mean(alarms, axis=0) <= 0.025 + 0.012).all()


def test_equal_scores_say_nothing_in_either_direction():
    outputs = np.eye(3)[[0] * 50]
    given = AttackRecords(members=(outputs, [0] * 50), non_members=(outputs, [0] * 50))
    report = audit(given, attacks="threshold", jobs=1)
    assert report.result("threshold").p == report.result("threshold").p_reversed == 1
    assert "look more like members" not in str(report)


def test_the_strongest_of_two_attacks_beyond_all_doubt_is_named():
    generator = np.random.default_rng(0)
    others = generator.normal(size=20_000)
    results = [
        result_of(name, "all records", Scores.of(generator.normal(gap, 1, 20_000), others))
        for name, gap in (("weak", 1.2), ("strong", 4.0))
    ]
    assert results[0].p == results[1].p < 1e-200
    assert verdict_of(results).average.attack == verdict_of(results).few.attack == "strong"


def several(split, number, trained) -> Scores:
    alone = Scores.of(*split)
    return Scores(np.repeat(alone.splits, number, axis=0), alone.is_member, trained)


def test_several_splits_and_trained_attacks_ask_for_more():
    generator = np.random.default_rng(0)
    split = (generator.normal(0.5, 1, 50), generator.normal(size=50))
    plain, one, three = (several(split, k, trained) for k, trained in ((1, False), (1, True), (3, True)))
    assert auc_p_values(plain)[0] < auc_p_values(three)[0] < auc_p_values(one)[0]


def test_few_records_are_not_tested():
    report = audit(records(5, 0, gap=9), attacks="threshold", jobs=1)
    assert report.answers()[0] == "On average: not tested, there are fewer than 6 members or non-members."
    assert (report.verdict.leaks_on_average, report.verdict.exposes_a_few) == (None, None)
    assert report.to_dict()["leaks"] == {"on_average": None, "a_few": None}
    assert Summary({"mine": [report]}).answer_cells()[1] == ["mine", "not tested", "not tested"]


def test_slices_of_one_side_do_not_count():
    """Memorised canaries against ordinary records look like anything but membership."""
    given = records(400, 0)
    canaries = np.arange(400) < 50
    given.members.outputs[canaries, 0] += 40
    slices = {"canaries": (canaries, None)}
    report = audit(AttackRecords(members=(given.members.outputs, given.members.labels),
                                 non_members=(given.non_members.outputs, given.non_members.labels)),
                   attacks="threshold", masks=slices, jobs=1)
    assert report.result("threshold", "canaries").p is None
    assert "canaries: 50 members, 400 non-members" in str(report)
    full = audit(given, attacks="threshold", masks={"canaries": (canaries, np.ones(400, int))}, jobs=1)
    assert full.result("threshold", "canaries").p is None
    assert "only members or only non-members were selected here, so differences may reflect" in str(report)


def test_sides_the_wrong_way_round_are_noted():
    report = audit(records(300, 0, gap=-1), attacks="threshold", jobs=1)
    assert not report.verdict.leaks_on_average
    assert "threshold: non-members look more like members than members do, beyond chance" in str(report)
    assert report.answers()[0].startswith("On average: members and non-members differ, but in the wrong direction:")

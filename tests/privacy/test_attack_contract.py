"""What every attack must do. An attack in `ATTACKS` (`privacy/attacks/registry.py`) is tested here automatically."""

import random
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from scipy.stats import norm
from threadpoolctl import threadpool_info, threadpool_limits

from privacy import (
    ATTACKS,
    Attack,
    AttackRecords,
    AuditReport,
    InputError,
    References,
    Scores,
    TrainedAttack,
    auc_of,
    audit,
    reference_splits,
)
from privacy.attacks.base import split_seed

CLASSES = 3


@dataclass(frozen=True)
class NearestMean(TrainedAttack):
    """A trained attack of one's own."""

    name = "mean"
    title = "nearest mean"

    def fit(self, features, is_member, *, seed):
        towards = features[is_member].mean(0) - features[~is_member].mean(0)
        return lambda wanted: wanted @ towards


@dataclass(frozen=True)
class Confidence(Attack):
    """An attack of one's own that learns nothing, in two tasks."""

    name = "confidence"
    title = "largest output"

    def tasks(self, records, *, seed):
        positions = np.array_split(np.arange(len(records))[::-1], 2)
        return [partial(largest, records.outputs, chosen) for chosen in positions]


def largest(outputs, chosen):
    return chosen, outputs[chosen].max(1)


MINE: list[Attack] = [NearestMean(), Confidence()]
ALL = [*ATTACKS.values(), *MINE]
TRAINED = [attack for attack in ALL if isinstance(attack, TrainedAttack)]
every_trained = pytest.mark.parametrize("attack", TRAINED, ids=lambda attack: attack.name)


@pytest.fixture(params=ALL, ids=lambda attack: attack.name)
def attack(request) -> Attack:
    return request.param


@pytest.fixture
def quick(monkeypatch):
    """Networks of a few epochs and forests of a few trees: what they must do does not depend on the number."""
    monkeypatch.setattr("privacy.attacks.mlp.RUNGS", (1, 3))
    monkeypatch.setattr("privacy.attacks.forest.TREES", 24)
    monkeypatch.setattr("privacy.attacks.forest.SEARCH_TREES", 6)


MODELS = 8


def records(
    n: int = 60,
    m: int = 60,
    *,
    gap: float = 0.0,
    seed: int = 0,
    scale: float = 1.0,
    kind: str = "logits",
    referenced: bool = True,
):
    """Records of a model that is surer by `gap` of its members, and of references that are so of those they saw."""
    generator = np.random.default_rng(seed)
    sides, base = [], []
    for count, surer in ((n, gap), (m, 0.0)):
        labels = generator.integers(CLASSES, size=count)
        logits = generator.normal(size=(count, CLASSES))
        logits[np.arange(count), labels] += 1
        base.append(logits.copy())
        logits[np.arange(count), labels] += surer
        outputs = scale * logits if kind == "logits" else np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        sides.append((outputs, labels))
    references = references_of(base, [labels for _, labels in sides], gap, scale, kind, seed) if referenced else None
    features = [each[:, :1] for each in base]
    return AttackRecords(
        members=sides[0], non_members=sides[1], outputs=kind, references=references, features=features
    )  # fmt: skip


def references_of(base: list, labels: list, gap: float, scale: float, kind: str, seed: int) -> References:
    """Half as noisy around the records' `base` as these differ from each other."""
    count, labels = len(labels[0]), np.concatenate(labels)
    trained_on = reference_splits(len(labels), MODELS, seed)
    noise = np.random.default_rng([seed, 1]).normal(size=(MODELS, len(labels), CLASSES))
    logits = np.concatenate(base) + 0.5 * noise
    logits[:, np.arange(len(labels)), labels] += gap * trained_on
    outputs = scale * logits if kind == "logits" else np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
    return References(
        member_outputs=outputs[:, :count], non_member_outputs=outputs[:, count:],
        member_in=trained_on[:, :count], non_member_in=trained_on[:, count:],
    )  # fmt: skip


def gaussian(n: int, shift: float, seed: int = 0) -> AttackRecords:
    """Only the losses tell: those of non-members lie higher by `shift` standard deviations."""
    generator = np.random.default_rng(seed)
    outputs, labels = np.zeros((n, 2)), np.zeros(n, int)
    losses = generator.normal(size=n), generator.normal(size=n) + shift
    sides = [(outputs, labels, each) for each in losses]
    return AttackRecords(members=sides[0], non_members=sides[1], features=(outputs, outputs))


def auc(scores: Scores) -> float:
    return auc_of(scores.members, scores.non_members)


def equal(one: Scores, other: Scores) -> bool:
    return np.array_equal(one.members, other.members) and np.array_equal(one.non_members, other.non_members)


def assert_complete(scores: Scores, given: AttackRecords) -> None:
    for found, side in ((scores.members, given.members), (scores.non_members, given.non_members)):
        assert found.shape == (len(side),)
        assert np.isfinite(found).all()


# -- audits ----------------------------------------------------------------------------------------------------------

UNEQUAL = {"n": 60, "m": 90, "gap": 5.0}


@pytest.fixture(scope="module")
def alone() -> AuditReport:
    return audit(records(**UNEQUAL), attacks=["all", *MINE], jobs=1, splits=2, seed=3)


@pytest.fixture(scope="module")
def side_by_side() -> AuditReport:
    return audit(records(**UNEQUAL), attacks=["all", *MINE], jobs=2, splits=2, seed=3)


def test_every_record_of_unequal_sides_gets_one_finite_score(attack, alone):
    assert_complete(alone.scores[attack.name], records(**UNEQUAL))


def test_members_that_leak_are_found(attack, alone):
    result = alone.result(attack.name)
    assert result.auc.value > 0.9
    assert result.advantage > 0.7
    assert result.tpr(0.1).value > 0.6
    assert result.auc.known


@pytest.mark.slow
def test_scores_do_not_depend_on_the_number_of_jobs(attack, alone, side_by_side):
    assert equal(alone.scores[attack.name], side_by_side.scores[attack.name])
    assert alone.result(attack.name) == side_by_side.result(attack.name)


def test_audit_gives_what_the_attack_gives_by_itself(attack, alone):
    with threadpool_limits(1):
        splits = [attack.scores(records(**UNEQUAL), seed=split_seed(3, i)) for i in range(2 if attack.trained else 1)]
    found = alone.scores[attack.name]
    assert np.array_equal(np.concatenate([scores.splits for scores in splits]), found.splits)
    assert np.array_equal(np.mean([scores.values for scores in splits], axis=0), found.values)


@pytest.mark.usefixtures("quick")
def test_more_splits_begin_with_the_same(attack):
    given = records(30, 30, gap=1.0)
    one, two = (audit(given, attacks=attack, jobs=1, splits=splits).scores[attack.name] for splits in (1, 2))
    assert len(two.splits) == (2 if attack.trained else 1)
    assert np.array_equal(one.splits[0], two.splits[0])
    assert attack.trained != np.array_equal(two.splits[0], two.splits[-1]) or attack.name == "mean"


def test_report_names_the_attack(attack, alone):
    assert alone.titles[attack.name] == attack.title
    assert f"\n{attack.name} " in str(alone)


@pytest.mark.usefixtures("quick")
def test_scores_do_not_depend_on_the_number_of_threads(attack):
    given, found = records(150, 200, gap=1), []
    for threads in (1, 4):
        with threadpool_limits(threads):
            found.append(audit(given, attacks=[attack], jobs=1, splits=1).scores[attack.name])
    assert equal(*found)


def test_tasks_run_on_one_thread():
    seen = []

    class Spy(Confidence):
        def tasks(self, records, *, seed):
            first, second = super().tasks(records, seed=seed)
            return [lambda: seen.extend(pool["num_threads"] for pool in threadpool_info()) or first(), second]

    with threadpool_limits(4):
        audit(records(20, 20), attacks=Spy(), jobs=1)
    assert set(seen) == {1}


# -- scores ----------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_scores_come_from_the_seed_alone_and_leave_records_and_global_state_alone(attack):
    given, fresh, found = records(30, 40, gap=1), records(30, 40, gap=1), []
    for seed in (1, 2):
        np.random.seed(seed)
        random.seed(seed)
        numpy_before, python_before = np.random.get_state(), random.getstate()
        found.append(attack.scores(given, seed=5))
        assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_before, strict=True))
        assert random.getstate() == python_before
    assert equal(*found)
    assert np.array_equal(given.features(), fresh.features())
    assert np.array_equal(given.labels, fresh.labels)
    assert attack.trained != equal(attack.scores(given, seed=0), found[0])  # another seed gives other scores


@pytest.mark.usefixtures("quick")
def test_scores_follow_their_records(attack):
    """Whoever shuffles records gets other folds, but the same records score high."""
    given = records(200, 200, gap=1.5)
    generator = np.random.default_rng(1)
    orders = [generator.permutation(200) for _ in range(2)]
    straight = attack.scores(given)
    shuffled = attack.scores(given.subset(members=orders[0], non_members=orders[1]))
    sides = (shuffled.members, shuffled.non_members)
    back = Scores.of(*(side[np.argsort(order)] for side, order in zip(sides, orders, strict=True)))
    assert auc(shuffled) == pytest.approx(auc(straight), abs=0.05)
    both = [np.concatenate([scores.members, scores.non_members]) for scores in (straight, back)]
    assert np.corrcoef(*both)[0, 1] > 0.6


@pytest.mark.usefixtures("quick")
def test_without_a_difference_the_attack_guesses(attack):
    assert auc(attack.scores(records(200, 200))) == pytest.approx(0.5, abs=0.1)


@pytest.mark.usefixtures("quick")
def test_without_a_difference_unequal_sides_are_no_help(attack):
    assert auc(attack.scores(records(100, 800))) == pytest.approx(0.5, abs=0.12)


@pytest.mark.parametrize("sizes", [(20, 20), (20, 60), (60, 20)], ids=str)
@pytest.mark.usefixtures("quick")
def test_records_that_are_all_the_same_are_told_apart_by_chance_alone(attack, sizes):
    sides = [(np.full((n, CLASSES), 0.5), np.ones(n, int)) for n in sizes]
    outputs = [np.full((MODELS, n, CLASSES), 0.5) for n in sizes]
    references = References(member_outputs=outputs[0], non_member_outputs=outputs[1])
    features = [np.ones((n, 1)) for n in sizes]
    given = AttackRecords(members=sides[0], non_members=sides[1], references=references, features=features)
    scores = attack.scores(given)
    assert auc(scores) == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("scale", [1e4, 1e-4])
@pytest.mark.usefixtures("quick")
def test_huge_and_tiny_logits_are_scored(attack, scale, recwarn):
    given = records(40, 50, gap=5, scale=scale)
    scores = attack.scores(given)
    assert_complete(scores, given)
    assert auc(scores) > 0.4  # some cannot use what is so small
    assert not [warning for warning in recwarn.list if "privacy" in warning.filename]


def test_logits_of_any_size_are_scored_by_the_threshold_and_refused_by_attacks_that_learn(attack):
    if "references" in attack.needs:
        pytest.skip("references are kept in single precision")
    given = records(40, 50, gap=5, scale=1e300, referenced=False)
    if attack.trained:
        message = rf"reach .*e\+30., too large for the sums of the {attack.name} attack; divide"
        with pytest.raises(InputError, match=message):
            attack.scores(given)
    elif attack.name == "threshold":
        smaller = attack.scores(records(40, 50, gap=5, scale=1e3))
        assert auc(attack.scores(given)) == pytest.approx(auc(smaller), abs=1e-3)


@pytest.mark.usefixtures("quick")
def test_logits_too_large_for_single_precision_are_scored_or_refused(attack):
    try:
        given = records(20, 20, scale=1e39, referenced="references" in attack.needs)
        scores = attack.scores(given)
    except InputError as error:
        assert "float32" in str(error) or "large" in str(error)  # noqa: PT017
    else:
        assert_complete(scores, given)


@pytest.mark.usefixtures("quick")
def test_probabilities_are_attacked_too(attack):
    given = records(60, 60, gap=5, kind="probabilities")
    scores = attack.scores(given)
    assert_complete(scores, given)
    assert auc(scores) > 0.85


@pytest.mark.usefixtures("quick")
def test_losses_that_are_given_are_used(attack):
    if attack.name == "confidence" or "references" in attack.needs:
        pytest.skip("looks at outputs alone")
    assert auc(attack.scores(gaussian(100, 4))) > 0.95


# -- few records -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
def test_as_few_records_as_the_folds_need_are_enough(attack):
    for sizes in ((6, 6), (7, 6), (6, 9), (7, 7)):
        given = records(*sizes, gap=2)
        assert_complete(attack.scores(given), given)


@every_trained
@pytest.mark.parametrize("sizes", [(5, 60), (60, 5), (1, 1)], ids=str)
def test_fewer_records_than_folds_are_an_input_error(attack, sizes):
    few, side = (sizes[0], "members") if sizes[0] < 6 else (sizes[1], "non_members")
    wanted = (
        rf"there are {few} {side}, fewer than the 6 folds of the {attack.name} attack \(2, with 3 in each\); "
        "give more records, or use only the threshold attack"
    )
    for attacked in (attack.scores, partial(audit, attacks=["threshold", attack])):
        with pytest.raises(InputError, match=wanted):
            attacked(records(*sizes))


@pytest.mark.parametrize("name", ["threshold", "confidence"])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 30), (30, 1)], ids=str)
def test_attacks_that_learn_nothing_need_one_record_a_side(name, sizes):
    given = records(*sizes)
    attack = next(attack for attack in ALL if attack.name == name)
    report = audit(given, attacks=attack)
    assert_complete(report.scores[name], given)
    assert 0 <= report.result(name).auc.value <= 1


# -- closed forms ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
def test_threshold_has_the_auc_of_two_gaussians(shift):
    result = audit(gaussian(1500, shift), attacks="threshold").result("threshold")
    assert norm.cdf(shift / np.sqrt(2)) in result.auc
    assert result.auc.high - result.auc.low < 0.05
    assert result.advantage == pytest.approx(2 * norm.cdf(shift / 2) - 1, abs=0.05)


@every_trained
@pytest.mark.usefixtures("quick")
def test_trained_attacks_come_near_it(attack):
    best = norm.cdf(1.5 / np.sqrt(2))
    assert best - 0.1 < auc(attack.scores(gaussian(400, 1.5))) < best + 0.04


def test_threshold_of_swapped_sides_is_one_minus_it():
    given = records(50, 70, gap=1)
    sides = [(side.outputs, side.labels) for side in (given.non_members, given.members)]
    swapped = AttackRecords(members=sides[0], non_members=sides[1])
    one, other = (ATTACKS["threshold"].scores(each) for each in (given, swapped))
    assert auc(one) + auc(other) == pytest.approx(1, abs=1e-12)
    assert np.array_equal(one.members, other.non_members)
    assert np.array_equal(np.argsort(one.members), np.argsort(-given.members.losses))


@every_trained
@pytest.mark.usefixtures("quick")
def test_trained_attacks_find_members_whose_loss_is_higher(attack):
    """An attack that learns needs nobody to say that members have the lower loss."""
    if attack.name == "quantile":
        pytest.skip("takes members to be surer")
    assert auc(attack.scores(gaussian(100, -3))) > 0.9


# -- which attacks ---------------------------------------------------------------------------------------------------


def test_attacks_have_names_of_their_own():
    assert list(ATTACKS) == ["threshold", "lr", "mlp", "rf", "knn", "lira", "rmia", "calibrated", "bavaria", "quantile"]
    assert len({attack.title for attack in ALL}) == len(ALL)
    assert all(ATTACKS[name].name == name for name in ATTACKS)


@pytest.mark.parametrize(
    ("attacks", "found"),
    [
        ("threshold", ["threshold"]),
        (["knn", "threshold", "knn"], ["knn", "threshold"]),
        (Confidence(), ["confidence"]),
        ([Confidence(), "threshold"], ["confidence", "threshold"]),
    ],
    ids=["a name", "several", "an object", "both"],
)
def test_chosen_attacks_run_in_the_order_given(attacks, found):
    report = audit(records(20, 20), attacks=attacks, jobs=1)
    assert list(report.scores) == [result.attack for result in report.results] == found


def test_scores_do_not_depend_on_the_other_attacks():
    given = records(20, 30)
    one, both = (audit(given, attacks=attacks, jobs=1) for attacks in ("knn", ["lr", "knn"]))
    assert equal(one.scores["knn"], both.scores["knn"])


@pytest.mark.parametrize(
    ("attacks", "message"),
    [
        ("treshold", r"unknown attack 'treshold' \(did you mean 'threshold'\?\); expected 'all' or some of"),
        (["lr", "xyz"], "unknown attack 'xyz'; expected 'all' or some of threshold, lr, mlp, rf, knn, lira, rmia"),
        ([], "attacks is empty; expected 'all' or some of threshold, lr, mlp, rf, knn"),
    ],
)
def test_attacks_that_are_none_are_refused(attacks, message):
    with pytest.raises(InputError, match=message):
        audit(records(20, 20), attacks=attacks)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "slow"}, "engine is 'slow'; expected one of fast, tf-privacy"),
        ({"jobs": 0}, "jobs is 0; expected a whole number, 1 or more"),
        ({"seed": -1}, "seed is -1; expected a whole number, 0 or more"),
        ({"seed": 0.5}, "seed is 0.5; expected a whole number"),
        ({"splits": 0}, "splits is 0; expected a whole number, 1 or more"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_are_none_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        audit(records(20, 20), attacks="threshold", **options)


def test_an_attack_that_leaves_records_out_is_found():
    class Lazy(Confidence):
        def tasks(self, records, *, seed):
            return super().tasks(records, seed=seed)[:1]

    with pytest.raises(InputError, match="the attack confidence gives no score for 20 records and more than one for 0"):
        Lazy().scores(records(20, 20))


class Own(TrainedAttack):
    """An attack of one's own whose fit gives what a test says."""

    name, title = "own", "own"

    def __init__(self, predict):
        self.predict = predict

    def fit(self, features, is_member, *, seed):
        return self.predict


@pytest.mark.parametrize(
    ("predict", "message"),
    [
        (lambda wanted: np.zeros((len(wanted), 2)), r"gives float64 scores of shape \(20, 2\) for 20 records; expect"),
        (lambda wanted: 0.5, r"gives float64 scores of shape \(\) for 20 records"),
        (lambda wanted: np.zeros(len(wanted), complex), "gives complex128 scores"),
        (lambda wanted: np.full(len(wanted), np.nan), "gives 40 scores that are NaN or infinite"),
        (None, "fit of the attack own gives a NoneType; expected a function of features"),
    ],
)
def test_attacks_of_ones_own_that_give_no_scores_are_refused_in_one_line(predict, message):
    with pytest.raises(InputError, match=message):
        audit(records(20, 20), attacks=Own(predict), jobs=1)


def test_attacks_without_a_name_of_their_own_are_refused():
    with pytest.raises(InputError, match="two attacks are named 'own'; names must be unique"):
        audit(records(20, 20), attacks=[Own(None), Own(None)])

    class Nameless(Confidence):
        name = None

    with pytest.raises(InputError, match="the attack Nameless has no name; expected a class attribute"):
        audit(records(20, 20), attacks=Nameless())


def test_progress_changes_nothing_and_leaves_stdout_alone(capsys):
    given = records(20, 20)
    quiet = audit(given, attacks=MINE, jobs=1)
    assert capsys.readouterr() == ("", "")
    shown = audit(given, attacks=MINE, jobs=1, progress=True)
    assert all(equal(quiet.scores[name], shown.scores[name]) for name in quiet.scores)
    assert capsys.readouterr().out == ""

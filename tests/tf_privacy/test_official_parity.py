"""Both engines on the same records: `make test-tf-privacy` runs this in an environment of its own."""

import logging
import os
import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold
from victims import Kind, records_of

from privacy import tf_privacy as official
from privacy.attacks import ATTACKS
from privacy.errors import InputError
from privacy.metrics import auc_of
from privacy.records import AttackRecords
from privacy.scores import Scores
from privacy.tf_privacy import check_official, official_scores

try:
    check_official()
except InputError as error:
    pytest.skip(str(error), allow_module_level=True)

TOLERANCE = 0.01  # of the AUC, for every attack
LONG = bool(os.environ.get("FREPO_LONG"))  # all cases
KINDS: tuple[Kind, ...] = ("overfitted", "well-fitted", "random")
CLASSES = (2, 10, 100)

# Attack, model, classes, records on a side, seeds; the dear ones first. On the same folds, TensorFlow Privacy's forests
# and networks differ from themselves by 0.003 to 0.01 (standard deviation of the AUC, 500 to 1000 records on a side),
# as ours do: their trees and weights are drawn. Where this is much, the mean over some seeds, or more records, make it
# less than the tolerance. Theirs take half a minute (forests) and 3 to 9 seconds (networks) a seed.
LONG_CASES = [
    ("rf", "random", 10, 1000, 2),
    ("rf", "well-fitted", 100, 500, 1),
    ("rf", "random", 2, 2000, 1),
    ("rf", "overfitted", 2, 500, 1),
    *(("mlp", kind, classes, 1000, 5) for classes in (2, 100) for kind in ("well-fitted", "random")),
]
CASES = [
    *(LONG_CASES if LONG else ()),
    ("rf", "well-fitted", 10, 1000, 2),
    ("rf", "overfitted", 100, 500, 1),
    ("rf", "well-fitted", 2, 2000, 1),
    ("rf", "overfitted", 10, 500, 1),
    *(("mlp", kind, 10, 1000, 5) for kind in ("well-fitted", "random")),
    *(("mlp", "overfitted", classes, 1000, 3) for classes in reversed(CLASSES)),
    *((name, kind, classes, 1000, 2) for name in ("lr", "knn") for classes in CLASSES for kind in KINDS),
    *(("threshold", kind, classes, 1000, 1) for classes in CLASSES for kind in KINDS),
]
DRAWS = {"rf": 4}  # our forests are cheap, so the mean of several stands against each of theirs


def auc(scores: Scores) -> float:
    return auc_of(scores.members, scores.non_members)


@pytest.fixture
def same_folds(monkeypatch: pytest.MonkeyPatch):
    """Our attacks learn from and score the very records that TensorFlow Privacy's do, for one attack and seed.

    Which record is in which fold is chance in both engines, and moves the AUC of 2000 + 2000 records by 0.01.
    """

    def use(records: AttackRecords, name: str, seed: int) -> None:
        with official.global_seed(official.seed_words(name, seed)):
            data = official.attack_module().models.create_attacker_data(official.attack_input(records))
        kept, left_out = data.fold_indices, data.left_out_indices
        split = StratifiedKFold(2).split(kept, data.labels_all[kept])
        (first, second), (third, fourth) = [(kept[train], kept[scored]) for train, scored in split]
        folds = [(first, second), (third, np.concatenate([fourth, left_out]).astype(int))]
        monkeypatch.setattr("privacy.attacks.base.folds", lambda is_member, *, seed: folds)

    return use


@pytest.mark.parametrize(("name", "kind", "classes", "size", "seeds"), CASES)
def test_auc_on_the_same_folds(
    name: str, kind: Kind, classes: int, size: int, seeds: int, same_folds, record_property
) -> None:
    records = records_of(kind, classes, size)
    pairs = []
    for seed in range(seeds):
        same_folds(records, name, seed)
        draws = [auc(ATTACKS[name].scores(records, seed=100 * i + seed)) for i in range(DRAWS.get(name, 1))]
        pairs.append((np.mean(draws), auc(official_scores(records, name, seed=seed))))
    record_property("auc", np.round(pairs, 4).tolist())  # with --junitxml
    ours, theirs = np.mean(pairs, axis=0)
    assert abs(ours - theirs) <= TOLERANCE, f"{ours:.4f}, official {theirs:.4f}: {np.round(pairs, 4).tolist()}"


@pytest.mark.parametrize(
    ("name", "kind", "seeds"),
    [*(("lr", kind, 40) for kind in (KINDS if LONG else KINDS[:1])), ("knn", "overfitted", 16)],
)
def test_auc_on_their_own_folds(name: str, kind: Kind, seeds: int, record_property) -> None:
    records = records_of(kind, 10, 2000)
    ours = [auc(ATTACKS[name].scores(records, seed=seed)) for seed in range(seeds)]
    theirs = [auc(official_scores(records, name, seed=seed)) for seed in range(seeds)]
    record_property("auc", [float(np.mean(ours)), float(np.mean(theirs))])
    assert abs(np.mean(ours) - np.mean(theirs)) <= TOLERANCE, f"{np.round(ours, 4)}, official {np.round(theirs, 4)}"


@pytest.mark.parametrize("sizes", [(80, 80), (50, 80), (80, 50)])
@pytest.mark.parametrize("outputs", ["logits", "probabilities"])
def test_logistic_regression_gives_the_very_same_scores(sizes: tuple[int, int], outputs: str, same_folds) -> None:
    records = small(*sizes, outputs=outputs)
    same_folds(records, "lr", 0)
    ours, theirs = ATTACKS["lr"].scores(records), official_scores(records, "lr")
    np.testing.assert_allclose(ours.members, theirs.members, atol=1e-6)
    np.testing.assert_allclose(ours.non_members, theirs.non_members, atol=1e-6)


def small(members: int, non_members: int, *, outputs: str = "logits") -> AttackRecords:
    """Records with losses that are not the cross-entropy, as an attacker may be given."""
    part = records_of("overfitted", 3, 100).subset(members=np.arange(members), non_members=np.arange(non_members))
    sides = [part.members, part.non_members]
    values = [side.outputs for side in sides]
    if outputs == "probabilities":
        values = [np.exp(value) / np.exp(value).sum(1, keepdims=True) for value in values]
    members_given, others_given = [
        (value, side.labels, side.losses**2 + 1) for value, side in zip(values, sides, strict=True)
    ]
    return AttackRecords(members=members_given, non_members=others_given, outputs=outputs)


@pytest.mark.parametrize("sizes", [(40, 60), (60, 40)])
def test_threshold_scores_are_minus_the_losses_in_the_order_given(sizes: tuple[int, int]) -> None:
    records = small(*sizes)
    scores = official_scores(records, "threshold")
    np.testing.assert_array_equal(scores.members, -records.members.losses)
    np.testing.assert_array_equal(scores.non_members, -records.non_members.losses)


@pytest.mark.parametrize("name", ["lr", "mlp", "knn"])
def test_scores_belong_to_their_records(name: str) -> None:
    # Members whose label is 0 have a loss of 0, all other records one of 5.
    generator = np.random.default_rng(0)
    labels = generator.integers(2, size=(2, 100))
    losses = np.full((2, 100), 5.0)
    losses[0, labels[0] == 0] = 0
    members, others = [(generator.normal(size=(100, 2)), labels[i], losses[i]) for i in (0, 1)]
    scores = official_scores(AttackRecords(members=members, non_members=others), name)
    told = labels[0] == 0
    assert scores.members[told].min() > max(scores.members[~told].mean(), scores.non_members.mean())


def test_the_global_random_state_is_as_before() -> None:
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()
    official_scores(small(40, 40), "lr")
    assert np.random.get_state()[1].tolist() == before


def test_the_global_random_state_is_as_before_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args, **kwargs):
        np.random.normal()
        raise KeyError("inside")

    monkeypatch.setattr(official.attack_module(), "run_attacks", fails)
    np.random.seed(5)
    before = np.random.get_state()[1].tolist()
    with pytest.raises(KeyError):
        official_scores(small(40, 40), "lr")
    assert np.random.get_state()[1].tolist() == before


@pytest.mark.parametrize("name", ["lr", "mlp", "knn"])
def test_the_same_seed_gives_the_same_scores(name: str) -> None:
    records = small(50, 60)
    np.random.seed(1)
    first = official_scores(records, name, seed=3)
    np.random.seed(2)
    second, other = official_scores(records, name, seed=3), official_scores(records, name, seed=4)
    np.testing.assert_array_equal(first.members, second.members)
    np.testing.assert_array_equal(first.non_members, second.non_members)
    assert (first.members != other.members).any()


@pytest.mark.parametrize("name", sorted(set(official.ATTACK_TYPES) - {"rf"}))
def test_it_warns_and_logs_nothing(name: str, caplog: pytest.LogCaptureFixture) -> None:
    handlers, records = list(logging.getLogger().handlers), small(40, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        official_scores(records, name)
    assert not caplog.records
    assert logging.getLogger().handlers == handlers


def test_its_forests_warn_and_log_nothing(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = official.attack_module().models.model_selection.GridSearchCV

    def smaller(model, *, param_grid, **options):
        return grid(model, param_grid=param_grid | {"n_estimators": [2], "max_depth": [5]}, **options)

    monkeypatch.setattr(official.attack_module().models.model_selection, "GridSearchCV", smaller)
    records = small(40, 50)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scores = official_scores(records, "rf")
    assert len(scores.members) == 40
    assert not caplog.records


def test_too_few_records() -> None:
    with pytest.raises(InputError, match="2 members, fewer than the 6 folds of the lr attack"):
        official_scores(small(2, 50), "lr")


def test_a_run_that_gives_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(official.attack_module(), "_run_attack", lambda *args: None)
    with pytest.raises(InputError, match="lr attack needs more records than 40 members and 50 non-members"):
        official_scores(small(40, 50), "lr")


def test_versions_are_named() -> None:
    assert official.official_versions()["tensorflow-empirical-privacy"] == "0.1.0"

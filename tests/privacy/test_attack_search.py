"""The shortcuts of the attacks' searches give what the long way gives."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.tree import DecisionTreeClassifier

from privacy.attacks import mlp
from privacy.attacks.base import FOLDS, INNER_FOLDS, folds
from privacy.attacks.batched_mlp import Perceptrons
from privacy.attacks.forest import (
    MAX_DEPTHS,
    MIN_LEAVES,
    MIN_SPLITS,
    RandomForest,
    cut_votes,
    ends,
    grow,
    out_of_bag_accuracy,
)
from privacy.attacks.knn import KNearestNeighbours
from privacy.attacks.logistic_regression import LogisticRegressionAttack
from privacy.attacks.mlp import DECAYS, LAYERS, MultilayerPerceptron, Search

GRID = list(product(MAX_DEPTHS, MIN_SPLITS))
CUTS = [*GRID, (0, 2), (1, 2), (2, 30), (None, 50), (3, 1000)]


def data(n: int = 200, d: int = 4, seed: int = 0, gap: float = 0.7) -> tuple[np.ndarray, np.ndarray]:
    """Features that trees can use as they are, and who is a member."""
    generator = np.random.default_rng(seed)
    is_member = generator.permutation(n) % 2 == 0
    features = generator.normal(size=(n, d)) + gap * is_member[:, None]
    return features.astype(np.float32), is_member


def grown_tree(features, is_member, **options) -> DecisionTreeClassifier:
    return DecisionTreeClassifier(random_state=0, **options).fit(features, is_member)


def walk(grown, record, max_depth, min_samples_split) -> int:
    """The node that a record reaches in a cut tree, a step at a time."""
    node, depth = 0, 0
    while (
        grown.children_left[node] >= 0
        and grown.n_node_samples[node] >= min_samples_split
        and (max_depth is None or depth < max_depth)
    ):
        left = record[grown.feature[node]] <= grown.threshold[node]
        node, depth = (grown.children_left if left else grown.children_right)[node], depth + 1
    return node


# -- trees ---------------------------------------------------------------------------------------------------------


@given(
    n=st.integers(2, 120),
    seed=st.integers(0, 2**32 - 1),
    leaf=st.sampled_from(MIN_LEAVES),
    cut=st.tuples(st.none() | st.integers(0, 12), st.integers(2, 40)),
)
@settings(max_examples=60, deadline=None)
def test_records_end_where_a_walk_ends(n, seed, leaf, cut):
    features, is_member = data(n, 3, seed)
    grown = grown_tree(features, is_member, min_samples_leaf=leaf).tree_
    wanted = data(40, 3, seed + 1)[0]
    found = ends(grown, *cut)[grown.apply(wanted)]
    assert found.tolist() == [walk(grown, record, *cut) for record in wanted]


@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_a_tree_that_is_cut_is_the_tree_that_stopped_there(cut):
    """With weights of their own, no two ways to part the records are equally good: nothing is chosen at random."""
    features, is_member = data(400, gap=0.3)
    weights = np.random.default_rng(1).uniform(0.5, 2, 400)
    for leaf in MIN_LEAVES:
        full, stopped = (DecisionTreeClassifier(random_state=0, min_samples_leaf=leaf, **options) for options in (
            {}, {"max_depth": cut[0] or None, "min_samples_split": cut[1] if cut[0] != 0 else 401},
        ))
        full, stopped = (tree.fit(features, is_member, sample_weight=weights) for tree in (full, stopped))
        votes = cut_votes(full, [cut], features)[:, 0]
        assert np.allclose(votes, stopped.predict_proba(features)[:, 1], rtol=0, atol=1e-12)


@pytest.mark.parametrize("cut", CUTS[:-5], ids=str)
def test_bootstrapped_trees_of_a_forest_are_cut_alike(cut):
    """With one feature there is nothing to choose at random but the bootstrap, and both forests draw the same."""
    features, is_member = data(200, 1)
    wanted = data(300, 1, seed=1)[0]
    for leaf in MIN_LEAVES:
        options = {"n_estimators": 5, "random_state": 3, "min_samples_leaf": leaf}
        full = RandomForestClassifier(**options).fit(features, is_member)
        stopped = RandomForestClassifier(max_depth=cut[0], min_samples_split=cut[1], **options).fit(features, is_member)
        for whole, short in zip(full.estimators_, stopped.estimators_, strict=True):
            reached = ends(whole.tree_, *cut)[whole.apply(features)]
            assert len(set(reached)) == short.get_n_leaves()
        votes = np.mean([cut_votes(tree, [cut], wanted)[:, 0] for tree in full.estimators_], axis=0)
        assert np.allclose(votes, stopped.predict_proba(wanted)[:, 1], rtol=0, atol=1e-12)


def test_cut_forests_with_random_features_are_as_good_as_stopped_ones():
    features, is_member = data(300, gap=0.3)
    wanted, truth = data(2000, gap=0.3, seed=1)
    for depth, split in [(2, 2), (None, 60)]:
        full = grow(features, is_member, 60, seed=0)
        stopped = grow(features, is_member, 60, seed=1, max_depth=depth, min_samples_split=split)
        votes = np.mean([cut_votes(tree, [(depth, split)], wanted)[:, 0] for tree in full.estimators_], axis=0)
        others = stopped.predict_proba(wanted)[:, 1]
        assert np.corrcoef(votes, others)[0, 1] > 0.9
        assert abs(((votes > 0.5) == truth).mean() - ((others > 0.5) == truth).mean()) < 0.03
        assert votes.std() == pytest.approx(others.std(), rel=0.15)


def test_all_cuts_at_once_are_the_cuts_one_by_one():
    features, is_member = data()
    tree = grown_tree(features, is_member)
    together = cut_votes(tree, CUTS, features)
    assert together.shape == (200, len(CUTS))
    for column, cut in zip(together.T, CUTS, strict=True):
        assert np.array_equal(column, cut_votes(tree, [cut], features)[:, 0])


def test_a_tree_of_one_leaf_votes_the_share_of_members():
    features, is_member = np.zeros((9, 2), np.float32), np.arange(9) < 3
    votes = cut_votes(grown_tree(features, is_member), CUTS, features)
    assert np.allclose(votes, 1 / 3)


@pytest.mark.parametrize("leaf", MIN_LEAVES)
def test_out_of_bag_accuracy_is_that_of_scikit_learn(leaf):
    features, is_member = data(150, gap=0.3)
    forest = RandomForestClassifier(60, oob_score=True, random_state=0, min_samples_leaf=leaf)
    forest.fit(features, is_member)
    # Votes that are tied count as no member here, as they do there.
    found = out_of_bag_accuracy(forest, [(None, 2)], features, is_member)
    assert found.tolist() == pytest.approx([forest.oob_score_], abs=1e-12)


def test_out_of_bag_accuracy_of_a_cut_is_that_of_the_stopped_forest():
    features, is_member = data(200, gap=0.3)
    options = {"n_estimators": 40, "max_features": None, "random_state": 0}
    full = RandomForestClassifier(**options).fit(features, is_member)
    cuts = [(1, 2), (3, 2), (None, 40)]
    for cut, found in zip(cuts, out_of_bag_accuracy(full, cuts, features, is_member), strict=True):
        stopped = RandomForestClassifier(max_depth=cut[0], min_samples_split=cut[1], oob_score=True, **options)
        assert found == pytest.approx(stopped.fit(features, is_member).oob_score_, abs=0.02)


def test_out_of_bag_accuracy_of_few_trees_judges_those_with_a_vote():
    features, is_member = data(30)
    forest = grow(features, is_member, 1, seed=0)
    assert 0 < out_of_bag_accuracy(forest, [(None, 2)], features, is_member)[0] < 1


def test_forest_chooses_a_setting_that_suits_the_data():
    """One feature in steps with a fifth of the members drawn at random: a tree that is fully grown learns the noise."""
    generator = np.random.default_rng(0)
    features = generator.uniform(size=(600, 2))
    is_member = (features[:, 0] > 0.5) ^ (generator.uniform(size=600) < 0.2)
    predict = RandomForest().fit(features, is_member, seed=0)
    wanted = generator.uniform(size=(2000, 2))
    chosen = ((predict(wanted) > 0.5) == (wanted[:, 0] > 0.5)).mean()
    full = grow(features.astype(np.float32), is_member, 100, seed=0).predict(wanted.astype(np.float32))
    assert chosen > 0.95
    assert chosen > (full == (wanted[:, 0] > 0.5)).mean()


# -- nearest neighbours --------------------------------------------------------------------------------------------


@given(n=st.integers(7, 80), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_votes_are_those_of_a_classifier_for_each_number(n, seed):
    features, is_member = data(n, seed=seed)
    wanted = data(30, seed=seed + 1)[0]
    votes = KNearestNeighbours().votes(features, is_member, wanted)
    for column, number in zip(votes.T, KNearestNeighbours.numbers, strict=True):
        model = KNeighborsClassifier(number).fit(features, is_member)
        assert np.allclose(column, model.predict_proba(wanted)[:, list(model.classes_).index(True)])


def test_number_of_neighbours_is_that_of_a_grid_search():
    chosen = set()
    for seed in range(20):
        features, is_member = data(91, seed=seed, gap=0.5)
        search = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": [3, 5, 7]}, cv=INNER_FOLDS, scoring=hits)
        search.fit(features, is_member)
        wanted = data(60, seed=100 + seed)[0]
        found = KNearestNeighbours().fit(features, is_member, seed=0)(wanted)
        assert np.allclose(found, search.predict_proba(wanted)[:, 1])
        chosen.add(search.best_params_["n_neighbors"])
    assert chosen == {3, 5, 7}


def hits(model, features, is_member) -> int:
    """What both sum up; accuracies, which scikit-learn averages, weigh folds of unequal sizes otherwise."""
    return (model.predict(features) == is_member).sum()


def test_fewer_records_than_neighbours_vote_all_together():
    features, is_member = data(4)
    votes = KNearestNeighbours().votes(features, is_member, features)
    assert np.allclose(votes[:, 1:], is_member.mean())


# -- logistic regression, multilayer perceptron --------------------------------------------------------------------


def test_logistic_regression_is_a_grid_search():
    for seed, gap in [(0, 0.0), (1, 0.2), (2, 2.0)]:
        features, is_member = data(120, seed=seed, gap=gap)
        wanted = data(50, seed=9)[0]
        search = GridSearchCV(LogisticRegression(), {"C": np.logspace(-4, 2, 10)}, cv=3).fit(features, is_member)
        found = LogisticRegressionAttack().fit(features, is_member, seed=0)(wanted)
        assert np.array_equal(found, search.predict_proba(wanted)[:, 1])


def test_logistic_regression_that_does_not_converge_says_nothing(recwarn):
    features, is_member = data(60)
    LogisticRegressionAttack().fit(features * np.array([1e4, 1e-4, 1, 1e3]), is_member, seed=0)
    assert not recwarn.list


def perceptron(layers, alpha, seed, **options) -> MLPClassifier:
    return MLPClassifier(hidden_layer_sizes=layers, alpha=alpha, random_state=seed, **options)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("layers", LAYERS, ids=str)
@pytest.mark.parametrize("n", [30, 433])  # below one batch, and batches with a rest
def test_networks_side_by_side_are_those_of_scikit_learn(layers, n):
    features, is_member = data(n)
    rows = [np.arange(n), np.arange(0, n, 2), np.arange(n - 1)]
    decays, seeds = [1e-4, 1e-2, 3.0], [0, 5, 2**33]
    together = Perceptrons(layers, features.astype(np.float64), is_member, rows, decays=decays, seeds=seeds)
    together.train(7)
    for k, (own, alpha, seed) in enumerate(zip(rows, decays, seeds, strict=True)):
        alone = perceptron(layers, alpha, seed % 2**32, max_iter=7).fit(features[own].astype(float), is_member[own])
        wanted = alone.predict_proba(features.astype(float))[:, 1]
        assert np.allclose(together.probabilities(features, k), wanted, rtol=0, atol=1e-10)
        scored = np.arange(1, n, 2)
        assert together.accuracy(k, scored) == alone.score(features[scored], is_member[scored])


def test_training_stops_where_that_of_scikit_learn_does():
    features, is_member = data(300, gap=0.0)  # nothing to learn but the share of members
    features = 1e-3 * features.astype(np.float64)
    alone = perceptron((64,), 1e-4, 3).fit(features, is_member)
    assert alone.n_iter_ < 200
    model = Perceptrons((64,), features, is_member, [np.arange(300)], decays=[1e-4], seeds=[3]).train_to_the_end()
    assert np.allclose(model.probabilities(features), alone.predict_proba(features)[:, 1], rtol=0, atol=1e-10)
    assert model.loss[0] == pytest.approx(alone.loss_)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_search_measures_accuracy_on_records_it_did_not_train_on():
    features, is_member = data(90, gap=1.5)
    features = features.astype(np.float64)
    search = Search(features, is_member, seed=0)
    found = search.train(LAYERS[0], DECAYS, 30)
    assert list(found) == [(LAYERS[0], decay) for decay in DECAYS]
    for decay in DECAYS:
        wanted = []
        for fold, (train, scored) in enumerate(search.folds):
            assert not set(train) & set(scored)
            alone = perceptron(LAYERS[0], decay, fold, max_iter=30).fit(features[train], is_member[train])
            wanted.append(alone.score(features[scored], is_member[scored]))
        assert found[LAYERS[0], decay] == pytest.approx(np.mean(wanted))
    assert max(found.values()) > 0.8


def test_search_keeps_the_best_decay_of_each_layout_and_then_the_best_layout(monkeypatch):
    accuracies = dict(zip(product(LAYERS, DECAYS), [0.1, 0.9, 0.2, 0.3, 0.4, 0.8], strict=True))
    trained, built = [], []

    def train(self, layers, decays, epochs):
        trained.append((layers, tuple(decays), epochs))
        return {(layers, decay): accuracies[layers, decay] for decay in decays}

    def perceptrons(layers, *given, decays, seeds):
        built.append((layers, *decays))
        return Perceptrons(layers, *given, decays=decays, seeds=seeds)

    monkeypatch.setattr(Search, "train", train)
    monkeypatch.setattr(mlp, "Perceptrons", perceptrons)
    MultilayerPerceptron().fit(*data(30), seed=0)
    first = [(layers, DECAYS, mlp.RUNGS[0]) for layers in LAYERS]
    assert trained == [*first, (LAYERS[0], (DECAYS[1],), mlp.RUNGS[1]), (LAYERS[1], (DECAYS[2],), mlp.RUNGS[1])]
    assert built == [(LAYERS[0], DECAYS[1])]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_chosen_network_is_trained_as_scikit_learn_does():
    features, is_member = data(60)
    features = features.astype(np.float64)
    fitted = MultilayerPerceptron().fit(features, is_member, seed=7)(features)
    wanted = [
        MLPClassifier(hidden_layer_sizes=layers, alpha=alpha, random_state=7).fit(features, is_member)
        for layers, alpha in product(LAYERS, DECAYS)
    ]
    assert any(np.allclose(fitted, model.predict_proba(features)[:, 1], rtol=0, atol=1e-10) for model in wanted)


@pytest.mark.slow
def test_forest_is_as_accurate_as_the_grid_search_of_108_fits():
    features, is_member = data(400, gap=0.3)
    wanted, truth = data(2000, gap=0.3, seed=1)
    grid = {"max_depth": MAX_DEPTHS, "min_samples_split": MIN_SPLITS, "min_samples_leaf": MIN_LEAVES}
    search = GridSearchCV(RandomForestClassifier(100, max_features="sqrt", random_state=0), grid, cv=INNER_FOLDS)
    search.fit(features, is_member)
    found = RandomForest().fit(features, is_member, seed=0)(wanted)
    assert ((found > 0.5) == truth).mean() == pytest.approx(search.score(wanted, truth), abs=0.03)
    accuracy = cross_val_score(search.best_estimator_, features, is_member, cv=INNER_FOLDS).mean()
    assert accuracy == pytest.approx(search.best_score_, abs=0.02)


# -- folds ---------------------------------------------------------------------------------------------------------


@given(members=st.integers(6, 60), others=st.integers(6, 60), shuffle=st.booleans(), seed=st.integers(0, 2**32))
@settings(max_examples=100, deadline=None)
def test_folds_are_balanced_and_score_every_record_once(members, others, shuffle, seed):
    is_member = np.arange(members + others) < members
    if shuffle:
        is_member = np.random.default_rng(seed).permutation(is_member)
    found = folds(is_member, seed=seed)
    assert len(found) == FOLDS
    size, total = min(members, others), len(is_member)
    assert sorted(np.concatenate([scored for _, scored in found])) == list(range(total))
    (first_train, first_scored), (last_train, last_scored) = found
    assert len(first_train) + len(last_train) == 2 * size
    for train, scored in found:
        assert not set(train) & set(scored)
        assert len(set(train)) == len(train)
        assert abs(2 * int(is_member[train].sum()) - len(train)) <= 1
        assert min(is_member[train].sum(), (~is_member[train]).sum()) >= INNER_FOLDS  # each inner fold has both sides
    # Each trains on what the other scores; what balance left out is trained on by neither, and scored in equal parts.
    left_out = set(range(total)) - set(first_train) - set(last_train)
    assert len(left_out) == abs(members - others)
    assert set(first_scored) - left_out == set(last_train)
    assert set(last_scored) - left_out == set(first_train)
    assert all((is_member[i] == (members > others)) for i in left_out)
    assert abs(len(left_out & set(first_scored)) - len(left_out & set(last_scored))) <= 1
    assert not left_out & set(first_scored[: len(last_train)])  # these come last


def test_folds_come_from_their_seed_alone():
    is_member = np.arange(50) < 20
    before = np.random.get_state()[1].tolist()
    one, again, other = (folds(is_member, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for x, y in zip(one, again, strict=True) for a, b in zip(x, y, strict=True))
    assert not np.array_equal(one[0][0], other[0][0])
    assert np.random.get_state()[1].tolist() == before


def test_folds_take_any_record_of_the_larger_side():
    is_member = np.arange(30) < 10
    trained_on = {int(i) for seed in range(30) for train, _ in folds(is_member, seed=seed) for i in train}
    assert trained_on == set(range(30))


def test_folds_are_mixed():
    """Inner folds take neighbours together, so members and non-members must not lie in blocks."""
    train, _ = folds(np.arange(200) < 100, seed=0)[0]
    changes = np.diff((train < 100).astype(int)) != 0
    assert changes.sum() > 30

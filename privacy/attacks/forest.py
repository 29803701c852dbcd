"""The random-forest attack: the best of a grid of 36 forests, found by growing 3."""

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestClassifier

from privacy.attacks.base import Predict, TrainedAttack

__all__ = ["RandomForest"]

MAX_DEPTHS = (5, 10, 20, None)
MIN_SPLITS = (2, 5, 10)
MIN_LEAVES = (1, 2, 4)
TREES = 100
SEARCH_TREES = 20


@dataclass(frozen=True)
class RandomForest(TrainedAttack):
    """A random forest of 100 trees; depth, smallest split and smallest leaf from TensorFlow Privacy's grid of 36.

    A tree that stops at depth 5, or at nodes of fewer than 10 records, is the fully grown tree cut off there: the same
    splits, drawn from the same distribution. So one fully grown forest for each smallest leaf holds all twelve
    combinations of the other two, and each tree's out-of-bag records take the place of cross-validation. The best
    forest keeps its trees, cut, and gets the missing ones. TensorFlow Privacy fits 3 x 36 forests to the same end.
    """

    name = "rf"
    title = "random forest"
    cost = 10.0

    def fit(self, features: np.ndarray, is_member: np.ndarray, *, seed: int) -> Predict:
        """Choose by out-of-bag accuracy, then complete the forest."""
        features = for_trees(features)
        seeds = [int(s) for s in np.random.SeedSequence([seed, 0]).generate_state(len(MIN_LEAVES) + 1)]
        forests = [
            grow(features, is_member, SEARCH_TREES, seed=seed, min_samples_leaf=leaf)
            for leaf, seed in zip(MIN_LEAVES, seeds, strict=False)
        ]
        cuts = list(product(MAX_DEPTHS, MIN_SPLITS))
        accuracies = np.array([out_of_bag_accuracy(forest, cuts, features, is_member) for forest in forests])
        leaf, cut = np.unravel_index(accuracies.argmax(), accuracies.shape)
        depth, split = cuts[cut]
        rest = grow(
            features, is_member, TREES - SEARCH_TREES, seed=seeds[-1],
            max_depth=depth, min_samples_split=split, min_samples_leaf=MIN_LEAVES[leaf],
        )

        def predict(wanted: np.ndarray) -> np.ndarray:
            wanted = for_trees(wanted)
            cut_trees = [cut_votes(tree, [cuts[cut]], wanted)[:, 0] for tree in forests[leaf].estimators_]
            others = rest.predict_proba(wanted)[:, 1]
            return (np.sum(cut_trees, axis=0) + others * (TREES - SEARCH_TREES)) / TREES

        return predict


def for_trees(features: np.ndarray) -> np.ndarray:
    """Features in float32, which trees work on; larger numbers than it can hold become its largest."""
    largest = np.finfo(np.float32).max
    return np.clip(features, -largest, largest).astype(np.float32)


def grow(
    features: np.ndarray, is_member: np.ndarray, trees: int, *, seed: int, **options: Any
) -> RandomForestClassifier:
    """A forest of `trees` trees; `options` are those of scikit-learn."""
    forest = RandomForestClassifier(trees, max_features="sqrt", random_state=seed, **options)
    return forest.fit(features, is_member)


def cut_votes(tree: Any, cuts: list[tuple[int | None, int]], features: np.ndarray) -> np.ndarray:
    """Share of members `(k, len(cuts))` in the node where each record of `features` `(k, d)` ends in each cut tree."""
    grown = tree.tree_
    share = grown.value[:, 0, 1] / grown.value[:, 0].sum(1)
    leaves = grown.apply(features)
    return np.column_stack([share[ends(grown, *cut)[leaves]] for cut in cuts])


def ends(grown: Any, max_depth: int | None, min_samples_split: int) -> np.ndarray:
    """For each node of a grown tree, the node that a record in it ends in when the tree is cut: `(nodes,)`."""
    end = np.arange(grown.node_count)
    level, depth = np.zeros(1, dtype=np.intp), 0
    while len(level):
        stops = (end[level] != level) | (grown.n_node_samples[level] < min_samples_split)
        if max_depth is not None:
            stops |= depth >= max_depth
        inner = grown.children_left[level] >= 0
        children = [side[level[inner]] for side in (grown.children_left, grown.children_right)]
        for side in children:
            end[side] = np.where(stops[inner], end[level[inner]], side)
        level, depth = np.concatenate(children), depth + 1
    return end


def out_of_bag_accuracy(
    forest: RandomForestClassifier, cuts: list[tuple[int | None, int]], features: np.ndarray, is_member: np.ndarray
) -> np.ndarray:
    """Accuracy `(len(cuts),)` of the forest's cut versions, each tree voting on the records it was not grown on."""
    votes, voters = np.zeros((len(features), len(cuts))), np.zeros((len(features), 1))
    for tree, grown_on in zip(forest.estimators_, forest.estimators_samples_, strict=True):
        others = np.setdiff1d(np.arange(len(features)), grown_on)
        votes[others] += cut_votes(tree, cuts, features[others])
        voters[others] += 1
    judged = voters[:, 0] > 0
    return ((votes[judged] / voters[judged] > 0.5) == is_member[judged, None]).mean(0)

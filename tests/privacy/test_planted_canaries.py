"""Attacks with reference models find memorised records that attacks on the model alone do not."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from privacy import ATTACKS, AttackRecords, LiRA, reference_splits, train_references

FOLDERS = [Path(__file__).parents[levels] / "shared" / "data" / "MNIST" / "raw" for levels in (2, 3, 4)]
FOLDER = next((folder for folder in FOLDERS if folder.is_dir()), None)
SIZE, CANARIES = 2000, 20
ALLOWED = 2  # false positives: 0.1 % of the non-members


def mnist() -> tuple[np.ndarray, np.ndarray]:
    """MNIST's training images at 14 x 14 pixels, in [0, 1], and their labels."""
    pixels = np.fromfile(FOLDER / "train-images-idx3-ubyte", np.uint8)[16:].reshape(-1, 14, 2, 14, 2)
    return pixels.mean((2, 4)).reshape(-1, 196) / 255, np.fromfile(FOLDER / "train-labels-idx1-ubyte", np.uint8)[8:]


def fit(inputs, labels, *, seed):
    """A perceptron that remembers its training data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model = MLPClassifier((128,), max_iter=40, batch_size=100, learning_rate_init=3e-3, random_state=seed)
        return model.fit(inputs, labels)


def logits(model, inputs):
    return np.maximum(inputs @ model.coefs_[0] + model.intercepts_[0], 0) @ model.coefs_[1] + model.intercepts_[1]


def canaries_found(scores) -> int:
    """How many of the canaries, the first members, are found at 0.1 % false positives."""
    return int((scores.members[:CANARIES] > np.sort(scores.non_members)[-ALLOWED - 1]).sum())


@pytest.mark.slow
@pytest.mark.skipif(FOLDER is None, reason="needs ../shared/data/MNIST")
def test_sixteen_references_find_mislabelled_canaries_that_five_attacks_miss():
    images, classes = mnist()
    generator = np.random.default_rng(0)
    chosen = generator.permutation(len(classes))[: 2 * SIZE]
    inputs, labels = images[chosen], classes[chosen].astype(int)
    labels[:CANARIES] = (labels[:CANARIES] + generator.integers(1, 10, CANARIES)) % 10
    sides = {"members": (inputs[:SIZE], labels[:SIZE]), "non_members": (inputs[SIZE:], labels[SIZE:])}
    target = fit(*sides["members"], seed=0)
    references = train_references(fit, logits, **sides, splits=reference_splits(2 * SIZE, 16, seed=0))
    outputs = {name: (logits(target, own), labels) for name, (own, labels) in sides.items()}
    records = AttackRecords(**outputs, references=references)
    for name in ("threshold", "lr", "mlp", "rf", "knn"):
        assert canaries_found(ATTACKS[name].scores(records)) <= 2, name
    for attack in (LiRA(mode="offline", variance="shared"), LiRA(), ATTACKS["bavaria"], ATTACKS["calibrated"]):
        assert canaries_found(attack.scores(records)) >= 15, attack

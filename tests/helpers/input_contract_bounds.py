"""The entries of privacy about canaries, bounds on epsilon and sets, as `input_contract` has those of distill."""

from pathlib import Path
from typing import Any

import numpy as np

from input_contract import Entry, same
from privacy import (
    ReleaseScores,
    SetReport,
    audit_set,
    canary_report,
    epsilon_from_canaries,
    epsilon_from_counts,
    epsilon_from_guesses,
    epsilon_from_scores,
    gaussian_epsilon,
    make_canaries,
    shadow_outputs,
)

IMAGES, LABELS = np.random.default_rng(0).random((12, 8, 8)), np.arange(12) % 3
COINS = np.arange(12) % 2 == 0
SIDES = {"members": same((IMAGES, LABELS)), "non_members": same((IMAGES, LABELS))}
LEVEL = {"delta": same(1e-5), "confidence": same(0.95)}


def set_report(folder: Path | None = None) -> SetReport:
    return audit_set(IMAGES, LABELS, members=(IMAGES, LABELS), non_members=(IMAGES, LABELS))


def planted(**given: Any) -> Any:
    return make_canaries(IMAGES, LABELS, 6).plant(**given)


def one_release(**given: Any) -> np.ndarray:
    scores = ReleaseScores(2)
    scores.add(**given)
    return scores.values


BOUNDS = {
    "make_canaries": Entry(
        make_canaries,
        {"images": same(IMAGES), "labels": same(LABELS), "n": same(6), "kind": same("mislabelled"),
         "classes": same(None), "seed": same(0)},
    ),
    "Canaries.plant": Entry(planted, {"images": same(IMAGES), "labels": same(LABELS)}),
    "canary_report": Entry(
        canary_report,
        {"scores": same(np.arange(12.0)), "planted": same(COINS), "non_members": same(np.arange(5.0)), **LEVEL},
    ),
    "epsilon_from_canaries": Entry(
        epsilon_from_canaries,
        {"scores": same(np.arange(12.0)), "planted": same(COINS), **LEVEL, "noise": same("any"), "guesses": same(4),
         "seed": same(0)},
    ),
    "epsilon_from_guesses": Entry(
        epsilon_from_guesses,
        {"correct": same(4), "guesses": same(8), "canaries": same(12), **LEVEL, "noise": same("any")},
    ),
    "epsilon_from_counts": Entry(
        epsilon_from_counts,
        {"found": same(4), "members": same(12), "false_positives": same(1), "non_members": same(12), **LEVEL},
    ),
    "epsilon_from_scores": Entry(
        epsilon_from_scores, {"members": same(np.arange(4.0)), "non_members": same(np.arange(4.0)), **LEVEL}
    ),
    "ReleaseScores": Entry(ReleaseScores, {"canaries": same(2)}),
    "ReleaseScores.add": Entry(
        one_release,
        {"summed": same(np.ones(4)), "added": same(np.eye(2, 4)), "noise_std": same(1.0), "sampling_rate": same(0.5),
         "others": same(np.zeros(4))},
    ),
    "gaussian_epsilon": Entry(gaussian_epsilon, {"mu": same(1.0), "delta": same(1e-5)}),
    "shadow_outputs": Entry(
        shadow_outputs,
        {"record_features": same([np.eye(4)]), "set_features": same([[np.eye(4)]]), "set_labels": same([np.eye(4)]),
         "ridge": same(1e-6)},
    ),
    "audit_set": Entry(
        audit_set,
        {"images": same(IMAGES), "labels": same(LABELS), **SIDES, "public": same(None), "references": same(None),
         "features": same(None), "started": same(None), "info": same(None)},
    ),
    "SetReport.save": Entry(lambda path: set_report().save(path), {"path": lambda folder: folder / "a.npz"}),
    "SetReport.load": Entry(SetReport.load, {"path": lambda folder: set_report().save(folder / "a.npz")}),
    "SetReport.worst": Entry(lambda attack: set_report().worst(attack), {"attack": same("nearest")}),
}  # fmt: skip

# What is right in its place, by entry and argument.
SCORES = {"numbers", "array", "tensor", "bool tensor"}
RIGHT_IN_BOUNDS: dict[tuple[str, str], set[str]] = {
    ("make_canaries", "n"): {"3"},
    ("make_canaries", "classes"): {"None", "3"},
    ("make_canaries", "seed"): {"0", "3"},
    ("canary_report", "non_members"): {"None", *SCORES},
    ("canary_report", "delta"): {"0"},
    ("epsilon_from_canaries", "delta"): {"0"},
    ("epsilon_from_canaries", "guesses"): {"None", "3"},
    ("epsilon_from_canaries", "seed"): {"0", "3"},
    ("epsilon_from_guesses", "correct"): {"0", "3"},
    ("epsilon_from_guesses", "delta"): {"0"},
    ("epsilon_from_counts", "found"): {"0", "3"},
    ("epsilon_from_counts", "false_positives"): {"0", "3"},
    ("epsilon_from_counts", "non_members"): {"3"},
    ("epsilon_from_counts", "delta"): {"0"},
    ("epsilon_from_scores", "members"): SCORES,
    ("epsilon_from_scores", "non_members"): SCORES,
    ("epsilon_from_scores", "delta"): {"0"},
    ("ReleaseScores", "canaries"): {"3"},
    ("ReleaseScores.add", "summed"): {"bool tensor"},  # of four numbers, as it should be
    ("ReleaseScores.add", "noise_std"): {"3", "2.5"},
    ("ReleaseScores.add", "others"): {"None", "bool tensor"},
    ("gaussian_epsilon", "mu"): {"0", "3", "2.5"},
    ("gaussian_epsilon", "delta"): {"0"},
    ("shadow_outputs", "ridge"): {"3", "2.5"},
    ("audit_set", "public"): {"None"},
    ("audit_set", "references"): {"None", "empty list"},
    ("audit_set", "features"): {"None"},
    ("audit_set", "started"): {"None", "numbers"},
    ("audit_set", "info"): {"None", "mapping"},
    ("SetReport.save", "path"): {"text", "bytes", "path"},
    ("SetReport.worst", "attack"): {"None"},
}

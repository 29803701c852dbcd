"""The audits of the membership-inference benchmark: train the models of an arm, record what they say, attack them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.kept import kept, save
from benchmarks.studies.membership.models import (
    canary_path,
    logits_of,
    records_path,
    started_from,
    trained_network,
    training_set,
)
from benchmarks.studies.membership.run import MemberSet, MembershipRun
from distill import SyntheticSet, TrainingRecipe
from distill.networks import Network
from distill.sets.synthetic import initial_labels
from distill.tensor_files import write_tensors
from distill.training.accuracy import accuracy
from privacy import ATTACKS, AttackRecords, AuditReport, audit
from privacy.attacks import FEWEST

__all__ = ["audits"]

# Parts of the members that are attacked by themselves, as files and as prose name them.
MEMBERS = {"all": "all members", "initial": "initial members", "others": "other members"}

Attacked = Callable[[], tuple[AttackRecords, dict[str, Any]]]


def audits(run: MembershipRun, arm: str, seed: int) -> Iterator[tuple[str, AuditReport]]:
    """Reports on an arm's models with the names they go by; those found in the folder are not made again.

    One for each number of training steps; and of the model with the most steps also on the members whose images the
    set was started from, and on the other members, each against the non-members, with attacks trained on them alone.
    """
    images, folder = run.member_set(seed, arm), run.folder / arm / f"members-{seed}"
    synthetic = training_set(run, arm, images)
    most = max(run.options.train_steps)
    for steps in run.options.train_steps:
        parts = member_parts(synthetic, run.size) if steps == most else {"all": None}
        attacked = partial(attacked_model, run, synthetic, images, steps, folder)
        for part, mask in parts.items():
            path = folder / f"{part}-{steps}.npz"
            make = partial(audited, run, arm, images.seed, attacked, part, mask, path)
            report = kept(path, make, read=AuditReport.load, write=save)
            yield arm if part == "all" else f"{arm}, {MEMBERS[part]}", report


def audited(
    run: MembershipRun, arm: str, seed: int, attacked: Attacked, part: str, mask: np.ndarray | None, path: Path
) -> AuditReport:
    """The report on a part of the members, to be saved at `path`; its page and its curves are put beside it."""
    records, info = attacked()
    report = audit(
        records.subset(members=mask),
        attacks=[name for name in run.options.attacks if name == "all" or not ATTACKS[name].needs],
        engine=run.options.engine,
        seed=seed,
        jobs=run.options.jobs,
        images=run.pixels(seed, mask),
        info={**info, "trained_on": arm, "members": MEMBERS[part]},
        progress=True,
    )
    report.to_html(path.with_suffix(".html"), title=f"{run.train.name}, {arm}: {MEMBERS[part]}")
    report.plot_roc(path.with_suffix(".png"))
    return report


def member_parts(synthetic: SyntheticSet, members: int) -> dict[str, np.ndarray | None]:
    """The parts of the members to attack, as boolean masks `(members,)`; `None` for all.

    Members whose images the set was started from, and the others, where there are enough of both.
    """
    initial = np.zeros(members, bool)
    initial[started_from(synthetic, members)] = True
    if min(initial.sum(), members - initial.sum()) < FEWEST:
        return {"all": None}
    return {"all": None, "initial": initial, "others": ~initial}


def attacked_model(
    run: MembershipRun, synthetic: SyntheticSet, images: MemberSet, steps: int, folder: Path
) -> tuple[AttackRecords, dict[str, Any]]:
    """Train a network for `steps` updates; what an attacker sees of it, and what a reader should know of it.

    Networks of the same member set start from the same weights, whatever they are trained on. Both are kept in
    `folder`, and found there when an audit was stopped.
    """
    path = records_path(folder, steps)

    def train() -> dict[str, Any]:
        network = trained_network(run, synthetic, seed=images.seed, steps=steps)
        test_accuracy = accuracy(logits_of(network, images.test.images), images.test.labels)
        records_of(network, replace(run.recipe, train_steps=steps), images).save(path)
        if images.canary_images is not None:
            of_canaries = logits_of(network, images.canary_images.images)
            write_tensors(canary_path(folder, steps), {"logits": of_canaries}, {})
        return {
            "dataset": run.train.name,
            "training_images": len(synthetic),
            "member_set": images.seed,
            "train_steps": steps,
            "test_accuracy": test_accuracy,
        }

    info = kept(folder / f"model-{steps}.json", train)
    return AttackRecords.load(path), info


def records_of(network: Network, recipe: TrainingRecipe, images: MemberSet) -> AttackRecords:
    """What the attacker sees: logits, labels, and the loss that the network was trained with.

    The loss is taken against the label that a real image is trained with, also where the network was trained on learned
    soft labels: the attacker knows the class, not the soft label.
    """
    sides = []
    for side in (images.members, images.non_members):
        logits = logits_of(network, side.images)
        # In float64: single precision makes every very sure answer's loss the same.
        labels = recipe.labels_for(initial_labels(side.labels, side.num_classes))
        losses = recipe.losses(logits.double(), labels.double())
        sides.append((logits.numpy(), side.labels.numpy(), losses.numpy()))
    return AttackRecords(members=sides[0], non_members=sides[1])

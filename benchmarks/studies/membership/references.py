"""Attacks with references: on the network trained on all members, and on the sets that were made of them.

References of the arm "real" are networks, trained as the audited one was on random halves of all records. Those of an
arm with a set are sets, made by its method from such halves; set and references answer by kernel ridge regression in
the features of a few random networks, so that no network has to be trained.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.stats import spearmanr

from benchmarks.harness.kept import kept, save
from benchmarks.studies.membership.models import (
    canary_path,
    logits_of,
    real_set,
    records_path,
    trained_network,
    training_set,
)
from benchmarks.studies.membership.run import MemberSet, MembershipRun
from distill import SyntheticSet
from distill.networks import build_network
from distill.runtime.seeds import Purpose, generator_for
from distill.store import Content, Store
from distill.tensor_files import read_tensors
from distill.training.evaluation import network_features
from privacy import (
    ATTACKS,
    AttackRecords,
    AuditReport,
    CanaryReport,
    References,
    audit,
    canary_report,
    reference_splits,
    shadow_outputs,
)
from privacy.epsilon import DELTA
from privacy.margins import excess_margins

__all__ = ["Answers", "answers_of", "canaries_found", "make_reference", "reference_attacks", "reference_report"]

SURE = 10.0  # the logit of a regression that answers as sure as the labels it learned


@dataclass(frozen=True, eq=False)
class Answers:
    """Outputs `(n, C)` of an arm, and of its references `(R, n, C)`: for members, non-members, canaries in this order.

    `trained_on`: booleans `(R, n)`, which records each reference was made from.
    """

    target: np.ndarray
    references: np.ndarray
    trained_on: np.ndarray


def make_reference(run: MembershipRun, arm: str, seed: int, index: int) -> Iterator[str]:
    """Make reference `index` of an arm on a member set, unless the folder has it; yields a line about it."""
    images = run.member_set(seed, arm)
    half = images.records.subset(torch.from_numpy(splits(run, images)[index]))
    name, store = f"reference-{index}", reference_store(run, arm, seed)

    def network() -> Content:
        trained = trained_network(run, real_set(half), seed=seed, steps=run.most_steps, index=1 + index)
        return {"logits": logits_of(trained, images.everything.images)}, {}

    if arm == "real":
        store.get(name, run.made_from(**run.resolved()), network)
    else:
        distil = partial(
            run.distillers[arm].distill, half, images_per_class=run.options.images_per_class,
            seed=seed + (1 + index) * 1000, device=run.options.device, store=store.within(name), progress=True,
        )  # fmt: skip
        kept(store.folder / f"{name}.safetensors", distil, read=SyntheticSet.load, write=save)
        store.within(name).clear()
    yield f"{arm}, member set {seed}: reference {index + 1} of {run.options.references}"


def reference_store(run: MembershipRun, arm: str, seed: int) -> Store:
    """Where the references of an arm on a member set are."""
    return Store(run.folder / arm / f"members-{seed}" / "references")


def splits(run: MembershipRun, images: MemberSet) -> np.ndarray:
    """Which of the records, members first, each reference is made from, booleans `(R, n)`."""
    return reference_splits(len(images.members) + len(images.non_members), run.options.references, images.seed)


def answers_of(run: MembershipRun, arm: str, seed: int) -> Answers:
    """What an arm and its references, if any, say of every record and canary.

    Of the arm "real" its network does, of another one its set, by kernel ridge regression.
    """
    images, store, indices = run.member_set(seed, arm), reference_store(run, arm, seed), range(run.options.references)
    everything = images.everything
    if arm == "real":
        made_from = run.made_from(**run.resolved())
        entries = [store.load(f"reference-{i}", made_from) for i in indices]
        references = [entry.tensors["logits"].numpy() for entry in entries if entry is not None]
        target = network_answers(run, arm, images)
    else:
        paths = [store.folder / f"reference-{i}.safetensors" for i in indices]
        sets = [training_set(run, arm, images), *map(SyntheticSet.load, paths)]
        target, *references = regressions(run, everything.images, sets)
    halves = splits(run, images) if indices else np.zeros((0, len(images.records)), bool)
    canaries = np.zeros((len(halves), len(everything) - len(images.records)), bool)
    shape = (0, *target.shape)
    return Answers(
        target, np.stack(references) if references else np.zeros(shape), np.concatenate([halves, canaries], axis=1)
    )


def network_answers(run: MembershipRun, arm: str, images: MemberSet) -> np.ndarray:
    """What the network of an arm with the most training steps said of every record and canary, `(n, C)`."""
    folder = run.folder / arm / f"members-{images.seed}"
    logits = AttackRecords.load(records_path(folder, run.most_steps)).outputs
    if images.canary_images is None:
        return logits
    tensors, _ = read_tensors(canary_path(folder, run.most_steps))
    return np.concatenate([logits, tensors["logits"].numpy()])


def agreement(images: MemberSet, of_set: np.ndarray, of_network: np.ndarray) -> float:
    """Spearman's correlation of how sure a set and the network trained on it are of every record; not of canaries."""
    labels = images.records.labels.numpy()
    sure = [excess_margins(outputs[: len(labels)], labels, "logits") for outputs in (of_set, of_network)]
    return float(spearmanr(*sure).statistic)


def regressions(run: MembershipRun, images: Any, sets: list[SyntheticSet]) -> np.ndarray:
    """What kernel ridge regression on each set answers for all images, as logits, `(sets, n, C)`."""
    networks = [random_network(run, i) for i in range(run.options.shadow_networks)]
    answers = shadow_outputs(
        [network_features(network, images).numpy() for network in networks],
        [[network_features(network, own.images).numpy() for network in networks] for own in sets],
        [own.labels.numpy() for own in sets],
    )
    sure = np.median([own.labels.max(1).values.median() - own.labels.min(1).values.median() for own in sets])
    return answers * (SURE / sure)


def random_network(run: MembershipRun, index: int) -> Any:
    """A network with random weights, of the recipe's kind and width."""
    height, width, channels = run.train.images.shape[1:]
    return build_network(
        run.recipe.network, image_shape=(channels, height, width), num_classes=run.train.num_classes,
        width=run.recipe.width, depth=run.recipe.depth, norm=run.recipe.norm,
        generator=generator_for(index, Purpose.SHADOWS),
    ).eval()  # fmt: skip


def records_of_answers(images: MemberSet, answers: Answers, members: np.ndarray) -> AttackRecords:
    """Records with references, of `members`, positions in the answers, and all non-members."""
    labels = images.everything.labels.numpy()
    others = np.arange(len(images.members), len(images.records))
    sides = (answers.target[members], labels[members]), (answers.target[others], labels[others])
    if not len(answers.references):
        return AttackRecords(members=sides[0], non_members=sides[1])
    references = References(
        member_outputs=answers.references[:, members],
        member_in=answers.trained_on[:, members],
        non_member_outputs=answers.references[:, others],
        non_member_in=answers.trained_on[:, others],
    )
    return AttackRecords(members=sides[0], non_members=sides[1], references=references)


def reference_attacks(run: MembershipRun) -> list[str]:
    """The attacks asked for that need references."""
    named = [name for name, attack in ATTACKS.items() if attack.needs == ("references",)]
    return named if "all" in run.options.attacks else [name for name in named if name in run.options.attacks]


def reference_report(run: MembershipRun, arm: str, seed: int, info: dict[str, Any]) -> AuditReport:
    """The audit of an arm by attacks with references, over all members."""
    images, answers = run.member_set(seed, arm), answers_of(run, arm, seed)
    records = records_of_answers(images, answers, np.arange(len(images.members)))
    if arm != "real":
        info = {**info, "agreement": agreement(images, answers.target, network_answers(run, arm, images))}
    return audit(
        records,
        attacks=["threshold", *reference_attacks(run)],
        seed=seed,
        jobs=run.options.jobs,
        images=run.pixels(seed, None),
        info={**info, "trained_on": arm, "answers": "network" if arm == "real" else "set"},
        progress=True,
    )


def canaries_found(run: MembershipRun, arm: str, seed: int) -> CanaryReport:
    """What is found of the planted canaries: by LiRA where there are references, else by the threshold attack.

    Compared with held-out canaries alone; the bound is at the delta of a private arm's guarantee.
    """
    images, answers = run.member_set(seed, arm), answers_of(run, arm, seed)
    assert images.canaries is not None
    everything = np.arange(len(images.everything))
    records = records_of_answers(images, answers, everything[len(images.records) :])
    attack = ATTACKS["lira" if len(answers.references) else "threshold"]
    scores = attack.scores(records).values
    return canary_report(scores[records.is_member], images.canaries.planted, delta=delta_of(run, arm))


def delta_of(run: MembershipRun, arm: str) -> float:
    """Delta of a private arm's guarantee; of other arms the default of lower bounds."""
    private = arm in run.distillers and run.distillers[arm].is_private
    return float(run.distillers[arm].options()["delta"]) if private else DELTA

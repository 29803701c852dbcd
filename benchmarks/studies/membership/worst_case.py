"""The worst case of each arm: attacks with references, canaries, and the audit of the set itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmarks.harness.kept import kept, read_figures, save
from benchmarks.studies.membership.models import started_from, training_set
from benchmarks.studies.membership.references import canaries_found, random_network, reference_report
from benchmarks.studies.membership.run import MembershipRun
from distill.training.evaluation import network_features
from privacy import AuditReport, CanaryReport, SetReport, audit_set

__all__ = ["WorstCase", "worst_case"]

PUBLIC = 2000  # spare images at most that distances to a set are compared with


@dataclass(frozen=True)
class WorstCase:
    """What was found of one arm on one member set; `None` for what was not asked for, or does not apply."""

    arm: str
    seed: int
    references: AuditReport | None = None
    canaries: CanaryReport | None = None
    set: SetReport | None = None


def worst_case(run: MembershipRun, arm: str, seed: int) -> Iterator[WorstCase]:
    """The worst case of an arm, whose models were audited before; reports that the folder has are not made again."""
    folder = run.folder / arm / f"members-{seed}"
    references = canaries = of_set = None
    if run.options.references:
        info = {**read_figures(folder / f"model-{run.most_steps}.json"), "references": run.options.references}
        make = partial(reference_report, run, arm, seed, info)
        references = kept(folder / "references.npz", make, read=AuditReport.load, write=save)
        references.to_html(folder / "references.html", title=f"{run.train.name}, {arm}: attacks with references")
    if run.options.canaries:
        canaries = canaries_found(run, arm, seed)
        canaries.to_json(folder / "canaries.json")
    if run.options.audit_set and arm != "real":
        of_set = kept(folder / "set.npz", partial(set_report, run, arm, seed), read=SetReport.load, write=save)
        of_set.to_html(folder / "set.html", title=f"{run.train.name}, {arm}: the set itself")
        of_set.plot_pairs(folder / "set-pairs.png")
    yield WorstCase(arm, seed, references, canaries, of_set)


def set_report(run: MembershipRun, arm: str, seed: int) -> SetReport:
    """The audit of an arm's set: its images beside members and non-members, compared with spare images if any."""
    images = run.member_set(seed)
    synthetic = training_set(run, arm, images)
    preprocessing = synthetic.preprocessing

    def features(index: int, pixels: np.ndarray) -> np.ndarray:
        network_input = preprocessing.forward(torch.from_numpy(pixels).permute(0, 3, 1, 2))
        return network_features(random_network(run, index), network_input).numpy()

    members, others = run.positions(seed)
    spare = np.random.default_rng(seed).permutation(run.spare(seed))[:PUBLIC]
    everything = set(run.train.labels[np.concatenate([members, others])].tolist())
    calibrated = everything <= set(run.train.labels[spare].tolist())
    soft = synthetic.labels.numpy()
    of_own_class = bool((soft.argmax(1) == synthetic.class_ids.numpy()).all())
    return audit_set(
        preprocessing.inverse(synthetic.images).permute(0, 2, 3, 1).numpy(),
        soft if of_own_class else synthetic.class_ids.numpy(),
        members=(run.train.images[members], run.train.labels[members]),
        non_members=(run.train.images[others], run.train.labels[others]),
        public=(run.train.images[spare], run.train.labels[spare]) if calibrated else None,
        features=[partial(features, i) for i in range(run.options.shadow_networks)],
        started=started_from(synthetic, run.size) or None,
        info={"made_by": arm, "labels": "soft" if of_own_class else "classes alone: some soft labels name another"},
    )

"""The worst case of each arm: attacks with references, canaries, and the audit of the set itself."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.harness.kept import kept, read_figures, save
from benchmarks.studies.membership.models import started_from, training_set
from benchmarks.studies.membership.references import canaries_found, random_network, reference_report
from benchmarks.studies.membership.run import MemberSet, MembershipRun
from distill.accounting.ledger import ledger_of
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
    proven: float | None = None
    """Epsilon that the arm's set is proven to keep to, at its delta; `None` without a guarantee."""


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
    yield WorstCase(arm, seed, references, canaries, of_set, proven_epsilon(run, arm, seed))


def proven_epsilon(run: MembershipRun, arm: str, seed: int) -> float | None:
    """Epsilon of an arm's set by its ledger; `None` where it has none."""
    if arm not in run.distillers or not run.distillers[arm].is_private:
        return None
    ledger = ledger_of(training_set(run, arm, run.member_set(seed, arm)).made_by)
    return None if ledger is None else ledger.epsilon


def public_positions(run: MembershipRun, images: MemberSet) -> np.ndarray:
    """Positions of the training images that are in no way part of a member set: no record, and no canary's source."""
    spare = run.spare(images.seed)
    return spare if images.canaries is None else np.delete(spare, images.canaries.sources)


def set_report(run: MembershipRun, arm: str, seed: int) -> SetReport:
    """The audit of an arm's set: its images beside members and non-members, compared with spare images if any."""
    images = run.member_set(seed, arm)
    synthetic = training_set(run, arm, images)
    networks = [random_network(run, i) for i in range(run.options.shadow_networks)]
    inputs = {"images": synthetic.images, "members": images.members.images, "non_members": images.non_members.images}
    members, others = run.positions(seed)
    spare = np.random.default_rng(seed).permutation(public_positions(run, images))[:PUBLIC]
    everything = set(run.train.labels[np.concatenate([members, others])].tolist())
    calibrated = everything <= set(run.train.labels[spare].tolist())
    soft = synthetic.labels.numpy()
    of_own_class = bool((soft.argmax(1) == synthetic.class_ids.numpy()).all())
    return audit_set(
        synthetic.pixels().numpy(),  # as they would be published; ridge regression has them as they are
        soft if of_own_class else synthetic.class_ids.numpy(),
        members=(run.train.images[members], run.train.labels[members]),
        non_members=(run.train.images[others], run.train.labels[others]),
        public=(run.train.images[spare], run.train.labels[spare]) if calibrated else None,
        features=[
            {name: network_features(network, given).numpy() for name, given in inputs.items()} for network in networks
        ],
        started=started_from(synthetic, run.size) or None,
        info={"made_by": arm, "labels": "soft" if of_own_class else "classes alone: some soft labels name another"},
    )

"""Reference models of an arm, and what they and the audited one say of all records.

For the arm "real" references are networks, trained like the audited one on random halves of all records. For an arm
with a set they are sets, made by the same method from such halves; the audited set and its references answer by kernel
ridge regression in the features of a few random networks, so that none has to be trained.
"""

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.studies.membership.run import MemberSet, MembershipRun
from distill import SyntheticSet
from privacy import AttackRecords, References

__all__ = ["make_reference", "referenced_records"]

SURE = 10.0  # logit of a regression that answers 1: a sure answer, as attacks read it


def make_reference(run: MembershipRun, arm: str, seed: int, index: int) -> Iterator[str]:
    """Make reference `index` of an arm on a member set, unless the folder has it; yields a line about it."""
    images, folder = run.member_set(seed), reference_folder(run, arm, seed)
    half = images.records.subset(torch.from_numpy(splits(run, images)[index]))
    if arm == "real":
        kept_outputs(run, images, half, folder, index)
    else:
        kept_set(run, arm, images, half, folder, index)
    yield f"{arm}, member set {seed}: reference {index + 1} of {run.options.references}"


def referenced_records(
    run: MembershipRun, arm: str, images: MemberSet, synthetic: SyntheticSet, records: AttackRecords
) -> AttackRecords:
    """The records of an arm with the references, and the canaries, if any, as further members.

    `records`: of the network trained on `synthetic`; they are used for the arm "real".
    """
    folder, halves, size = reference_folder(run, arm, images.seed), splits(run, images), len(images.members)
    everything, indices = with_canaries(images), range(run.options.references)
    if arm == "real":
        of_references = np.stack([np.load(folder / f"outputs-{i}.npy") for i in indices])
        of_target = target_outputs(run, images, synthetic)
    else:
        sets = [SyntheticSet.load(folder / f"{i}.safetensors") for i in indices]
        of_target, of_references = regressions(run, everything, [synthetic, *sets])
    labels = everything.labels.numpy()
    canaries = len(labels) - len(images.records)
    inside = np.r_[np.arange(size), np.arange(len(images.records), len(labels))]
    outside = np.arange(size, len(images.records))
    trained_on = np.concatenate([halves, np.zeros((len(halves), canaries), bool)], axis=1)
    references = References(
        member_outputs=of_references[:, inside],
        non_member_outputs=of_references[:, outside],
        member_in=trained_on[:, inside],
        non_member_in=trained_on[:, outside],
    )
    return AttackRecords(
        members=(of_target[inside], labels[inside]),
        non_members=(of_target[outside], labels[outside]),
        references=references,
    )

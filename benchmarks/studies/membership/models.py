"""The models of the membership-inference benchmark: what they are trained on, and what they answer."""

from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.harness.kept import kept, save
from benchmarks.studies.membership.run import MemberSet, MembershipRun
from distill import PreprocessedImages, SyntheticSet
from distill.networks import Network
from distill.preprocess.streamed import StreamedImages
from distill.runtime.seeds import Purpose, generator_for
from distill.sets.synthetic import initial_labels
from distill.store import Store
from distill.training.evaluation import network_features, train_network

__all__ = ["canary_path", "logits_of", "real_set", "records_path", "started_from", "trained_network", "training_set"]


def records_path(folder: Path, steps: int) -> Path:
    """Where the records of the model with this many training steps are."""
    return folder / f"records-{steps}.npz"


def canary_path(folder: Path, steps: int) -> Path:
    """Where its answers to canaries are."""
    return folder / f"canaries-{steps}.safetensors"


def started_from(synthetic: SyntheticSet, members: int) -> list[int]:
    """Positions of the members that a set was started from; canaries are behind the members."""
    return [position for position in synthetic.made_by.get("started_from", []) if position < members]


def training_set(run: MembershipRun, arm: str, images: MemberSet) -> SyntheticSet:
    """What the models of an arm are trained on: all members and planted canaries, or what its distiller makes of them.

    Made once, and kept in the run's folder.
    """
    if arm == "real":
        return real_set(images.training)
    folder = run.folder / arm / f"members-{images.seed}"
    store = Store(folder / "checkpoint")

    def make() -> SyntheticSet:
        synthetic = run.distillers[arm].distill(
            images.training,
            images_per_class=run.options.images_per_class,
            seed=images.seed,
            device=run.options.device,
            store=store,
            progress=True,
        )
        synthetic.plot(folder / "images.png")
        return synthetic

    synthetic = kept(folder / "synthetic.safetensors", make, read=SyntheticSet.load, write=save)
    store.clear()
    return synthetic


def real_set(images: PreprocessedImages) -> SyntheticSet:
    """Real images as a set to train on, with the labels that images start with."""
    labels = initial_labels(images.labels, images.num_classes)
    return SyntheticSet(images.images[:], labels, images.labels, images.classes, images.preprocessing)


def trained_network(run: MembershipRun, synthetic: SyntheticSet, *, seed: int, steps: int, index: int = 0) -> Network:
    """A network trained on a set for `steps` updates.

    Networks of the same member set start from the same weights, whatever they are trained on; `index` is above 0 for
    those of references.
    """
    return train_network(
        synthetic,
        recipe=replace(run.recipe, train_steps=steps),
        generator=generator_for(seed, Purpose.EVALUATION, index),
        device=run.options.device,
        progress=True,
    )


@torch.no_grad()
def logits_of(network: Network, images: torch.Tensor | StreamedImages) -> torch.Tensor:
    """Outputs `(n, C)` of all images, on the CPU."""
    return network.head(network_features(network, images)).cpu()

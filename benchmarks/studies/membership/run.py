"""A run of the membership-inference benchmark: options resolved and checked, data loaded, member sets drawn."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness.checks import check_at_least, check_seeds, named_by_flags
from benchmarks.harness.data import check_counts
from benchmarks.harness.experiment import Experiment
from benchmarks.harness.methods import distiller_class, option_classes, prefix_of
from benchmarks.harness.options import class_options
from benchmarks.studies.membership.options import ARMS, PRESETS, MembershipOptions
from distill import Distiller, InputError, PreprocessedImages, TrainingRecipe
from distill.preprocess import default_preprocessing
from privacy import ATTACKS
from privacy.attacks import FEWEST
from privacy.tf_privacy import check_official

__all__ = ["MemberSet", "MembershipRun"]

MEMBERS = 10_000  # where the training set has twice as many


@dataclass(frozen=True)
class MemberSet:
    """One set of members with as many non-members, and test images, preprocessed alike."""

    seed: int
    members: PreprocessedImages
    non_members: PreprocessedImages
    test: PreprocessedImages


class MembershipRun(Experiment):
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    options: MembershipOptions

    def __init__(self, options: MembershipOptions) -> None:
        arms = dict.fromkeys(arm for given in options.arms for arm in given.split(",") if arm)
        self.options = replace(options, arms=tuple(arms), train_steps=tuple(sorted(set(options.train_steps))))
        check_options(self.options)
        super().__init__(self.options)
        own = {
            prefix: class_options(options, prefix=prefix, preset=PRESETS[options.preset].get(prefix, {}))
            for prefix in option_classes()
        }
        self.recipe = TrainingRecipe(**own["train"])
        methods = {arm: "random" if arm == "subset" else arm for arm in arms if arm != "real"}
        self.distillers: dict[str, Distiller] = {
            arm: distiller_class(method)(**own.get(prefix_of(method), {})) for arm, method in methods.items()
        }
        self.size = options.members or min(MEMBERS, len(self.train) // 2)
        self._check_data()
        self._last: MemberSet | None = None

    @staticmethod
    def default_folder(options: MembershipOptions) -> Path:
        """Named for the data set."""
        return Path("results") / f"mia-{Path(options.dataset).stem}"

    def resolved(self) -> dict[str, Any]:
        """Images in a member set, the recipe, and the distillers."""
        distillers = {name: own.options() for name, own in self.distillers.items()}
        return {"members": self.size, "train": vars(self.recipe), **distillers}

    def _check_data(self) -> None:
        """Raise `InputError` where options do not go with the images, minutes before it would be needed."""
        if self.train.num_classes < 2:
            raise InputError(f"{self.train.name} has a single class; membership inference needs at least 2")
        if self.size < FEWEST:
            raise InputError(
                f"--members is {self.size}, too few to attack; expected {FEWEST} to {len(self.train) // 2}"
            )
        if 2 * self.size > len(self.train):
            raise InputError(
                f"--members is {self.size}, but {self.train.name} has only {len(self.train)} training images for "
                f"members and as many non-members; expected {FEWEST} to {len(self.train) // 2}"
            )
        sets = len(self.train) // self.size
        if max(self.options.seeds) >= sets:
            raise InputError(
                f"--seeds {max(self.options.seeds)} is out of range: {len(self.train)} images allow only {sets} "
                f"disjoint member sets of {self.size} (seeds 0 to {sets - 1}); use one of these, or fewer --members"
            )
        height, width, channels = self.train.images.shape[1:]
        shape = (channels, height, width)
        for seed in self.options.seeds:
            members = replace(self.train.subset(self.positions(seed)[0]), name=f"member set {seed}")
            counts = np.bincount(members.labels, minlength=self.train.num_classes)
            if self.distillers and not counts.min():
                raise InputError(
                    f"member set {seed} has no image of class {self.train.classes[counts.argmin()]!r}; ask for more "
                    "--members"
                )
            if self.distillers:
                check_counts(members, self.options.images_per_class)
        for arm, distiller in self.distillers.items():
            with named_by_flags(prefix_of(arm)):
                distiller.check_images(shape, self.train.num_classes)
        self.recipe.build(image_shape=shape, num_classes=self.train.num_classes, generator=torch.Generator())

    def positions(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the members and non-members of a member set in the training images.

        Member sets are disjoint parts of one shuffled training set; the non-members are the next part. They come from
        the training set too, not from the test set, so that nothing but membership tells them apart.
        """
        order = np.random.default_rng(0).permutation(len(self.train))
        sets = len(self.train) // self.size
        members, others = seed * self.size, (seed + 1) % sets * self.size
        return order[members : members + self.size], order[others : others + self.size]

    def member_set(self, seed: int) -> MemberSet:
        """Members, non-members and test images, preprocessed by what was fitted on the members; the last are kept.

        Where an arm is private, by something fixed.
        """
        if self._last is None or self._last.seed != seed:
            members, others = (self.train.subset(positions) for positions in self.positions(seed))
            private = [own for own in self.distillers.values() if own.is_private]
            preprocessing = private[0].preprocessing_for(members) if private else default_preprocessing(members)
            self._last = MemberSet(seed, *(preprocessing.apply(images) for images in (members, others, self.test)))
        return self._last

    def pixels(self, seed: int, part: np.ndarray | None) -> np.ndarray:
        """The members' images before preprocessing, `(n, H, W, channels)`; `part`: a mask of some of them."""
        positions = self.positions(seed)[0]
        return self.train.images[positions if part is None else positions[part]]

def check_options(options: MembershipOptions) -> None:
    """Raise `InputError` for numbers that make no sense, unknown arms and attacks, and what is not there."""
    if unknown := [arm for arm in options.arms if arm not in ARMS]:
        raise InputError(f"unknown arms {', '.join(unknown)}; expected some of {', '.join(ARMS)}")
    if not options.arms:
        raise InputError(f"--arms names none; expected some of {', '.join(ARMS)}")
    if unknown := [attack for attack in options.attacks if attack not in (*ATTACKS, "all")]:
        raise InputError(f"unknown attacks {', '.join(unknown)}; expected all, or some of {', '.join(ATTACKS)}")
    check_at_least(options, 1, "members", "images_per_class")
    if min(options.train_steps) < 1:
        raise InputError(f"--train-steps are {' '.join(map(str, options.train_steps))}; expected at least 1")
    check_seeds(options.seeds)
    if options.arms == ("real",) and "images_per_class" in options.given.get("run", ()):
        raise InputError("--images-per-class was given, but the one arm, real, has all members")
    if options.engine == "tf-privacy":
        check_official()

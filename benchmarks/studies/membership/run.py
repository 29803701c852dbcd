"""A run of the membership-inference benchmark: options resolved and checked, data loaded, member sets drawn."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness.checks import check_at_least, check_seeds, named_by_flags
from benchmarks.harness.data import check_counts
from benchmarks.harness.experiment import Experiment
from benchmarks.harness.methods import distiller_class, prefix_of
from benchmarks.harness.options import class_options
from benchmarks.studies.membership.options import ARMS, MembershipOptions
from distill import Distiller, InputError, PreprocessedImages, TrainingRecipe
from distill.preprocess import default_preprocessing
from privacy import ATTACKS, Canaries, make_canaries
from privacy.attacks import FEWEST
from privacy.tf_privacy import check_official

__all__ = ["MemberSet", "MembershipRun"]

MEMBERS = 10_000  # where the training set has twice as many


@dataclass(frozen=True)
class MemberSet:
    """One set of members with as many non-members, test images, and canaries if any, preprocessed alike."""

    seed: int
    members: PreprocessedImages
    non_members: PreprocessedImages
    test: PreprocessedImages
    canaries: Canaries | None = None
    canary_images: PreprocessedImages | None = None

    @cached_property
    def training(self) -> PreprocessedImages:
        """What is trained on, or distilled: the members, and the planted canaries behind them."""
        if self.canaries is None or self.canary_images is None:
            return self.members
        return joined(self.members, self.canary_images.subset(torch.from_numpy(self.canaries.planted)))

    @cached_property
    def records(self) -> PreprocessedImages:
        """Members, and non-members behind them."""
        return joined(self.members, self.non_members)

    @cached_property
    def everything(self) -> PreprocessedImages:
        """The records, and all canaries behind them."""
        return self.records if self.canary_images is None else joined(self.records, self.canary_images)


def joined(first: PreprocessedImages, second: PreprocessedImages) -> PreprocessedImages:
    """Both, one behind the other."""
    images = torch.cat([first.images[:], second.images[:]])
    return replace(first, images=images, labels=torch.cat([first.labels, second.labels]))


class MembershipRun(Experiment):
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    options: MembershipOptions

    def __init__(self, options: MembershipOptions) -> None:
        arms = dict.fromkeys(arm for given in options.arms for arm in given.split(",") if arm)
        self.options = replace(options, arms=tuple(arms), train_steps=tuple(sorted(set(options.train_steps))))
        check_options(self.options)
        super().__init__(self.options)
        own = class_options(options, channels=self.train.images.shape[-1])
        self.recipe = TrainingRecipe(**own["train"])
        self.arms = {name: method for arm in arms for name, method, _ in with_budgets(arm, options.epsilon)}
        self.distillers: dict[str, Distiller] = {
            name: distiller_class(method)(**own.get(prefix_of(method), {}), **budget)
            for arm in arms if arm != "real" for name, method, budget in with_budgets(arm, options.epsilon)
        }
        self.size = options.members or min(MEMBERS, len(self.train) // 2)
        self._check_data()
        self._last: tuple[tuple[int, bool], MemberSet] | None = None

    @staticmethod
    def default_folder(options: MembershipOptions) -> Path:
        """Named for the data set."""
        return Path("results") / f"mia-{Path(options.dataset).stem}"

    def resolved(self) -> dict[str, Any]:
        """Images in a member set, the arms by budget, the recipe, and the distillers."""
        distillers = {name: own.options() for name, own in self.distillers.items()}
        return {"members": self.size, "arms": list(self.arms), "train": vars(self.recipe), **distillers}

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
        if self.options.canaries > (spare := len(self.train) - 2 * self.size):
            raise InputError(
                f"--canaries is {self.options.canaries}, but only {spare} training images are neither members nor "
                f"non-members, which canaries are made of; use fewer --members than {self.size}, or fewer canaries"
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
            canaries = self._canaries(seed)
            if canaries is not None and canaries.planted.all() | ~canaries.planted.any():
                raise InputError(
                    f"--canaries {len(canaries)} are all planted, or all held out, on member set {seed}; use more"
                )
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
            with named_by_flags(prefix_of(self.arms[arm])):
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

    def member_set(self, seed: int, arm: str = "real") -> MemberSet:
        """Members, non-members, test images and canaries, as an arm has them preprocessed; the last are kept.

        The preprocessing is fitted on the members, but for arms that are private in them, which have a fixed one.
        """
        private = arm in self.distillers and self.distillers[arm].is_private
        if self._last is None or self._last[0] != (seed, private):
            members, others = (self.train.subset(positions) for positions in self.positions(seed))
            fit = self.distillers[arm].preprocessing_for if private else default_preprocessing
            preprocessing = fit(members)
            inside, outside, test = (preprocessing.apply(images) for images in (members, others, self.test))
            canaries = self._canaries(seed)
            made = None if canaries is None else replace(members, images=canaries.images, labels=canaries.labels)
            applied = None if made is None else preprocessing.apply(made)
            self._last = ((seed, private), MemberSet(seed, inside, outside, test, canaries, applied))
        return self._last[1]

    def _canaries(self, seed: int) -> Canaries | None:
        """Mislabelled images, made of images that are neither members nor non-members of a member set."""
        if not self.options.canaries:
            return None
        spare = self.train.subset(self.spare(seed))
        classes = self.train.num_classes
        return make_canaries(spare.images, spare.labels, self.options.canaries, classes=classes, seed=seed)

    def spare(self, seed: int) -> np.ndarray:
        """Positions of the training images that are neither members nor non-members of a member set."""
        return np.setdiff1d(np.arange(len(self.train)), np.concatenate(self.positions(seed)))

    @property
    def most_steps(self) -> int:
        """The largest number of training steps of the attacked models."""
        return max(self.options.train_steps)

    def pixels(self, seed: int, part: np.ndarray | None) -> np.ndarray:
        """The members' images before preprocessing, `(n, H, W, channels)`; `part`: a mask of some of them."""
        positions = self.positions(seed)[0]
        return self.train.images[positions if part is None else positions[part]]


def with_budgets(arm: str, budgets: Sequence[float]) -> Iterator[tuple[str, str, dict[str, float]]]:
    """An arm's name, method and budget: of a private one for each budget, in its name where there are several.

    >>> [name for name, _, _ in with_budgets("ndpdc", (1, 8))], list(with_budgets("subset", (1, 8)))
    (['ndpdc-1', 'ndpdc-8'], [('subset', 'random', {})])
    """
    method = "random" if arm == "subset" else arm
    if arm == "real" or not distiller_class(method).is_private:
        yield arm, method, {}
        return
    for epsilon in budgets:
        yield f"{arm}-{epsilon:g}" if len(budgets) > 1 else arm, method, {"epsilon": epsilon}


def check_options(options: MembershipOptions) -> None:
    """Raise `InputError` for numbers that make no sense, unknown arms and attacks, and what is not there."""
    if unknown := [arm for arm in options.arms if arm not in ARMS]:
        raise InputError(f"unknown arms {', '.join(unknown)}; expected some of {', '.join(ARMS)}")
    if not options.arms:
        raise InputError(f"--arms names none; expected some of {', '.join(ARMS)}")
    known = [name for name, attack in ATTACKS.items() if {*attack.needs} <= {"references"}]
    if unknown := [attack for attack in options.attacks if attack not in (*known, "all")]:
        raise InputError(f"unknown attacks {', '.join(unknown)}; expected all, or some of {', '.join(known)}")
    check_at_least(options, 1, "members", "images_per_class", "shadow_networks")
    check_at_least(options, 0, "references", "canaries")
    check_worst_case(options)
    if min(options.train_steps) < 1:
        raise InputError(f"--train-steps are {' '.join(map(str, options.train_steps))}; expected at least 1")
    check_seeds(options.seeds)
    check_budgets(options)
    if options.arms == ("real",) and "images_per_class" in options.given.get("run", ()):
        raise InputError("--images-per-class was given, but the one arm, real, has all members")
    if options.engine == "tf-privacy":
        check_official()


def check_budgets(options: MembershipOptions) -> None:
    """Raise `InputError` for budgets that make no sense, or that no arm has."""
    if not options.epsilon or not all(0 < epsilon < math.inf for epsilon in options.epsilon):
        given = " ".join(f"{epsilon:g}" for epsilon in options.epsilon)
        raise InputError(f"--epsilon is {given or 'empty'}; expected numbers above 0")
    if len({f"{epsilon:g}" for epsilon in options.epsilon}) < len(options.epsilon):
        raise InputError(f"--epsilon is {' '.join(f'{e:g}' for e in options.epsilon)}; expected different numbers")
    private = any(arm != "real" and arm != "subset" and distiller_class(arm).is_private for arm in options.arms)
    if "epsilon" in options.given.get("run", ()) and not private:
        raise InputError("--epsilon was given, but no arm is private; expected private-frepo, ndpdc or noisy-means")


def check_worst_case(options: MembershipOptions) -> None:
    """Raise `InputError` for references, canaries and audits of sets that make no sense."""
    if options.references % 2:
        raise InputError(
            f"--references is {options.references}; expected an even number, so that every record is in half of them"
        )
    needing = [name for name in options.attacks if name != "all" and "references" in ATTACKS[name].needs]
    if needing and not options.references:
        raise InputError(f"the attacks {', '.join(needing)} need references; add --references 16, for example")
    if options.references and not options.canaries and "all" not in options.attacks and not needing:
        raise InputError(
            f"--references was given, but none of --attacks {' '.join(options.attacks)} uses them; add lira, for "
            "example"
        )
    if len(needing) == len(options.attacks):
        raise InputError(
            f"all of --attacks {' '.join(needing)} need references, which only a part of the audits has; add "
            "threshold"
        )
    if options.canaries == 1:
        raise InputError("--canaries is 1; expected 0, or at least 2: half of them, about, are planted")
    if options.audit_set and options.arms == ("real",):
        raise InputError("--audit-set was given, but the one arm, real, has no set; name others with --arms")

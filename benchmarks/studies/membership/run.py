"""A run of the membership-inference benchmark: options resolved and checked, data loaded, member sets drawn."""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.harness.data import check_counts, fingerprints, load_parts
from benchmarks.harness.methods import METHODS, OPTION_CLASSES
from benchmarks.harness.options import class_options
from benchmarks.harness.tasks import check_jobs
from distill import Distiller, InputError, PreprocessedImages, TrainingRecipe
from distill.preprocess import default_preprocessing
from distill.runtime.checks import check_device
from privacy.attacks import FEWEST
from privacy.official import check_official

__all__ = ["ARMS", "PRESETS", "MemberSet", "Run"]

MEMBERS = 10_000  # where the training set has twice as many

# "subset" is random choice under the name that the paper's tables give it.
ARMS = ("real", "subset", *(name for name in METHODS if name != "random"))

# What differs from the defaults of the classes, which are the paper's. "quick": see the README.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "quick": {
        "run": {"seeds": [0], "train_steps": [10_000]},
        "frepo": {"steps": 1500, "batch_size": 256, "learning_rate": 8e-3, "width": 32, "norm": "instance"},
        "herding": {"width": 32},
        "dm": {"steps": 1500, "batch_size": 64, "width": 32},
        "dsa": {"iterations": 10, "inner_loop": 10, "batch_size": 64, "width": 32},
        "train": {
            "norm": "instance",
            "width": 32,
            "learning_rate": 2e-3,
            "warmup_steps": 100,
            "batch_size": 64,
            "augment": False,
        },
    },
    "paper": {
        "run": {"seeds": [0, 1, 2, 3, 4], "train_steps": [100, 250, 500, 1000, 2000, 4000, 8000, 16_000]},
        "frepo": {"steps": 500_000},
        "train": {"augment": False},
    },
}


@dataclass(frozen=True)
class MemberSet:
    """One set of members with as many non-members, and test images, preprocessed alike."""

    seed: int
    members: PreprocessedImages
    non_members: PreprocessedImages
    test: PreprocessedImages


class Run:
    """One run of the benchmark: its options resolved and checked, its data loaded."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.folder: Path = arguments.output
        check_run_options(arguments)
        options = {prefix: class_options(arguments, prefix=prefix, preset=PRESETS[arguments.preset].get(prefix, {}))
                   for prefix in OPTION_CLASSES}
        self.recipe = TrainingRecipe(**options["train"])
        self.distillers: dict[str, Distiller] = {
            arm: METHODS["random" if arm == "subset" else arm](**options.get(arm, {}))
            for arm in arguments.arms if arm != "real"
        }
        self.train, self.test = load_parts(arguments)
        self.size = arguments.members or min(MEMBERS, len(self.train) // 2)
        self._check_data()
        self._fingerprints = fingerprints(self.train, self.test)
        self._last: MemberSet | None = None

    def _check_data(self) -> None:
        """Raise `InputError` where options do not go with the images, minutes before it would be needed."""
        if self.train.num_classes < 2:
            raise InputError(f"{self.train.name} has a single class; wanted at least 2, for logits to say something")
        if self.size < FEWEST or 2 * self.size > len(self.train):
            raise InputError(
                f"--members {self.size} and as many non-members are more than the {len(self.train)} training images of "
                f"{self.train.name}; wanted {FEWEST} to {len(self.train) // 2}"
            )
        sets = len(self.train) // self.size
        if max(self.arguments.seeds) >= sets:
            raise InputError(
                f"--seeds {max(self.arguments.seeds)} names a member set that is not there: {len(self.train)} images "
                f"make {sets} disjoint sets of {self.size}, 0 to {sets - 1}; ask for those, or for fewer --members"
            )
        height, width, channels = self.train.images.shape[1:]
        shape = (channels, height, width)
        for seed in self.arguments.seeds:
            members = replace(self.train.subset(self.positions(seed)[0]), name=f"member set {seed}")
            counts = np.bincount(members.labels, minlength=self.train.num_classes)
            if self.distillers and not counts.min():
                raise InputError(
                    f"member set {seed} has no image of class {self.train.classes[counts.argmin()]!r}; ask for more "
                    "--members"
                )
            if self.distillers:
                check_counts(members, self.arguments.images_per_class)
        for distiller in self.distillers.values():
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
        """Members, non-members and test images, preprocessed by what was fitted on the members; the last are kept."""
        if self._last is None or self._last.seed != seed:
            members, others = (self.train.subset(positions) for positions in self.positions(seed))
            preprocessing = default_preprocessing(members)
            self._last = MemberSet(seed, *(preprocessing.apply(images) for images in (members, others, self.test)))
        return self._last

    def pixels(self, seed: int, part: np.ndarray | None) -> np.ndarray:
        """The members' images before preprocessing, `(n, H, W, channels)`; `part`: a mask of some of them."""
        positions = self.positions(seed)[0]
        return self.train.images[positions if part is None else positions[part]]

    def options(self) -> dict[str, Any]:
        """Everything that was asked for, as resolved, and fingerprints of the data."""
        given = {k: v for k, v in vars(self.arguments).items() if "." not in k and k != "width"}
        resolved = {**given, "members": self.size, "train": vars(self.recipe), "data": self._fingerprints}
        return json.loads(json.dumps(resolved | {n: d.options() for n, d in self.distillers.items()}, default=str))


def check_run_options(arguments: argparse.Namespace) -> None:
    """Raise `InputError` for numbers that make no sense, unknown arms, and what is not there."""
    if unknown := [arm for arm in arguments.arms if arm not in ARMS]:
        raise InputError(f"unknown arms {', '.join(unknown)}; wanted some of {', '.join(ARMS)}")
    if not arguments.arms:
        raise InputError(f"--arms names none; wanted some of {', '.join(ARMS)}")
    for name in ("members", "images_per_class"):
        if getattr(arguments, name) is not None and getattr(arguments, name) < 1:
            raise InputError(f"--{name.replace('_', '-')} is {getattr(arguments, name)}; wanted at least 1")
    if min(arguments.train_steps) < 1:
        raise InputError(f"--train-steps are {arguments.train_steps}; wanted at least 1")
    if min(arguments.seeds) < 0 or len(set(arguments.seeds)) < len(arguments.seeds):
        raise InputError(f"--seeds are {arguments.seeds}; wanted different numbers from 0 on")
    check_jobs(arguments)
    check_device(arguments.device)
    if arguments.engine == "tf-privacy":
        check_official()

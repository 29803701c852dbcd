"""Audits of private distillations by an attacker who sees every release, as the guarantee allows."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from distill import LabelledImages, ObservedRelease, PreprocessedImages, load_images
from distill.accounting.fixed_preprocessing import fixed_preprocessing
from privacy import Canaries, ReleaseScores, epsilon_from_canaries, make_canaries

DELTA = 1e-5
OTHERS = 100


@dataclass
class ReleaseAudit:
    """Digits with planted canaries, black and white noise of random classes, and what releases say of these.

    `seed` decides on `count` canaries and their coins. What the attacker suspects: `noise_share` of the claimed noise;
    no clip where `clips` is false; all records in every sum where `samples` is false.
    """

    seed: int = 0
    count: int = 200
    noise_share: float = 1.0
    clips: bool = True
    samples: bool = True
    planted: Canaries = field(init=False)
    scores: ReleaseScores = field(init=False)
    data: PreprocessedImages = field(init=False)
    """What is distilled: digits, and the canaries that are planted."""

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        noise = random.integers(0, 2, (self.count, 8, 8, 1)).astype(np.uint8) * 255
        labels = random.integers(0, 10, self.count)
        self.planted = make_canaries(noise, labels, self.count, "out_of_distribution", classes=10, seed=self.seed)
        self.scores = ReleaseScores(self.count)
        digits = load_images("digits")
        digits = digits.subset(np.arange(len(digits)) < OTHERS)

        def preprocessed(images: np.ndarray, labels: np.ndarray) -> PreprocessedImages:
            return fixed_preprocessing(1).apply(LabelledImages(images, labels, digits.classes, "audited"))

        self.data = preprocessed(*self.planted.plant(digits.images, digits.labels))
        self.canaries = preprocessed(self.planted.images, self.planted.labels)
        self.others = preprocessed(digits.images, digits.labels)

    def see(self, release: ObservedRelease) -> None:
        """The attacker knows the digits and all canaries, but not which of them are planted."""
        suspected = release if self.clips else replace(release, clip=math.inf)
        self.scores.add(
            release.summed,
            suspected.added_by(self.canaries.images, self.canaries.labels),
            noise_std=self.noise_share * release.noise_std,
            sampling_rate=release.sampling_rate if self.samples else 1.0,
            others=suspected.added_by(self.others.images, self.others.labels).sum(0),
        )

    def bound(self, *, noise: str = "any") -> float:
        """The lower bound on epsilon."""
        coins = self.planted.planted
        return epsilon_from_canaries(self.scores.values, coins, delta=DELTA, noise=noise, seed=self.seed).epsilon

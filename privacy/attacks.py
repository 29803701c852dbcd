"""What the attacks share: folds, balance, and the parts that can be computed side by side."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.model_selection import StratifiedKFold

from privacy.errors import InputError
from privacy.records import AttackRecords

__all__ = ["Attack", "Part", "Predict", "Scores", "TrainedAttack", "gather", "split_seed"]

FOLDS = 2  # an attack model scores the half of the records that it was not trained on
INNER_FOLDS = 3  # of the search for the attack's own settings, within its half
FEWEST = FOLDS * INNER_FOLDS  # records on a side that a trained attack can work with
LARGEST = 1e100  # of what a trained attack learns from: the squares of larger numbers overflow

Part = Callable[[], tuple[np.ndarray, np.ndarray]]  # -> positions (k,) in the records, and their scores (k,)
Predict = Callable[[np.ndarray], np.ndarray]  # features (k, C + 1) -> scores (k,)


@dataclass(frozen=True, eq=False)
class Scores:
    """Membership scores of every record, in the order given: `members` `(n,)`, `non_members` `(m,)`.

    Higher means more like a member; only the order means something. An attack that is trained on the records is
    `trained`, and repeated: `splits` holds the scores of each repetition, with the records split anew, whose figures
    are averaged, and the scores are the means.
    """

    members: np.ndarray
    non_members: np.ndarray
    trained: bool = False
    splits: tuple[tuple[np.ndarray, np.ndarray], ...] = ()

    def __post_init__(self) -> None:
        if not self.splits:
            object.__setattr__(self, "splits", ((self.members, self.non_members),))

    @classmethod
    def mean(cls, splits: Sequence[tuple[np.ndarray, np.ndarray]], *, trained: bool) -> "Scores":
        """The mean scores of several splits."""
        members, non_members = (np.mean([split[side] for split in splits], axis=0) for side in (0, 1))
        return cls(members, non_members, trained, tuple(splits))

    def at(self, masks: tuple[np.ndarray, np.ndarray]) -> "Scores":
        """The scores of some members and non-members."""
        splits = tuple((members[masks[0]], non_members[masks[1]]) for members, non_members in self.splits)
        return Scores(self.members[masks[0]], self.non_members[masks[1]], self.trained, splits)


class Attack(ABC):
    """A membership-inference attack: it gives every record a score, the higher the more like a member.

    - `name`: in options, tables and files. `title`: in plots and prose.
    - `cost`: about how long a part takes beside others; dear parts are started first.
    - `trained`: whether it learns from the records, so that its figures depend on how they are split, and are averaged.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    cost: ClassVar[float] = 1.0
    trained: ClassVar[bool] = False

    def check(self, records: AttackRecords) -> None:  # noqa: B027 (optional)
        """Raise `InputError` where the attack cannot work on these records."""

    @abstractmethod
    def parts(self, records: AttackRecords, *, seed: int) -> list[Part]:
        """Pieces of work that need not know of each other; together they score every record once."""

    def scores(self, records: AttackRecords, *, seed: int = 0) -> Scores:
        """Scores of all records, on one split; `privacy.audit` runs several attacks side by side to the same end."""
        self.check(records)
        parts = [part() for part in self.parts(records, seed=seed)]
        return Scores(*gather(records, parts, name=self.name), self.trained)


def split_seed(seed: int, split: int) -> int:
    """The seed of one of several splits; the first is that of the audit."""
    return seed if split == 0 else int(np.random.SeedSequence([seed, 5, split]).generate_state(1)[0])


def gather(
    records: AttackRecords, parts: Sequence[tuple[np.ndarray, np.ndarray]], *, name: str = "an attack"
) -> tuple[np.ndarray, np.ndarray]:
    """Put the scores of all parts in their places: those of members `(n,)`, and of non-members `(m,)`.

    Raises `InputError` unless every record has one score, which is finite.
    """
    size = len(records.members) + len(records.non_members)
    scores, times = np.full(size, np.nan), np.zeros(size, int)
    for positions, values in parts:
        values = np.asarray(values)
        if values.shape != np.shape(positions) or values.dtype.kind not in "fiub":
            raise InputError(
                f"the attack {name} gives {values.dtype} scores of shape {values.shape} for {np.size(positions)} "
                "records; wanted a number for each, (k,), such as predict_proba(features)[:, 1]"
            )
        scores[positions] = values
        np.add.at(times, positions, 1)
    if (times != 1).any():
        raise InputError(
            f"the attack {name} scores {int((times == 0).sum())} records not at all and {int((times > 1).sum())} more "
            "than once; wanted every record once"
        )
    if not np.isfinite(scores).all():
        raise InputError(
            f"the attack {name} gives {int((~np.isfinite(scores)).sum())} scores that are NaN or infinite; wanted "
            "finite numbers"
        )
    members, non_members = np.split(scores, [len(records.members)])
    return members, non_members


class TrainedAttack(Attack):
    """An attack that learns from half of the records and scores the other half, in TensorFlow Privacy's protocol.

    Features are the model's outputs and the loss. The larger side is cut at random to the size of the smaller one; the
    rest is scored, but not trained on (`folds` says what differs). In each of two folds the attack's settings are
    chosen by accuracy in a search within the fold's training records, and the best is trained on all of them. Where
    TensorFlow Privacy draws from NumPy's global state, everything here comes from `seed`; all attacks share the folds.
    """

    trained = True

    def check(self, records: AttackRecords) -> None:
        """Raise `InputError` for numbers too large, or fewer records on a side than folds: 2, and 3 in each of them."""
        largest = np.abs(records.features()).max()
        if largest > LARGEST:
            raise InputError(
                f"outputs or losses reach {largest:.3g}, too large for the sums of the {self.name} attack; divide all "
                "outputs by a constant, or give only the threshold attack"
            )
        for name in ("members", "non_members"):
            if len(getattr(records, name)) < FEWEST:
                raise InputError(
                    f"there are {len(getattr(records, name))} {name}, fewer than the {FEWEST} folds of the "
                    f"{self.name} attack ({FOLDS}, with {INNER_FOLDS} in each); give more records, or only the "
                    "threshold attack"
                )

    def parts(self, records: AttackRecords, *, seed: int) -> list[Part]:
        """One part a fold."""
        features, is_member = records.features(), records.is_member()
        return [
            _Fold(self, features, is_member, train, scored, int(state))
            for (train, scored), state in zip(
                folds(is_member, seed=seed), np.random.SeedSequence([seed, 3]).generate_state(FOLDS), strict=True
            )
        ]

    @abstractmethod
    def fit(self, features: np.ndarray, is_member: np.ndarray, *, seed: int) -> Predict:
        """Choose settings and train on features `(k, C + 1)` and booleans `(k,)`; returns the trained model's scores.

        `seed`: below 2**32; all randomness comes from it.
        """


@dataclass(frozen=True, eq=False)
class _Fold:
    """One fold of a trained attack; a class and not a closure, so that it can travel to another process."""

    attack: TrainedAttack
    features: np.ndarray
    is_member: np.ndarray
    train: np.ndarray
    scored: np.ndarray
    seed: int

    def __call__(self) -> tuple[np.ndarray, np.ndarray]:
        predict = self.attack.fit(self.features[self.train], self.is_member[self.train], seed=self.seed)
        if not callable(predict):
            raise InputError(
                f"fit of the attack {self.attack.name} gives a {type(predict).__name__}; wanted a function of features "
                "that gives scores"
            )
        return self.scored, predict(self.features[self.scored])


def folds(is_member: np.ndarray, *, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions to train on and to score, for each fold; balanced and stratified.

    What balance left out is scored in equal parts by all folds. (TensorFlow Privacy leaves it to the last one; then
    most of the larger side, but only half of the smaller one, is scored by that model, and wherever the two models'
    scores are on other scales, the figures show this and not membership.)
    """
    generator = np.random.default_rng([seed, 2])
    sides = [generator.permutation(np.flatnonzero(is_member == value)) for value in (True, False)]
    size = min(len(side) for side in sides)
    kept = generator.permutation(np.concatenate([side[:size] for side in sides]))
    left_out = np.concatenate([side[size:] for side in sides])
    split = StratifiedKFold(FOLDS, shuffle=False).split(kept, is_member[kept])
    shares = np.array_split(left_out, FOLDS)
    parts = zip(split, shares, strict=True)
    return [(kept[train], np.concatenate([kept[scored], share])) for (train, scored), share in parts]

"""What the attacks share: how work is divided, how records are balanced and split into folds."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from sklearn.model_selection import StratifiedKFold

from privacy.errors import InputError
from privacy.records import AttackRecords
from privacy.scores import Scores, gather

__all__ = [
    "FEWEST", "FOLDS", "INNER_FOLDS", "NEEDS", "Attack", "Predict", "Task", "TrainedAttack", "folds",
    "split_seed", "unchanged",
]  # fmt: skip

FOLDS = 2  # an attack model scores the half of the records that it was not trained on
INNER_FOLDS = 3  # of the search for the attack's own settings, within its half
FEWEST = FOLDS * INNER_FOLDS  # records on a side that a trained attack can work with
LARGEST = 1e100  # of what a trained attack learns from: the squares of larger numbers overflow

NEEDS = {  # what an attack may need of records, in words; `AttackRecords.has` says whether they have it
    "outputs": "the model's outputs, not losses alone",
    "features": "features of each record: AttackRecords(..., features=(of members, of non-members))",
    "references": "reference models: AttackRecords(..., references=References(...))",
}

Task = Callable[[], tuple[np.ndarray, np.ndarray]]  # -> positions (k,) in the records, and their scores (k,)
Predict = Callable[[np.ndarray], np.ndarray]  # features (k, C + 1) -> scores (k,)


class Attack(ABC):
    """A membership-inference attack: it gives every record a score, the higher the more like a member.

    A subclass sets `name` and `title` and defines `tasks`; one that learns from the records is a `TrainedAttack`, one
    that compares them with reference models a `ReferenceAttack`.

    >>> class LargestOutput(Attack):
    ...     name, title = "largest", "largest output"
    ...
    ...     def tasks(self, records, *, seed):
    ...         return [lambda: (np.arange(len(records)), records.outputs.max(1))]
    >>> records = AttackRecords(members=([[4.0, 0], [0, 3]], [0, 1]), non_members=([[1.0, 0], [0, 2]], [0, 1]))
    >>> LargestOutput().scores(records).members
    array([4., 3.])
    """

    name: ClassVar[str]
    """In options, tables and files."""
    title: ClassVar[str]
    """In plots and prose."""
    cost: ClassVar[float] = 1.0
    """About how long a task takes beside those of other attacks; the most expensive are started first."""
    trained: ClassVar[bool] = False
    """Whether it learns from the records, so that its results depend on how they are split, and are averaged."""
    needs: ClassVar[tuple[str, ...]] = ()
    """What the records must have beside outputs and labels: some of `NEEDS`."""

    def lacking(self, records: AttackRecords) -> str | None:
        """What the records lack that the attack needs, and how to give it, in one line; `None` if they have all."""
        lacks = [NEEDS[need] for need in self.needs if not records.has(need)]
        return f"the {self.name} attack needs {' and '.join(lacks)}" if lacks else None

    def check_needs(self, records: AttackRecords) -> None:
        """Raise `InputError` where the records lack what the attack needs."""
        if lacking := self.lacking(records):
            raise InputError(lacking)

    def check(self, records: AttackRecords) -> None:  # noqa: B027 (optional)
        """Raise `InputError` where the attack cannot work on these records."""

    @abstractmethod
    def tasks(self, records: AttackRecords, *, seed: int) -> list[Task]:
        """Independent units of work, which may run in other processes; together they score every record once.

        Each is a function without arguments that returns positions `(k,)` in the records and their scores `(k,)`.
        """

    def scores(self, records: AttackRecords, *, seed: int = 0) -> Scores:
        """Scores of all records, on one split; `privacy.audit` runs several attacks in parallel to the same end.

        Raises `InputError` where the attack cannot work on these records, or does not score every record once.
        """
        self.check_needs(records)
        self.check(records)
        results = [task() for task in self.tasks(records, seed=seed)]
        return Scores(gather(len(records), results, name=self.name)[None], records.is_member, self.trained)


def split_seed(seed: int, split: int) -> int:
    """The seed of one of several splits; the first is that of the audit.

    >>> split_seed(7, 0)
    7
    """
    return seed if split == 0 else int(np.random.SeedSequence([seed, 5, split]).generate_state(1)[0])


def unchanged(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The scores of all records, with their positions."""
    return np.arange(len(scores)), scores


class TrainedAttack(Attack):
    """An attack that learns from half of the records and scores the other half, in TensorFlow Privacy's protocol.

    Features are the model's outputs and the loss. The larger side is cut at random to the size of the smaller one; the
    rest is scored, but not trained on (`folds` says what differs). In each of two folds the attack's settings are
    chosen by accuracy in a search within the fold's training records, and the best is trained on all of them. Where
    TensorFlow Privacy draws from NumPy's global state, everything here comes from `seed`; all attacks share the folds.

    A subclass sets `name` and `title` and defines `fit`.

    >>> from sklearn.naive_bayes import GaussianNB
    >>> class NaiveBayes(TrainedAttack):
    ...     name, title = "bayes", "naive Bayes"
    ...
    ...     def fit(self, features, is_member, *, seed):
    ...         model = GaussianNB().fit(features, is_member)
    ...         return lambda wanted: model.predict_proba(wanted)[:, 1]
    >>> generator = np.random.default_rng(0)
    >>> labels = np.zeros(50, int)
    >>> records = AttackRecords(
    ...     members=(generator.normal(3, 1, (50, 2)) * [1, 0], labels),
    ...     non_members=(generator.normal(0, 1, (50, 2)) * [1, 0], labels),
    ... )
    >>> scores = NaiveBayes().scores(records)
    >>> bool(scores.members.mean() > scores.non_members.mean() + 0.5)
    True
    """

    trained = True

    def check(self, records: AttackRecords) -> None:
        """Raise `InputError` for numbers too large, or fewer records on a side than folds: 2, and 3 in each of them."""
        largest = np.abs(self.learns_from(records)).max()
        if largest > LARGEST:
            raise InputError(
                f"outputs or losses reach {largest:.3g}, too large for the sums of the {self.name} attack; divide all "
                "outputs by a constant, or use only the threshold attack"
            )
        for side, count in (("members", records.is_member.sum()), ("non_members", (~records.is_member).sum())):
            if count < FEWEST:
                raise InputError(
                    f"there are {count} {side}, fewer than the {FEWEST} folds of the {self.name} attack ({FOLDS}, with "
                    f"{INNER_FOLDS} in each); give more records, or use only the threshold attack"
                )

    def learns_from(self, records: AttackRecords) -> np.ndarray:
        """What `fit` gets of all records, `(n, C + 1)`: outputs and loss, and further features if there are any."""
        return records.features()

    def tasks(self, records: AttackRecords, *, seed: int) -> list[Task]:
        """One task for each fold."""
        features, is_member = self.learns_from(records), records.is_member
        states = np.random.SeedSequence([seed, 3]).generate_state(FOLDS)
        return [
            Fold(self, features, is_member, train, scored, int(state))
            for (train, scored), state in zip(folds(is_member, seed=seed), states, strict=True)
        ]

    @abstractmethod
    def fit(self, features: np.ndarray, is_member: np.ndarray, *, seed: int) -> Predict:
        """Choose settings and train on features `(k, C + 1)` and booleans `(k,)`; returns the trained model's scores.

        The columns of `features` are the C outputs of the attacked model, the loss, and further features of the
        records if they have any. `seed`: below 2**32; all
        randomness comes from it. The function returned takes features `(j, C + 1)` and gives scores `(j,)`.
        """


@dataclass(frozen=True, eq=False)
class Fold:
    """One fold of a trained attack; a class and not a closure, so that it can travel to another process."""

    attack: TrainedAttack
    features: np.ndarray
    is_member: np.ndarray
    train: np.ndarray
    scored: np.ndarray
    seed: int

    def __call__(self) -> tuple[np.ndarray, np.ndarray]:
        """Train on one half, score the other."""
        predict = self.attack.fit(self.features[self.train], self.is_member[self.train], seed=self.seed)
        if not callable(predict):
            raise InputError(
                f"fit of the attack {self.attack.name} gives a {type(predict).__name__}; expected a function of "
                "features that gives scores"
            )
        return self.scored, predict(self.features[self.scored])


def folds(is_member: np.ndarray, *, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Positions to train on and positions to score, for each fold; balanced and stratified.

    What balancing left out is scored in equal shares by all folds. (TensorFlow Privacy leaves it to the last one; then
    most of the larger side, but only half of the smaller one, is scored by that model, and wherever the two models'
    scores are on different scales, the results show this and not membership.)

    >>> (train, scored), _ = folds(np.arange(10) < 4, seed=0)
    >>> len(train), len(scored)  # 4 + 4 are kept, of which half are trained on; 2 more are scored
    (4, 5)
    """
    generator = np.random.default_rng([seed, 2])
    sides = [generator.permutation(np.flatnonzero(is_member == value)) for value in (True, False)]
    size = min(len(side) for side in sides)
    kept = generator.permutation(np.concatenate([side[:size] for side in sides]))
    left_out = np.concatenate([side[size:] for side in sides])
    split = StratifiedKFold(FOLDS, shuffle=False).split(kept, is_member[kept])
    shares = zip(split, np.array_split(left_out, FOLDS), strict=True)
    return [(kept[train], np.concatenate([kept[scored], share])) for (train, scored), share in shares]

"""What attacks with reference models compare: how sure each model is of each record, and what the references show."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from privacy.margins import OutputKind, cross_entropy, margins, odds_of_losses
from privacy.references import Population, References

__all__ = ["Moments", "Signals", "log_mean_exp", "log_odds", "moments", "signals_of", "signals_of_population"]

HALF_A_STEP = np.log(2)
ROUNDED = 1e300  # what margins of probabilities reach only where all others are 0


@dataclass(frozen=True, eq=False)
class Moments:
    """Of each record's signals in some of the references: how many, their mean, and how they spread."""

    count: np.ndarray
    """Number of references k, `(n,)`."""
    mean: np.ndarray
    """`(n,)`; 0 where there is none."""
    squares: np.ndarray
    """Sum of squared deviations from the mean, `(n,)`."""


@dataclass(frozen=True, eq=False)
class Signals:
    """How sure the attacked model and R references are of n records, the higher the surer.

    A signal is the log-odds `log(p / (1 - p))` of the likelihood p of a record's label, close to normally distributed
    over trainings (Carlini et al. 2022); of losses alone `p = exp(-loss)`. Where some loss is negative, as those of
    densities, there are no odds, and signals are minus the losses.
    """

    target: np.ndarray
    """Of the attacked model, `(n,)` float64."""
    references: np.ndarray
    """Of each reference, `(R, n)` float64."""
    inside: np.ndarray
    """The references that were trained on a record, and count for it, boolean `(R, n)`."""
    outside: np.ndarray
    """Those that were not, boolean `(R, n)`; at least one for each record."""
    are_odds: bool = True
    """Whether signals are log-odds."""

    @property
    def online(self) -> bool:
        """Whether every record has references of both kinds."""
        return bool(self.inside.any(0).all())

    @cached_property
    def moments_in(self) -> Moments:
        """Of the references that were trained on each record."""
        return moments(self.references, self.inside)

    @cached_property
    def moments_out(self) -> Moments:
        """Of those that were not."""
        return moments(self.references, self.outside)

    @property
    def log_likelihoods(self) -> tuple[np.ndarray, np.ndarray]:
        """`log p` of the attacked model `(n,)` and of the references `(R, n)`: minus the loss."""
        if not self.are_odds:
            return self.target, self.references
        return -np.logaddexp(0, -self.target), -np.logaddexp(0, -self.references)


def signals_of(outputs: np.ndarray, labels: np.ndarray, kind: OutputKind, references: References) -> Signals:
    """The signals of the attacked model's outputs `(n, C)`, or losses `(n,)`, and of its references, members first.

    Both sides' records count alike many references, see `at_most_alike`: if members had a steadier mean over more
    references than non-members, or the reverse, it would tell them apart without any leak.
    """
    target, own, are_odds = compared((outputs, *map(references.of_model, range(len(references)))), labels, kind)
    is_member = np.arange(len(labels)) < references.member_in.shape[1]
    inside, outside = at_most_alike(references.trained_on, is_member)
    return Signals(target, own, inside, outside, are_odds)


def signals_of_population(population: Population, kind: OutputKind) -> Signals:
    """The signals of the population's records, which no reference was trained on."""
    labels, given = population.labels, (population.outputs, *population.reference_outputs)
    target, own, are_odds = compared(given, labels, kind)
    inside = np.zeros(own.shape, bool)
    return Signals(target, own, inside, ~inside, are_odds)


def compared(
    given: Sequence[np.ndarray], labels: np.ndarray, kind: OutputKind
) -> tuple[np.ndarray, np.ndarray, bool]:
    """Signals of the attacked model `(n,)` and of references `(R, n)` from their outputs; whether they are log-odds."""
    are_odds = kind != "losses" or min(each.min() for each in given) >= 0
    target, *own = finite([log_odds(each, labels, kind) for each in given] if are_odds else [-each for each in given])
    return target, np.stack(own).astype(np.float64), are_odds


def log_odds(outputs: np.ndarray, labels: np.ndarray, kind: OutputKind) -> np.ndarray:
    """`log(p / (1 - p))` of the label, `(n,)`; infinite for probabilities that are exactly 0 or 1."""
    if kind == "losses":
        return odds_of_losses(outputs.astype(np.float64))
    if kind == "multi-label":
        return odds_of_losses(cross_entropy(outputs.astype(np.float64), labels, kind))
    found = margins(outputs, labels, kind)
    if kind == "probabilities":
        at_label = outputs[np.arange(len(labels)), labels]
        found = np.where(at_label <= 0, -np.inf, np.where(found > ROUNDED, np.inf, found))
    return found


def finite(signals: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Signals with infinite ones a little beyond the largest finite one of any model.

    A probability of exactly 1 was rounded there, or is a vote of all trees: it counts as half as far from 1 as the
    nearest that is not.
    """
    values = [signal[np.isfinite(signal)] for signal in signals]
    highest = max((value.max() for value in values if len(value)), default=0.0)
    lowest = min((value.min() for value in values if len(value)), default=0.0)
    return [np.nan_to_num(signal, posinf=highest + HALF_A_STEP, neginf=lowest - HALF_A_STEP) for signal in signals]


def at_most_alike(trained_on: np.ndarray, is_member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which references count as trained on a record and which as not, `(R, n)`; their numbers alike on both sides.

    Both sides are put in order of how many references were not trained on a record, ties at random, and records at the
    same share of the way count as many references of a kind as the one that has fewer. So the numbers of references
    have the same distribution on both sides, and none is left out where they had before. Those that count are drawn,
    since the first ones would be the same for all records of a side.

    >>> trained_on = np.array([[True, False, False, False], [False, True, False, False]])  # no non-member
    >>> inside, outside = at_most_alike(trained_on, np.array([True, True, False, False]))
    >>> inside.sum(0).tolist(), outside.sum(0).tolist()
    ([0, 0, 0, 0], [1, 1, 1, 1])
    """
    random = np.random.default_rng(0)
    outside = (~trained_on).sum(0)
    by_count = np.lexsort((random.random(len(outside)), outside))
    members, others = by_count[is_member[by_count]], by_count[~is_member[by_count]]
    most = np.empty_like(outside)  # references without a record; those with it are the rest, in the reverse order
    for own, other in ((members, others), (others, members)):
        share = (np.arange(len(own)) + 0.5) / len(own)
        most[own] = outside[other[(share * len(other)).astype(int)]]
    return at_most(trained_on, len(trained_on) - most, random), at_most(~trained_on, most, random)


def at_most(mask: np.ndarray, most: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """`mask` `(R, n)` with at most so many of each record's references `(n,)`, drawn at random."""
    kept, too_many = mask.copy(), np.flatnonzero(mask.sum(0) > most)
    drawn = np.where(mask[:, too_many], random.random((len(mask), len(too_many))), 2.0)  # those outside the mask last
    kept[:, too_many] = drawn.argsort(0).argsort(0) < most[too_many]
    return kept


def moments(signals: np.ndarray, mask: np.ndarray) -> Moments:
    """Moments over the references `(R, n)` that `mask` picks for each record.

    >>> found = moments(np.array([[1.0, 5.0], [3.0, 7.0]]), np.array([[True, True], [True, False]]))
    >>> found.count.tolist(), found.mean.tolist(), found.squares.tolist()
    ([2, 1], [2.0, 5.0], [2.0, 0.0])
    """
    count = mask.sum(0)
    mean = np.where(mask, signals, 0).sum(0) / np.maximum(count, 1)
    return Moments(count, mean, (np.where(mask, signals - mean, 0) ** 2).sum(0))


def log_mean_exp(values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """`log` of the mean of `exp(values)` over the first axis, `(n,)` of `(R, n)`; exact where it is close to 0.

    `weights`: `(R, n)` or `(R, 1)`, numbers or booleans, by default equal.

    >>> log_mean_exp(np.array([[-1e-30], [-3e-30]]))
    array([-2.e-30])
    """
    weights = np.ones_like(values) if weights is None else np.broadcast_to(weights, values.shape)
    highest = np.where(weights > 0, values, -np.inf).max(0)
    relative = np.where(weights > 0, np.expm1(np.minimum(values - highest, 0)) * weights, 0).sum(0)
    return highest + np.log1p(relative / weights.sum(0))

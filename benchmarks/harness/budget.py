"""What a run does with the time that `--budget` gives it: the rule, and the table that it reads.

A few steps of everything are timed on the machine that runs (`benchmarks.harness.rehearsal`). Then the last of `RUNGS`
is taken that fits, so that width and updates depend on what a machine does in the time and not on the time itself. What
is left goes to the steps of the methods that learn images, equally many seconds to each distillation; where no
method learns any, to the updates of the trainings.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from benchmarks.harness.run_folder import recorded
from distill import InputError

__all__ = ["AIM", "RUNGS", "Choice", "Plan", "Rung", "choose", "duration", "in_words"]


@dataclass(frozen=True)
class Rung:
    """What a run is made of at one level of its budget. Options that are typed win."""

    width: int
    """Of the networks that images are learned in."""
    train_width: int
    """Of the networks that are trained on them."""
    batch_size: int
    """Real images in a step of FRePo."""
    updates: float
    """Of a training, as a multiple of what the preset gives it."""
    steps: int
    """Of FRePo in a distillation: at least so many must fit, or the rung before is taken."""


# The rule: from the least sensible run upwards. On held-out images of CIFAR-100 more and wider distilling gains
# nothing, wider networks and more updates on the buffer do (docs/recipe.md); what gains most for its cost comes first.
RUNGS = (
    Rung(width=32, train_width=32, batch_size=256, updates=0.5, steps=50),
    Rung(width=32, train_width=32, batch_size=256, updates=1, steps=125),
    Rung(width=32, train_width=64, batch_size=256, updates=1, steps=250),
    Rung(width=32, train_width=64, batch_size=256, updates=2, steps=500),
    Rung(width=32, train_width=128, batch_size=256, updates=2, steps=500),
    Rung(width=32, train_width=128, batch_size=256, updates=4, steps=1000),
)
AIM = 0.95  # of the budget: what a run is planned for, since timings vary

UNITS = {"h": 3600, "m": 60, "s": 1}


def duration(text: str, *, flag: str) -> float:
    """Seconds of a duration such as "90s", "30m", "2h" or "1h30m"; raises `InputError` that names the `flag`.

    >>> duration("1h30m", flag="--budget")
    5400.0
    """
    parts = re.fullmatch("".join(rf"(?:(\d+(?:\.\d+)?){unit})?" for unit in UNITS), text.strip().lower())
    seconds = 0.0
    if parts is not None:
        seconds = sum(float(number or 0) * UNITS[unit] for unit, number in zip(UNITS, parts.groups(), strict=True))
    if not seconds:
        raise InputError(f"{flag} is {text!r}; expected a duration such as 90s, 30m, 2h or 1h30m")
    return seconds


def in_words(seconds: float) -> str:
    """A duration, to the second, as `duration` reads it.

    >>> in_words(5400), in_words(90), in_words(7205.2)
    ('1h30m', '1m30s', '2h5s')
    """
    left, words = max(1, round(seconds)), ""
    for unit, size in UNITS.items():
        if left >= size:
            words += f"{left // size}{unit}"
            left %= size
    return words


class Plan(Protocol):
    """The run with the options of one rung, its parts timed."""

    learns: bool
    """Whether a method learns images, in steps whose number is not given."""
    trains: bool
    """Whether the number of updates of a training is not given."""

    def least(self, rung: Rung) -> float:
        """Seconds of a distillation with the steps that a rung asks for, at this plan's width."""

    def seconds(self, *, each: float, updates: float) -> float:
        """How long all that is left to do takes, with so many seconds for each distillation that learns images, and
        this multiple of the preset's updates for each training."""

    def options(self, *, each: float, updates: float) -> dict[str, dict[str, Any]]:
        """The options that this comes to, by the prefixes of their flags."""

    def described(self, options: Mapping[str, Mapping[str, Any]]) -> str:
        """What these are, in words."""


@dataclass(frozen=True)
class Choice:
    """What a budget was found to be enough for. It is kept with the options of a run, which is resumed with it."""

    options: Mapping[str, Mapping[str, Any]]
    """Of methods and the training, by the prefixes of their flags, in place of the preset's."""
    expected_seconds: float
    """Of the whole run, from its start."""
    words: str
    """What was chosen, as it is printed."""
    rung: Mapping[str, Any]
    """The line of the table that was taken."""

    @classmethod
    def recorded(cls, folder: Path) -> "Choice | None":
        """The choice of the run in a folder, if one was made there."""
        found = recorded(folder, "chosen")
        return cls(**found) if isinstance(found, dict) and found.keys() == {f.name for f in fields(cls)} else None


def choose(
    plan_of: Callable[[Rung], Plan],
    *,
    budget: float,
    spent: Callable[[], float],
    rungs: tuple[Rung, ...] = RUNGS,
) -> Choice:
    """The choice for a `budget` in seconds.

    - `plan_of`: times what a rung needs. `spent`: seconds since the run began, these timings included.

    Raises `InputError` where not even the first rung fits, with the least that does.
    """
    aim, taken = AIM * budget, None
    for rung in rungs:
        if taken is not None:
            _, narrower = taken  # a wider network is no faster, and timing it takes a while
            if spent() + narrower.seconds(each=narrower.least(rung), updates=rung.updates) > aim:
                break
        plan = plan_of(rung)
        needed = spent() + plan.seconds(each=plan.least(rung), updates=rung.updates)
        if needed > aim:
            if taken is None:
                least = plan.described(plan.options(each=plan.least(rung), updates=rung.updates))
                raise InputError(
                    f"--budget is {in_words(budget)}, but the least sensible run ({least}) takes about "
                    f"{in_words(needed / AIM)} here; give that, or fewer of --method, --networks and --seeds"
                )
            break
        taken = rung, plan
    assert taken is not None
    rung, plan = taken
    left, each, updates = aim - spent(), plan.least(rung), rung.updates
    if plan.learns:
        each = largest(lambda value: plan.seconds(each=value, updates=updates), left, start=each)
    elif plan.trains:
        updates = largest(lambda value: plan.seconds(each=each, updates=value), left, start=updates)
    options = plan.options(each=each, updates=updates)
    expected = spent() + plan.seconds(each=each, updates=updates)
    words = f"budget {in_words(budget)}: {plan.described(options)}; expected {in_words(expected)}"
    return Choice(options, expected, words, vars(rung))


def largest(seconds: Callable[[float], float], most: float, *, start: float) -> float:
    """The largest value, `start` at least, for which `seconds`, which grows with it, is no more than `most`.

    >>> round(largest(lambda value: 3 * value, 12.0, start=1.0), 6)
    4.0
    """
    low, high = start, 2 * start
    for _ in range(60):
        if seconds(high) > most:
            break
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if seconds(middle) <= most else (low, middle)
    return low

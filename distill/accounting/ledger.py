"""The ledger: which releases of which private records a set was made from, and what they cost together."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from distill.accounting.accountant import Release, epsilon_of
from distill.errors import InputError

__all__ = ["KEY", "Ledger", "Spent", "ledger_of", "summed", "told_budget"]

ACCOUNTANT = "PLD of dp-accounting; neighbours differ in one record, replaced by a blank one"
KEY = "privacy"  # in a set's `made_by`


@dataclass(frozen=True)
class Spent:
    """What one distillation released: `releases` of `records` records of the classes `classes` (ids).

    There is no fingerprint of the records: it would be a release of them without noise.
    """

    method: str
    releases: tuple[Release, ...]
    classes: tuple[int, ...]
    records: int


@dataclass(frozen=True)
class Ledger:
    """Everything that was spent on private records, and what that comes to at `delta`.

    A record is of one class: distillations of other classes compose in parallel, so that the most that was spent on any
    class counts; those of the same class compose in sequence.

    >>> once = Release("class sums", noise_multiplier=5.0)
    >>> first = Ledger((Spent("noisy-means", (once,), classes=(0, 1), records=100),), delta=1e-5)
    >>> other = Ledger((Spent("noisy-means", (once,), classes=(2, 3), records=100),), delta=1e-5)
    >>> (first + other).epsilon == first.epsilon < (first + first).epsilon
    True
    """

    spent: tuple[Spent, ...]
    delta: float

    @property
    def epsilon(self) -> float:
        """The most that was spent on the records of any one class, at `delta`; infinite without noise."""
        classes = {class_id for one in self.spent for class_id in one.classes}
        composed = {
            tuple(release for one in self.spent if class_id in one.classes for release in one.releases)
            for class_id in classes
        }
        return max((epsilon_of(releases, self.delta) for releases in composed), default=0.0)

    def __add__(self, other: "Ledger") -> "Ledger":
        """Both; their epsilon is that at the larger delta."""
        return Ledger(self.spent + other.spent, max(self.delta, other.delta))

    def __str__(self) -> str:
        lines = [f"epsilon {self.epsilon:.3g} at delta {self.delta:g} ({ACCOUNTANT})"]
        for one in self.spent:
            classes = ", ".join(map(str, one.classes))
            lines.append(f"  {one.method} on {one.records} records of classes {classes}:")
            for release in one.releases:
                line = f"    {release.count} x {release.what}: noise {release.noise_multiplier:.4g} of the clip"
                rate = release.sampling_rate
                lines.append(line + (f", each record with probability {rate:.4g}" if rate < 1 else ""))
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """As values that can be written as JSON, epsilon and accountant beside; `from_json` gives the ledger back."""
        spent = [
            {
                "method": one.method,
                "classes": list(one.classes),
                "records": one.records,
                "releases": [vars(release).copy() for release in one.releases],
            }
            for one in self.spent
        ]
        epsilon = self.epsilon
        return {
            "epsilon": epsilon if epsilon < float("inf") else None,
            "delta": self.delta,
            "accountant": ACCOUNTANT,
            "spent": spent,
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> "Ledger":
        """The ledger that `as_json` wrote; raises `InputError` for anything else."""
        try:
            spent = tuple(
                Spent(
                    one["method"],
                    tuple(Release(**release) for release in one["releases"]),
                    tuple(one["classes"]),
                    one["records"],
                )
                for one in written["spent"]
            )
            return cls(spent, written["delta"])
        except (KeyError, TypeError, ValueError) as error:
            raise InputError("made_by has no valid privacy ledger; expected what Ledger.as_json writes") from error


def ledger_of(made_by: Mapping[str, Any]) -> Ledger | None:
    """The ledger in the `made_by` of a set, of all its parts together; `None` where one of them has none."""
    if parts := made_by.get("parts"):
        return summed(ledger_of(part) for part in parts)
    return Ledger.from_json(made_by[KEY]) if made_by.get(KEY) else None


def summed(ledgers: Iterable[Ledger | None]) -> Ledger | None:
    """All of them together; `None` where one is `None`, since what was made without a guarantee has none."""
    total: Ledger | None = None
    for ledger in ledgers:
        if ledger is None:
            return None
        total = ledger if total is None else total + ledger
    return total


def told_budget(made_by: Mapping[str, Any]) -> str:
    """Epsilon and delta of a set in a few words; empty where it has no guarantee."""
    try:
        ledger = ledger_of(made_by)
        return "" if ledger is None else f"epsilon {ledger.epsilon:.3g} at delta {ledger.delta:g}"
    except InputError:  # without the accountant, or with a ledger of another kind
        return "private, see made_by"

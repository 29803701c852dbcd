"""What the figures of an audit say on the whole, with chance given its due."""

from collections.abc import Sequence
from dataclasses import dataclass

from privacy.results import Found, Result

__all__ = ["FALSE_ALARMS", "Verdict", "verdict_of"]

FALSE_ALARMS = 0.05  # of audits where nothing leaks; each of the two questions may use up half of them


@dataclass(frozen=True)
class Verdict:
    """Answers to two questions: do members differ on average, and are a few of them exposed?

    - `average`, `few`: the result that speaks most strongly for a leak, `None` where none was tested.
    - `average_p`, `few_p`: how often chance alone gives as much in any attack and slice (Bonferroni). `found`: with
      `few`, how many were found.
    - `comparisons`: how many figures the first question was asked of, and the second.
    """

    average: Result | None
    average_p: float
    few: Result | None
    few_p: float
    found: Found | None
    comparisons: tuple[int, int]

    @property
    def leaks_on_average(self) -> bool:
        """Whether some attack tells members from non-members on average."""
        return self.average_p < FALSE_ALARMS / 2

    @property
    def exposes_a_few(self) -> bool:
        """Whether some attack finds more members at few false positives than chance does."""
        return self.few_p < FALSE_ALARMS / 2

    @property
    def leaks(self) -> bool:
        """Whether either is so."""
        return self.leaks_on_average or self.exposes_a_few


def verdict_of(results: Sequence[Result]) -> Verdict:
    """The verdict on all attacks and slices, each question corrected for how often it was asked."""
    averages = [(result.p, result) for result in results if result.p is not None]
    few = [(found.p, result, found) for result in results for found in result.found if found.p is not None]
    average_p, average = min(averages, key=lambda pair: pair[0], default=(1.0, None))
    few_p, exposing, found = min(few, key=lambda triple: triple[0], default=(1.0, None, None))
    comparisons = (len(averages), len(few))
    average_p, few_p = (min(1.0, p * max(k, 1)) for p, k in zip((average_p, few_p), comparisons, strict=True))
    return Verdict(average, average_p, exposing, few_p, found, comparisons)

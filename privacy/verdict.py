"""What the figures of an audit say on the whole, with chance given its due."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from privacy.results import Found, Result
from privacy.slices import WHOLE

__all__ = ["FALSE_ALARMS", "Verdict", "verdict_of"]

FALSE_ALARMS = 0.05  # of audits where nothing leaks; each of the two questions may use up half of them


@dataclass(frozen=True)
class Verdict:
    """Answers to two questions: do members differ on average, and are a few of them exposed?

    - `average`, `few`: the result that speaks most strongly for a leak, `None` where none was tested.
    - `average_p`, `few_p`: how often chance alone gives as much in any attack and slice (Bonferroni). `found`: with
      `few`, how many were found.
    - `reversed`: the result on all records with the lowest AUC, where chance does not explain it.
    - `comparisons`: how many figures the first question was asked of, and the second.
    """

    average: Result | None
    average_p: float
    few: Result | None
    few_p: float
    found: Found | None
    reversed: Result | None
    comparisons: tuple[int, int]

    @property
    def leaks_on_average(self) -> bool | None:
        """Whether some attack tells members from non-members on average; `None` where that was not tested."""
        return None if self.average is None else self.average_p < FALSE_ALARMS / 2

    @property
    def exposes_a_few(self) -> bool | None:
        """Whether some attack finds more members at few false positives than chance does; `None`: not tested."""
        return None if self.few is None else self.few_p < FALSE_ALARMS / 2

    @property
    def leaks(self) -> bool:
        """Whether either is so."""
        return bool(self.leaks_on_average or self.exposes_a_few)

    def is_reversed(self, result: Result) -> bool:
        """Whether an AUC below one half is too low for chance, whatever attack and slice one looks at."""
        return result.p_reversed is not None and result.p_reversed * self.comparisons[0] < FALSE_ALARMS / 2


def verdict_of(results: Sequence[Result]) -> Verdict:
    """The verdict on all attacks and slices, each question corrected for how often it was asked."""
    averages = [(result.p, -result.auc.value, result) for result in results if result.p is not None]
    few = [
        (found.p, -found.members / result.members, result, found)
        for result in results for found in result.found if found.p is not None
    ]  # fmt: skip
    # Tails so thin that they are 0 in float64 are told apart by what they are about.
    average_p, _, average = min(averages, key=lambda entry: entry[:2], default=(1.0, 0.0, None))
    few_p, _, exposing, found = min(few, key=lambda entry: entry[:2], default=(1.0, 0.0, None, None))
    comparisons = (len(averages), len(few))
    average_p, few_p = (min(1.0, p * max(k, 1)) for p, k in zip((average_p, few_p), comparisons, strict=True))
    lowest = min((r for r in results if r.slice == WHOLE), key=lambda r: r.auc.value, default=None)
    verdict = Verdict(average, average_p, exposing, few_p, found, lowest, comparisons)
    return verdict if lowest is not None and verdict.is_reversed(lowest) else replace(verdict, reversed=None)

"""Figures in rows and columns of plain text."""

from collections.abc import Sequence

from privacy.attack_results import Result
from privacy.metrics import FPR_LEVELS

__all__ = ["HEADER", "results_table", "row_of", "text_table"]

HEADER = ("attack", "AUC", "advantage (chance)", *(f"TPR at {100 * level:g} % FPR" for level in FPR_LEVELS))


def row_of(result: Result) -> list[str]:
    """The cells of one result under `HEADER`."""
    rates = [tpr.text(1, 100, " %") for _, tpr in result.tpr_at_fpr]
    return [result.attack, str(result.auc), f"{result.advantage:.3f} ({result.chance_advantage:.3f})", *rates]


def results_table(results: Sequence[Result]) -> str:
    """Results as a table in plain text."""
    return text_table([list(HEADER), *(row_of(result) for result in results)])


def text_table(rows: Sequence[Sequence[str]]) -> str:
    """Cells in columns, the first row a header; the first column aligned left, the others right.

    Four lines of our own: tabulate would be one more package, pads each column by two, and strips indented cells.

    >>> print(text_table([["attack", "AUC"], ["lr", "0.6"], ["threshold", "0.75"]]))
    attack      AUC
    ---------------
    lr          0.6
    threshold  0.75
    """
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])

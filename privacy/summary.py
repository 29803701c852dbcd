"""Comparison of many audits: as text, tables, plots and pages."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from privacy.aggregation import AggregatedAudits, ArmSummary, MeanStd
from privacy.files import jsonable, write_atomically, write_json
from privacy.metrics import FPR_LEVELS
from privacy.tables import text_table

__all__ = ["ArmSummary", "MeanStd", "Summary"]


class Summary(AggregatedAudits):
    """Many reports combined: `{arm: its reports}`, one report for each seed and number of training steps.

    Reports that have the same `info["train_steps"]` are repetitions; their mean and standard deviation are shown, or
    half the 95 % interval of a single one.

    Raises `InputError` when an arm has no report or the attacks differ.

    >>> import numpy as np
    >>> from privacy import AttackRecords, audit
    >>> records = AttackRecords(members=(5 * np.eye(2), [0, 1]), non_members=(np.eye(2), [1, 0]))
    >>> summary = Summary({"mine": [audit(records, attacks="threshold", jobs=1)]})
    >>> print(summary.auc("mine", "threshold"))
    1.000
    """

    def __str__(self) -> str:
        title = f"AUC of every attack ({self.spread_in_words()})"
        lines = [text_table(self.answer_cells()), "", title, text_table(self.auc_cells())]
        for i, level in enumerate(FPR_LEVELS[:2]):
            lines += ["", f"members found, in %, at {100 * level:g} % false positives", text_table(self.rate_cells(i))]
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """All rows, ready for JSON; `None` for a spread that one repetition does not have."""
        return {"fpr_levels": list(FPR_LEVELS), "rows": [jsonable(asdict(row)) for row in self.rows]}

    def to_json(self, path: str | Path) -> Path:
        """Write `to_dict` as JSON, atomically."""
        return write_json(path, self.to_dict())

    def to_html(
        self,
        path: str | Path,
        *,
        title: str = "Membership-inference audit",
        notes: Sequence[str] = (),
        above: Sequence[str | Sequence[Sequence[str]]] = (),
    ) -> Path:
        """Write one self-contained page: tables, plots, meaning.

        - `notes`: paragraphs, the first above the tables of AUCs.
        - `above`: what the page begins with, paragraphs and tables (rows of cells, the first row a header).
        """
        from privacy.page import summary_page  # matplotlib and Jinja are not needed for the numbers alone

        page = summary_page(self, title=title, notes=notes, above=above)
        return write_atomically(path, lambda file: file.write_text(page, encoding="utf-8"))

    def plot_auc(self, path: str | Path) -> Path:
        """Draw every arm's AUCs at its largest number of training steps."""
        from privacy.plots import auc_figure, save_figure  # matplotlib is not needed for the numbers alone

        return save_figure(auc_figure(self), path)

    def plot_curves(self, path: str | Path) -> Path:
        """Draw test accuracy and the strongest attack's AUC against training steps, a line for each arm."""
        from privacy.plots import curves_figure, save_figure  # as above

        return save_figure(curves_figure(self), path)

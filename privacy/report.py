"""The report of an audit: printed, drawn, written to files and read back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from privacy.attack_results import result_of
from privacy.audit_results import AuditResults
from privacy.errors import InputError
from privacy.exposed import MOST_SHOWN, as_pixels
from privacy.files import as_path, read_arrays, write_arrays, write_atomically
from privacy.records import AttackRecords
from privacy.report_text import headline
from privacy.scores import Scores
from privacy.slices import WHOLE, Slices
from privacy.written_results import WrittenResults, results_from

__all__ = ["AuditReport"]

FORMAT = 3


@dataclass(frozen=True, eq=False)
class AuditReport(WrittenResults):
    """The report of one audit: `print` it, or write it with `to_html`, `to_json`, `plot_roc` and `save`.

    `verdict` says what the results mean overall; `result(attack)` has the results of one attack.
    """

    @classmethod
    def of(
        cls,
        records: AttackRecords,
        scores: Mapping[str, Scores],
        *,
        titles: Mapping[str, str],
        slices: Slices,
        images: np.ndarray | None,
        run: Mapping[str, Any],
        info: Mapping[str, Any],
    ) -> "AuditReport":
        """Compute all results from the attacks' scores; `run`: seed, engine, jobs, splits, seconds, versions."""
        results = tuple(
            result_of(attack, name, scores[attack].at(mask), tested=name not in slices.one_sided)
            for name, mask in slices.masks.items()
            for attack in scores
        )
        members, non_members = records.members, records.non_members
        about = {
            "members": len(members),
            "non_members": len(non_members),
            "classes": records.num_classes,
            "references": 0 if records.references is None else len(records.references),
            "member_accuracy": members.accuracy,
            "non_member_accuracy": non_members.accuracy,
            **run,
            "notes": records.notes,
            "left_out": slices.left_out,
            "one_sided": list(slices.one_sided),
        }
        report = cls(results, scores, slices.masks, titles, members.classes, members.losses, about, info)
        return report if images is None else replace(report, pictures=pictures_of(report, images))

    def headline(self) -> str:
        """One line on what was attacked."""
        return headline(self)

    # -- files ---------------------------------------------------------------------------------------------------

    def to_html(self, path: str | Path, *, title: str = "Membership-inference audit") -> Path:
        """Write one self-contained page: what was measured, tables, ROC curves, and what it means."""
        from privacy.page import report_page  # matplotlib and Jinja are not needed for the numbers alone

        page = report_page(self, title=title)
        return write_atomically(path, lambda file: file.write_text(page, encoding="utf-8"))

    def plot_roc(self, path: str | Path, *, slice: str = WHOLE) -> Path:
        """Draw the ROC curves of all attacks on a slice, on linear and on logarithmic axes.

        Raises `InputError` unless the name ends in .png, .pdf, .svg or .jpg.
        """
        from privacy.plots import roc_figure, save_figure  # matplotlib is not needed for the numbers alone

        return save_figure(roc_figure(self, slice), path)

    def save(self, path: str | Path) -> Path:
        """Write everything, the scores of single records included, to one .npz file without pickles."""
        trained = [attack for attack, scores in self.scores.items() if scores.trained]
        content = {"format": FORMAT, "titles": dict(self.titles), "trained": trained, **self.to_dict()}
        return write_arrays(
            path, {"report": np.array(json.dumps(content)), "losses": self.losses, **self.arrays()}
        )

    @classmethod
    def load(cls, path: str | Path) -> "AuditReport":
        """Read what `save` wrote; raises `InputError` when the file is missing, damaged or another kind of file."""
        path = as_path(path)
        arrays = read_arrays(path)
        try:
            content = json.loads(str(arrays["report"]))
            if content["format"] != FORMAT:
                raise InputError(
                    f"{path} is a report of format {content['format']}; expected {FORMAT}: audit its records again"
                )
            own = results_from(content, arrays)
            if "trained" not in content:
                raise KeyError("trained")
            return cls(**own, losses=arrays["losses"])
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path} does not hold an audit report: {error}") from error


def pictures_of(report: AuditResults, images: np.ndarray) -> dict[int, np.ndarray]:
    """The images of the members that some attack ranks highest, by position."""
    wanted = dict.fromkeys(int(at) for attack in report.scores for at in report.most_exposed(attack, MOST_SHOWN))
    return dict(zip(wanted, as_pixels(images[list(wanted)]), strict=True))

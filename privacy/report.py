"""The report of an audit: printed, drawn, written to files and read back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from privacy.attack_results import result_from, result_of
from privacy.audit_results import AuditResults
from privacy.errors import InputError
from privacy.exposed import MOST_SHOWN, as_pixels
from privacy.files import as_path, jsonable, read_arrays, write_arrays, write_atomically, write_json
from privacy.records import AttackRecords
from privacy.report_text import answers, headline, notes, slice_notes
from privacy.scores import Scores
from privacy.slices import WHOLE, Slices
from privacy.tables import results_table

__all__ = ["AuditReport"]

FORMAT = 3


@dataclass(frozen=True, eq=False)
class AuditReport(AuditResults):
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

    # -- words ---------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        lines = [headline(self), "", *self.answers(), ""]
        for name in self.slices:
            own = self.results_on(name)
            if name != WHOLE:
                lines += ["", f"{name}: {own[0].members} members, {own[0].non_members} non-members"]
            lines += [results_table(own), *(f"  {note}" for note in slice_notes(self, name))]
        return "\n".join([*lines, *self.notes()])

    def answers(self) -> tuple[str, str, str]:
        """In sentences: are members distinguished on average, are a few exposed, and how sure both answers are."""
        return answers(self)

    def notes(self) -> list[str]:
        """What a reader has to know about the results."""
        return notes(self)

    # -- files ---------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All results except the scores of single records, ready for JSON."""
        return jsonable({
            "about": dict(self.about),
            "info": dict(self.info),
            "answers": list(self.answers()),
            "leaks": {"on_average": self.verdict.leaks_on_average, "a_few": self.verdict.exposes_a_few},
            "results": [result.to_dict() for result in self.results],
        })

    def to_json(self, path: str | Path) -> Path:
        """Write `to_dict` as JSON, atomically."""
        return write_json(path, self.to_dict())

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
        arrays = {"report": np.array(json.dumps(content)), "labels": self.labels, "losses": self.losses}
        for i, scores in enumerate(self.scores.values()):
            arrays |= {f"scores/{i}": scores.splits, "is_member": scores.is_member}
        arrays |= {f"slice/{i}": mask for i, mask in enumerate(self.slices.values())}
        arrays |= {f"picture/{position}": picture for position, picture in self.pictures.items()}
        return write_arrays(path, arrays)

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
            results = tuple(result_from(entry) for entry in content["results"])
            attacks = dict.fromkeys(result.attack for result in results)
            slices = dict.fromkeys(result.slice for result in results)
            return cls(
                results,
                {name: Scores(arrays[f"scores/{i}"], arrays["is_member"], name in content["trained"])
                 for i, name in enumerate(attacks)},
                {name: arrays[f"slice/{i}"] for i, name in enumerate(slices)},
                content["titles"],
                arrays["labels"],
                arrays["losses"],
                content["about"],
                content["info"],
                {int(name.split("/")[1]): value for name, value in arrays.items() if name.startswith("picture/")},
            )
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path} does not hold an audit report: {error}") from error


def pictures_of(report: AuditResults, images: np.ndarray) -> dict[int, np.ndarray]:
    """The images of the members that some attack ranks highest, by position."""
    wanted = dict.fromkeys(int(at) for attack in report.scores for at in report.most_exposed(attack, MOST_SHOWN))
    return dict(zip(wanted, as_pixels(images[list(wanted)]), strict=True))

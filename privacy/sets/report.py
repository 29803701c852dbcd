"""The report of an audit of a set: printed, drawn, written to files and read back."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from privacy.attack_results import result_from
from privacy.errors import InputError
from privacy.files import as_path, jsonable, read_arrays, write_arrays, write_atomically, write_json
from privacy.report_text import answers, notes, slice_notes
from privacy.scores import Scores
from privacy.sets.pairs import Pair
from privacy.sets.results import SetResults, set_headline
from privacy.slices import WHOLE
from privacy.tables import results_table

__all__ = ["SetReport"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class SetReport(SetResults):
    """What a distilled set reveals of its members: `print` it, or write it with `to_html`, `to_json` and `save`.

    `verdict` says what the results mean overall, `result(attack)` has the results of one attack, and `worst(attack)`
    the members it finds first, each with the image of the set nearest to it. `losses` are the members' distances to the
    nearest image of their class, `pictures` the members that are drawn.
    """

    def __str__(self) -> str:
        lines = [set_headline(self), "", *self.answers(), ""]
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

    def to_dict(self) -> dict[str, Any]:
        """All results except the scores of single records, ready for JSON."""
        return jsonable({
            "about": dict(self.about),
            "info": dict(self.info),
            "answers": list(self.answers()),
            "leaks": {"on_average": self.verdict.leaks_on_average, "a_few": self.verdict.exposes_a_few},
            "results": [result.to_dict() for result in self.results],
            "pairs": {attack: [asdict(pair) for pair in pairs] for attack, pairs in self.pairs.items()},
        })

    def to_json(self, path: str | Path) -> Path:
        """Write `to_dict` as JSON, atomically."""
        return write_json(path, self.to_dict())

    def to_html(self, path: str | Path, *, title: str = "What the distilled set reveals") -> Path:
        """Write one self-contained page: answers, tables, the worst pairs side by side, ROC curves, what it means."""
        from privacy.sets.page import set_page  # matplotlib and Jinja are not needed for the numbers alone

        page = set_page(self, title=title)
        return write_atomically(path, lambda file: file.write_text(page, encoding="utf-8"))

    def plot_roc(self, path: str | Path, *, slice: str = WHOLE) -> Path:
        """Draw ROC curves on a slice: for each way to measure nearness, the variant of the highest AUC.

        Raises `InputError` unless the name ends in .png, .pdf, .svg or .jpg.
        """
        from privacy.plots import roc_figure, save_figure

        return save_figure(roc_figure(self.best_of_each_kind(), slice), path)

    def plot_pairs(self, path: str | Path, *, attack: str | None = None) -> Path:
        """Draw `worst(attack)`, each member beside the image of the set nearest to it."""
        from privacy.plots import save_figure
        from privacy.sets.drawing import pairs_figure

        return save_figure(pairs_figure(self.worst(attack), self.pictures, self.set_pictures), path)

    def save(self, path: str | Path) -> Path:
        """Write everything, the scores of single records included, to one .npz file without pickles."""
        content = {"set_report": FORMAT, "titles": dict(self.titles), **self.to_dict()}
        arrays = {"report": np.array(json.dumps(content)), "labels": self.labels, "distances": self.losses}
        for i, scores in enumerate(self.scores.values()):
            arrays |= {f"scores/{i}": scores.splits, "is_member": scores.is_member}
        arrays |= {f"slice/{i}": mask for i, mask in enumerate(self.slices.values())}
        arrays |= {f"picture/{position}": picture for position, picture in self.pictures.items()}
        arrays |= {f"set_picture/{position}": picture for position, picture in self.set_pictures.items()}
        return write_arrays(path, arrays)

    @classmethod
    def load(cls, path: str | Path) -> "SetReport":
        """Read what `save` wrote; raises `InputError` when the file is missing, damaged or another kind of file."""
        path = as_path(path)
        arrays = read_arrays(path)
        try:
            content = json.loads(str(arrays["report"]))
            if content["set_report"] != FORMAT:
                raise InputError(f"{path} is of format {content['set_report']}; expected {FORMAT}: audit the set again")
            results = tuple(result_from(entry) for entry in content["results"])
            attacks = dict.fromkeys(result.attack for result in results)
            slices = dict.fromkeys(result.slice for result in results)
            return cls(
                results=results,
                scores={name: Scores(arrays[f"scores/{i}"], arrays["is_member"]) for i, name in enumerate(attacks)},
                slices={name: arrays[f"slice/{i}"] for i, name in enumerate(slices)},
                titles=content["titles"],
                labels=arrays["labels"],
                losses=arrays["distances"],
                about=content["about"],
                info=content["info"],
                pictures=numbered(arrays, "picture"),
                pairs={name: tuple(Pair(**pair) for pair in pairs) for name, pairs in content["pairs"].items()},
                set_pictures=numbered(arrays, "set_picture"),
            )
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path} does not hold the report of an audited set: {error}") from error


def numbered(arrays: Mapping[str, np.ndarray], kind: str) -> dict[int, np.ndarray]:
    """Arrays by their number, of those named `kind/number`."""
    return {int(name.split("/")[1]): value for name, value in arrays.items() if name.split("/")[0] == kind}

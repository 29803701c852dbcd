"""The report of an audit of a set: printed, drawn, written to files and read back."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from privacy.errors import InputError
from privacy.files import as_path, jsonable, read_arrays, write_arrays, write_atomically
from privacy.sets.pairs import Pair
from privacy.sets.results import SetResults, set_headline
from privacy.slices import WHOLE
from privacy.written_results import WrittenResults, numbered, results_from

__all__ = ["SetReport"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class SetReport(WrittenResults, SetResults):
    """What a distilled set reveals of its members: `print` it, or write it with `to_html`, `to_json` and `save`.

    `verdict` says what the results mean overall, `result(attack)` has the results of one attack, and `worst(attack)`
    the members it finds first, each with the image of the set nearest to it. `losses` are the members' distances to the
    nearest image of their class, `pictures` the members that are drawn.
    """

    def headline(self) -> str:
        """One line on what was attacked and with what."""
        return set_headline(self)

    def to_dict(self) -> dict[str, Any]:
        """All results except the scores of single records, and the worst pairs, ready for JSON."""
        pairs = {attack: [asdict(pair) for pair in pairs] for attack, pairs in self.pairs.items()}
        return super().to_dict() | jsonable({"pairs": pairs})

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
        arrays = {"report": np.array(json.dumps(content)), "distances": self.losses, **self.arrays()}
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
            return cls(
                **results_from(content, arrays),
                losses=arrays["distances"],
                pairs={name: tuple(Pair(**pair) for pair in pairs) for name, pairs in content["pairs"].items()},
                set_pictures=numbered(arrays, "set_picture"),
            )
        except InputError:
            raise
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise InputError(f"{path} does not hold the report of an audited set: {error}") from error

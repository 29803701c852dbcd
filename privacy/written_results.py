"""What all reports do alike with their results: say them in words, and write them to files and read them back."""

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from privacy.attack_results import result_from
from privacy.audit_results import AuditResults
from privacy.files import jsonable, write_json
from privacy.report_text import answers, notes, slice_notes
from privacy.scores import Scores
from privacy.slices import WHOLE
from privacy.tables import results_table

__all__ = ["WrittenResults", "numbered", "results_from"]


class WrittenResults(AuditResults):
    """Base of reports; a report adds what it is about."""

    @abstractmethod
    def headline(self) -> str:
        """One line on what was attacked."""

    def __str__(self) -> str:
        lines = [self.headline(), "", *self.answers(), ""]
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
        })

    def to_json(self, path: str | Path) -> Path:
        """Write `to_dict` as JSON, atomically."""
        return write_json(path, self.to_dict())

    def arrays(self) -> dict[str, np.ndarray]:
        """Labels, scores, slices and pictures by name, for a file."""
        arrays: dict[str, np.ndarray] = {"labels": self.labels}
        for i, scores in enumerate(self.scores.values()):
            arrays |= {f"scores/{i}": scores.splits, "is_member": scores.is_member}
        arrays |= {f"slice/{i}": mask for i, mask in enumerate(self.slices.values())}
        return arrays | {f"picture/{position}": picture for position, picture in self.pictures.items()}


def results_from(content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `AuditResults` but the losses, from what `to_dict` and `arrays` gave; `KeyError` for what is not
    there."""
    results = tuple(result_from(entry) for entry in content["results"])
    attacks = dict.fromkeys(result.attack for result in results)
    slices = dict.fromkeys(result.slice for result in results)
    trained = content.get("trained", ())
    return {
        "results": results,
        "scores": {
            name: Scores(arrays[f"scores/{i}"], arrays["is_member"], name in trained) for i, name in enumerate(attacks)
        },
        "slices": {name: arrays[f"slice/{i}"] for i, name in enumerate(slices)},
        "titles": content["titles"],
        "labels": arrays["labels"],
        "about": content["about"],
        "info": content["info"],
        "pictures": numbered(arrays, "picture"),
    }


def numbered(arrays: Mapping[str, np.ndarray], kind: str) -> dict[int, np.ndarray]:
    """Arrays by their number, of those named `kind/number`."""
    return {int(name.split("/")[1]): value for name, value in arrays.items() if name.split("/")[0] == kind}

"""What an audit found: figures for every attack and slice, per-record scores, files and pictures."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from privacy.attacks import Scores
from privacy.errors import InputError, shown
from privacy.exposed import MOST_SHOWN, Exposed, as_pixels
from privacy.files import as_path, read_arrays, write_arrays, write_atomically, write_json
from privacy.inputs import require_whole
from privacy.metrics import Roc, roc_of
from privacy.records import AttackRecords
from privacy.results import Result, result_from, result_of
from privacy.slices import WHOLE, Slices
from privacy.tables import results_table
from privacy.verdict import Verdict, verdict_of
from privacy.versions import versions
from privacy.wording import answers, headline, notes, slice_notes

__all__ = ["AuditReport"]

FORMAT = 2


@dataclass(frozen=True, eq=False)
class AuditReport:
    """The report of one audit: `print` it, or write it with `to_html`, `to_json`, `plot_roc` and `save`.

    - `results`: a `Result` for each slice and attack, all records first. `verdict`: what they say on the whole.
    - `scores`: every attack's scores of every record, `report.scores["rf"].members`.
    - `slices`: boolean masks of members and non-members for each slice.
    - `titles`: the attacks' names in prose.
    - `labels`, `losses`: of the members, `(n,)`. `pictures`: uint8 images of the most exposed members, by position.
    - `about`: counts, accuracies, seed, engine, seconds, versions, notes. `info`: what the caller added.
    """

    results: tuple[Result, ...]
    scores: Mapping[str, Scores]
    slices: Mapping[str, tuple[np.ndarray, np.ndarray]]
    titles: Mapping[str, str]
    labels: np.ndarray
    losses: np.ndarray
    about: Mapping[str, Any]
    info: Mapping[str, Any] = field(default_factory=dict)
    pictures: Mapping[int, np.ndarray] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        records: AttackRecords,
        scores: Mapping[str, Scores],
        *,
        titles: Mapping[str, str],
        slices: Slices,
        images: np.ndarray | None,
        seed: int,
        run: Mapping[str, Any],
        info: Mapping[str, Any],
    ) -> "AuditReport":
        """Work out all figures from the attacks' scores; `run`: engine, jobs, splits, seconds the attacks took."""
        results = tuple(
            result_of(attack, name, scores[attack].at(masks), tested=name not in slices.one_sided)
            for name, masks in slices.masks.items()
            for attack in scores
        )
        about = {
            "members": len(records.members),
            "non_members": len(records.non_members),
            "classes": records.num_classes,
            "member_accuracy": records.members.accuracy,
            "non_member_accuracy": records.non_members.accuracy,
            **run,
            "seed": seed,
            "notes": records.notes,
            "left_out": slices.left_out,
            "one_sided": list(slices.one_sided),
            "versions": versions(run["engine"]),
        }
        labels, losses = records.members.labels, records.members.losses
        report = cls(results, scores, slices.masks, titles, labels, losses, about, info)
        return report if images is None else replace(report, pictures=pictures_of(report, images))

    @cached_property
    def verdict(self) -> Verdict:
        """Whether members are told from non-members on average, and whether a few are exposed."""
        return verdict_of(self.results)

    def result(self, attack: str, slice: str = WHOLE) -> Result:
        """The result of an attack on a slice; raises `InputError` when there is none."""
        for result in self.results:
            if isinstance(attack, str) and isinstance(slice, str) and (result.attack, result.slice) == (attack, slice):
                return result
        raise InputError(
            f"the report has no attack {shown(attack)} on slice {shown(slice)}; it has {', '.join(self.scores)} on "
            f"{', '.join(self.slices)}"
        )

    def roc(self, attack: str, slice: str = WHOLE) -> Roc:
        """The ROC curve of an attack on a slice, the mean over its splits."""
        self.result(attack, slice)
        return Roc.mean([roc_of(*split) for split in self.scores[attack].at(self.slices[slice]).splits])

    def strongest(self, slice: str = WHOLE) -> Result:
        """The result with the highest AUC on a slice: what counts for the model's privacy is the best attack."""
        return max((self.result(attack, slice) for attack in self.scores), key=lambda result: result.auc.value)

    def most_exposed(self, attack: str, count: int = 10) -> np.ndarray:
        """Positions of the members with the highest scores, `(count,)`, the most exposed first."""
        self.result(attack)
        require_whole("count", count, least=1)
        return np.argsort(-self.scores[attack].members, kind="stable")[:count]

    def exposed(self, attack: str, count: int = 10) -> list[Exposed]:
        """The members with the highest scores, the most exposed first: class, loss, score, false positives."""
        scores = self.scores[self.result(attack).attack]
        return [
            Exposed(int(at), int(self.labels[at]), float(self.losses[at]), float(scores.members[at]),
                    int((scores.non_members >= scores.members[at]).sum()))
            for at in self.most_exposed(attack, count)
        ]

    # -- words ---------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        lines = [headline(self), "", *self.answers(), ""]
        for name in self.slices:
            own = [result for result in self.results if result.slice == name]
            if name != WHOLE:
                lines += ["", f"{name}: {own[0].members} members, {own[0].non_members} non-members"]
            lines += [results_table(own), *(f"  {note}" for note in slice_notes(self, name))]
        return "\n".join([*lines, *self.notes()])

    def answers(self) -> tuple[str, str, str]:
        """In sentences: are members told apart on average, are a few exposed, and how sure both answers are."""
        return answers(self)

    def notes(self) -> list[str]:
        """What a reader of the figures has to know."""
        return notes(self)

    # -- files ---------------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """All figures but the scores of single records, JSON-able."""
        return plain({
            "about": dict(self.about),
            "info": dict(self.info),
            "answers": list(self.answers()),
            "leaks": {"on_average": self.verdict.leaks_on_average, "a_few": self.verdict.exposes_a_few},
            "results": [result.to_dict() for result in self.results],
        })

    def to_json(self, path: str | Path) -> Path:
        """Write `to_dict` as JSON, whole or not at all."""
        return write_json(path, self.to_dict())

    def to_html(self, path: str | Path, *, title: str = "Membership-inference audit") -> Path:
        """Write one self-contained page: what was measured, tables, ROC curves, and what it means."""
        from privacy.page import report_page  # matplotlib is not needed for figures alone

        page = report_page(self, title=title)
        return write_atomically(path, lambda file: file.write_text(page, encoding="utf-8"))

    def plot_roc(self, path: str | Path, *, slice: str = WHOLE) -> Path:
        """Draw the ROC curves of all attacks on a slice, on linear and on logarithmic axes."""
        from privacy.plots import roc_figure, save_figure

        return save_figure(roc_figure(self, slice), path)

    def save(self, path: str | Path) -> Path:
        """Write everything, the scores of single records included, to one .npz file without pickles."""
        trained = [attack for attack, scores in self.scores.items() if scores.trained]
        content = {"format": FORMAT, "titles": dict(self.titles), "trained": trained, **self.to_dict()}
        arrays = {"report": np.array(json.dumps(content))}
        for k, scores in enumerate(self.scores.values()):
            for i, split in enumerate(scores.splits):
                arrays |= {f"scores/{k}/{i}/members": split[0], f"scores/{k}/{i}/non_members": split[1]}
        for i, masks in enumerate(self.slices.values()):
            arrays |= {f"slice/{i}/members": masks[0], f"slice/{i}/non_members": masks[1]}
        arrays |= {"labels": self.labels, "losses": self.losses}
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
                    f"{path} is a report of format {content['format']}; wanted {FORMAT}: audit its records again"
                )
            results = tuple(result_from(entry) for entry in content["results"])
            names = list(dict.fromkeys(result.slice for result in results))
            return cls(
                results,
                {name: scores_from(arrays, k, name in content["trained"])
                 for k, name in enumerate(dict.fromkeys(r.attack for r in results))},
                {name: pair(arrays, f"slice/{i}") for i, name in enumerate(names)},
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
            raise InputError(f"{path} holds no audit report: {error}") from error


def plain(value: Any) -> Any:
    """`value` as JSON has it: NumPy's numbers as Python's, `None` for NaN and infinity, texts for all that is else."""
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)


def pair(arrays: Mapping[str, np.ndarray], prefix: str) -> tuple[np.ndarray, np.ndarray]:
    """The two sides stored under a prefix."""
    return arrays[f"{prefix}/members"], arrays[f"{prefix}/non_members"]


def scores_from(arrays: Mapping[str, np.ndarray], attack: int, trained: bool) -> Scores:
    """The scores of the attack of that number that `AuditReport.save` stored, split by split."""
    count = sum(name.startswith(f"scores/{attack}/") for name in arrays) // 2
    return Scores.mean([pair(arrays, f"scores/{attack}/{i}") for i in range(count)], trained=trained)


def pictures_of(report: AuditReport, images: np.ndarray) -> dict[int, np.ndarray]:
    """The images of the members that some attack is surest of, by position."""
    wanted = dict.fromkeys(int(at) for attack in report.scores for at in report.most_exposed(attack, MOST_SHOWN))
    return dict(zip(wanted, as_pixels(images[list(wanted)]), strict=True))

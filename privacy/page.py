"""Self-contained web pages of audits, from the templates beside this file."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from PIL import Image

from privacy.aggregation import AggregatedAudits
from privacy.audit_results import AuditResults
from privacy.exposed import Exposed
from privacy.metrics import FPR_LEVELS
from privacy.plots import auc_figure, curves_figure, roc_panel
from privacy.report_text import answers, headline, notes, slice_notes
from privacy.slices import WHOLE
from privacy.tables import HEADER, row_of

__all__ = ["TEMPLATES", "answer_boxes", "four_digits", "png", "report_page", "slice_context", "summary_page"]

TEMPLATES = Environment(
    loader=PackageLoader("privacy"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)


def report_page(report: AuditResults, *, title: str) -> str:
    """The page of one audit."""
    attack = report.telling_attack()
    exposed = report.exposed(attack)
    return TEMPLATES.get_template("report.html").render(
        title=title,
        answers=answer_boxes(report),
        sureness=answers(report)[2],
        headline=headline(report),
        whole=WHOLE,
        slices={name: slice_context(report, name) for name in report.slices},
        notes=notes(report),
        overview=overview(report),
        curves=[png(roc_panel(report, WHOLE, logarithmic=logarithmic)) for logarithmic in (False, True)],
        exposing=report.titles[attack],
        exposed=exposed_rows(exposed, report.about["non_members"]),
        images=[png(report.pictures[e.position]) if e.position in report.pictures else None for e in exposed],
        info=[["", ""], *([key, four_digits(value)] for key, value in report.info.items())] if report.info else [],
        versions=report.about["versions"],
    )


def summary_page(
    summary: AggregatedAudits, *, title: str, notes: Sequence[str], above: Sequence[str | Sequence[Sequence[str]]] = ()
) -> str:
    """The page of many audits; `notes` are paragraphs, the first above the tables, `above` begins the page."""
    several = len({row.train_steps for row in summary.rows}) > 1
    return TEMPLATES.get_template("summary.html").render(
        title=title,
        summary=summary,
        notes=list(notes),
        above=list(above),
        levels=FPR_LEVELS,
        aucs=png(auc_figure(summary)),
        curves=png(curves_figure(summary)) if several else None,
        versions=next(iter(summary.reports.values()))[0].about["versions"],
    )


def answer_boxes(report: AuditResults) -> list[dict[str, str]]:
    """Both answers, each with the style of what it says."""
    verdict, boxes = report.verdict, []
    average_leaks = verdict.leaks_on_average or (None if verdict.reversed else verdict.leaks_on_average)
    for text, leaks in zip(answers(report), (average_leaks, verdict.exposes_a_few), strict=False):
        question, answer = text.split(": ", 1)
        style = {True: "answer leaks", False: "answer", None: "answer open"}[leaks]
        boxes.append({"question": question, "text": answer, "style": style})
    return boxes


def slice_context(report: AuditResults, name: str) -> dict[str, Any]:
    """All results of a slice, with its notes."""
    own = report.results_on(name)
    return {
        "members": own[0].members,
        "non_members": own[0].non_members,
        "rows": [list(HEADER), *([report.titles[result.attack], *row_of(result)[1:]] for result in own)],
        "notes": slice_notes(report, name),
    }


def overview(report: AuditResults) -> list[list[str]]:
    """One row for each slice, header first: its size, and the strongest results in it."""
    rows = [["slice", "members", "non-members", "highest AUC", "attack", "most found at 1 % FPR", "attack"]]
    for name in report.slices:
        best = report.strongest(name)
        most = max(report.results_on(name), key=lambda result: np.nan_to_num(result.tpr(FPR_LEVELS[1]).value, nan=-1))
        tpr = most.tpr(FPR_LEVELS[1])
        finder = report.titles[most.attack] if tpr.value == tpr.value else ""
        rows.append([name, str(best.members), str(best.non_members), str(best.auc), report.titles[best.attack],
                     tpr.text(1, 100, " %"), finder])
    return rows


def exposed_rows(exposed: Sequence[Exposed], non_members: int) -> list[list[str]]:
    """One row for each exposed member, header first."""
    rows = [["member", "class", "loss", "score", "non-members that score as high"]]
    for each in exposed:
        finds = f"{each.false_positives} of {non_members}"
        label = str(each.label) if each.label >= 0 else "several"
        rows.append([str(each.position), label, f"{each.loss:.3g}", f"{each.score:.4g}", finds])
    return rows


def four_digits(value: object) -> str:
    """A value of the caller's; numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def png(picture: Figure | np.ndarray) -> str:
    """A figure, or pixels as uint8, as the address of a picture within the page itself."""
    file = io.BytesIO()
    if isinstance(picture, Figure):
        picture.savefig(file, format="png", dpi=120)
    else:
        Image.fromarray(picture).save(file, format="png")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

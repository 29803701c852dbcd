"""Self-contained web pages of audits: no script, no style sheet, no picture from elsewhere."""

import base64
import io
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from privacy.metrics import FPR_LEVELS
from privacy.plots import auc_figure, curves_figure, roc_panel
from privacy.slices import WHOLE
from privacy.tables import HEADER, row_of
from privacy.wording import headline, slice_notes

if TYPE_CHECKING:  # what is shown knows its page, not the other way round
    from privacy.report import AuditReport
    from privacy.summary import Summary

__all__ = ["report_page", "summary_page"]

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 76rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.2rem; margin-top: 2rem; } summary { cursor: pointer; font-weight: 600; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; } th { border-bottom: 2px solid #888; vertical-align: bottom; }
td { white-space: nowrap; }
.answers { display: flex; flex-wrap: wrap; gap: 1rem; }
.answer { flex: 1 1 20rem; font-size: 1.1rem; padding: .8rem 1rem; background: #eef4ee; border-left: .4rem solid #4a8; }
.answer.leaks { background: #fbeeea; border-color: #c52; } .answer.open { background: #f2f2f2; border-color: #888; }
.side { display: flex; flex-wrap: wrap; gap: 1rem; } .side img { flex: 1 1 20rem; max-width: 38rem; min-width: 0; }
img { max-width: 100%; } img.small { height: 3rem; image-rendering: pixelated; vertical-align: middle; }
.note { color: #555; } dt { font-weight: 600; } footer { margin-top: 2rem; color: #666; font-size: .85rem; }
@media (max-width: 48rem) {
  thead { display: none; } table, tbody, tr, td { display: block; text-align: left; }
  tr { border-bottom: 2px solid #bbb; padding: .4rem 0; } td { border: 0; padding: .05rem 0; white-space: normal; }
  td:first-child { font-weight: 600; } td:empty { display: none; }
  td[data-label]:not(:first-child)::before { content: attr(data-label) ": "; color: #666; }
}
"""

ABOUT = (
    "Was a certain record among those that a model was trained on? Whoever can tell from the model's answers learns "
    "something about the people behind the data. This page tests how well that works. Programs, here called attacks, "
    "were given the model's answers to records it was trained on (members) and to others that it never saw "
    "(non-members), and tried to tell which are which."
)
MEANING = (
    ("AUC", "The share of pairs, one member and one non-member, in which the attack takes the right one for the "
            "member: 0.5 is guessing, 1 finds every member. It is about the average record."),
    ("[ , ]", "The 95 % interval: other records from the same source would give a figure in about that range. Figures "
              "of attacks that are trained are means over several ways to split the records, and the interval allows "
              "for that. A dash, or a figure without an interval: there are too few records for an honest one. "
              "Another training of the model would give other figures; no interval here counts that."),
    ("advantage (chance)", "The largest difference between the shares of members and of non-members that are called "
                           "members. It is never below 0; in brackets, what it stays below in 95 % of cases where "
                           "nothing leaks."),
    ("TPR at 0.1 % FPR", "The share of members found while one non-member in a thousand is called a member by "
                         "mistake. A model whose AUC is near 0.5 can still give away a few records with near "
                         "certainty: look here too. Guessing finds as large a share of the members as it allows "
                         "mistakes. Where records have the same score, the threshold falls among them at random."),
    ("what this does not prove", "An attack that fails proves nothing about other attacks. These see one model's "
                                 "outputs; attackers with reference models trained on similar data find more "
                                 "(Carlini et al. 2022). Only a differentially private training gives a guarantee."),
)


def report_page(report: "AuditReport", *, title: str) -> str:
    """One audit: answers, overview of slices, figures, ROC curves, exposed members, slices, meaning."""
    average, few, sure = report.answers()
    verdict = report.verdict
    average_leaks = verdict.leaks_on_average or (None if verdict.reversed else verdict.leaks_on_average)
    panels = [roc_panel(report, WHOLE, logarithmic=logarithmic) for logarithmic in (False, True)]
    pictures = "".join(picture(panel, "ROC curves of all attacks") for panel in panels)
    body = [
        "<div class=answers>", answer(average, average_leaks), answer(few, verdict.exposes_a_few), "</div>",
        f"<p>{escape(sure)}</p><p>{escape(ABOUT)}</p>",
        f"<h2>All records</h2><p>{escape(headline(report))}</p>{slice_table(report, WHOLE)}",
        "".join(f"<p class=note>{escape(note)}</p>" for note in report.notes()),
        overview(report) if len(report.slices) > 1 else "",
        f"<h2>ROC curves</h2><div class=side>{pictures}</div>",
        "<h2>Most exposed members</h2>", exposed_table(report),
    ]
    for name in report.slices:
        if name != WHOLE:
            body.append(f"<details><summary>{escape(name)}</summary>{slice_table(report, name)}</details>")
    if report.info:
        body += ["<h2>The model</h2>", html_table([["", ""], *([str(k), shown(v)] for k, v in report.info.items())])]
    about = ", ".join(f"{name} {value}" for name, value in report.about["versions"].items())
    return page(title, "".join(body), about)


def answer(text: str, leaks: bool | None) -> str:
    """An answer, in the colour of what it says; `None`: neither."""
    first, rest = text.split(": ", 1)
    colour = {True: " leaks", False: "", None: " open"}[leaks]
    return f"<div class='answer{colour}'><b>{escape(first)}:</b> {escape(rest)}</div>"


def slice_table(report: "AuditReport", name: str) -> str:
    """All figures of a slice, with its notes."""
    own = [result for result in report.results if result.slice == name]
    counts = "" if name == WHOLE else f"<p>{own[0].members} members, {own[0].non_members} non-members</p>"
    notes = "".join(f"<p class=note>{escape(note)}</p>" for note in slice_notes(report, name))
    return counts + html_table([list(HEADER), *([report.titles[r.attack], *row_of(r)[1:]] for r in own)]) + notes


def overview(report: "AuditReport") -> str:
    """One row a slice: its size, and the strongest figures in it."""
    found = "most found at 1 % FPR"
    rows = [["part of the records", "members", "non-members", "highest AUC", "attack", found, "attack"]]
    for name in report.slices:
        best = report.strongest(name)
        own = [result for result in report.results if result.slice == name]
        most = max(own, key=lambda result: np.nan_to_num(result.tpr(FPR_LEVELS[1]).value, nan=-1))
        tpr = most.tpr(FPR_LEVELS[1])
        rows.append([name, str(best.members), str(best.non_members), str(best.auc), best.attack,
                     tpr.text(1, 100, " %"), most.attack if tpr.value == tpr.value else ""])
    return (
        f"<h2>Parts of the records</h2>{html_table(rows)}<p class=note>The highest of several figures is high by "
        "chance too: the answers at the top allow for that, this table does not.</p>"
    )


def exposed_table(report: "AuditReport") -> str:
    """The members that the attack which speaks most strongly for a leak is surest of."""
    verdict = report.verdict
    result = verdict.few if verdict.exposes_a_few or verdict.average is None else verdict.average
    attack = (result or report.strongest()).attack
    rows = [["member", "class", "loss", "score", "non-members that score as high"]]
    images = {}
    for exposed in report.exposed(attack):
        if exposed.position in report.pictures:
            images[len(rows)] = report.pictures[exposed.position]
        rows.append([
            f"{exposed.position}", f"{exposed.label}", f"{exposed.loss:.3g}", f"{exposed.score:.4g}",
            f"{exposed.false_positives} of {report.about['non_members']}",
        ])
    return (
        f"<p>The members that the attack “{escape(report.titles[attack])}” is surest of, by their position among the "
        f"members. Those no surer than many non-members are no finds.</p>{html_table(rows, images)}"
    )


def shown(value: object) -> str:
    """A value of the caller's; numbers to four digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def summary_page(summary: "Summary", *, title: str, notes: Sequence[str]) -> str:
    """Many audits: answers, tables, AUCs by arm, curves over training steps, meaning."""
    first, *others = [f"<p>{escape(note)}</p>" for note in notes] or [""]
    body = ["<h2>Answers</h2>", html_table(summary.answer_cells()), f"<p>{escape(ABOUT)}</p>", first]
    body += [f"<h2>AUC ({summary.spread_in_words()})</h2>", html_table(summary.auc_cells())]
    body += [picture(auc_figure(summary), "AUC of all attacks by arm"), *others]
    for i, level in enumerate(FPR_LEVELS):
        heading = f"<h2>Members found, in %, at {100 * level:g} % false positives</h2>"
        body += [heading, html_table(summary.rate_cells(i))]
    if len({row.train_steps for row in summary.rows}) > 1:
        curves = picture(curves_figure(summary), "accuracy and AUC by training steps")
        body += ["<h2>Against training steps</h2>", curves]
    versions = next(iter(summary.reports.values()))[0].about["versions"]
    return page(title, "".join(body), ", ".join(f"{name} {version}" for name, version in versions.items()))


def page(title: str, body: str, footer: str) -> str:
    """A whole page around `body`, which is HTML; the other texts are escaped."""
    meaning = "".join(f"<dt>{escape(term)}</dt><dd>{escape(text)}</dd>" for term, text in MEANING)
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{escape(title)}</title>"
        f"<meta name=viewport content='width=device-width, initial-scale=1'><style>{STYLE}</style></head><body>"
        f"<h1>{escape(title)}</h1>{body}<h2>What the figures mean</h2><dl>{meaning}</dl>"
        f"<footer>{escape(footer)}</footer></body></html>\n"
    )


def html_table(rows: Sequence[Sequence[str]], images: dict[int, np.ndarray] | None = None) -> str:
    """Cells as a table, the first row a header; on narrow screens a block a row. `images` stand first in their rows."""
    header, *others = rows
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    lines = []
    for i, row in enumerate(others, 1):
        small = image(images[i]) if images and i in images else ""
        cells = [
            f"<td data-label='{escape(label)}'>{small if not j else ''}{escape(cell)}</td>"
            for j, (label, cell) in enumerate(zip(header, row, strict=True))
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"


def image(pixels: np.ndarray) -> str:
    """A small image inside the page itself."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="png")
    return f"<img class=small alt='' src='{data_url(file)}'> "


def picture(figure: Figure, description: str) -> str:
    """A figure inside the page itself."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=120)
    return f"<img alt='{escape(description)}' src='{data_url(file)}'>"


def data_url(file: io.BytesIO) -> str:
    """The content of a PNG as an address."""
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"

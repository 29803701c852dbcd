"""The page of an audit of a set."""

from privacy.page import TEMPLATES, answer_boxes, four_digits, png, slice_context
from privacy.plots import roc_panel
from privacy.report_text import answers, notes
from privacy.sets.drawing import pairs_figure
from privacy.sets.results import SetResults, set_headline
from privacy.slices import WHOLE

__all__ = ["set_page"]


def set_page(report: SetResults, *, title: str) -> str:
    """The page of one audit."""
    attack = report.telling_attack()
    pairs, drawn = report.worst(attack), report.best_of_each_kind()
    return TEMPLATES.get_template("set_report.html").render(
        title=title,
        answers=answer_boxes(report),
        sureness=answers(report)[2],
        headline=set_headline(report),
        whole=WHOLE,
        slices={name: slice_context(report, name) for name in report.slices},
        notes=notes(report),
        curves=[png(roc_panel(drawn, WHOLE, logarithmic=logarithmic)) for logarithmic in (False, True)],
        exposing=report.titles[attack],
        pairs=png(pairs_figure(pairs, report.pictures, report.set_pictures)),
        rows=pair_rows(report, attack),
        info=[["", ""], *([key, four_digits(value)] for key, value in report.info.items())] if report.info else [],
        versions=report.about["versions"],
    )


def pair_rows(report: SetResults, attack: str) -> list[list[str]]:
    """One row for each pair, header first."""
    rows = [["member", "class", "image of the set", "distance", "score", "non-members that score as high"]]
    for pair in report.worst(attack):
        finds = f"{pair.false_positives} of {report.about['non_members']}"
        rows.append([str(pair.position), str(pair.label), str(pair.nearest), f"{pair.distance:.4f}",
                     f"{pair.score:.4g}", finds])
    return rows

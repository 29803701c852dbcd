"""Pages and pictures of audits."""


import pytest

from audits import HOSTILE, Hostile, Page, records
from privacy import (
    InputError,
    Summary,
    audit,
)
from privacy.report_text import headline


def test_page_is_whole_and_self_contained(report, tmp_path):
    page = Page(report.to_html(tmp_path / "report.html", title="Digits"))
    page.assert_self_contained()
    assert [tag for tag, _ in page.tags].count("img") == 2
    assert page.source.count("<table") == len(report.slices) + 3  # exposed members, overview, the model
    answers = [answer.split(": ", 1)[1] for answer in report.answers()[:2]]
    for wanted in ("Digits", headline(report), *answers, *report.titles.values(), "conv", "0.8125", "numpy"):
        assert wanted in page.text
    for name in list(report.slices)[1:]:
        assert f"\n{name}\n" in page.text
    for result in report.results:
        assert f"\n{result.auc}\n" in page.text
    for exposed in report.exposed(report.verdict.average.attack):
        assert f"\n{exposed.position}\n{exposed.label}\n{exposed.loss:.3g}\n{exposed.score:.4g}\n" in page.text
    assert "width=device-width" in page.source
    assert page.source.count('data-label="TPR at 0.1 % FPR"') == len(report.results)  # shown on narrow screens too


@pytest.mark.parametrize(("gap", "colour"), [(3.0, "answer leaks"), (0.0, "answer"), (-2.0, "answer open")])
def test_page_begins_with_both_answers(tmp_path, gap, colour):
    found = audit(records(gap=gap), attacks="threshold")
    page = Page(found.to_html(tmp_path / "report.html"))
    boxes = [attributes["class"] for tag, attributes in page.tags if attributes.get("class", "").startswith("answer")]
    assert boxes[:2] == ["answers", colour]
    assert page.text.index("On average:") < page.text.index("The exposed few:") < page.text.index("attack\n")


def test_page_escapes_what_callers_name(tmp_path):
    info = {HOSTILE: HOSTILE, "list": [HOSTILE]}
    found = audit(records(), attacks=["threshold", Hostile()], jobs=1, masks={HOSTILE: (None, None)}, info=info)
    page = Page(found.to_html(tmp_path / "report.html", title=f"</title>{HOSTILE}"))
    page.assert_self_contained()
    assert "<script" not in page.source
    assert f"</title>{HOSTILE}" in page.text
    assert page.text.count(HOSTILE) >= 6


def test_titles_and_arms_that_look_like_formulas_are_drawn_as_they_are(tmp_path):
    class Formula(Hostile):
        name, title = "formula", r"costs $\frac$"

    found = audit(records(), attacks=Formula(), jobs=1)
    assert r"costs $\frac$" in Page(found.to_html(tmp_path / "report.html")).text
    summary = Summary({r"$\frac$": [found]})
    assert r"$\frac$" in Page(summary.to_html(tmp_path / "summary.html")).text


def test_page_of_one_record_a_side(tmp_path, recwarn):
    found = audit(records(1, 1), attacks="threshold")
    Page(found.to_html(tmp_path / "report.html")).assert_self_contained()
    assert not recwarn.list


@pytest.mark.parametrize(("suffix", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_roc_is_drawn(report, tmp_path, suffix, begins):
    path = report.plot_roc(tmp_path / f"roc.{suffix}", slice="class 1")
    assert path.read_bytes().startswith(begins)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("name", ["roc.txt", "roc", "roc.gif"])
def test_pictures_of_another_kind_are_refused(report, tmp_path, name):
    with pytest.raises(InputError, match=rf"cannot draw .*{name}; expected a name that ends in \.png, \.pdf, \.svg"):
        report.plot_roc(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_roc_of_an_unknown_slice_is_refused(report, tmp_path):
    with pytest.raises(InputError, match="on slice 'class 9'"):
        report.plot_roc(tmp_path / "roc.png", slice="class 9")


def test_drawing_leaves_pyplot_alone(report, tmp_path):
    import matplotlib.pyplot as plt

    report.plot_roc(tmp_path / "roc.png")
    assert plt.get_fignums() == []

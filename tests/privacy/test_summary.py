"""Many audits side by side."""

import re
from dataclasses import replace
from math import nan

import numpy as np
import pytest

from audits import FAST, HOSTILE, Page, read, records
from privacy import (
    AuditReport,
    InputError,
    Interval,
    Summary,
    audit,
)
from privacy.plots import auc_figure
from privacy.summary import MeanStd


def arm(gap: float, seeds=(0, 1, 2), steps=(10, 100), **info) -> list[AuditReport]:
    """Reports for each seed and number of training steps; members leak more with more steps."""
    return [
        audit(
            records(gap=gap * step / 100, seed=seed), **FAST,
            info={"test_accuracy": min(1.0, 0.5 + step / 1000 + seed / 100), "train_steps": step, **info},
        )
        for seed in seeds
        for step in steps
    ]


@pytest.fixture(scope="module")
def summary() -> Summary:
    return Summary({"real": arm(3.0), "subset": arm(0.5)})


def test_rows_are_means_over_repetitions(summary):
    assert [(row.arm, row.train_steps, row.n) for row in summary.rows] == [
        ("real", 10, 3), ("real", 100, 3), ("subset", 10, 3), ("subset", 100, 3),
    ]
    for row in summary.rows:
        own = [report for report in summary.reports[row.arm] if report.info["train_steps"] == row.train_steps]
        assert row.test_accuracy.mean == pytest.approx(0.51 + row.train_steps / 1000)
        assert row.test_accuracy.spread == pytest.approx(0.01)
        for attack in ("threshold", "knn"):
            values = [report.result(attack).auc.value for report in own]
            assert row.auc[attack].mean == pytest.approx(np.mean(values))
            assert row.auc[attack].spread == pytest.approx(np.std(values, ddof=1))
            assert row.auc[attack].n == 3
            for level in (2,):  # the others cannot be measured
                rates = [report.result(attack).tpr_at_fpr[level][1].value for report in own]
                assert row.tpr_at_fpr[attack][level].mean == pytest.approx(np.mean(rates))
                assert row.tpr_at_fpr[attack][level].spread == pytest.approx(np.std(rates, ddof=1))


def test_last_is_the_row_of_each_arm_with_the_most_steps(summary):
    assert [(row.arm, row.train_steps) for row in summary.last()] == [("real", 100), ("subset", 100)]


def test_rows_are_in_order_of_steps_whatever_the_order_of_reports():
    reports = arm(1.0, seeds=(0,), steps=(1000, 20, 100))
    assert [row.train_steps for row in Summary({"real": reports}).rows] == [20, 100, 1000]


def test_one_repetition_shows_half_its_interval():
    (found,) = reports = arm(1.0, seeds=(0,), steps=(10,))
    row = Summary({"real": reports}).rows[0]
    interval = found.result("knn").auc
    assert row.auc["knn"] == MeanStd(interval.value, (interval.high - interval.low) / 2, 1)
    assert row.tpr_at_fpr["knn"][0].text(1) == "–"
    assert row.tpr_at_fpr["knn"][2].spread > 0
    assert "half the 95 % interval, one repetition" in str(Summary({"real": reports}))


def test_reports_that_say_nothing_of_steps_and_accuracy_are_one_row():
    reports = [audit(records(seed=seed), **FAST) for seed in range(2)]
    (row,) = Summary({"mine": reports}).rows
    assert (row.train_steps, row.n, row.test_accuracy) == (None, 2, None)


def test_spread_in_words():
    assert MeanStd(0.5, 0.25, 3).text(1, 100) == "50.0 ± 25.0"
    assert MeanStd(0.5, nan, 1).text(3) == "0.500"
    assert MeanStd.of([1.0, 2.0, 3.0]) == MeanStd(2.0, 1.0, 3)


def test_summary_in_words(summary):
    text = str(summary)
    assert "AUC of every attack (± standard deviation of n repetitions)" in text
    assert "members found, in %, at 0.1 % false positives" in text
    assert re.search(r"^trained on +members differ on average +a few are exposed$", text, re.MULTILINE)
    assert re.search(r"^real +in 3 of 3 audits +in . of 3 audits$", text, re.MULTILINE)
    last = summary.rows[1]
    line = next(line for line in text.splitlines() if line.startswith("real") and " 100 " in line)
    assert line.endswith(last.auc["knn"].text(3))
    assert "62.0 ± 1.0" not in line
    assert "61.0 ± 1.0" in line


def test_difference_is_paired_and_of_the_last_rows(summary):
    found = summary.difference("real", "subset", "threshold")
    real, subset = (row.auc["threshold"].mean for row in summary.last())
    assert found.value == pytest.approx(real - subset)
    assert found.low < found.value < found.high
    assert found.low > 0
    back = summary.difference("subset", "real", "threshold")
    assert back.value == pytest.approx(-found.value)
    assert summary.difference("real", "real", "knn") == Interval(0.0, 0.0, 0.0)


def test_difference_errors_say_what_to_mend(summary):
    with pytest.raises(InputError, match="there is no arm 'frepo'; expected one of real, subset"):
        summary.difference("real", "frepo", "knn")
    other = Summary({"a": [audit(records(40, 60), **FAST)], "b": [audit(records(40, 61), **FAST)]})
    with pytest.raises(InputError, match=r"a and b cannot be compared: .*\[\(40, 60\)\] and \[\(40, 61\)\] members"):
        other.difference("a", "b", "knn")
    other = Summary({"a": arm(1.0, seeds=(0, 1), steps=(10,)), "b": arm(1.0, seeds=(0,), steps=(10,))})
    with pytest.raises(InputError, match="expected the same records, seed by seed"):
        other.difference("a", "b", "knn")


def test_difference_of_an_unknown_attack_is_an_input_error(summary):
    with pytest.raises(InputError, match="rf"):
        summary.difference("real", "subset", "rf")


@pytest.mark.parametrize(
    ("reports", "message"),
    [({}, "there are no reports of any arm"), ({"a": [], "b": []}, "there are no reports of a, b; expected")],
)
def test_nothing_to_combine_is_an_input_error(reports, message):
    with pytest.raises(InputError, match=message):
        Summary(reports)


def test_reports_of_other_attacks_are_not_combined(report):
    other = audit(records(), attacks="threshold")
    with pytest.raises(InputError, match=r"reports of different attacks .* be combined: threshold and threshold, knn"):
        Summary({"a": [report], "b": [other]})


def test_summary_is_json_without_nan(summary, tmp_path):
    content = read(summary.to_json(tmp_path / "summary.json"))
    assert len(content["rows"]) == 4
    assert content["rows"][1]["auc"]["knn"]["mean"] == summary.rows[1].auc["knn"].mean
    single = Summary({"a": arm(1.0, seeds=(0,), steps=(10,))})
    content = read(single.to_json(tmp_path / "single.json"))
    assert content["rows"][0]["test_accuracy"]["spread"] is None
    assert content["rows"][0]["tpr_at_fpr"]["knn"][0]["mean"] is None


def test_summary_page_is_whole_and_escaped(summary, tmp_path):
    reports = {f"real {HOSTILE}": summary.reports["real"]}
    page = Page(Summary(reports).to_html(tmp_path / "summary.html", title=HOSTILE, notes=[HOSTILE, "a note"]))
    page.assert_self_contained()
    assert "<script" not in page.source
    assert page.text.count(HOSTILE) >= 4
    assert "a note" in page.text
    assert [tag for tag, _ in page.tags].count("img") == 2  # AUCs, and curves over steps


def test_summary_page_without_steps_has_no_curves(tmp_path, recwarn):
    page = Page(Summary({"mine": [audit(records(), **FAST)]}).to_html(tmp_path / "summary.html"))
    assert [tag for tag, _ in page.tags].count("img") == 1
    assert not recwarn.list


def test_summary_is_drawn(summary, tmp_path):
    for path in (summary.plot_auc(tmp_path / "auc.png"), summary.plot_curves(tmp_path / "curves.png")):
        assert path.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match="cannot draw"):
        summary.plot_auc(tmp_path / "auc.txt")
    alone = Summary({"mine": [audit(records(), **FAST, info={"train_steps": 1})]})
    assert alone.plot_curves(tmp_path / "alone.png").exists()


def test_no_interval_is_cut_off_on_the_left():
    few = Summary({"mine": [audit(records(30, gap=0.0), **FAST)]})
    lowest = min(auc.mean - auc.spread for row in few.last() for auc in row.auc.values())
    assert lowest < 0.4
    assert auc_figure(few).axes[0].get_xlim()[0] < lowest


@pytest.mark.parametrize("info", [{"test_accuracy": 91.2}, {"test_accuracy": "91 %"}, {"train_steps": "100"}])
def test_accuracies_and_steps_that_are_none_are_refused(info):
    with pytest.raises(InputError, match=f"a report of 'mine' has {next(iter(info))} .*; expected a"):
        Summary({"mine": [audit(records(), **FAST, info=info)]})


def test_repetitions_and_single_audits_are_told_apart():
    one, two = (audit(records(seed=seed), attacks="threshold") for seed in (0, 1))
    assert Summary({"a": [one, two], "b": [one]}).spread_in_words().endswith("where n is 1, half the 95 % interval")


def test_other_records_are_no_pairs():
    def mirrored(report):
        return replace(report, labels=report.labels[::-1])

    one = audit(records(), attacks="threshold")
    with pytest.raises(InputError, match="a and b cannot be compared: the labels of their members differ"):
        Summary({"a": [one], "b": [mirrored(one)]}).difference("a", "b", "threshold")

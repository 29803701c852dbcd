"""Reports are written whole, and read back as they were or refused."""

import json
from dataclasses import asdict
from math import nan

import numpy as np
import pytest

from audits import FAST, Hostile, read, records
from privacy import (
    AuditReport,
    InputError,
    audit,
)


def test_save_and_load_give_the_same_report(report, tmp_path):
    path = report.save(tmp_path / "folder" / "report")
    loaded = AuditReport.load(path)
    assert [file.name for file in path.parent.iterdir()] == ["report"]
    for name in ("results", "titles", "about", "info"):
        assert getattr(loaded, name) == getattr(report, name)
    assert list(loaded.scores) == list(report.scores)
    assert list(loaded.slices) == list(report.slices)
    for name, scores in report.scores.items():
        assert np.array_equal(loaded.scores[name].members, scores.members)
        assert np.array_equal(loaded.scores[name].non_members, scores.non_members)
    for name, mask in report.slices.items():
        assert np.array_equal(loaded.slices[name], mask)
        assert loaded.slices[name].dtype == bool
    assert str(loaded) == str(report)
    assert loaded.to_dict() == report.to_dict()


def test_a_missing_report_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.npz: No such file"):
        AuditReport.load(tmp_path / "none.npz")


def test_records_are_no_report(tmp_path):
    with pytest.raises(InputError, match=r"records\.npz does not hold an audit report"):
        AuditReport.load(records().save(tmp_path / "records.npz"))


@pytest.mark.parametrize("damage", ["cut", "flip", "text"])
def test_damaged_reports_are_refused(report, tmp_path, damage):
    path = report.save(tmp_path / "report.npz")
    content = path.read_bytes()
    half = len(content) // 8  # within the first array
    damaged = {
        "cut": content[:half],
        "flip": content[:half] + bytes([content[half] ^ 255]) + content[half + 1 :],
        "text": b"report",
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(InputError, match=r"report\.npz is damaged or not an \.npz file of plain arrays"):
        AuditReport.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report": "{"}, "does not hold an audit report: Expecting property name"),
        ({"report": "[]"}, "does not hold an audit report"),
        ({"report": "{}"}, "does not hold an audit report: 'format'"),
        ({"report": '{"format": 2}'}, "is a report of format 2; expected 3: audit its records again"),
        ({"report": '{"format": 3, "results": [{}]}'}, "does not hold an audit report: 'tpr_at_fpr'"),
        ({"report": '{"format": 3, "results": [{"tpr_at_fpr": 3}]}'}, "does not hold an audit report"),
        ({"report": '{"format": 3, "results": [{"tpr_at_fpr": {"low": 3}}]}'}, "does not hold an audit report"),
        ({"scores/1": None}, "does not hold an audit report: 'scores/1"),
        ({"labels": None}, "does not hold an audit report: 'labels"),
        ({"slice/1": None}, "does not hold an audit report: 'slice/1"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_reports_of_another_make_are_refused(report, tmp_path, change, message):
    path = report.save(tmp_path / "report.npz")
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | change
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=rf"report\.npz {message}"):
        AuditReport.load(path)


def test_json_holds_all_figures(report, tmp_path):
    content = read(report.to_json(tmp_path / "report.json"))
    assert content == json.loads(json.dumps(report.to_dict()))
    assert len(content["results"]) == len(report.results)
    first, result = content["results"][0], report.results[0]
    assert first["auc"] == asdict(result.auc)
    for fpr, tpr in result.tpr_at_fpr:
        wanted = {name: None if value != value else value for name, value in asdict(tpr).items()}
        assert first["tpr_at_fpr"][str(fpr)] == wanted
    assert content["answers"] == list(report.answers())
    assert content["leaks"] == {"on_average": report.verdict.leaks_on_average, "a_few": report.verdict.exposes_a_few}
    assert content["info"]["train_steps"] == 100


def test_json_of_an_unknown_accuracy_is_still_json(tmp_path):
    found = audit(records(), **FAST, info={"test_accuracy": nan, "losses": [0.5, nan]})
    assert read(found.to_json(tmp_path / "report.json"))["info"] == {"test_accuracy": None, "losses": [0.5, None]}


def test_reports_with_any_names_of_attacks_are_read_back(tmp_path):
    class Slash(Hostile):
        name, title = "threshold/0", "another"

    found = audit(records(), attacks=["threshold", Slash()], jobs=1)
    loaded = AuditReport.load(found.save(tmp_path / "report.npz"))
    assert loaded.to_dict() == found.to_dict()

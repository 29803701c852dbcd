"""What an audit reports: words, slices, files, pages, pictures, and many audits side by side."""

import json
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from html.parser import HTMLParser
from itertools import pairwise
from math import nan
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from privacy import (
    Attack,
    AttackRecords,
    AuditReport,
    InputError,
    Interval,
    Roc,
    Summary,
    auc_interval,
    auc_of,
    audit,
    roc_of,
    tpr_interval,
)
from privacy.summary import Spread
from privacy.wording import headline

WHOLE = "all records"
HOSTILE = "<script>alert('1')</script> & \"quoted\""
FAST = {"attacks": ["threshold", "knn"], "jobs": 1}


def records(n: int = 40, m: int = 60, *, gap: float = 1.0, seed: int = 0) -> AttackRecords:
    generator = np.random.default_rng(seed)
    sides = []
    for count, surer in ((n, gap), (m, 0.0)):
        labels = np.arange(count) % 3
        outputs = generator.normal(size=(count, 3))
        outputs[np.arange(count), labels] += 1 + surer
        sides.append((outputs, labels))
    return AttackRecords(members=sides[0], non_members=sides[1])


def sides(values: np.ndarray) -> list[np.ndarray]:
    """What belongs to the 40 members and to the 60 non-members."""
    return np.split(values, [40])


def area(curve: Roc) -> float:
    return metrics.auc(curve.fpr, curve.tpr)


def sliced(**options) -> AuditReport:
    masks = {"first ten": (np.arange(40) < 10, list(range(10))), "odd": (np.arange(1, 40, 2), None)}
    return audit(records(), by_class=True, by_correctness=True, masks=masks, **{**FAST, **options})


@pytest.fixture(scope="module")
def report() -> AuditReport:
    return sliced(info={"model": "conv", "test_accuracy": 0.8125, "train_steps": 100})


def refuse(constant: str):
    raise AssertionError(f"{constant} is no JSON")


def read(path: Path):
    return json.loads(path.read_text(), parse_constant=refuse)


class Page(HTMLParser):
    """Reads a page as strictly as HTML can be read, and remembers what is in it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict]] = []
        self.text = ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meta"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data + "\n"

    def assert_self_contained(self) -> None:
        assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in self.tags}
        for _, attributes in self.tags:
            assert not [name for name in attributes if name.startswith("on")]
            for name in ("src", "href", "data", "action"):
                assert attributes.get(name, "data:image/png;base64,").startswith("data:image/png;base64,")
        assert "@import" not in self.source
        assert "url(" not in self.source


# -- figures -------------------------------------------------------------------------------------------------------


def test_figures_are_those_of_the_scores(report):
    for result in report.results:
        scores, masks = report.scores[result.attack], sides(report.slices[result.slice])
        members, others = scores.members[masks[0]], scores.non_members[masks[1]]
        splits = [tuple(side[mask] for side, mask in zip(sides(split), masks, strict=True)) for split in scores.splits]
        trained = result.attack == "knn"
        assert len(splits) == (3 if trained else 1)
        assert np.allclose(members, np.mean([split[0] for split in splits], axis=0))
        assert (result.members, result.non_members) == (len(members), len(others))
        assert result.auc == auc_interval(splits, trained=trained)
        assert result.auc.value == pytest.approx(np.mean([auc_of(*split) for split in splits]))
        assert result.advantage == pytest.approx(np.mean([roc_of(*split).advantage for split in splits]))
        for level, tpr in result.tpr_at_fpr:
            assert tpr == result.tpr(level) == tpr_interval(splits, level, trained=trained)
        assert area(report.roc(result.attack, result.slice)) == pytest.approx(result.auc.value)


def test_about_says_what_was_attacked_and_how(report):
    about = dict(report.about)
    assert (about["members"], about["non_members"], about["classes"]) == (40, 60, 3)
    assert about["member_accuracy"] == records().members.accuracy
    assert about["non_member_accuracy"] == records().non_members.accuracy
    assert (about["engine"], about["seed"], about["jobs"], about["splits"]) == ("fast", 0, 1, 3)
    assert about["seconds"] >= 0
    assert {"python", "numpy", "scikit-learn"} <= set(about["versions"])
    assert report.info == {"model": "conv", "test_accuracy": 0.8125, "train_steps": 100}


def test_text_has_a_table_for_each_slice(report):
    text = str(report)
    lines = text.splitlines()
    assert lines[0].startswith("40 members (")
    assert "60 non-members (" in lines[0]
    assert "3 classes; engine fast, seed 0; " in lines[0]
    assert lines[2:5] == list(report.answers())
    table = next(i for i, line in enumerate(lines) if line.startswith("attack"))
    header = re.split(r"  +", lines[table])
    rates = [f"TPR at {level} % FPR" for level in ("0.1", "1", "10")]
    assert header == ["attack", "AUC", "advantage (chance)", *rates]
    result = report.result("threshold")
    assert re.split(r"  +", lines[table + 2]) == [
        "threshold", str(result.auc), f"{result.advantage:.3f} ({result.chance_advantage:.3f})", "–", "–",
        result.tpr(0.1).text(1, 100, " %"),
    ]
    for name in list(report.slices)[1:]:
        own = report.result("knn", name)
        assert f"\n{name}: {own.members} members, {own.non_members} non-members\nattack " in text
    tables = [lines[i : i + 4] for i, line in enumerate(lines) if line.startswith("attack ")]
    assert len(tables) == len(report.slices)
    assert all(len({len(line) for line in table}) == 1 for table in tables)


def test_result_of_nothing_is_an_input_error_that_names_what_there_is(report):
    wanted = "the report has no attack 'rf' on slice 'all records'; it has threshold, knn on all records, class 0, "
    with pytest.raises(InputError, match=wanted):
        report.result("rf")
    for ask in (report.result, report.roc):
        with pytest.raises(InputError, match="no attack 'knn' on slice 'class 7'"):
            ask("knn", "class 7")
    with pytest.raises(InputError, match="no attack 'rf'"):
        report.most_exposed("rf")


def test_strongest_is_the_attack_with_the_highest_auc(report):
    for name in report.slices:
        own = [result for result in report.results if result.slice == name]
        assert report.strongest(name).auc.value == max(result.auc.value for result in own)


def test_strongest_on_an_unknown_slice_is_an_input_error(report):
    with pytest.raises(InputError, match="class 7"):
        report.strongest("class 7")


def test_most_exposed_have_the_highest_scores_the_first_of_equals_first(report):
    losses = records().members.losses
    assert report.most_exposed("threshold", 5).tolist() == np.argsort(losses)[:5].tolist()
    votes = report.scores["knn"].members
    exposed = report.most_exposed("knn", 40)
    assert sorted(exposed) == list(range(40))
    assert all((votes[a], -a) > (votes[b], -b) for a, b in pairwise(exposed))
    assert len(report.most_exposed("knn")) == 10
    assert len(report.most_exposed("knn", 1000)) == 40


@pytest.mark.parametrize(
    ("non_members", "note"),
    [
        (9, "with 9 non-members an FPR of 0.1 % or 1 % or 10 % cannot be measured"),
        (10, "with 10 non-members an FPR of 0.1 % or 1 % cannot be measured"),
        (999, "with 999 non-members an FPR of 0.1 % cannot be measured"),
        (1000, None),
    ],
)
def test_notes_say_what_few_non_members_cannot_show(non_members, note):
    found = audit(records(20, non_members), attacks="threshold")
    notes = str(found).splitlines()[9:]
    assert notes == [f"  {note}"] * bool(note)
    assert [i for i, (_, tpr) in enumerate(found.results[0].tpr_at_fpr) if tpr.known] == [
        i for i, level in enumerate((0.001, 0.01, 0.1)) if level * non_members >= 1
    ]


def test_notes_speak_of_the_slice_they_stand_under():
    given = records(60, 1200)
    few = (np.arange(60) < 5, np.arange(1200) < 50)
    text = str(audit(given, attacks="threshold", masks={"few": few}))
    whole, part = text.split("few: 5 members, 50 non-members")
    assert "cannot be measured" not in whole
    assert "with fewer than 6 records on a side no interval is honest" in part
    assert "with 50 non-members an FPR of 0.1 % or 1 % cannot be measured" in part


def test_exposed_members_are_described_and_shown(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (40, 6, 5)).astype(np.uint8)
    found = audit(records(), **FAST, images=images)
    first = found.exposed("threshold")[0]
    given = records()
    assert first.position == given.members.losses.argmin()
    assert first.label == given.members.labels[first.position]
    assert first.loss == given.members.losses.min()
    assert first.false_positives == (given.non_members.losses <= first.loss).sum()
    assert np.array_equal(found.pictures[first.position], images[first.position])
    loaded = AuditReport.load(found.save(tmp_path / "report.npz"))
    assert loaded.pictures.keys() == found.pictures.keys()
    assert np.array_equal(loaded.pictures[first.position], images[first.position])
    page = Page(found.to_html(tmp_path / "report.html"))
    assert [attributes.get("class") for tag, attributes in page.tags if tag == "img"].count("small") == 10
    page.assert_self_contained()


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.zeros((39, 4, 4), np.uint8), r"images has shape \(39, 4, 4\); wanted one for each of the 40 members"),
        (np.zeros((40, 4), np.uint8), r"images has shape \(40, 4\)"),
        (np.zeros((40, 4, 4, 2), np.uint8), r"images has shape \(40, 4, 4, 2\)"),
        (np.full((40, 4, 4), 1.5), "images holds values from 1.5 to 1.5; wanted floats from 0 to 1"),
        (np.full((40, 4, 4), 300), "images is int64 from 300 to 300; wanted integers 0 to 255"),
    ],
)
def test_images_that_are_none_are_refused(images, message):
    with pytest.raises(InputError, match=message):
        audit(records(), **FAST, images=images)


@pytest.mark.parametrize("kind", ["floats", "channels", "tensors"])
def test_images_of_several_kinds_are_shown_alike(kind):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 4, 4, 3)).astype(np.uint8)
    given = {"floats": pixels / 255, "channels": pixels[..., :1], "tensors": list(pixels)}[kind]
    found = audit(records(), **FAST, images=given)
    for position, shown in found.pictures.items():
        wanted = pixels[position, ..., 0] if kind == "channels" else pixels[position]
        assert np.array_equal(shown, wanted)


# -- slices --------------------------------------------------------------------------------------------------------


def test_slices_are_those_asked_for(report):
    right = "answered right", "answered wrong"
    assert list(report.slices) == [WHOLE, "class 0", "class 1", "class 2", *right, "first ten", "odd"]
    assert [result.slice for result in report.results] == [name for name in report.slices for _ in range(2)]
    given = records()
    for name, mask in report.slices.items():
        members, others = sides(mask)
        assert (members.dtype, others.dtype) == (bool, bool)
        assert (members.shape, others.shape) == ((40,), (60,))
        if name.startswith("class"):
            assert np.array_equal(members, given.members.labels == int(name[-1]))
            assert np.array_equal(others, given.non_members.labels == int(name[-1]))
    assert np.array_equal(sides(report.slices[right[0]])[0], given.members.correct)
    assert np.array_equal(sides(report.slices[right[1]])[1], ~given.non_members.correct)
    assert np.flatnonzero(sides(report.slices["first ten"])[0]).tolist() == list(range(10))
    assert np.flatnonzero(sides(report.slices["first ten"])[1]).tolist() == list(range(10))
    assert np.flatnonzero(sides(report.slices["odd"])[0]).tolist() == list(range(1, 40, 2))
    assert sides(report.slices["odd"])[1].all()


def test_without_slices_there_is_the_whole():
    assert list(audit(records(), **FAST).slices) == [WHOLE]


def test_classes_and_answers_that_a_side_lacks_are_left_out():
    outputs, labels = np.eye(3)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])
    given = AttackRecords(members=(outputs, labels), non_members=(outputs[:2], labels[:2]))
    found = audit(given, attacks="threshold", by_class=True, by_correctness=True)
    assert list(found.slices) == [WHOLE, "class 0", "answered right"]
    (note,) = found.notes()
    assert note == (
        "left out, because a side has no records: class 1 (no non-members), class 2 (no members and no non-members), "
        "answered wrong (no members and no non-members)"
    )


def test_slicing_does_not_change_the_figures_of_the_whole(report):
    plain = audit(records(), **FAST)
    assert [plain.result(attack) for attack in plain.scores] == [report.result(attack) for attack in report.scores]


@pytest.mark.parametrize(
    ("masks", "message"),
    [
        ({"a": np.ones(40, bool)}, r"slice 'a' must be \(members, non_members\): a mask, positions or None for each"),
        ({"a": (None,)}, r"slice 'a' must be \(members, non_members\)"),
        ({"a": (np.ones(39, bool), None)}, r"slice 'a' of members is a mask of shape \(39,\); wanted \(40,\)"),
        ({"a": (None, np.ones((60, 1), bool))}, r"'a' of non_members is a mask of shape \(60, 1\); wanted \(60,\)"),
        ({"a": (None, [0, 60])}, "slice 'a' of non_members has positions from 0 to 60; wanted 0 to 59"),
        ({"a": ([-1], None)}, "slice 'a' of members has positions from -1 to -1; wanted 0 to 39"),
        ({"a": ([0.5], None)}, r"slice 'a' of members is float64 of shape \(1,\); wanted a mask of 40 zeros and ones"),
        ({"a": ([[1, 2]], None)}, r"slice 'a' of members is int64 of shape \(1, 2\); wanted a mask"),
        ({"a": (3, None)}, r"slice 'a' of members is int64 of shape \(\); wanted a mask"),
        ({"a": ([], None)}, "slice 'a' of members picks no record; wanted at least one on each side"),
        ({"a": (None, np.zeros(60, bool))}, "slice 'a' of non_members picks no record"),
        ({"class 0": (None, None)}, "there is a slice 'class 0' already; give this one another name"),
        ({WHOLE: (None, None)}, "there is a slice 'all records' already"),
    ],
)
def test_masks_that_are_none_are_refused(masks, message):
    with pytest.raises(InputError, match=message):
        audit(records(), by_class=True, masks=masks, **FAST)


# -- files ---------------------------------------------------------------------------------------------------------


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
        ({"report": '{"format": 2}'}, "is a report of format 2; wanted 3: audit its records again"),
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


# -- pages and pictures --------------------------------------------------------------------------------------------


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


@dataclass(frozen=True)
class Hostile(Attack):
    name = HOSTILE
    title = HOSTILE + " $x"

    def tasks(self, records, *, seed):
        return [lambda: (np.arange(len(records)), records.losses)]


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
    with pytest.raises(InputError, match=rf"cannot draw .*{name}; wanted a name that ends in \.png, \.pdf, \.svg"):
        report.plot_roc(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_roc_of_an_unknown_slice_is_refused(report, tmp_path):
    with pytest.raises(InputError, match="on slice 'class 9'"):
        report.plot_roc(tmp_path / "roc.png", slice="class 9")


def test_drawing_leaves_pyplot_alone(report, tmp_path):
    import matplotlib.pyplot as plt

    report.plot_roc(tmp_path / "roc.png")
    assert plt.get_fignums() == []


# -- summaries -----------------------------------------------------------------------------------------------------


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
    assert row.auc["knn"] == Spread(interval.value, (interval.high - interval.low) / 2, 1)
    assert row.tpr_at_fpr["knn"][0].text(1) == "–"
    assert row.tpr_at_fpr["knn"][2].spread > 0
    assert "half the 95 % interval, one repetition" in str(Summary({"real": reports}))


def test_reports_that_say_nothing_of_steps_and_accuracy_are_one_row():
    reports = [audit(records(seed=seed), **FAST) for seed in range(2)]
    (row,) = Summary({"mine": reports}).rows
    assert (row.train_steps, row.n, row.test_accuracy) == (None, 2, None)


def test_spread_in_words():
    assert Spread(0.5, 0.25, 3).text(1, 100) == "50.0 ± 25.0"
    assert Spread(0.5, nan, 1).text(3) == "0.500"
    assert Spread.of([1.0, 2.0, 3.0]) == Spread(2.0, 1.0, 3)


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
    with pytest.raises(InputError, match="there is no arm 'frepo'; wanted one of real, subset"):
        summary.difference("real", "frepo", "knn")
    other = Summary({"a": [audit(records(40, 60), **FAST)], "b": [audit(records(40, 61), **FAST)]})
    with pytest.raises(InputError, match=r"a and b cannot be compared: .*\[\(40, 60\)\] and \[\(40, 61\)\] members"):
        other.difference("a", "b", "knn")
    other = Summary({"a": arm(1.0, seeds=(0, 1), steps=(10,)), "b": arm(1.0, seeds=(0,), steps=(10,))})
    with pytest.raises(InputError, match="wanted the same records, seed by seed"):
        other.difference("a", "b", "knn")


def test_difference_of_an_unknown_attack_is_an_input_error(summary):
    with pytest.raises(InputError, match="rf"):
        summary.difference("real", "subset", "rf")


@pytest.mark.parametrize(
    ("reports", "message"),
    [({}, "there are no reports of any arm"), ({"a": [], "b": []}, "there are no reports of a, b; wanted")],
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


# -- without torch -------------------------------------------------------------------------------------------------

PROGRAM = """
import sys
class NoTorch:
    asked = []
    def find_spec(self, name, *args):
        if name.split(".")[0] in ("torch", "distill", "continual"):
            self.asked.append(name)
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoTorch())
import privacy
assert "matplotlib" not in sys.modules
import numpy as np
generator = np.random.default_rng(0)
sides = [(generator.normal(size=(20, 3)), np.arange(20) % 3) for _ in range(2)]
records = privacy.AttackRecords(members=sides[0], non_members=sides[1])
records = privacy.AttackRecords.load(records.save(sys.argv[1] + "/records.npz"))
report = privacy.audit(records, attacks=["threshold", "lr", "knn"], jobs=1, progress=True)
report.to_html(sys.argv[1] + "/report.html")
privacy.Summary({"mine": [report]}).to_html(sys.argv[1] + "/summary.html")
privacy.AuditReport.load(report.save(sys.argv[1] + "/report.npz"))
assert not NoTorch.asked and not {"torch", "distill", "continual"} & set(sys.modules)
print(report)
"""


def test_all_of_it_works_without_torch_and_distill(tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "threshold" in done.stdout
    assert (tmp_path / "report.html").exists()


def test_command_line_audits_a_file(tmp_path):
    records().save(tmp_path / "records.npz")
    outputs = {"html": "page.html", "json": "figures.json", "roc": "roc.png", "save": "report.npz"}
    options = [word for name, file in outputs.items() for word in (f"--{name}", tmp_path / file)]
    command = [sys.executable, "-m", "privacy", tmp_path / "records.npz", "--attacks", "threshold", "--by-class"]
    root = Path(__file__).parents[2]
    done = subprocess.run([*command, *options], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "class 2: 13 members, 20 non-members" in done.stdout
    Page(tmp_path / "page.html").assert_self_contained()
    assert read(tmp_path / "figures.json")["info"] == {"records": "records.npz"}
    assert AuditReport.load(tmp_path / "report.npz").result("threshold").members == 40
    assert (tmp_path / "roc.png").exists()
    (tmp_path / "records.npz").write_bytes(b"")
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "records.npz is damaged" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--save", "records.npz"], "--save records.npz would overwrite the records; give it another name"),
        (["--html", "a", "--json", "a"], "--json a would overwrite --html; give it another name"),
        (["--roc", "roc.gif", "--save", "kept.npz"], "--roc roc.gif is not a picture; wanted a name that ends in .png"),
        (["--html", "."], "--html . is a folder; wanted the name of a file"),
    ],
)
def test_outputs_are_checked_before_the_audit(tmp_path, monkeypatch, capsys, options, message):
    from privacy.__main__ import main

    monkeypatch.chdir(tmp_path)
    records().save("records.npz")
    before = Path("records.npz").read_bytes()
    assert main(["records.npz", "--attacks", "threshold", *options]) == 2
    assert message in capsys.readouterr().err
    assert Path("records.npz").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["records.npz"]


def test_reports_with_any_names_of_attacks_are_read_back(tmp_path):
    class Slash(Hostile):
        name, title = "threshold/0", "another"

    found = audit(records(), attacks=["threshold", Slash()], jobs=1)
    loaded = AuditReport.load(found.save(tmp_path / "report.npz"))
    assert loaded.to_dict() == found.to_dict()


@pytest.mark.parametrize("info", [{"test_accuracy": 91.2}, {"test_accuracy": "91 %"}, {"train_steps": "100"}])
def test_accuracies_and_steps_that_are_none_are_refused(info):
    with pytest.raises(InputError, match=f"a report of 'mine' has {next(iter(info))} .*; wanted a"):
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

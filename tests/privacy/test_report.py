"""What an audit reports: results, words, exposed members, slices."""

import re
from itertools import pairwise

import numpy as np
import pytest

from audits import FAST, WHOLE, Page, area, records, sides
from privacy import (
    AttackRecords,
    AuditReport,
    InputError,
    auc_interval,
    auc_of,
    audit,
    roc_of,
    tpr_interval,
)

# -- results ---------------------------------------------------------------------------------------------------------


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
        (9, "with 9 non-members an FPR of 0.1 % or 1 % or 10 % cannot be estimated"),
        (10, "with 10 non-members an FPR of 0.1 % or 1 % cannot be estimated"),
        (999, "with 999 non-members an FPR of 0.1 % cannot be estimated"),
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
    assert "cannot be estimated" not in whole
    assert "with fewer than 6 members or non-members, confidence intervals are unreliable" in part
    assert "with 50 non-members an FPR of 0.1 % or 1 % cannot be estimated" in part


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
        (np.zeros((39, 4, 4), np.uint8), r"images have shape \(39, 4, 4\); expected one for each of the 40 members"),
        (np.zeros((40, 4), np.uint8), r"images have shape \(40, 4\)"),
        (np.zeros((40, 4, 4, 2), np.uint8), r"images have shape \(40, 4, 4, 2\)"),
        (np.full((40, 4, 4), 1.5), "images contain values from 1.5 to 1.5; expected floats from 0 to 1"),
        (np.full((40, 4, 4), 300), "images are int64 from 300 to 300; expected integers 0 to 255"),
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


# -- slices ----------------------------------------------------------------------------------------------------------


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
        "skipped, because they have no members or no non-members: class 1 (no non-members), "
        "class 2 (no members and no non-members), "
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
        ({"a": (np.ones(39, bool), None)}, r"slice 'a' of members is a mask of shape \(39,\); expected \(40,\)"),
        ({"a": (None, np.ones((60, 1), bool))}, r"'a' of non_members is a mask of shape \(60, 1\); expected \(60,\)"),
        ({"a": (None, [0, 60])}, "slice 'a' of non_members has positions from 0 to 60; expected 0 to 59"),
        ({"a": ([-1], None)}, "slice 'a' of members has positions from -1 to -1; expected 0 to 39"),
        ({"a": ([0.5], None)}, r"slice 'a' of members is float64 of shape \(1,\); expected a mask of 40 zeros and"),
        ({"a": ([[1, 2]], None)}, r"slice 'a' of members is int64 of shape \(1, 2\); expected a mask"),
        ({"a": (3, None)}, r"slice 'a' of members is int64 of shape \(\); expected a mask"),
        ({"a": ([], None)}, "slice 'a' of members selects no records; expected at least one member and"),
        ({"a": (None, np.zeros(60, bool))}, "slice 'a' of non_members selects no records"),
        ({"class 0": (None, None)}, "there is a slice 'class 0' already; give this one another name"),
        ({WHOLE: (None, None)}, "there is a slice 'all records' already"),
    ],
)
def test_masks_that_are_none_are_refused(masks, message):
    with pytest.raises(InputError, match=message):
        audit(records(), by_class=True, masks=masks, **FAST)


def test_the_share_found_at_another_rate_is_refused(report):
    with pytest.raises(InputError, match=r"fpr is 0.5; expected one of 0.001, 0.01, 0.1"):
        report.result("threshold").tpr(0.5)


@pytest.mark.parametrize("shape", [(40, 0, 8), (40, 8, 0, 3)])
def test_images_without_pixels_are_refused(shape):
    with pytest.raises(InputError, match="so no pixels; expected at least one"):
        audit(records(), **{**FAST, "images": np.zeros(shape, np.uint8)})

"""What the membership-inference benchmark reads from its results."""


import numpy as np
import pytest

from benchmarks.studies.membership import report
from benchmarks.studies.membership.worst_case import WorstCase
from benchmarks.studies.membership.worst_case_report import worst_case_tables, worst_case_words
from membership_runs import OTHER_ARMS
from privacy import AttackRecords, AuditReport, CanaryReport, Interval, Summary, audit, canary_report


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.2, -0.1, "lower for rf"), (0.1, 0.2, "higher for rf"), (-0.1, 0.1, "the two are not distinguished")],
)
def test_difference_is_read_by_its_interval(low, high, verdict):
    (text,) = report.told_apart({"frepo": {"rf": Interval((low + high) / 2, low, high)}})
    assert verdict in text


@pytest.mark.parametrize(
    ("dataset", "members", "per_class", "shown"),
    [
        ("fmnist", 10_000, 50, True),
        ("fmnist", 5000, 50, False),
        ("mnist", 10_000, 10, False),
        ("digits", 10_000, 50, False),
    ],
)
def test_published_figures_are_shown_for_their_sizes_only(dataset, members, per_class, shown):
    options = {"dataset": dataset, "members": members, "images_per_class": per_class, "arms": ["real", "frepo"]}
    text = report.published(options)
    assert ("87.6" in text) == shown
    assert "81.1" not in text  # the subset was not asked for


def test_all_arms_of_the_paper_that_were_asked_for_are_shown():
    options = {"dataset": "mnist", "members": 10_000, "images_per_class": 50}
    text = report.published(options | {"arms": ["real", "subset", "frepo", "herding", "dm", "dsa"]})
    rows = [line.split() for line in text.splitlines()[2:]]
    shown = [row[0] for row in rows if row[0] in ("real", "subset", "frepo", *OTHER_ARMS)]
    assert shown == ["real", "subset", "frepo", "dm", "dsa"]
    assert ["frepo", "98.5", "0.52", "0.51", "0.53", "0.52", "0.51"] in rows  # Zhou et al. 2022, tables 4 and 6
    assert report.published(options | {"arms": ["herding"]}) == ""


def crafted(shift: float, *, training_images: int, records: int = 200) -> AuditReport:
    """A report of the threshold attack on members whose losses are lower than the non-members' by `shift`."""
    generator = np.random.default_rng(0)
    outputs, labels, losses = np.zeros((records, 2)), np.arange(records) % 2, generator.normal(10, 1, (2, records))
    sides = {"members": (outputs, labels, losses[0] - shift), "non_members": (outputs, labels, losses[1])}
    info = {"training_images": training_images, "train_steps": 1, "member_set": 0, "test_accuracy": 0.5}
    return audit(AttackRecords(**sides), attacks="threshold", info=info)


def test_differences_to_both_sides_are_told_apart():
    below, above, around = Interval(-0.2, -0.3, -0.1), Interval(0.2, 0.1, 0.3), Interval(0.0, -0.1, 0.1)
    intervals = {"threshold": below, "lr": around, "mlp": above, "rf": below}
    (text,) = report.told_apart({"frepo": intervals})
    assert text.startswith("frepo, AUC minus that of the random subset")
    assert "threshold -0.200 [-0.300, -0.100], lr +0.000 [-0.100, +0.100], mlp +0.200" in text
    assert text.endswith("widened for 4 comparisons, it is lower for threshold, rf and higher for mlp.")


def test_crafted_reports_are_told_apart_by_the_side_they_are_on(monkeypatch, tmp_path):
    summary = Summary({
        "subset": [crafted(0.0, training_images=20)],
        "subset, initial members": [crafted(3.0, training_images=20)],
        "frepo": [crafted(0.0, training_images=20)],
        "frepo, initial members": [crafted(0.3, training_images=20)],
    })
    monkeypatch.setattr(report, "initial_members", lambda folder, arm, seeds: [[1, 2]])
    differences = report.arm_differences(summary, {"arms": ["subset", "frepo"], "seeds": [0]}, tmp_path)
    over_all, initial = report.told_apart(differences)
    assert over_all.endswith("neither lower nor higher for any attack: the two are not distinguished.")
    assert initial.endswith("Beyond the interval, widened for 2 comparisons, it is lower for threshold.")
    assert "threshold 0.9" in report.above_guessing(summary, "subset, initial members", comparisons=10)
    assert report.above_guessing(summary, "frepo", comparisons=10).endswith("by no attack.")
    monkeypatch.setattr(report, "initial_members", lambda folder, arm, seeds: [[len(arm)]])  # other images each
    assert list(report.arm_differences(summary, {"arms": ["subset", "frepo"], "seeds": [0]}, tmp_path)) == ["frepo"]


def test_ceiling_is_said_of_few_training_images_alone():
    options = {"members": 10_000, "frepo": {"init": "real"}}
    real, subset = crafted(1.0, training_images=10_000), crafted(0.0, training_images=500)
    (text,) = report.reading({"real": [real], "subset": [subset], "frepo": [subset]}, options)
    assert text.startswith("Ceiling: 500 of 10000 members")
    assert "would be 0.525" in text
    assert report.reading({"real": [real]}, options) == []


def test_no_ceiling_is_said_where_no_member_is_an_initial_one():
    options = {"members": 10_000, "frepo": {"init": "noise"}}
    real, frepo = crafted(1.0, training_images=10_000), crafted(0.0, training_images=500)
    (text,) = report.reading({"real": [real], "frepo": [frepo]}, options)
    assert text == "frepo started from noise: no member is an initial one."


def test_no_ceiling_is_said_of_private_arms():
    options = {"members": 10_000, "frepo": {"init": "real"}, "ndpdc-2": {"init": "clusters", "epsilon": 2.0}}
    frepo, private = crafted(0.0, training_images=500), crafted(0.0, training_images=100)
    ceiling, other = report.reading({"frepo": [frepo], "ndpdc-2": [private]}, options)
    assert ceiling.startswith("Ceiling: 500 of 10000 members")
    assert other == "ndpdc-2 started from no member's image: no member is an initial one."


def canaries(count: int, *, delta: float = 1e-5) -> CanaryReport:
    """Of which an attack finds all; every other one is held out."""
    planted = np.arange(count) % 2 == 0
    return canary_report(planted.astype(float), planted, delta=delta)


OPTIONS = {"references": 0, "canaries": 400, "audit_set": False}


def test_bounds_are_shown_with_their_delta_and_each_with_its_confidence():
    cases = [WorstCase("real", 0, canaries=canaries(400)), WorstCase("ndpdc", 0, canaries=canaries(400), proven=8.0)]
    (table,) = worst_case_tables(cases)
    bound = f"{cases[0].canaries.epsilon.epsilon:.2f}"
    assert table[0][-2:] == ["epsilon at least (delta 1e-05)", "proven at most"]
    assert [row[-2:] for row in table[1:]] == [[bound, "no proof"], [bound, "8.00"]]
    assert [row[3] for row in table[1:]] == ["0 of 200"] * 2
    tried, shown, _ = worst_case_words(cases, OPTIONS, ["threshold"])
    assert tried == "Tried: threshold on the networks trained on each arm; 400 mislabelled canaries."
    assert shown == f"Lower bounds on epsilon above 0, each with 95 % confidence: real {bound}, ndpdc {bound}."


def test_unlike_deltas_are_in_the_cells():
    cases = [WorstCase("real", 0, canaries=canaries(400)), WorstCase("ndpdc", 0, canaries=canaries(400, delta=1e-3))]
    (table,) = worst_case_tables(cases)
    assert table[0][-2] == "epsilon at least"
    assert [row[-2].partition(" ")[2] for row in table[1:]] == ["(delta 1e-05)", "(delta 0.001)"]


def test_rates_that_few_canaries_cannot_tell_are_left_open_with_a_note():
    cases = [WorstCase("real", 0, canaries=canaries(198))]
    (table,) = worst_case_tables(cases)
    assert table[1][2:4] == ["–", "–"]
    *_, note, _ = worst_case_words(cases, OPTIONS, ["threshold"])
    assert note == (
        "Canaries found at 1 % false positives (–) cannot be told from 99 held out; at least 100 are needed: use more, "
        "such as --canaries 400."
    )

"""The benchmark of private methods: its points, which epsilon they prove, and DP-SGD along a stream."""

import pytest
from PIL import Image

from benchmarks.studies.private.options import PrivateOptions
from benchmarks.studies.private.report import summarize
from distill.files import read_json
from programs import in_this_process

TINY = [
    "--dataset", "digits", "--images-per-class", "2", "--width", "4", "--networks", "2", "--train-steps", "3",
    "--train-warmup-steps", "1", "--train-steps-per-image", "0", "--private-steps", "2", "--private-pool-size", "2",
    "--private-batch-size", "2000", "--ndpdc-steps", "2", "--ndpdc-batch-size", "2000",
]  # fmt: skip
SGD = ("--sgd-steps", 2, "--sgd-batch-size", 2000)  # all records: noise that is calibrated once serves everywhere
FREPO = ("--frepo-steps", 2, "--frepo-pool-size", 2)


@pytest.fixture(scope="module")
def command():
    """The program in this process: its arguments after `TINY` to its exit code."""
    yield from in_this_process(PrivateOptions, TINY)


@pytest.fixture(scope="module")
def done(command, tmp_path_factory):
    """The folder of a run with all methods at once, with and without noise."""
    folder = tmp_path_factory.mktemp("private") / "run"
    assert command("--output", folder, "--epsilon", 2, "inf", *SGD, *FREPO) == 0
    return folder


def points_of(folder):
    return {(point["method"], point["asked"]): point for point in read_json(folder / "results.json")["points"]}


def test_every_method_keeps_to_its_budget_and_says_what_it_proves(done):
    points = points_of(done)
    finite = {method for method, asked in points if asked == "2"}
    assert finite == {"private-frepo", "ndpdc", "noisy-means", "dp-sgd"}
    for method in finite:
        assert 1.98 < points[method, "2"]["epsilon"] <= 2
        assert points[method, "2"]["delta"] == 1e-5
        assert len(points[method, "2"]["accuracy"]) == (1 if method == "dp-sgd" else 2)
        assert points[method, "2"]["options"]["epsilon"] == 2
    assert {method for method, asked in points if asked == "inf"} == {"private-frepo", "dp-sgd"}
    assert points["private-frepo", "inf"]["arm"] == "frepo"
    assert points["dp-sgd", "inf"]["options"]["noise_multiplier"] == 0
    assert points["dp-sgd", "inf"]["epsilon"] is None  # infinite, which JSON has not
    table = (done / "table.txt").read_text()
    assert "dp-sgd trains one network on the records for each seed; it leaves no set." in table
    assert "inf: no noise; private-frepo is plain FRePo there" in table
    assert table.count("  -  ") == 2
    with Image.open(done / "epsilon.png") as picture:
        picture.verify()


def test_resumed_run_may_have_other_budgets_methods_and_seeds_but_no_other_options(command, done, capsys):
    kept = {path: path.stat().st_mtime_ns for path in done.rglob("point.json")}
    before = points_of(done)
    more = ("--output", done, "--resume", "--method", "dp-sgd", "noisy-means", "--epsilon", 2, "--seeds", 0, 1)
    assert command(*more, *SGD) == 0
    after = read_json(done / "results.json")["points"]
    assert [(point["method"], point["order"]) for point in after] == [
        ("dp-sgd", 0), ("noisy-means", 0), ("dp-sgd", 1), ("noisy-means", 1)
    ]  # fmt: skip
    assert after[0] == before["dp-sgd", "2"]
    assert after[2]["accuracy"] != after[0]["accuracy"]
    assert all(path.stat().st_mtime_ns == time for path, time in kept.items())
    assert command(*more, *SGD, "--delta", 1e-4) == 2
    assert "holds a run with other options (delta was 1e-05, now 0.0001)" in capsys.readouterr().err
    assert command(*more, "--sgd-steps", 4, "--sgd-batch-size", 2000) == 2
    assert "other options" in capsys.readouterr().err


def test_steps_compose_in_parallel_and_joint_training_is_that_of_all_classes_at_once(command, done, tmp_path):
    folder = tmp_path / "run"
    asked = ("--steps", 5, "--epsilon", 2, "--method", "noisy-means", "dp-sgd", "dp-sgd-joint")
    assert command("--output", folder, *asked, *SGD) == 0
    points = points_of(folder)
    for method in ("noisy-means", "dp-sgd", "dp-sgd-joint"):
        assert 1.98 < points[method, "2"]["epsilon"] <= 2
        assert len(points[method, "2"]["accuracy_by_step"][0]) == 5
    at_once = read_json(done / "epsilon-2" / "dp-sgd" / "seed-0" / "point.json")
    assert points["dp-sgd-joint", "2"]["accuracy"] == at_once["accuracy"]
    assert points["dp-sgd", "2"]["accuracy"] != points["dp-sgd-joint", "2"]["accuracy"]
    table = (folder / "table.txt").read_text()
    assert "dp-sgd-joint has the records of all steps at once, which no stream allows." in table
    assert "Steps hold disjoint records: epsilon is that of a step, and of the whole stream." in table


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--epsilon", 0), "--epsilon is 0; expected different numbers above 0, or inf"),
        (("--epsilon", 1, 1), "--epsilon is 1 1; expected different numbers"),
        (("--method", "dp-sgd-joint"), "--method dp-sgd-joint is dp-sgd where all classes come at once"),
        (("--method", "ndpdc", "--sgd-steps", 3), "--sgd-steps was given, but no --method is dp-sgd"),
        (("--fit-preprocessing", "first"), "--fit-preprocessing has no effect"),
        (("--epsilon", 1, "--frepo-pool-size", 2), "--frepo-pool-size was given, but --epsilon has no inf"),
        (("--method", "frepo"), "--method is 'frepo'; expected one of private-frepo, ndpdc"),
        (("--delta", 2), "delta is 2.0; expected less than 1"),
        (("--sgd-clip", 0), "clip is 0.0; expected more than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(command, tmp_path, capsys, options, said):
    assert command("--output", tmp_path / "run", *options) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_mean_and_spread_are_over_seeds_and_networks():
    records = [
        {"method": "ndpdc", "asked": "1", "order": seed, "epsilon": 0.99, "accuracy": [seed / 10, seed / 10 + 0.2],
         "seconds": {"distil": 3.0, "train": seed}}
        for seed in (1, 3)
    ]  # fmt: skip
    point = summarize(records)["ndpdc"]["1"]
    assert point["mean"] == pytest.approx(0.3)
    assert point["n"] == 4
    assert point["seconds"] == 5

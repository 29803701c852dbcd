"""What the membership-inference benchmark refuses, and what it says of it."""


import numpy as np
import pytest

from benchmarks.harness.command_line import parse
from benchmarks.studies.membership.options import MembershipOptions
from benchmarks.studies.membership.study import Membership
from membership_runs import SMALL
from privacy.tf_privacy import check_official

REFUSED = {
    "unknown arm": (["--arms", "frepos"], "unknown arms frepos; expected some of real, subset, frepo"),
    "no arm": (["--arms", ","], "--arms names none"),
    "unknown data set": (["--dataset", "fmnits"], "did you mean"),
    "a class that a member set lacks": (["--members", "8"], "has no image of class"),
    "more members than half": (["--members", "900"], "--members is 900, but digits has only 1347 training images"),
    "too few members": (["--members", "5"], "--members is 5, too few to attack; expected 6 to 673"),
    "no members": (["--members", "0"], "--members is 0; expected at least 1"),
    "member set that is not there": (["--seeds", "13"], "only 13 disjoint member sets of 100 (seeds 0 to 12)"),
    "negative seed": (["--seeds", "-1"], "--seeds are -1; expected different numbers from 0"),
    "seed twice": (["--seeds", "0", "0"], "--seeds are 0 0; expected different"),
    "images of no arm": (["--arms", "real", "--images-per-class", "3"], "the one arm, real, has all members"),
    "budget of no arm": (["--epsilon", "2"], "--epsilon was given, but no arm is private"),
    "no budget": (["--arms", "ndpdc", "--epsilon", "0"], "--epsilon is 0; expected numbers above 0"),
    "noise in place of budgets": (["--arms", "private-frepo", "--private-noise-multiplier", "2"], "noise-multiplier"),
    "odd references": (["--references", "3"], "--references is 3; expected an even number"),
    "attack without references": (["--attacks", "lira"], "the attacks lira need references; add --references 16"),
    "attacks with references alone": (["--attacks", "lira", "--references", "2"], "add threshold"),
    "references for no attack": (["--attacks", "threshold", "--references", "2"], "uses them; add lira, for example"),
    "budgets that print alike": (["--arms", "ndpdc", "--epsilon", "1", "1.0000001"], "expected different numbers"),
    "one canary": (["--canaries", "1"], "--canaries is 1; expected 0, or at least 2"),
    "canaries of nothing": (["--members", "600", "--canaries", "200"], "only 147 training images are neither members"),
    "audit of no set": (["--arms", "real", "--audit-set"], "the one arm, real, has no set"),
    "no steps": (["--train-steps", "0"], "--train-steps are 0; expected at least 1"),
    "no jobs": (["--jobs", "0"], "--jobs is 0; expected at least 1"),
    "unknown backend": (["--backend", "abacus"], "--backend abacus is not available; expected loky, dask, ray"),
    "no device": (["--device", "tpu"], "--device is 'tpu', which torch does not know; expected cpu, cuda or mps"),
    "bad option of a distiller": (["--frepo-learning-rate", "0"], "--frepo-learning-rate is 0.0; "),
    "bad option of the recipe": (["--train-learning-rate", "-1"], "--train-learning-rate is -1.0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_ends_in_one_line_and_nothing_is_written(command, tmp_path, capsys, case):
    options, message = REFUSED[case]
    assert command("--output", tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_data_of_a_single_class_is_refused_before_any_work(command, tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    labels = np.zeros(40, np.int64)
    np.savez(tmp_path / "one.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert command("--dataset", tmp_path / "one.npz", "--members", 20, "--output", tmp_path / "run") == 2
    assert "has a single class; membership inference needs at least 2" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_engine_that_is_not_installed_is_refused_before_any_work(command, tmp_path, capsys):
    try:
        check_official()
    except ValueError:
        assert command("--output", tmp_path / "run", "--engine", "tf-privacy") == 2
        assert "the engine tf-privacy cannot run here" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
    else:
        pytest.skip("it is installed here")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frepo-steps", 7], "frepo.steps was 6, now 7"),
        (["--seeds", 1], "seeds was [0], now [1]"),
        (["--attacks", "knn"], "attacks was ['threshold'], now ['knn']"),
        (["--arms", "subset"], "arms was ['subset', 'frepo'], now ['subset']"),
        (["--train-steps", 6], "train_steps was [3, 6], now [6]"),
        (["--members", 101], "members was 100, now 101"),
        (["--train-batch-size", 8], "train.batch_size was 16, now 8"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_going_on_with_other_options_is_refused(command, small, capsys, options, message):
    before = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    assert command("--output", small, *SMALL, "--resume", *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert {path: path.read_bytes() for path in small.rglob("*") if path.is_file()} == before


def test_training_that_diverges_ends_in_an_error_and_leaves_no_records(command, tmp_path, capsys):
    assert command("--output", tmp_path, "--arms", "real", "--train-learning-rate", "1e30") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: members outputs contain NaN or infinite values")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["options.json"]


@pytest.mark.usefixtures("no_pictures")
def test_damaged_report_is_named(command, tmp_path, capsys):
    assert command("--output", tmp_path, "--arms", "subset", "--attacks", "threshold") == 0
    damaged = tmp_path / "subset" / "members-0" / "all-6.npz"
    damaged.write_bytes(b"nothing")
    assert command("--output", tmp_path, "--arms", "subset", "--attacks", "threshold", "--resume") == 2
    assert str(damaged) in capsys.readouterr().err


def test_more_images_than_a_class_has_are_as_many_as_there_are_with_a_warning(tmp_path):
    options = parse(MembershipOptions, [
        "--dataset", "digits", "--members", "100", "--images-per-class", "70", "--output", str(tmp_path),
    ])
    with pytest.warns(UserWarning, match="--images-per-class is 70, but 10 classes of member set 0 have fewer"):
        Membership(options)

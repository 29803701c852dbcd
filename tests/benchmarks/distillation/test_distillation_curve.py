"""`--curve`: accuracy against seconds of distilling, from one run."""

import pytest
import torch
from PIL import Image

from distill import FRePo, SyntheticSet
from distill.files import read_json
from distillation_runs import assert_refused
from killed import stopped_after

STEPS = 32
OPTIONS = ["--curve", "--method", "frepo", "random", "--frepo-steps", STEPS, "--frepo-batch-size", 16]


@pytest.fixture(scope="module", autouse=True)
def no_pictures():
    """Pictures of sets take longer than all else here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmarks.studies.distillation.study.pictures", lambda *_: None)
        yield


@pytest.fixture(scope="module")
def with_curve(command, tmp_path_factory):
    """The folder of a run with a curve, of two seeds."""
    folder = tmp_path_factory.mktemp("curve") / "run"
    assert command("--output", folder, *OPTIONS, "--seeds", 0, 1) == 0
    return folder


@pytest.mark.slow
def test_networks_are_trained_on_the_sets_of_parts_of_the_steps(with_curve):
    curve = read_json(with_curve / "results.json")["curve"]
    assert len(curve["networks"]) == 2 * 2 * 5
    for seed in (0, 1):
        own = [record for record in curve["networks"] if record["seed"] == seed and record["index"] == 0]
        assert [record["step"] for record in own] == [2, 4, 8, 16, 32]
        assert [record["share"] for record in own] == [1 / 16, 1 / 8, 1 / 4, 1 / 2, 1]
        seconds = [record["seconds"] for record in own]
        assert seconds == sorted(seconds)
        whole = read_json(with_curve / "frepo" / f"seed-{seed}" / "distilled.json")["seconds"]
        assert 0 < seconds[0] < seconds[-1] <= whole
    assert {record["row"] for record in curve["networks"]} == {"frepo"}
    assert {cell["n"] for cell in curve["summary"]} == {4}


def test_the_last_point_is_the_result_of_the_run(with_curve):
    results = read_json(with_curve / "results.json")
    last = [cell for cell in results["curve"]["summary"] if cell["share"] == 1]
    (row,) = [cell for cell in results["summary"] if cell["row"] == "frepo"]
    assert [(cell["mean"], cell["std"]) for cell in last] == [(row["mean"], row["std"])]
    table = (with_curve / "table.txt").read_text()
    line = next(line for line in table[table.index("after seconds of distilling") :].splitlines() if "frepo" in line)
    assert line.count(" s)") == 5
    with Image.open(with_curve / "accuracy-against-seconds.png") as opened:
        opened.verify()


def test_the_sets_of_the_curve_are_those_of_the_distillation_on_its_way(with_curve, command, tmp_path):
    kept = sorted((with_curve / "frepo" / "seed-0" / "curve").glob("*.safetensors"))
    assert [int(path.stem) for path in kept] == [2, 4, 8, 16]
    assert command("--output", tmp_path, *OPTIONS[1:]) == 0  # without --curve
    assert not (tmp_path / "frepo" / "seed-0" / "curve").exists()
    assert "curve" not in read_json(tmp_path / "results.json")
    one, other = (SyntheticSet.load(folder / "frepo" / "seed-0" / "synthetic.safetensors")
                  for folder in (with_curve, tmp_path))  # fmt: skip
    assert torch.equal(one.images, other.images)
    distances = [float((SyntheticSet.load(path).images - one.images).norm()) for path in kept]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] > 0


@pytest.mark.slow
def test_a_stopped_run_has_the_curve_of_an_undisturbed_one(with_curve, command, tmp_path, monkeypatch):
    with stopped_after(10, FRePo, monkeypatch):
        assert command("--output", tmp_path / "run", *OPTIONS, "--seeds", 0, 1) == 130
    assert command("--output", tmp_path / "run", *OPTIONS, "--seeds", 0, 1, "--resume") == 0
    found, wanted = (
        [{**record, "seconds": 0} for record in read_json(folder / "results.json")["curve"]["networks"]]
        for folder in (tmp_path / "run", with_curve)
    )
    assert found == wanted
    trained: list[object] = []
    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.studies.distillation.sets.evaluated", lambda *given: trained.append(given))
        assert command("--output", tmp_path / "run", *OPTIONS, "--seeds", 0, 1, "--resume") == 0
    assert not trained


def test_with_seconds_experts_come_before_the_first_step(command, tmp_path, monkeypatch):
    """40 s for experts that take 12 and steps of half a second: 56 steps, of which a half is over after 16."""
    monkeypatch.setattr("benchmarks.studies.distillation.equal_time.seconds_per_step", lambda *_: 0.5)
    times = iter([0.0, 12.0])
    real = __import__("time").perf_counter
    monkeypatch.setattr("benchmarks.studies.distillation.equal_time.time.perf_counter", lambda: next(times, real()))
    options = ["--output", tmp_path, "--method", "mtt", "--curve", "--seconds", 40, "--networks", 1]
    assert command(*options, "--images-per-class", 1) == 0
    cells = read_json(tmp_path / "results.json")["curve"]["summary"]
    assert [(cell["share"], cell["step"]) for cell in cells] == [(1 / 2, 16), (1, 56)]
    assert all(12 < cell["seconds"] < 40 for cell in cells)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "random", "herding"], "--curve was given, but --method random herding learns no images"),
        (["--set", "some.safetensors"], "--set evaluates saved sets only; it cannot be combined with --curve"),
    ],
)
def test_curves_of_nothing_that_is_learned_are_refused(command, tmp_path, capsys, options, said):
    assert_refused(capsys, command("--output", tmp_path / "run", "--curve", *options), said)

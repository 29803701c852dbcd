"""`--budget` of the distillation benchmark."""

import time
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from benchmarks.harness.rehearsal import Timed
from benchmarks.studies.distillation.budget import Rehearsal
from benchmarks.studies.distillation.options import DistillationOptions
from distill.files import read_json
from distillation_runs import assert_refused
from expected_seconds import assert_takes_what_is_expected
from programs import Command, in_this_process

TINY = [
    "--dataset", "digits", "--images-per-class", "2", "--networks", "1", "--frepo-pool-size", "2",
    "--frepo-batch-size", "64", "--herding-steps", "3", "--train-warmup-steps", "2",
]  # fmt: skip


@pytest.fixture(scope="module")
def unbound() -> Iterator[Command]:
    """The program in this process, none of its numbers of steps given."""
    yield from in_this_process(DistillationOptions, TINY)


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch, request):
    """Pictures of sets take longer than all else, where nothing is timed."""
    if "slow" not in request.keywords:
        monkeypatch.setattr("benchmarks.studies.distillation.study.pictures", lambda *_: None)


@pytest.mark.slow
def test_a_run_has_the_options_that_its_budget_chose_and_resumes_with_them(unbound, tmp_path, monkeypatch, capsys):
    step = [10.0]
    monkeypatch.setattr(Rehearsal, "distilling", lambda *_: Timed(0.1, step[0]))
    monkeypatch.setattr(Rehearsal, "evaluating", lambda *_: Timed(0.1, 0.01))
    monkeypatch.setattr(Rehearsal, "drawing", 0.1)
    options = ["--output", tmp_path / "run", "--budget", "15m", "--method", "frepo", "random", "--width", 4]
    assert unbound(*options) == 0
    record = read_json(tmp_path / "run" / "options.json")
    steps = record["rows"]["frepo"]["steps"]
    assert 80 <= steps <= 85  # 0.95 * 900 / 10
    assert record["columns"]["conv:none"]["width"] == 4  # typed
    assert record["chosen"]["options"]["frepo"]["steps"] == steps
    out = capsys.readouterr().out
    assert out.startswith(f"budget 15m: width 4, {steps} steps of frepo in a distillation, batches of 64, ")
    assert out.count(record["chosen"]["words"]) == 2  # before the work and in the table
    assert int(next(line for line in out.splitlines() if line.startswith("frepo ")).split()[2]) == steps
    step[0] = 5.0
    assert unbound(*options, "--resume") == 0
    assert read_json(tmp_path / "run" / "options.json") == record


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--seconds", 3], "--budget chooses the steps of all methods, and so does not go with --seconds"),
        (["--sweep", "frepo-pool-size", 1, 2], "--budget chooses .* does not go with --sweep"),
        (["--set", "some.safetensors"], "--set evaluates saved sets only; it cannot be combined with --budget"),
        (["--preset", "paper"], "--budget chooses what --preset paper fixes"),
    ],
)
def test_what_a_budget_does_not_go_with_is_refused_in_a_line(unbound, tmp_path, capsys, options, said):
    assert_refused(capsys, unbound("--output", tmp_path / "run", "--budget", "1h", *options), said)


@pytest.mark.slow
def test_a_run_takes_what_it_is_expected_to(unbound, tmp_path, monkeypatch):
    """In seconds of one thread of this process, whatever else the machine does meanwhile."""
    processor = SimpleNamespace(perf_counter=time.process_time, monotonic=time.process_time)
    for module in ("harness.rehearsal", "harness.experiment", "harness.cost", "studies.distillation.study"):
        monkeypatch.setattr(f"benchmarks.{module}.time", processor)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    options = ["--method", "frepo", "random", "herding", "--budget", "25s", "--width", 16, "--networks", 2]
    assert_takes_what_is_expected(lambda folder: unbound("--output", folder, *options, "--curve"), tmp_path, budget=25)
    torch.set_num_threads(before)

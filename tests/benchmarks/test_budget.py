"""`--budget`: durations, the rule, and the class-incremental benchmark that runs by it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.harness.budget import AIM, RUNGS, Rung, choose, duration, in_words
from benchmarks.harness.rehearsal import Timed, makespan, steady
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions
from benchmarks.studies.class_incremental.rehearsal import Rehearsal
from distill import FRePo, Identity, InputError, PreprocessedImages, Random, SyntheticSet
from distill.files import read_json
from expected_seconds import assert_takes_what_is_expected
from programs import Command, in_this_process

TINY = [
    "--dataset", "digits", "--steps", "2", "--images-per-class", "2", "--networks", "1", "--width", "4",
    "--frepo-pool-size", "2", "--frepo-history-points", "2", "--herding-steps", "3", "--train-warmup-steps", "2",
    "--dm-history-points", "2",
]  # fmt: skip
LADDER = (
    Rung(width=32, train_width=32, batch_size=256, updates=1, steps=10),
    Rung(width=32, train_width=32, batch_size=256, updates=2, steps=20),
    Rung(width=64, train_width=64, batch_size=512, updates=2, steps=20),
    Rung(width=128, train_width=128, batch_size=512, updates=4, steps=100),
)


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    """The program in this process: its arguments after `TINY` to its exit code."""
    yield from in_this_process(ClassIncrementalOptions, TINY)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400), ("1.5h", 5400), ("2m5s", 125), (" 1H ", 3600)],
)
def test_durations_are_read_as_people_write_them(text, seconds):
    assert duration(text, flag="--budget") == seconds
    assert duration(in_words(seconds), flag="--budget") == seconds


@pytest.mark.parametrize("text", ["", "30", "m", "half an hour", "0m", "30m1h", "-5m", "1h 30m x"])
def test_other_durations_are_refused(text):
    with pytest.raises(InputError, match=r"--budget is '.*'; expected a duration such as 90s, 30m, 2h or 1h30m"):
        duration(text, flag="--budget")


# -- the rule ----------------------------------------------------------------------------------------------------------


@dataclass
class Linear:
    """A plan of ten distillations and ten trainings; everything takes longer in proportion to the width."""

    rung: Rung
    learns: bool = True
    trains: bool = True

    def least(self, rung: Rung) -> float:
        return rung.steps * self.rung.width / 32 if self.learns else 0.0

    def seconds(self, *, each: float, updates: float) -> float:
        return 10 * each + 10 * updates * self.rung.width / 32

    def options(self, *, each: float, updates: float) -> dict:
        return {"frepo": {"steps": int(each / (self.rung.width / 32))}, "train": {"updates": updates}}

    def described(self, options: dict) -> str:
        return f"{options['frepo']['steps']} steps"


def chosen(budget: float, timed: list[int] | None = None, **kind: bool):
    def plan(rung: Rung) -> Linear:
        if timed is not None:
            timed.append(rung.width)
        return Linear(rung, **kind)

    return choose(plan, budget=budget, spent=lambda: 5.0, rungs=LADDER)


@pytest.mark.parametrize(("needed", "width", "updates"), [(115, 32, 1), (225, 32, 2), (445, 64, 2), (4165, 128, 4)])
def test_the_last_rung_that_fits_is_taken(needed, width, updates):
    just, too_little = (chosen((needed + 1) / AIM), chosen((needed - 1) / AIM) if needed > 115 else None)
    assert (just.rung["width"], just.rung["updates"]) == (width, updates)
    assert too_little is None or too_little.rung != just.rung


def test_what_is_left_goes_to_steps_and_the_expectation_is_what_the_budget_aims_at():
    choice = chosen(1000.0)
    assert choice.rung["width"] == 64
    assert choice.options["frepo"]["steps"] == int((AIM * 1000 - 5 - 40) / 20)
    assert choice.expected_seconds == pytest.approx(AIM * 1000)
    assert choice.words == "budget 16m40s: 45 steps; expected 15m50s"


def test_without_methods_that_learn_what_is_left_goes_to_updates():
    assert chosen(1000.0, learns=False).options["train"]["updates"] == pytest.approx((AIM * 1000 - 5) / 40)
    fixed = chosen(1000.0, learns=False, trains=False)
    assert fixed.options["train"]["updates"] == 4
    assert fixed.expected_seconds == 5 + 10 * 4 * 4


def test_wider_networks_are_timed_only_where_the_narrower_ones_leave_the_time():
    timed: list[int] = []
    assert chosen(300.0, timed).rung["width"] == 32
    assert timed == [32, 32, 64]
    timed.clear()
    assert chosen(130.0, timed).rung["width"] == 32
    assert timed == [32]


def test_too_small_a_budget_is_refused_with_what_the_least_is():
    with pytest.raises(InputError, match=r"--budget is 1m, but the least sensible run \(10 steps\) takes .* 2m1s here"):
        chosen(60.0)
    assert chosen(121.1).rung["steps"] == 10


def test_timing_by_differences_finds_what_is_fixed_and_what_a_step_takes(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("benchmarks.harness.rehearsal.time.perf_counter", lambda: clock[0])

    def work(steps: int) -> None:
        clock[0] += 3 + 0.25 * steps

    assert steady(work) == Timed(pytest.approx(3), pytest.approx(0.25))
    assert Timed(3, 0.25).steps_in(13) == 40
    assert makespan([4, 4, 4], 2) == 8


def test_the_documentation_has_the_table_of_the_rule():
    lines = (Path(__file__).parents[2] / "docs" / "class_incremental.md").read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("| width of the networks that")) + 2
    told = [[float(cell) for cell in line.strip("| ").split(" | ")] for line in lines[start : start + len(RUNGS)]]
    assert told == [[rung.width, rung.train_width, rung.batch_size, rung.updates, rung.steps] for rung in RUNGS]
    assert not lines[start + len(RUNGS)]


# -- a run -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def slow_machine(monkeypatch):
    """A machine on which a step takes 40 s, and everything else a tenth of a second; times what is in the list."""
    times = [1.0]
    monkeypatch.setattr(Rehearsal, "distilling", lambda *_: Timed(0.1, 40 * times[0]))
    monkeypatch.setattr(Rehearsal, "training", lambda *_: Timed(0.1, 0.01 * times[0]))
    monkeypatch.setattr(Rehearsal, "testing", lambda *_: 0.1)
    monkeypatch.setattr(Rehearsal, "drawing", 0.1)
    return times


def test_a_step_of_many_classes_takes_as_long_as_its_parts(monkeypatch):
    """20 classes, at most 8 at once: three parts of at most 7; methods that choose images take all together."""
    timed: list[int] = []

    def distillation_timed(distiller, data, asked):
        timed.append(len(data.labels.unique()))
        return Timed(1.0, 0.5)

    monkeypatch.setattr("benchmarks.studies.class_incremental.rehearsal.distillation_timed", distillation_timed)
    labels = torch.arange(40) % 20
    data = PreprocessedImages(torch.randn(40, 1, 4, 4), labels, tuple(map(str, range(20))), Identity())
    run = SimpleNamespace(sizes=[20], options=SimpleNamespace(classes_at_once=8, device="cpu"))
    rehearsal = object.__new__(Rehearsal)
    rehearsal.run, rehearsal.train, rehearsal.test, rehearsal._distilled = run, data, data, {}
    rehearsal.benchmark = SimpleNamespace(classes_order=list(range(20)))
    assert rehearsal.distilling(FRePo(), 1, 20) == Timed(3.0, 1.5)
    assert rehearsal.distilling(Random(), 1, 20) == Timed(1.0, 0.5)
    assert timed == [7, 20]


@pytest.mark.slow
def test_a_run_has_the_options_that_its_budget_chose_and_resumes_with_them(command, tmp_path, slow_machine, capsys):
    options = ["--output", tmp_path / "run", "--budget", "75m", "--method", "frepo", "random"]
    assert command(*options) == 0
    out = capsys.readouterr().out
    record = read_json(tmp_path / "run" / "options.json")
    steps = record["frepo"]["steps"]
    assert 51 <= steps <= 53  # (0.95 * 4500) / (2 * 40)
    assert record["budget"] == "1h15m"
    assert record["chosen"]["options"]["frepo"]["steps"] == steps
    assert (record["frepo"]["width"], record["train"]["width"]) == (4, 4)  # typed
    assert out.startswith(f"budget 1h15m: width 4, {steps} steps of frepo in a distillation, batches of 256, ")
    assert "expected 1h1" in out.splitlines()[0]
    assert read_json(tmp_path / "run" / "results.json")["options"] == {
        name: value for name, value in record.items() if name != "versions"
    }
    slow_machine[0] = 2.0
    assert command(*options, "--resume", "--budget", "1.25h") == 0
    assert read_json(tmp_path / "run" / "options.json") == record
    assert command(*options, "--resume", "--budget", "90m") == 2
    assert "budget was '1h15m', now '1h30m'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_killed_before_it_chose_chooses_when_it_is_resumed(command, tmp_path, slow_machine, monkeypatch):
    options = ["--output", tmp_path, "--budget", "2h", "--method", "frepo"]

    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("benchmarks.studies.class_incremental.study.choice_for", stop)
        assert command(*options) == 130
    assert "chosen" not in read_json(tmp_path / "options.json")
    assert command(*options, "--resume") == 0
    record = read_json(tmp_path / "options.json")
    assert record["frepo"]["steps"] == record["chosen"]["options"]["frepo"]["steps"] > RUNGS[0].steps


@pytest.mark.slow
def test_typed_options_win_and_their_time_is_counted(command, tmp_path, slow_machine):
    options = ["--budget", "1h30m", "--method", "frepo", "dm", "--frepo-steps", 3, "--dm-batch-size", 8]
    assert command("--output", tmp_path, *options, "--train-steps", 7, "--equal-bytes", "none") == 0
    record = read_json(tmp_path / "options.json")
    assert record["frepo"]["steps"] == 3
    assert record["train"]["train_steps"] == 7
    assert 58 <= record["dm"]["steps"] <= 61  # (0.95 * 5400 - 2 * 3 * 40) / (2 * 40)
    assert "steps" not in record["chosen"]["options"]["frepo"]


def test_a_budget_that_is_too_small_leaves_the_folder_to_the_corrected_command(command, tmp_path, slow_machine, capsys):
    options = ["--output", tmp_path / "run", "--method", "frepo"]
    assert command(*options, "--budget", "2m") == 2
    error = capsys.readouterr().err.splitlines()[-1]
    least = f"width 4, {RUNGS[0].steps} steps of frepo in a distillation"
    assert error.startswith(f"error: --budget is 2m, but the least sensible run ({least}")
    assert f"takes about {in_words(2 * RUNGS[0].steps * 40 / AIM)[:2]}" in error  # an hour and ten minutes
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--budget", "30"], "--budget is '30'; expected a duration such as 90s, 30m, 2h or 1h30m"),
        (["--budget", "2h", "--preset", "paper"], "--budget chooses what --preset paper fixes; leave one of them out"),
        (["--budget", "2h", "--method", "noisy-means"], "--budget was given with noisy-means, whose steps are part"),
        (["--budget", "2h", "--backend", "dask"], "--budget times this machine, but --backend is dask"),
    ],
)
def test_what_a_budget_does_not_go_with_is_refused_in_a_line(command, tmp_path, capsys, options, said):
    assert command("--output", tmp_path / "run", *options) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def seconds_of_one_thread(monkeypatch):
    """Time is that of this process alone, whatever else the machine does meanwhile."""
    processor = SimpleNamespace(perf_counter=time.process_time, monotonic=time.process_time)
    for module in ("harness.rehearsal", "harness.experiment", "harness.cost", "studies.class_incremental.study"):
        monkeypatch.setattr(f"benchmarks.{module}.time", processor)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.parametrize("methods", [("frepo", "random", "herding"), ("random",)], ids=["learning", "choosing"])
def test_a_run_takes_what_it_is_expected_to(command, tmp_path, seconds_of_one_thread, methods):
    options = ["--steps", 5, "--networks", 2, "--budget", "25s", "--width", 16, "--method", *methods]
    assert_takes_what_is_expected(lambda folder: command("--output", folder, *options), tmp_path, budget=25)


@pytest.mark.slow
def test_workers_find_the_choice(command, tmp_path, slow_machine):
    options = ["--output", tmp_path, "--budget", "2h", "--method", "frepo", "random", "--jobs", 2]
    assert command(*options) == 0
    steps = read_json(tmp_path / "options.json")["chosen"]["options"]["frepo"]["steps"]
    made = SyntheticSet.load(tmp_path / "frepo" / "order-0" / "synthetic.safetensors").made_by["parts"]
    assert [part["options"]["steps"] for part in made] == [steps] * 2

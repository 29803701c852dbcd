"""The class-incremental benchmark as a program: its files, its complaints, and a run that was killed going on."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from joblib import cpu_count
from PIL import Image

from benchmarks.harness import tasks
from benchmarks.studies.class_incremental.options import PRESETS, ClassIncrementalOptions
from distill import FRePo, Herding, SyntheticSet
from distill.distillers.initialize import START_HERDING
from distill.files import read_json
from killed import steps_counted, stopped_after
from programs import Command, in_this_process, with_defaults

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
METHODS = ("frepo", "random", "herding")
STEPS = 5
TINY = [
    "--dataset", "digits", "--steps", str(STEPS), "--images-per-class", "2", "--seeds", "0", "--networks", "2",
    "--width", "4", "--frepo-steps", "6", "--frepo-pool-size", "2", "--frepo-batch-size", "64",
    "--frepo-history-points", "3", "--herding-steps", "3", "--train-steps", "6", "--train-warmup-steps", "2",
]  # fmt: skip
DEADLINE = 60  # seconds until a subprocess counts as stuck


@pytest.fixture(scope="module")
def command() -> Iterator[Command]:
    """The program in this process: its arguments after `TINY` to its exit code."""
    yield from in_this_process(ClassIncrementalOptions, TINY)


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory) -> Path:
    """The folder of a run of all methods."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert command("--output", folder) == 0
    return folder


def contents(folder: Path) -> dict[Path, tuple[int, bytes]]:
    """Every file below `folder`, with its time and content."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


# -- a run ---------------------------------------------------------------------------------------------------------


def test_run_writes_figures_table_plots_and_sets(undisturbed):
    results = read_json(undisturbed / "results.json")
    assert len(results["steps"]) == len(METHODS) * STEPS
    assert results["options"]["dataset"] == "digits"
    assert results["options"]["frepo"]["steps"] == 6
    assert {"processor", "torch", "avalanche-lib", "frepo-toolkit"} <= results["cost"]["processes"][0]["machine"].keys()
    assert results["cost"]["peak_memory_mib"] > 10
    for picture in ("accuracy.png", "krr-accuracy.png", *(f"{method}/order-0/images.png" for method in METHODS)):
        with Image.open(undisturbed / picture) as opened:
            opened.verify()
    for method in METHODS:
        synthetic = SyntheticSet.load(undisturbed / method / "order-0" / "synthetic.safetensors")
        assert torch.bincount(synthetic.class_ids).tolist() == [2] * 10
        assert len(synthetic.made_by["parts"]) == STEPS


def test_run_leaves_no_temporary_file_and_no_checkpoint(undisturbed):
    assert not [path for path in contents(undisturbed) if path.name.startswith(".") or "checkpoint" in path.name]


def test_buffer_and_classes_grow_with_every_step(undisturbed):
    for method in METHODS:
        steps = [read_json(undisturbed / method / "order-0" / f"step-{k + 1}.json") for k in range(STEPS)]
        assert [step["classes_seen"] for step in steps] == [2, 4, 6, 8, 10]
        assert [step["images"] for step in steps] == [4, 8, 12, 16, 20]
        assert all(len(step["accuracy"]) == 2 and 0 <= min(step["accuracy"]) <= 1 for step in steps)


def test_summary_is_mean_and_spread_over_the_networks(undisturbed):
    results = read_json(undisturbed / "results.json")
    for record in results["steps"]:
        point = results["summary"][record["method"]]["curve"][record["step"] - 1]
        assert point["n"] == 2
        assert point["mean"] == pytest.approx(np.mean(record["accuracy"]))
        assert point["std"] == pytest.approx(np.std(record["accuracy"], ddof=1))


def test_results_hold_the_accuracy_matrix_and_what_is_made_of_it(undisturbed):
    results = read_json(undisturbed / "results.json")
    own = [record for record in results["steps"] if record["method"] == "random"]
    matrix = [record["accuracy_by_step"][0] for record in own]
    assert [len(row) for row in matrix] == [1, 2, 3, 4, 5]
    assert matrix[0][0] == pytest.approx(own[0]["accuracy"][0])
    summary = results["summary"]["random"]
    wanted = np.mean([np.mean([record["accuracy"][i] for record in own]) for i in range(2)])
    assert summary["average_incremental_accuracy"]["mean"] == pytest.approx(wanted)
    assert summary["forgetting"]["n"] == 2
    assert -1 <= summary["forgetting"]["mean"] <= 1
    table = (undisturbed / "table.txt").read_text()
    assert "average incremental accuracy: frepo " in table
    assert "forgetting: frepo " in table


def test_methods_are_compared_at_the_bytes_of_the_first_one(undisturbed):
    results = read_json(undisturbed / "results.json")
    equal = {record["method"]: record for record in results["equal_bytes"]}
    assert list(equal) == list(METHODS)
    assert [record["labels"] for record in equal.values()] == ["uint8", "hard", "hard"]
    frepo = equal["frepo"]
    assert frepo["images_per_class"] == 2
    assert all(record["codec"] == "webp:50" for record in equal.values())
    assert all(0 < record["bytes_per_class"] <= math.ceil(frepo["bytes_per_class"]) for record in equal.values())
    assert all(record["images_per_class"] >= 1 for record in equal.values())
    held = {record["method"]: record["bytes_per_class"] for record in results["steps"]}
    assert frepo["bytes_per_class"] < held["frepo"]
    table = (undisturbed / "table.txt").read_text()
    assert "at equal bytes, all classes" in table
    row = next(line.split() for line in table.splitlines() if line.startswith("frepo webp:50"))
    assert row[2:4] == ["2.0", str(math.ceil(frepo["bytes_per_class"]))]


def test_at_equal_bytes_as_many_images_of_the_same_size_fit(command, tmp_path, capsys):
    """600.5 bytes per class: rounded down, in the comparison or where they are printed, an image per step is lost."""
    options = ("--method", "random", "herding", "--equal-bytes", "float32", "--networks", 1)
    assert command("--output", tmp_path / "run", *options) == 0
    records = read_json(tmp_path / "run" / "results.json")["equal_bytes"]
    assert [(record["images_per_class"], record["bytes_per_class"]) for record in records] == [(2, 600.5)] * 2
    assert "2.0 images and 601 bytes per class" in capsys.readouterr().out


@pytest.mark.slow
def test_memory_in_bytes_holds_what_fits_and_names_it(tmp_path):
    at = TINY.index("--images-per-class")
    (in_bytes,) = in_this_process(ClassIncrementalOptions, [*TINY[:at], *TINY[at + 2 :]])
    options = ("--method", "random", "frepo", "--memory-bytes", 400, "--codec", "uint8", "--networks", 1)
    assert in_bytes("--output", tmp_path / "run", *options) == 0
    results = read_json(tmp_path / "run" / "results.json")
    assert results["equal_bytes"] == []
    assert all(300 < record["bytes_per_class"] <= 400 for record in results["steps"])
    assert results["options"]["arms"][1]["labels"] == "uint8"
    assert "400 bytes per class stored as uint8" in (tmp_path / "run" / "table.txt").read_text()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--memory-bytes", 400), "--images-per-class and --memory-bytes are both given; leave one of them out"),
        (("--codec", "web:50"), "unknown codec 'web:50'"),
        (("--labels", "float8"), "float8"),
        (("--equal-bytes", "uint9"), "unknown codec 'uint9'"),
    ],
)
def test_memories_that_do_not_exist_are_refused(command, tmp_path, capsys, options, said):
    assert command("--output", tmp_path / "run", *options) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def strict(path: Path):
    """A JSON file as other programs read it: NaN and infinity are none of JSON's numbers."""
    return json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{path.name} holds {name}"))


@pytest.mark.slow
def test_one_network_and_unequal_steps_and_no_nan(command, tmp_path, capsys):
    options = ("--method", "random", "frepo", "--networks", 1, "--first", 6, "--steps", 3)
    assert command("--output", tmp_path / "run", *options) == 0
    results = strict(tmp_path / "run" / "results.json")
    assert [record["classes_seen"] for record in results["steps"][:3]] == [6, 8, 10]
    assert results["summary"]["random"]["curve"][0]["std"] is None
    assert results["leads"]["random"]["std"] is None
    assert "3 class-incremental steps (the first of 6 classes)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("start", "method"), [((), "herding"), (("--frepo-init", "real"), "random")], ids=["quick", "real"]
)
def test_every_method_is_trained_from_the_same_weights_and_frepo_starts_where_others_end(
    command, tmp_path, start, method
):
    # Without steps FRePo is what herding, or random choice with the same seed, takes: all that follows must agree too.
    untrained = ("--herding-steps", 0, "--herding-width", START_HERDING.width)
    first = command("--output", tmp_path / "frepo", "--method", "frepo", "--frepo-steps", 0, *start)
    assert first == command("--output", tmp_path / method, "--method", method, *(untrained if not start else ())) == 0
    frepo, chosen = (read_json(tmp_path / name / "results.json")["steps"] for name in ("frepo", method))
    assert [step["accuracy"] for step in frepo] == [step["accuracy"] for step in chosen]


def test_herding_of_the_quick_preset_is_what_images_start_from():
    assert Herding(**PRESETS["quick"]["herding"]) == START_HERDING


def test_table_is_printed_and_written_and_its_figures_are_those_of_the_results(command, undisturbed, capsys):
    assert command("--output", undisturbed, "--resume") == 0
    out = capsys.readouterr().out
    table = (undisturbed / "table.txt").read_text()
    assert table in out
    assert out.endswith(f"results in {undisturbed}\n")
    summary = read_json(undisturbed / "results.json")["summary"]
    for method in METHODS:
        row = next(line.split() for line in table.splitlines() if line.split()[:1] == [method])
        assert row[1:-2] == [f"{100 * p['mean']:.1f}±{100 * p['std']:.1f}" for p in summary[method]["curve"]]
    lead = 100 * (summary["frepo"]["curve"][-1]["mean"] - summary["herding"]["curve"][-1]["mean"])
    assert f"frepo - herding over all classes: {lead:+.1f}±" in table


def test_resuming_a_run_that_is_done_changes_no_figure_and_trains_nothing(command, undisturbed, monkeypatch):
    before = contents(undisturbed)
    monkeypatch.setattr("continual.GDumb.train", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr("distill.Distiller.distill", lambda *_, **__: pytest.fail("distilled again"))
    assert command("--output", undisturbed, "--resume") == 0
    for path, (_, content) in contents(undisturbed).items():
        if path.name.startswith(("step-", "experience-")):
            assert before[path] == (path.stat().st_mtime_ns, content)


def test_one_network_and_held_out_images_and_preprocessing_of_the_first_step(command, tmp_path, capsys):
    options = ("--method", "random", "--networks", 1, "--held-out", 20, "--fit-preprocessing", "first")
    assert command("--output", tmp_path / "run", *options) == 0
    out = capsys.readouterr().out
    assert "20 held-out training images per class" in out
    assert "Preprocessing fitted on the classes of the first step only" in out
    assert "nan" not in out


def test_fewer_classes_at_once_are_sets_of_their_own(command, tmp_path, undisturbed):
    """A step of two classes, one at a time: FRePo's images are others, those of random choice and herding are not."""
    assert command("--output", tmp_path / "run", "--classes-at-once", 1, "--networks", 1) == 0
    for method in METHODS:
        one, two = (
            SyntheticSet.load(folder / method / "order-0" / "synthetic.safetensors")
            for folder in (tmp_path / "run", undisturbed)
        )
        assert torch.equal(one.class_ids, two.class_ids)
        assert torch.equal(one.images, two.images) == (method != "frepo")


# -- bad input -----------------------------------------------------------------------------------------------------


def npz(path: Path, **changes) -> Path:
    """An .npz file of 4 classes, with some arrays changed."""
    generator = np.random.default_rng(0)
    arrays = {f"x_{part}": generator.integers(0, 256, (40, 8, 8), dtype=np.uint8) for part in ("train", "test")}
    arrays |= {f"y_{part}": np.arange(40) % 4 for part in ("train", "test")}
    np.savez(path, **arrays | changes)
    return path


def damaged_npz(path: Path) -> Path:
    npz(path)
    path.write_bytes(path.read_bytes()[:500])
    return path


def mixed_folder(path: Path) -> Path:
    for name, side in [("a", 8), ("b", 8), ("c", 9), ("d", 8)]:
        (path / name).mkdir(parents=True)
        for i in range(4):
            Image.new("L", (side, side), i).save(path / name / f"{i}.png")
    return path


def nan_npz(path: Path) -> Path:
    images = np.zeros((40, 8, 8), dtype=np.float32)
    images[3, 0, 0] = np.nan
    return npz(path, x_train=images)


# What is asked for, given a folder to put files in; and a part of the complaint.
BAD_INPUT = {
    "unknown data set": (lambda tmp: ["--dataset", "cifar1000"], "'cifar1000'; .*did you mean 'cifar100'"),
    "missing folder": (lambda tmp: ["--dataset", tmp / "nowhere"], "nowhere does not exist"),
    "damaged npz": (lambda tmp: ["--dataset", damaged_npz(tmp / "d.npz")], "d.npz is damaged"),
    "labels below 0": (lambda tmp: ["--dataset", npz(tmp / "l.npz", y_train=np.arange(40) % 4 - 1)], "label -1"),
    "labels beyond the classes": (
        lambda tmp: ["--dataset", npz(tmp / "l.npz", classes=np.array(["a", "b", "c"]))],
        "label 3, but `classes` has 3 names",
    ),
    "a class without test images": (
        lambda tmp: ["--dataset", npz(tmp / "t.npz", y_test=np.arange(40) % 3), "--steps", 2],
        "1 classes of t have no test image: 3",
    ),
    "a class order beyond the generator's seeds": (lambda tmp: ["--seeds", 2**32], "different numbers from 0 to"),
    "images of mixed shapes": (lambda tmp: ["--dataset", mixed_folder(tmp / "mixed"), "--steps", 2], "c/0.png is 9x9"),
    "NaN pixels": (lambda tmp: ["--dataset", nan_npz(tmp / "n.npz")], "1 of 40 images hold NaN"),
    "steps that do not divide the classes": (
        lambda tmp: ["--steps", 3],
        "--steps 3 does not divide the 10 classes of digits; possible: 1, 2, 5, 10",
    ),
    "a first step that leaves no equal others": (
        lambda tmp: ["--steps", 3, "--first", 5],
        "10 classes cannot be split into 5 in the first step and equally many in each of 2 others",
    ),
    "no steps": (lambda tmp: ["--steps", 0], "--steps is 0; expected at least 1"),
    "no images of a class": (lambda tmp: ["--images-per-class", 0], "--images-per-class is 0; expected at least 1"),
    "held out too many": (lambda tmp: ["--held-out", 130], "classes of digits have no training image, 130 of each"),
    "unknown device": (lambda tmp: ["--device", "abacus"], "--device is 'abacus', which torch does not know"),
    "class order twice": (lambda tmp: ["--seeds", 1, 1], r"--seeds are 1 1; expected different"),
    "no classes at once": (lambda tmp: ["--classes-at-once", 0], "--classes-at-once is 0; expected at least 1"),
    "classes at once of methods that choose": (
        lambda tmp: ["--classes-at-once", 1, "--method", "random", "herding"],
        "--classes-at-once has no effect: .* not private, and none of random, herding does; leave it out",
    ),
    "no jobs": (lambda tmp: ["--jobs", 0], "--jobs is 0; expected at least 1"),
    "unknown backend": (lambda tmp: ["--backend", "abacus"], "--backend abacus is not available; expected loky"),
    "option of a method": (lambda tmp: ["--frepo-width", 0], "--frepo-width is 0; "),
    "option of the training": (lambda tmp: ["--train-batch-size", 0], "--train-batch-size is 0; "),
}


def assert_refused(capsys, code: int, message: str) -> None:
    """Exit code 2 and one line on stderr that says why."""
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert code == 2
    assert len(lines) == 1, captured.err
    assert lines[0].startswith("error: ")
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert re.search(message, lines[0]), lines[0]


@pytest.mark.parametrize("case", BAD_INPUT)
def test_bad_input_ends_in_one_line_and_nothing_is_written(command, tmp_path, capsys, case):
    make, message = BAD_INPUT[case]
    output = tmp_path / "results" / "run"
    code = command("--output", output, *make(tmp_path))
    assert_refused(capsys, code, message)
    assert not output.parent.exists()


@pytest.mark.filterwarnings("always::distill.errors.InputWarning")
def test_more_images_of_a_class_than_there_are_gives_what_there_is_with_a_warning(command, tmp_path, capsys):
    dataset = npz(tmp_path / "small.npz")  # 10 images of each class
    options = ["--dataset", dataset, "--steps", 2, "--images-per-class", 12, "--method", "random", "herding"]
    assert command("--output", tmp_path / "run", *options) == 0
    assert "warning: --images-per-class is 12, but 4 classes of small have fewer" in capsys.readouterr().err
    assert [r["images"] for r in read_json(tmp_path / "run" / "results.json")["steps"]] == [20, 40] * 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frepo-steps", 7], r"frepo\.steps was 6, now 7"),
        (["--steps", 2], "steps was 5, now 2"),
        (["--seeds", 0, 1], r"seeds was \[0\], now \[0, 1\]"),
        (["--method", "random"], r"method was \['frepo', 'random', 'herding'\], now \['random'\]"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_resuming_with_other_options_is_refused(command, undisturbed, capsys, options, message):
    before = contents(undisturbed)
    code = command("--output", undisturbed, "--resume", *options)
    assert_refused(capsys, code, f"holds a run with other options .*{message}.*resume with those")
    assert contents(undisturbed) == before


def test_damaged_record_of_options_is_refused(command, tmp_path, capsys):
    (tmp_path / "options.json").write_text('{"steps": ')
    assert_refused(capsys, command("--output", tmp_path, "--resume"), "options.json is damaged")


LATE = {
    "mirror for one channel": (["--frepo-mirror"], "mirror=True needs RGB images"),
    "unknown network": (["--frepo-network", "resnet"], "unknown network 'resnet'"),
    "depth that pools images away": (["--herding-depth", 4], "cannot be pooled 4 times"),
    "unknown network to train": (["--train-network", "resnet"], "unknown network 'resnet'"),
    "held out all": (["--held-out", 10_000], "10 classes of digits have no training image, 10000 of each h"),
    "herding without a batch": (["--herding-batch-size", 0], "--herding-batch-size is 0"),
    "negative steps": (["--herding-steps", -1], "--herding-steps is -1"),
}


@pytest.mark.parametrize("case", LATE)
def test_bad_option_is_found_before_the_folder_is_opened(command, tmp_path, capsys, case):
    options, message = LATE[case]
    output = tmp_path / "run"
    assert_refused(capsys, command("--output", output, *options), message)
    assert not output.exists()


# -- killed and resumed --------------------------------------------------------------------------------------------


def started(output: Path, *options: str) -> subprocess.Popen:
    """The program in a process of its own."""
    arguments = [sys.executable, str(BENCHMARKS / "cl_cifar100.py")]
    arguments += with_defaults(ClassIncrementalOptions, TINY, *options, "--output", output)
    return subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | {"COLUMNS": "80"}
    )


def assert_same_results(one: Path, other: Path) -> None:
    """The results of two runs are equal, and their sets bit for bit; only the seconds may differ."""
    steps, wanted = (read_json(folder / "results.json")["steps"] for folder in (one, other))
    assert [{**record, "seconds": None} for record in steps] == [{**record, "seconds": None} for record in wanted]
    for method in METHODS:
        sets = [SyntheticSet.load(folder / method / "order-0" / "synthetic.safetensors") for folder in (one, other)]
        for name in ("images", "labels", "class_ids"):
            assert torch.equal(getattr(sets[0], name), getattr(sets[1], name))
        assert sets[0].made_by == sets[1].made_by


@pytest.mark.slow
def test_killed_run_ends_in_the_figures_and_sets_of_an_undisturbed_one(command, undisturbed, tmp_path):
    output = tmp_path / "run"
    process = started(output)
    try:
        deadline = time.monotonic() + DEADLINE
        while not (output / "frepo" / "order-0" / "step-2.json").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (output / "results.json").exists()

    assert command("--output", output, "--resume") == 0
    assert_same_results(output, undisturbed)


@pytest.mark.slow
def test_run_stopped_within_a_distillation_goes_on_from_its_checkpoint(
    command, undisturbed, tmp_path, monkeypatch, capsys
):
    with stopped_after(10, FRePo, monkeypatch) as done:
        assert command("--output", tmp_path) == 130
    assert capsys.readouterr().err.endswith("\nstopped; the same command with --resume resumes the run\n")
    assert done == [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]  # the second of five distillations of 6 steps
    (checkpoint,) = (tmp_path / "frepo" / "order-0" / "experience-1").iterdir()
    assert checkpoint.name.startswith("checkpoint-frepo")

    done = steps_counted(FRePo, monkeypatch)
    assert command("--output", tmp_path, "--resume") == 0
    assert done == [4, 5, *range(6), *range(6), *range(6)]
    assert_same_results(tmp_path, undisturbed)


# -- side by side --------------------------------------------------------------------------------------------------


def assert_nearly_same_results(one: Path, other: Path) -> None:
    """The same files and records, and accuracies as far as another number of threads leaves them."""
    files = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (one, other)]
    assert files[0] == files[1]
    steps, wanted = (read_json(folder / "results.json")["steps"] for folder in (one, other))
    measured = {"accuracy": None, "seconds": None}
    assert [record | measured for record in steps] == [record | measured for record in wanted]
    for record, other_record in zip(steps, wanted, strict=True):
        assert record["accuracy"] == pytest.approx(other_record["accuracy"], abs=0.02)


@pytest.mark.slow
def test_jobs_give_the_files_and_figures_of_a_run_without(command, undisturbed, tmp_path):
    assert command("--output", tmp_path / "run", "--jobs", 2) == 0
    assert_nearly_same_results(tmp_path / "run", undisturbed)
    results = read_json(tmp_path / "run" / "results.json")
    assert (results["options"]["jobs"], results["options"]["backend"]) == (2, "loky")
    assert all(record["seconds"]["distil"] > 0 for record in results["steps"])
    (process,) = results["cost"]["processes"]
    assert 1 <= len(process["workers"]) <= 2
    assert all(worker["machine"]["threads"] == max(1, cpu_count() // 2) for worker in process["workers"])
    assert results["cost"]["seconds"] == process["seconds"]
    assert results["cost"]["peak_memory_mib"] > process["peak_memory_mib"]


@pytest.mark.slow
@pytest.mark.parametrize("calls", [3, 16], ids=["distilling", "training"])
def test_stopped_jobs_go_on_without_jobs(command, undisturbed, tmp_path, monkeypatch, capsys, calls):
    add_process, done = tasks.add_process, []

    def add_or_stop(*given, **options):
        done.append(given)
        if len(done) == calls:
            os.kill(os.getpid(), signal.SIGINT)
        return add_process(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(tasks, "add_process", add_or_stop)
        assert command("--output", tmp_path / "run", "--jobs", 2) == 130
    assert capsys.readouterr().err.endswith("\nstopped; the same command with --resume resumes the run\n")
    assert command("--output", tmp_path / "run", "--resume") == 0
    assert_nearly_same_results(tmp_path / "run", undisturbed)


@pytest.mark.slow
def test_complaint_is_all_that_a_shell_shows(tmp_path):
    process = started(tmp_path / "run", "--device", "abacus")
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2
    assert out == ""
    assert err.startswith("error: --device is 'abacus', which torch does not know")
    assert err.count("\n") == 1


@pytest.mark.slow
def test_private_stream_tells_its_epsilon_and_fits_nothing_on_its_images(command, tmp_path):
    options = ["--method", "private-frepo", "random", "--networks", 1, "--private-steps", 2, "--private-pool-size", 2]
    assert command("--output", tmp_path, "--steps", 2, *options) == 0
    summary = json.loads((tmp_path / "results.json").read_text())["summary"]
    assert 0.95 < summary["private-frepo"]["epsilon"] <= 1  # steps of other classes compose in parallel
    assert "epsilon" not in summary["random"]
    table = (tmp_path / "table.txt").read_text()
    assert "Preprocessing fixed, as private methods want it" in table
    assert "epsilon of the whole stream" in table

"""The distillation benchmark as a program: its files, its complaints, equal time, and a killed run that goes on."""

import importlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.harness.options import run_command
from benchmarks.studies.distillation import study
from distill import DSA, FRePo, Random, SyntheticSet, load_images
from distill.distillers.run import Run
from distill.files import read_json
from distill.networks import Conv
from distill.preprocess import default_preprocessing

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
TINY = [
    "--dataset", "digits", "--images-per-class", "2", "--networks", "2", "--width", "4",
    "--frepo-steps", "6", "--frepo-pool-size", "2", "--frepo-batch-size", "64", "--frepo-history-points", "3",
    "--dm-steps", "3", "--dm-batch-size", "8", "--dsa-iterations", "1", "--dsa-outer-loop", "2",
    "--dsa-batch-size", "8", "--herding-steps", "3", "--train-steps", "6", "--train-warmup-steps", "2",
    "--train-steps-per-image", "0",
]  # fmt: skip
DEADLINE = 60  # seconds until a subprocess counts as stuck

Command = Callable[..., int]


@pytest.fixture(scope="module")
def command() -> Command:
    """The program in this process: its arguments after `TINY` to its exit code."""
    patch = pytest.MonkeyPatch()
    patch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)  # holds for a whole process
    yield lambda *arguments: run_command(lambda: study.main([*TINY, *map(str, arguments)]))
    patch.undo()


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory) -> Path:
    """The folder of a run of all methods over two seeds."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert command("--output", folder, "--method", "all", "--seeds", 0, 1) == 0
    return folder


def rows_of(folder: Path) -> dict[str, list[str]]:
    """The lines of the table by their first word or words (all but the columns of figures)."""
    lines = (folder / "table.txt").read_text().splitlines()
    rule = next(i for i, line in enumerate(lines) if line.startswith("----"))
    table = [re.split(r"\s{2,}", line) for line in lines[rule + 1 : lines.index("", rule)]]
    return {name: cells for name, *cells in table}


# -- a run ---------------------------------------------------------------------------------------------------------


def test_run_writes_figures_table_plots_sets_and_pictures(undisturbed):
    results = read_json(undisturbed / "results.json")
    assert len(results["networks"]) == 5 * 2 * 2
    assert results["options"]["rows"]["frepo"]["steps"] == 6
    assert {"processor", "torch", "frepo-toolkit"} <= results["cost"]["processes"][0]["machine"].keys()
    for name in ("frepo", "random", "herding", "dm", "dsa"):
        for seed in (0, 1):
            synthetic = SyntheticSet.load(undisturbed / name / f"seed-{seed}" / "synthetic.safetensors")
            assert torch.bincount(synthetic.class_ids).tolist() == [2] * 10
            assert synthetic.made_by["options"]["seed"] == seed
    seed_0 = undisturbed / "frepo" / "seed-0"
    pictures = ("images.png", "labels.png", "before-after.png", "evolution.png", "evolution.gif")
    for picture in ("accuracy.png", "curves.png", *(seed_0 / name for name in pictures)):
        with Image.open(undisturbed / picture) as opened:
            opened.verify()
    with Image.open(seed_0 / "evolution.gif") as film:
        assert film.n_frames == 3
    assert not (undisturbed / "dm" / "seed-0" / "labels.png").exists()  # it learns none
    assert (undisturbed / "dm" / "seed-0" / "evolution.gif").exists()


def test_run_leaves_no_temporary_file_and_no_checkpoint(undisturbed):
    assert not [p for p in undisturbed.rglob("*") if p.name.startswith(".") or "checkpoint" in p.name]


def test_table_shows_mean_and_spread_over_seeds_and_networks(undisturbed):
    networks = read_json(undisturbed / "results.json")["networks"]
    for name, (images, updates, _, network, krr) in rows_of(undisturbed).items():
        own = [record for record in networks if record["row"] == name]
        for cell, key in ((network, "accuracy"), (krr, "krr_accuracy")):
            values = [100 * record[key] for record in own]
            assert cell == f"{np.mean(values):.1f}±{np.std(values, ddof=1):.1f}"
        assert images == "20"
        assert updates == {"frepo": "6", "dm": "3", "dsa": "2"}.get(name, "-")


def test_lead_is_of_the_same_seed_and_network(undisturbed):
    results = read_json(undisturbed / "results.json")
    values = {(r["row"], r["seed"], r["index"]): r["accuracy"] for r in results["networks"]}
    leads = [values["frepo", s, i] - values["random", s, i] for s in (0, 1) for i in (0, 1)]
    assert results["leads"]["random"]["mean"] == pytest.approx(np.mean(leads))
    assert results["leads"]["random"]["std"] == pytest.approx(np.std(leads, ddof=1))
    assert f"frepo - random: {100 * np.mean(leads):+.1f}±" in (undisturbed / "table.txt").read_text()


def test_first_snapshot_is_where_the_set_started_and_the_last_is_the_set(undisturbed):
    folder = undisturbed / "frepo" / "seed-1"
    first, last = (SyntheticSet.load(folder / "snapshots" / f"{step:08}.safetensors") for step in (0, 6))
    final = SyntheticSet.load(folder / "synthetic.safetensors")
    random = SyntheticSet.load(undisturbed / "random" / "seed-1" / "synthetic.safetensors")
    assert torch.equal(first.images, random.images)
    assert torch.equal(last.images, final.images)
    assert torch.equal(last.labels, final.labels)


def test_without_steps_frepo_has_the_figures_of_random_choice(command, tmp_path):
    assert command("--output", tmp_path, "--method", "frepo", "random", "--frepo-steps", 0) == 0
    networks = read_json(tmp_path / "results.json")["networks"]
    by_row = {row: [r["accuracy"] for r in networks if r["row"] == row] for row in ("frepo", "random")}
    assert by_row["frepo"] == by_row["random"]


def test_resuming_a_run_that_is_done_distils_and_trains_nothing(command, undisturbed, monkeypatch, capsys):
    before = read_json(undisturbed / "results.json")["networks"]
    monkeypatch.setattr("distill.training.evaluation.train_network", lambda *_, **__: pytest.fail("trained again"))
    monkeypatch.setattr("distill.Distiller.distill", lambda *_, **__: pytest.fail("distilled again"))
    assert command("--output", undisturbed, "--method", "all", "--seeds", 0, 1, "--resume") == 0
    assert read_json(undisturbed / "results.json")["networks"] == before
    assert capsys.readouterr().out.endswith(f"results in {undisturbed}\n")


@pytest.mark.slow
def test_jobs_give_the_files_and_figures_of_a_run_without(command, undisturbed, tmp_path, capsys):
    folder = tmp_path / "run"
    assert command("--output", folder, "--method", "all", "--seeds", 0, 1, "--jobs", 2) == 0
    files = [{path.relative_to(run) for path in run.rglob("*")} for run in (folder, undisturbed)]
    assert files[0] == files[1]
    records, wanted = (read_json(run / "results.json")["networks"] for run in (folder, undisturbed))
    names = ("row", "seed", "column", "index")
    assert [[r[name] for name in names] for r in records] == [[r[name] for name in names] for r in wanted]
    for key in ("accuracy", "krr_accuracy"):  # another number of threads moves them by an image or two
        assert [r[key] for r in records] == pytest.approx([r[key] for r in wanted], abs=0.02)
    cost = read_json(folder / "results.json")["cost"]
    assert cost["processes"][0]["workers"]
    assert capsys.readouterr().err.count("sets:") > 0  # the bar of the program, and no other
    assert (folder / "table.txt").read_text().count("GiB of memory") == 1


def test_held_out_training_images_take_the_place_of_test_images(command, tmp_path, monkeypatch):
    monkeypatch.setattr(
        "benchmarks.harness.data.load_images",
        lambda *_, split, **__: load_images("digits", split=split) if split == "train" else pytest.fail("test images"),
    )
    assert command("--output", tmp_path, "--method", "random", "--held-out", 20) == 0
    assert "20 held-out training images a class" in (tmp_path / "table.txt").read_text()


# -- networks, sweeps, equal time ----------------------------------------------------------------------------------


def test_every_set_is_evaluated_on_every_network(command, tmp_path):
    columns = ["conv:none", "conv:instance:2", "dcconv", "alexnet", "resnet18:batch"]
    options = ["--method", "frepo", "random", "--evaluate-on", *columns, "--networks", 1]
    assert command("--output", tmp_path, *options) == 0
    table = rows_of(tmp_path)
    assert list(table) == ["conv:none", "conv:instance:2", "dcconv:instance", "alexnet:none", "resnet18:batch"]
    cells = {(c["row"], c["column"]): c["mean"] for c in read_json(tmp_path / "results.json")["summary"]}
    for column, shown in table.items():
        assert shown == [f"{100 * cells[row, column]:.1f}" for row in ("frepo", "random")]


def test_a_network_asked_for_twice_counts_once(command, tmp_path):
    options = ["--method", "random", "--evaluate-on", "conv", "conv:none", "alexnet:none", "alexnet"]
    assert command("--output", tmp_path, *options) == 0
    assert list(rows_of(tmp_path)) == ["conv:none", "alexnet:none"]
    assert {cell["n"] for cell in read_json(tmp_path / "results.json")["summary"]} == {2}


def test_a_network_that_becomes_nan_is_reported_and_the_rest_goes_on(command, tmp_path, monkeypatch):
    train = importlib.import_module("distill.training.evaluation").train_network

    def train_or_fail(synthetic, **options):
        network = train(synthetic, **options)
        if isinstance(network, Conv) and synthetic.made_by["method"] == "random":
            network.head.weight.data.fill_(torch.nan)
            network.blocks[0].weight.data.fill_(torch.nan)
        return network

    monkeypatch.setattr("distill.training.evaluation.train_network", train_or_fail)
    options = ["--method", "frepo", "random", "--evaluate-on", "conv", "alexnet"]
    assert command("--output", tmp_path, *options) == 0
    table = rows_of(tmp_path)
    assert table["conv:none"][1].startswith("nan")
    assert "nan" not in "".join([table["conv:none"][0], *table["alexnet:none"]])
    assert "networks became NaN on random: lower --train-learning-rate" in (tmp_path / "table.txt").read_text()


def test_sweep_has_a_row_for_each_value_and_the_other_methods_once(command, tmp_path):
    assert command("--output", tmp_path, "--sweep", "frepo-max-updates", 1, 3) == 0
    results = read_json(tmp_path / "results.json")
    assert {name: row.get("max_updates") for name, row in results["options"]["rows"].items()} == {
        "frepo max_updates=1": 1, "frepo max_updates=3": 3, "random": None,
    }  # fmt: skip
    made_by = SyntheticSet.load(tmp_path / "frepo-max_updates=3" / "seed-0" / "synthetic.safetensors").made_by
    assert made_by["options"]["max_updates"] == 3
    assert (tmp_path / "sweep.png").exists()


@pytest.mark.parametrize(
    ("option", "values", "expected"),
    [
        ("frepo-learn-labels", ["yes", "no"], [True, False]),
        ("frepo-version", ["v1", "v2"], ["v1", "v2"]),
        ("frepo-label-scale", ["0.3", "1"], [0.3, 1.0]),
        ("frepo-meta-gradient", ["krr", "tbptt"], ["krr", "tbptt"]),
        ("dm-norm", ["instance", "none"], ["instance", "none"]),
    ],
)
def test_options_of_every_kind_can_be_swept(command, tmp_path, option, values, expected):
    method = option.split("-")[0]
    assert command("--output", tmp_path, "--method", method, "--networks", 1, "--sweep", option, *values) == 0
    rows = read_json(tmp_path / "results.json")["options"]["rows"].values()
    assert [row[option.removeprefix(f"{method}-").replace("-", "_")] for row in rows] == expected


def test_seconds_become_steps_and_stay_the_same_on_resume(command, tmp_path, monkeypatch):
    timed = []

    def half_a_second_a_step(distiller, data):
        timed.append(distiller.method)
        return 0.5

    monkeypatch.setattr("benchmarks.studies.distillation.equal_time.seconds_per_step", half_a_second_a_step)
    options = ["--output", tmp_path, "--method", "all", "--networks", 1, "--seconds", 2]
    assert command(*options) == 0
    assert timed == ["frepo", "dm", "dsa"]
    assert {name: cells[1] for name, cells in rows_of(tmp_path).items()} == {
        "frepo": "4", "random": "-", "herding": "-", "dm": "4", "dsa": "4",
    }  # fmt: skip
    assert command(*options, "--resume") == 0
    assert len(timed) == 3


def test_timing_a_step_leaves_a_distillation_as_it_was(monkeypatch):
    from benchmarks.studies.distillation.equal_time import seconds_per_step

    monkeypatch.setattr("benchmarks.studies.distillation.equal_time.SECONDS", 0)
    images = load_images("digits")
    data = default_preprocessing(images).apply(images)
    for distiller in (FRePo(steps=3, batch_size=32, pool_size=2, width=4), DSA(iterations=1, batch_size=4, width=4)):
        before = distiller.distill(data, images_per_class=1)
        assert seconds_per_step(distiller, data, Run(images_per_class=1)) > 0
        assert torch.equal(distiller.distill(data, images_per_class=1).images, before.images)


# -- data sets -----------------------------------------------------------------------------------------------------


def image_folder(path: Path) -> Path:
    """Two classes of images of five modes and several sizes."""
    generator = np.random.default_rng(0)
    for name in ("cats", "dogs"):
        (path / name).mkdir(parents=True)
        for i, mode in enumerate(("RGB", "L", "P", "RGBA", "LA", "RGB", "L", "P")):
            pixels = generator.integers(0, 256, (12 + i, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(path / name / f"{i}.png")
    return path


def test_folder_of_images_of_all_modes_and_sizes_is_distilled(command, tmp_path, monkeypatch):
    options = ["--dataset", image_folder(tmp_path / "pets"), "--resolution", 8, "--data-dir", tmp_path / "data"]
    assert command("--output", tmp_path / "run", *options, "--method", "frepo", "--images-per-class", 2) == 0
    synthetic = SyntheticSet.load(tmp_path / "run" / "frepo" / "seed-0" / "synthetic.safetensors")
    assert synthetic.classes == ("cats", "dogs")
    assert synthetic.images.shape == (4, 3, 8, 8)
    assert list((tmp_path / "data" / "cache").iterdir())


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "dogs" / "3.png").write_bytes(b"no image"), r"cannot read the image .*dogs/3\.png"),
        (lambda path: [file.unlink() for file in (path / "dogs").iterdir()], "class folder .*dogs holds no images"),
    ],
    ids=["unreadable image", "empty class"],
)
def test_damaged_folder_ends_in_one_line_that_names_the_place(command, tmp_path, capsys, damage, message):
    damage(image_folder(tmp_path / "pets"))
    options = ["--dataset", tmp_path / "pets", "--resolution", 8, "--data-dir", tmp_path / "data"]
    assert_refused(capsys, command("--output", tmp_path / "run", *options), message, late=True)
    assert not (tmp_path / "run").exists()


def test_images_that_do_not_fit_in_memory_give_the_same_figures(command, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.preprocess.streamed.STREAM_ABOVE", 0)
    assert command("--output", tmp_path, "--method", "all") == 0
    before = [r["accuracy"] for r in read_json(undisturbed / "results.json")["networks"] if r["seed"] == 0]
    assert [r["accuracy"] for r in read_json(tmp_path / "results.json")["networks"]] == before


# -- saved sets ----------------------------------------------------------------------------------------------------


def test_saved_sets_have_the_figures_they_had_when_they_were_distilled(command, undisturbed, tmp_path):
    files = [undisturbed / name / "seed-0" / "synthetic.safetensors" for name in ("frepo", "random")]
    assert command("--output", tmp_path, "--set", *files) == 0
    before = [r["accuracy"] for r in read_json(undisturbed / "results.json")["networks"] if r["seed"] == 0]
    after = [r["accuracy"] for r in read_json(tmp_path / "results.json")["networks"]]
    assert after == before[:4]
    assert list(rows_of(tmp_path)) == ["frepo-seed-0", "random-seed-0"]


def test_others_sets_are_read_with_the_preprocessing_that_is_stated(command, undisturbed, tmp_path):
    ours = SyntheticSet.load(undisturbed / "frepo" / "seed-0" / "synthetic.safetensors")
    np.savez(tmp_path / "theirs.npz", images=ours.images.numpy(), labels=ours.labels.numpy())
    file = undisturbed / "frepo" / "seed-0" / "synthetic.safetensors"
    for number, stated in enumerate((file, "fit")):
        output = tmp_path / str(number)
        assert command("--output", output, "--set", tmp_path / "theirs.npz", "--preprocessing", stated) == 0
        theirs = [r["accuracy"] for r in read_json(output / "results.json")["networks"]]
        assert theirs == [r["accuracy"] for r in read_json(undisturbed / "results.json")["networks"]][:2]


def test_saved_sets_are_told_apart_by_as_many_folders_as_it_takes(command, tmp_path):
    from benchmarks.studies.distillation.saved_sets import names_of

    paths = [Path(f"/a/run-{i}/frepo/seed-0/synthetic.safetensors") for i in (1, 2)]
    assert names_of(paths) == ["run-1-frepo-seed-0", "run-2-frepo-seed-0"]
    assert names_of([Path("/a/b c.npz"), Path("/b-c.npz")]) == ["a-b-c", "b-c"]
    assert names_of([Path("/synthetic.npz")]) == ["set"]
    assert names_of([]) == []


def test_classes_that_a_file_names_in_another_order_are_refused(command, tmp_path, capsys):
    classes = np.array([str(digit) for digit in reversed(range(10))])
    images, labels = np.zeros((10, 1, 8, 8), np.float32), np.arange(10)
    np.savez(tmp_path / "theirs.npz", images=images, labels=labels, classes=classes)
    options = ["--set", tmp_path / "theirs.npz", "--preprocessing", "identity"]
    assert_refused(capsys, command("--output", tmp_path / "run", *options), r"10 classes \(9, 8, 7, ...\)")


def test_sets_of_another_data_set_are_refused(command, undisturbed, tmp_path, capsys, make_images):
    images = make_images()
    file = Random().distill(images, images_per_class=2).save(tmp_path / "three.safetensors")
    code = command("--output", tmp_path / "run", "--set", file)
    assert_refused(capsys, code, r"three\.safetensors has 3 classes .* digits 10 .*name the --dataset")
    assert not (tmp_path / "run").exists()


# -- bad input -----------------------------------------------------------------------------------------------------


def assert_refused(capsys, code: int, message: str, *, late: bool = False) -> None:
    """Exit code 2 and one line on stderr that says why (the last line, where a progress bar stood before it)."""
    captured = capsys.readouterr()
    line = captured.err.splitlines()[-1]
    assert code == 2
    assert late or captured.err.count("\n") == 1, captured.err
    assert line.startswith("error: "), captured.err
    assert "Traceback" not in captured.err
    assert re.search(message, line), line


BAD = {
    "unknown data set": (["--dataset", "minst"], "'minst'; .*did you mean 'mnist'"),
    "no images": (["--images-per-class", "0"], "--images-per-class is 0; wanted at least 1"),
    "no networks": (["--networks", "0"], "--networks is 0; wanted at least 1"),
    "no time": (["--seconds", "0"], "--seconds is 0.0; wanted more than 0"),
    "a seed twice": (["--seeds", "1", "1"], r"--seeds are \[1, 1\]; wanted different numbers"),
    "unknown network": (["--evaluate-on", "resnet50"], "--evaluate-on resnet50 cannot be had; wanted NETWORK"),
    "unknown norm": (["--evaluate-on", "conv:weight"], "unknown norm 'weight'"),
    "depth of a resnet": (["--evaluate-on", "resnet18:batch:3"], "depth"),
    "network too deep": (["--evaluate-on", "conv:none:5"], "cannot be pooled 5 times"),
    "sweep of nothing": (["--sweep", "frepo-pool-size"], "has values none; wanted one or more"),
    "sweep of no method": (["--sweep", "pool-size", "1"], "--sweep pool-size is no option of a method; wanted frepo"),
    "sweep of an unknown option": (["--sweep", "frepo-pole-size", "1"], "no such option to sweep; it has .*pool_size"),
    "sweep of an option of the run": (["--sweep", "frepo-seed", "1", "2"], "no such option to sweep; it has init"),
    "sweep of a method that is left out": (
        ["--sweep", "frepo-pool-size", "1", "--method", "random"], "but --method random; add frepo to the methods"),
    "sweep of steps and time": (["--sweep", "dm-steps", "1", "2", "--seconds", "9"], "both say how many steps"),
    "sweep of noise that is not added": (["--sweep", "frepo-noise-std", "1", "2"], "add --frepo-init real.noise"),
    "time without end": (["--seconds", "inf"], "--seconds is inf"),
    "a depth that is no number": (["--evaluate-on", "conv:none:²"], "--evaluate-on conv:none:² cannot be had"),
    "networks named twice": (
        ["--evaluate-on", "conv", "--train-norm", "batch"], "--train-norm and --evaluate-on both name networks"),
    "a set and held-out images": (["--set", __file__, "--held-out", "5"], "leave out --held-out"),
    "labels of two sets": (["--set", __file__, "x.npz", "--labels", "y.npz"], "there is no such file"),
    "a layout of nothing": (["--layout", "nhwc"], "--layout: about others' sets alone"),
    "sweep of a value that is none": (["--sweep", "frepo-pool-size", "big"], "is 'big'; wanted a whole number"),
    "sweep of a choice that is none": (["--sweep", "frepo-version", "v3"], "is 'v3'; wanted one of v1, v2"),
    "sweep of a switch": (["--sweep", "frepo-learn-labels", "2"], "is '2'; wanted yes or no"),
    "sweep of a value out of range": (["--sweep", "frepo-pool-size", "0"], "pool_size is 0; wanted more than 0"),
    "a set that is missing": (["--set", "nowhere.npz"], "--set nowhere.npz: there is no such file"),
    "a set and a method": (["--set", "nowhere.npz", "--method", "dm"], "leave out --method"),
    "pixels of nothing": (["--pixels"], "--pixels: about others' sets alone; name them with --set"),
    "mirror for one channel": (["--frepo-mirror"], "mirror is on"),
    "no jobs": (["--jobs", "0"], "--jobs is 0; wanted at least 1"),
    "unknown backend": (["--backend", "abacus"], "--backend abacus cannot be had; wanted loky, dask, ray"),
    "unknown device": (["--device", "abacus"], "device 'abacus' cannot be used here"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_ends_in_one_line_and_nothing_is_written(command, tmp_path, capsys, case):
    options, message = BAD[case]
    output = tmp_path / "results" / "run"
    assert_refused(capsys, command("--output", output, *options), message)
    assert not output.parent.exists()


def small_class(path):
    """An .npz file of three classes, the last of which has 2 training images and 4 test images."""
    generator = np.random.default_rng(0)
    counts = {"train": (9, 9, 2), "test": (4, 4, 4)}
    arrays = {f"x_{part}": generator.integers(0, 256, (sum(n), 8, 8), dtype=np.uint8) for part, n in counts.items()}
    np.savez(path, **arrays, **{f"y_{part}": np.repeat(range(3), n) for part, n in counts.items()})
    return path


@pytest.mark.filterwarnings("always::distill.errors.InputWarning")
def test_class_with_fewer_images_than_asked_for_gives_what_it_has_with_a_warning(command, tmp_path, capsys):
    dataset = small_class(tmp_path / "small.npz")
    assert command("--output", tmp_path / "run", "--dataset", dataset, "--images-per-class", "4") == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert lines[0] == (
        "warning: --images-per-class is 4, but 1 classes of small have fewer training images (class '2' has 2): "
        "they get as many as they have"
    )
    assert {name: cells[0] for name, cells in rows_of(tmp_path / "run").items()} == dict.fromkeys(
        ("frepo", "random", "herding"), "10"
    )


def without_class(path, part):
    arrays = dict(np.load(small_class(path)))
    keep = arrays[f"y_{part}"] != 1
    np.savez(path, **arrays | {f"{xy}_{part}": arrays[f"{xy}_{part}"][keep] for xy in "xy"})
    return path


@pytest.mark.parametrize(("part", "kind"), [("train", "training"), ("test", "test")])
def test_class_without_images_is_refused_as_in_the_other_programs(command, tmp_path, capsys, part, kind):
    code = command("--output", tmp_path / "run", "--dataset", without_class(tmp_path / "gap.npz", part))
    assert_refused(capsys, code, f"1 classes of gap have no {kind} image: 1; add some, or leave these classes out")


def test_folder_of_images_by_class_is_a_set(command, tmp_path, capsys):
    train = load_images("digits")
    chosen = [int(np.flatnonzero(train.labels == c)[0]) for c in range(10)]
    for c, i in enumerate(chosen):
        (tmp_path / "mine" / str(c)).mkdir(parents=True)
        Image.fromarray(train.images[i, ..., 0]).convert("RGB").save(tmp_path / "mine" / str(c) / "0.png")
    options = ("--output", tmp_path / "run", "--set", tmp_path / "mine", "--preprocessing", "fit")
    assert command(*options) == 0
    synthetic = SyntheticSet.load(tmp_path / "run" / "mine" / "seed-0" / "synthetic.safetensors")
    assert torch.equal(synthetic.pixels(), torch.from_numpy(train.images[chosen]))
    capsys.readouterr()
    assert_refused(capsys, command(*options, "--labels", tmp_path / "x.npy"), "--labels is about files, but .*mine is ")
    assert_refused(capsys, command(*options[:4]), "mine does not say how its images were preprocessed")


def test_decoded_images_are_kept_where_that_is_asked_for(command, tmp_path):
    for c in range(3):
        for i in range(4):
            (tmp_path / "data" / "set" / str(c)).mkdir(parents=True, exist_ok=True)
            shades = np.random.default_rng(4 * c + i).integers(0, 256, (12, 12), dtype=np.uint8)
            Image.fromarray(shades).save(tmp_path / "data" / "set" / str(c) / f"{i}.png")
    options = ["--dataset", tmp_path / "data" / "set", "--data-dir", tmp_path / "data", "--resolution", "8"]
    options += ["--method", "random", "--images-per-class", "1", "--cache-dir", tmp_path / "cache"]
    assert command("--output", tmp_path / "run", *options) == 0
    assert [entry.name for entry in (tmp_path / "data").iterdir()] == ["set"]
    assert len(list((tmp_path / "cache").iterdir())) == 2


def test_a_set_without_its_preprocessing_is_refused(command, tmp_path, capsys):
    np.savez(tmp_path / "theirs.npz", images=np.zeros((4, 1, 8, 8), np.float32), labels=np.arange(4))
    code = command("--output", tmp_path / "run", "--set", tmp_path / "theirs.npz")
    assert_refused(capsys, code, "does not say how its images were preprocessed; say it with --preprocessing")
    assert not (tmp_path / "run").exists()


def test_resuming_with_other_options_is_refused(command, undisturbed, capsys):
    code = command("--output", undisturbed, "--method", "all", "--seeds", 0, 1, "--resume", "--frepo-steps", 7)
    assert_refused(capsys, code, r"rows\.frepo\.steps was 6, now 7.*resume with those")


# -- killed and resumed; the program's name --------------------------------------------------------------------------


def started(*arguments: object, program: str = "distillation.py", cwd: Path | None = None) -> subprocess.Popen:
    """A program in a process of its own."""
    command = [sys.executable, str(BENCHMARKS / program), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
                            env=os.environ | {"COLUMNS": "80"})


@pytest.mark.slow
def test_killed_run_ends_in_the_figures_and_sets_of_an_undisturbed_one(command, undisturbed, tmp_path):
    options = ["--output", tmp_path / "run", "--method", "all", "--seeds", "0", "1"]
    process = started(*TINY, *options)
    try:
        deadline = time.monotonic() + DEADLINE
        while not (tmp_path / "run" / "frepo" / "seed-1" / "snapshots" / "00000003.safetensors").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert command(*options, "--resume") == 0
    processes = read_json(tmp_path / "run" / "results.json")["cost"]["processes"]
    assert len(processes) == 2  # the killed one has left its time
    one, other = (read_json(folder / "results.json")["networks"] for folder in (tmp_path / "run", undisturbed))
    for records in (one, other):
        for record in records:
            del record["seconds"], record["distil"]["seconds"]
    assert one == other


@pytest.mark.parametrize("program", ["cl_cifar100.py", "mia.py", "cl_stock_gdumb.py", "distillation.py"])
def test_every_program_finds_the_package_beside_the_program_of_its_name(program, tmp_path):
    process = started("--help", program=program, cwd=tmp_path)
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (0, "")
    assert "--dataset" in out

"""The distillation benchmark as a program: its files, networks, sweeps, equal time, and a killed run."""

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.harness.command_line import parse
from benchmarks.harness.methods import NOT_PRIVATE
from benchmarks.studies.distillation import equal_time
from benchmarks.studies.distillation.options import DistillationOptions
from benchmarks.studies.distillation.study import Distillation
from distill import DSA, MTT, FRePo, InputError, SyntheticSet, load_images
from distill.distillers.run import Run
from distill.files import read_json
from distill.networks import Conv
from distill.preprocess import default_preprocessing
from distillation_runs import TINY, rows_of
from programs import with_defaults

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
DEADLINE = 60  # seconds until a subprocess counts as stuck


# -- a run -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_run_writes_figures_table_plots_sets_and_pictures(undisturbed):
    results = read_json(undisturbed / "results.json")
    assert len(results["networks"]) == len(NOT_PRIVATE) * 2 * 2
    assert results["options"]["rows"]["frepo"]["steps"] == 6
    assert {"processor", "torch", "frepo-toolkit"} <= results["cost"]["processes"][0]["machine"].keys()
    for name in NOT_PRIVATE:
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


@pytest.mark.slow
def test_private_methods_run_beside_others_and_keep_their_seed_to_themselves(command, tmp_path):
    options = ["--private-steps", 2, "--private-width", 4, "--private-noise-multiplier", 5.0, "--means-epsilon", 60.0]
    methods = ("random", "private-frepo", "noisy-means")
    assert command("--output", tmp_path, "--method", *methods, "--networks", 1, *options) == 0
    for name in methods[1:]:
        synthetic = SyntheticSet.load(tmp_path / name / "seed-0" / "synthetic.safetensors")
        assert synthetic.ledger.spent[0].method == name
        assert "seed" not in synthetic.made_by["options"]
        assert synthetic.preprocessing.mean.tolist() == [0.5]  # others: fitted on the training images
    assert set(rows_of(tmp_path)) == set(methods)


@pytest.mark.slow
def test_run_leaves_no_temporary_file_and_no_checkpoint(undisturbed):
    assert not [p for p in undisturbed.rglob("*") if p.name.startswith(".") or "checkpoint" in p.name]


@pytest.mark.slow
def test_sets_of_all_seeds_share_the_experts_of_mtt(undisturbed):
    assert len(list((undisturbed / "networks").glob("expert-*.safetensors"))) == 1


@pytest.mark.slow
def test_table_shows_mean_and_spread_over_seeds_and_networks(undisturbed):
    networks = read_json(undisturbed / "results.json")["networks"]
    for name, (images, updates, _, network, krr) in rows_of(undisturbed).items():
        own = [record for record in networks if record["row"] == name]
        for cell, key in ((network, "accuracy"), (krr, "krr_accuracy")):
            values = [100 * record[key] for record in own]
            assert cell == f"{np.mean(values):.1f}±{np.std(values, ddof=1):.1f}"
        assert images == "20"
        assert updates == {"frepo": "6", "dm": "3", "dsa": "2", "mtt": "3", "kip": "3"}.get(name, "-")


@pytest.mark.slow
def test_lead_is_of_the_same_seed_and_network(undisturbed):
    results = read_json(undisturbed / "results.json")
    values = {(r["row"], r["seed"], r["index"]): r["accuracy"] for r in results["networks"]}
    leads = [values["frepo", s, i] - values["random", s, i] for s in (0, 1) for i in (0, 1)]
    assert results["leads"]["random"]["mean"] == pytest.approx(np.mean(leads))
    assert results["leads"]["random"]["std"] == pytest.approx(np.std(leads, ddof=1))
    assert f"frepo - random: {100 * np.mean(leads):+.1f}±" in (undisturbed / "table.txt").read_text()


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "20 held-out training images per class" in (tmp_path / "table.txt").read_text()


# -- networks, sweeps, equal time --------------------------------------------------------------------------------------


@pytest.mark.slow
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


@pytest.mark.slow
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
    assert "trainings diverged (NaN) on random: lower --train-learning-rate" in (tmp_path / "table.txt").read_text()


def test_only_a_network_that_became_nan_counts_as_one(command, tmp_path, monkeypatch, capsys):
    def refuse(*_, **__):
        raise InputError("the test images are gone")

    monkeypatch.setattr("benchmarks.studies.distillation.sets.evaluate_network", refuse)
    assert command("--output", tmp_path, "--method", "random") == 2
    assert capsys.readouterr().err.splitlines()[-1] == "error: the test images are gone"
    assert not list(tmp_path.rglob("networks/*.json"))


@pytest.mark.slow
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
def test_options_of_every_kind_can_be_swept(option, values, expected):
    method = option.split("-")[0]
    options = parse(
        DistillationOptions, with_defaults(DistillationOptions, TINY, "--method", method, "--sweep", option, *values)
    )
    rows = Distillation(options).record()["rows"].values()
    assert [row[option.removeprefix(f"{method}-").replace("-", "_")] for row in rows] == expected


@pytest.mark.slow
def test_seconds_become_steps_and_stay_the_same_on_resume(command, tmp_path, monkeypatch):
    timed = []

    def half_a_second_a_step(distiller, data, run):
        timed.append(distiller.method)
        return 0.5

    monkeypatch.setattr("benchmarks.studies.distillation.equal_time.seconds_per_step", half_a_second_a_step)
    options = ["--output", tmp_path, "--method", "all", "--networks", 1, "--seconds", 2]
    assert command(*options) == 0
    assert timed == ["frepo", "dm", "dsa", "mtt", "kip"]
    assert {name: cells[1] for name, cells in rows_of(tmp_path).items()} == {
        "frepo": "4", "random": "-", "herding": "-", "dm": "4", "dsa": "4", "mtt": "4", "kip": "4",
        "random-teacher": "-", "herding-teacher": "-",
    }  # fmt: skip
    assert command(*options, "--resume") == 0
    assert len(timed) == 5


def test_too_little_time_for_a_step_leaves_the_folder_to_the_corrected_command(command, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("benchmarks.studies.distillation.equal_time.seconds_per_step", lambda *_: 0.004)
    options = ["--output", tmp_path / "run", "--method", "frepo", "--networks", 1]
    assert command(*options, "--seconds", 0.001) == 2
    assert "--seconds is 0.001, but a single step of frepo takes 0.004 s; increase it" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert command(*options, "--seconds", 0.009) == 0


def test_the_training_of_experts_counts_as_time(monkeypatch):
    monkeypatch.setattr(equal_time, "seconds_per_step", lambda *_: 0.5)
    monkeypatch.setattr(MTT, "train_networks", lambda *_: None)
    images = load_images("digits")
    data = default_preprocessing(images).apply(images)

    def allotted(trained: float) -> dict[str, int]:
        monkeypatch.setattr(equal_time, "time", SimpleNamespace(perf_counter=iter([0.0, trained]).__next__))
        return equal_time.options_for(MTT(steps=5), data, 4.0, Run())[1]["options"]

    assert allotted(0.0) == {"steps": 8}
    assert allotted(3.0) == {"steps": 2}
    wanted = "--seconds is 4, but a single step of mtt takes 0.5 s after 3.8 s of training its networks; increase it"
    with pytest.raises(InputError, match=wanted):
        allotted(3.8)


def test_timing_a_step_leaves_a_distillation_as_it_was(monkeypatch):
    from benchmarks.studies.distillation.equal_time import seconds_per_step

    monkeypatch.setattr("benchmarks.studies.distillation.equal_time.SECONDS", 0)
    images = load_images("digits")
    data = default_preprocessing(images).apply(images)
    for distiller in (FRePo(steps=3, batch_size=32, pool_size=2, width=4), DSA(iterations=1, batch_size=4, width=4)):
        before = distiller.distill(data, images_per_class=1)
        assert seconds_per_step(distiller, data, Run(images_per_class=1)) > 0
        assert torch.equal(distiller.distill(data, images_per_class=1).images, before.images)


# -- killed and resumed; the program's name ----------------------------------------------------------------------------


def started(*arguments: object, program: str = "distillation.py", cwd: Path | None = None) -> subprocess.Popen:
    """A program in a process of its own."""
    command = [sys.executable, str(BENCHMARKS / program), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd,
                            env=os.environ | {"COLUMNS": "80"})


@pytest.mark.slow
def test_killed_run_ends_in_the_figures_and_sets_of_an_undisturbed_one(command, undisturbed, tmp_path):
    options = ["--output", tmp_path / "run", "--method", "all", "--seeds", "0", "1"]
    process = started(*with_defaults(DistillationOptions, TINY, *options))
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

"""What the distillation benchmark refuses, and what it says of it."""


import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.harness.command_line import parse
from benchmarks.studies.distillation.options import DistillationOptions
from benchmarks.studies.distillation.study import Distillation
from distill import InputWarning, SyntheticSet, load_images
from distillation_runs import assert_refused, rows_of

BAD = {
    "unknown data set": (["--dataset", "minst"], "'minst'; .*did you mean 'mnist'"),
    "no images": (["--images-per-class", "0"], "--images-per-class is 0; expected at least 1"),
    "no networks": (["--networks", "0"], "--networks is 0; expected at least 1"),
    "no time": (["--seconds", "0"], "--seconds is 0.0; expected more than 0"),
    "a seed twice": (["--seeds", "1", "1"], r"--seeds are 1 1; expected different numbers"),
    "unknown network": (["--evaluate-on", "resnet50"], "--evaluate-on resnet50 is no network; expected NETWORK"),
    "unknown norm": (["--evaluate-on", "conv:weight"], "unknown norm 'weight'"),
    "depth of a resnet": (["--evaluate-on", "resnet18:batch:3"], "depth"),
    "network too deep": (["--evaluate-on", "conv:none:5"], "cannot be pooled 5 times"),
    "sweep of nothing": (["--sweep", "frepo-pool-size"], "has values none; expected one or more"),
    "sweep of no method": (["--sweep", "pool-size", "1"], "--sweep pool-size is not an option of a method; expected f"),
    "sweep of an unknown option": (
        ["--sweep", "frepo-pool", "1"], "--sweep: unknown option frepo-pool; did you mean frepo-pool-size.$"),
    "sweep of an option of the run": (
        ["--sweep", "random-seed", "1", "2"], "--sweep random-seed is not an option of a method"),
    "sweep of an option unlike all others": (
        ["--sweep", "dm-x", "1"], "--sweep: unknown option dm-x; expected one of .*dm-batch-size"),
    "sweep of a method that is left out": (
        ["--sweep", "frepo-pool-size", "1", "--method", "random"], "but --method random; add frepo to the methods"),
    "sweep of a method by a name that is no prefix": (
        ["--sweep", "random-teacher-steps", "1"], "is not an option of a method; expected .*teacher-..."),
    "sweep of methods that are left out": (
        ["--sweep", "teacher-steps", "1", "--method", "random"], "add random-teacher or herding-teacher to"),
    "sweep of steps and time": (["--sweep", "dm-steps", "1", "2", "--seconds", "9"], "both set the number of steps"),
    "sweep of noise that is not added": (["--sweep", "frepo-noise-std", "1", "2"], "add --frepo-init real.noise"),
    "time without end": (["--seconds", "inf"], "--seconds is inf"),
    "a depth that is no number": (["--evaluate-on", "conv:none:²"], "--evaluate-on conv:none:² is no network"),
    "networks named twice": (
        ["--evaluate-on", "conv", "--train-norm", "batch"], "--train-norm and --evaluate-on both select networks"),
    "a set and held-out images": (["--set", __file__, "--held-out", "5"], "cannot be combined with --held-out"),
    "labels of two sets": (["--set", __file__, "x.npz", "--labels", "y.npz"], "there is no such file"),
    "a layout of nothing": (["--layout", "nhwc"], "--layout: only valid for imported sets"),
    "sweep of a value that is none": (["--sweep", "frepo-pool-size", "big"], "is 'big'; expected a whole number"),
    "sweep of a choice that is none": (["--sweep", "frepo-version", "v3"], "is 'v3'; expected one of v1, v2"),
    "sweep of a switch": (["--sweep", "frepo-learn-labels", "2"], "is '2'; expected yes or no"),
    "sweep of a value out of range": (["--sweep", "frepo-pool-size", "0"], "--frepo-pool-size is 0; "),
    "a set that is missing": (["--set", "nowhere.npz"], "--set nowhere.npz: there is no such file"),
    "a set and a method": (["--set", "nowhere.npz", "--method", "dm"], "--method"),
    "a set and seeds": (["--set", __file__, "--seeds", "4", "5"], "--seeds"),
    "a set and a number of images": (["--set", __file__, "--images-per-class", "7"], "--images-per-class"),
    "sweep of an option that is given too": (
        ["--sweep", "frepo-pool-size", "1", "2", "--frepo-pool-size", "9"], "its values; leave out --frepo-pool-size"),
    "sweep of a value twice": (["--sweep", "frepo-pool-size", "1", "01"], "has values 1, 01; expected one or more"),
    "sweep of steps, another way to write them": (
        ["--sweep", "dsa-outer_loop", "1", "--seconds", "5"], "both set the number of steps"),
    "no width": (["--width", "0"], "--width is 0; "),
    "no steps of a method": (["--frepo-steps", "-1"], "--frepo-steps is -1; "),
    "a rate that is no number": (["--frepo-learning-rate", "nan"], "--frepo-learning-rate is nan; "),
    "an option of the training": (["--train-batch-size", "0"], "--train-batch-size is 0; "),
    "all images held out": (["--held-out", "10000"], "10000 of each held out: .*; give a smaller --held-out"),
    "jobs of None": (["--jobs", "None"], "--jobs is 'None'; "),
    "pixels of nothing": (["--pixels"], "--pixels: only valid for imported sets; name them with --set"),
    "mirror for one channel": (["--frepo-mirror"], "mirror=True needs RGB images"),
    "no jobs": (["--jobs", "0"], "--jobs is 0; expected at least 1"),
    "unknown backend": (["--backend", "abacus"], "--backend abacus is not available; expected loky, dask, ray"),
    "unknown device": (["--device", "abacus"], "--device is 'abacus', which torch does not know; expected cpu"),
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
        "all their images are used"
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
    assert_refused(capsys, code, f"1 classes of gap have no {kind} image: 1; add some, or remove these classes")


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
    assert_refused(capsys, command(*options, "--labels", tmp_path / "x.npy"), "--labels does not apply to .*mine, a f")
    assert_refused(capsys, command(*options[:4]), "mine does not record how its images were preprocessed")


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
    assert_refused(capsys, code, "does not record how its images were preprocessed; specify it with --preprocessing")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_resuming_with_other_options_is_refused(command, undisturbed, capsys):
    code = command("--output", undisturbed, "--method", "all", "--seeds", 0, 1, "--resume", "--frepo-steps", 7)
    assert_refused(capsys, code, r"rows\.frepo\.steps was 6, now 7.*resume with those")


def test_options_of_a_method_are_refused_before_the_data_are_read(command, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("benchmarks.harness.experiment.load_data", lambda *_, **__: pytest.fail("read"))
    code = command("--output", tmp_path / "run", "--frepo-pool-size", "0")
    assert_refused(capsys, code, "--frepo-pool-size is 0; ")


def test_classes_that_are_small_are_said_once_for_all_methods(command, tmp_path):
    words = ["--dataset", str(small_class(tmp_path / "small.npz")), "--images-per-class", "4", "--method", "all"]
    options = parse(DistillationOptions, words)
    with pytest.warns(InputWarning) as caught:
        Distillation(options)
    assert [str(each.message).partition(",")[0] for each in caught] == ["--images-per-class is 4"]

"""The data sets and saved sets that the distillation benchmark reads."""

from pathlib import Path

import numpy as np
import pytest

from distill import Random, SyntheticSet
from distill.files import read_json
from distillation_runs import assert_refused, image_folder, rows_of

# -- data sets ---------------------------------------------------------------------------------------------------------


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


@pytest.mark.slow
def test_images_that_do_not_fit_in_memory_give_the_same_figures(command, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.preprocess.streamed.STREAM_ABOVE", 0)
    assert command("--output", tmp_path, "--method", "all") == 0
    before = [r["accuracy"] for r in read_json(undisturbed / "results.json")["networks"] if r["seed"] == 0]
    assert [r["accuracy"] for r in read_json(tmp_path / "results.json")["networks"]] == before


# -- saved sets --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_saved_sets_have_the_figures_they_had_when_they_were_distilled(command, undisturbed, tmp_path):
    files = [undisturbed / name / "seed-0" / "synthetic.safetensors" for name in ("frepo", "random")]
    assert command("--output", tmp_path, "--set", *files) == 0
    before = [r["accuracy"] for r in read_json(undisturbed / "results.json")["networks"] if r["seed"] == 0]
    after = [r["accuracy"] for r in read_json(tmp_path / "results.json")["networks"]]
    assert after == before[:4]
    assert list(rows_of(tmp_path)) == ["frepo-seed-0", "random-seed-0"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_sets_of_another_data_set_are_refused(command, undisturbed, tmp_path, capsys, make_images):
    images = make_images()
    file = Random().distill(images, images_per_class=2).save(tmp_path / "three.safetensors")
    code = command("--output", tmp_path / "run", "--set", file)
    assert_refused(capsys, code, r"three\.safetensors has 3 classes .* digits 10 .*name the --dataset")
    assert not (tmp_path / "run").exists()

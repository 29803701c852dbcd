"""Folders of runs, the same for every study: what is refused there and left alone, and resuming on other data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from benchmarks.harness.command_line import parse
from benchmarks.harness.experiment import with_precision
from benchmarks.harness.program import run_program
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions
from benchmarks.studies.class_incremental.study import ClassIncremental
from benchmarks.studies.distillation.options import DistillationOptions
from benchmarks.studies.distillation.study import Distillation
from benchmarks.studies.membership.options import MembershipOptions
from benchmarks.studies.membership.study import Membership
from benchmarks.studies.speed.options import SpeedOptions
from distill import InputError, Random, load_images
from distill.files import read_json
from distill.preprocess import default_preprocessing
from distill.runtime.locks import lock_file
from programs import with_defaults

TINY = [
    "--width", "4", "--images-per-class", "2", "--train-steps", "3", "--frepo-steps", "2", "--frepo-pool-size", "2",
    "--frepo-batch-size", "32",
]  # fmt: skip
PROGRAMS = {
    "cl_cifar100": ["--steps", "2", "--networks", "1", "--method", "frepo"],
    "mia": ["--members", "100", "--arms", "frepo", "--attacks", "threshold", "--jobs", "1"],
    "distillation": ["--networks", "1", "--method", "frepo"],
}
OPTIONS = {"cl_cifar100": ClassIncrementalOptions, "mia": MembershipOptions, "distillation": DistillationOptions}
RUNS = {"cl_cifar100": ClassIncremental, "mia": Membership, "distillation": Distillation}
PARTS = {
    "training images": "x_train", "training labels": "y_train", "test images": "x_test", "test labels": "y_test",
}  # fmt: skip
Command = Callable[..., int]


@pytest.fixture(scope="module", autouse=True)
def freed_memory_is_not_kept() -> None:
    patch = pytest.MonkeyPatch()
    patch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)
    yield
    patch.undo()


def write_data(path: Path, *, changed: str | None = None) -> None:
    """Digits as an .npz, with one pixel or two labels of a part changed."""
    pixels, labels = load_digits(return_X_y=True)
    images = (pixels.reshape(-1, 8, 8) * 15).astype(np.uint8)
    arrays = {"x_train": images[:1000], "y_train": labels[:1000], "x_test": images[1000:], "y_test": labels[1000:]}
    if changed is not None:
        array = arrays[changed].copy()
        array[[0, -1]] = array[[-1, 0]] if changed.startswith("y") else array[[0, -1]] ^ 1
        arrays[changed] = array
    np.savez(path, **arrays)


def run(program: str, *options: object) -> int:
    """The exit code of a program with tiny options."""
    return run_program(OPTIONS[program], with_defaults(OPTIONS[program], TINY, *PROGRAMS[program], *options))


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module", params=PROGRAMS)
def done(request, tmp_path_factory) -> tuple[str, Path, Path]:
    """A program, its data and the folder of its run."""
    folder = tmp_path_factory.mktemp(request.param)
    write_data(folder / "data.npz")
    assert run(request.param, "--dataset", folder / "data.npz", "--output", folder / "run") == 0
    return request.param, folder / "data.npz", folder / "run"


# -- folders that are no place for a run -------------------------------------------------------------------------------


def refused(program: str, capsys: Any, *options: object) -> str:
    """The one line that a program refuses a folder with."""
    assert run(program, "--dataset", "digits", *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("where", ["file", "file/run"])
def test_output_that_cannot_be_written_is_refused(tmp_path, capsys, program, where):
    (tmp_path / "file").write_text("precious")  # also root cannot make a folder of a file, or below one
    error = refused(program, capsys, "--output", tmp_path / where)
    assert f"cannot write {tmp_path / where / 'options.json'}: " in error
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["new", "resumed"])
@pytest.mark.parametrize("name", ["thesis.tex", ".pre-commit-config.yaml"])
def test_output_full_of_other_files_is_refused_and_left_alone(tmp_path, capsys, program, name, resume):
    (tmp_path / name).write_text("precious")
    error = refused(program, capsys, "--output", tmp_path, *resume)
    assert "is not empty and contains no run of this program" in error
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_run_that_is_there_is_not_written_over(done, capsys):
    program, data, folder = done
    before = contents(folder)
    assert "already holds a run; add --resume" in refused(program, capsys, "--dataset", data, "--output", folder)
    assert contents(folder) == before


# -- other data --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part", PARTS)
def test_data_written_anew_are_refused_by_name(done, capsys, part):
    program, data, folder = done
    before = contents(folder)
    write_data(data, changed=PARTS[part])
    try:
        assert run(program, "--dataset", data, "--output", folder, "--resume") == 2
        error = capsys.readouterr().err
        assert f"error: {folder} holds a run on other data ({part} changed since it was started); resume with" in error
        assert contents(folder) == before
    finally:
        write_data(data)


def test_the_same_data_written_anew_are_resumed_and_their_fingerprints_are_in_the_results(done):
    program, data, folder = done
    data.unlink()
    write_data(data)
    assert run(program, "--dataset", data, "--output", folder, "--resume") == 0
    found = read_json(folder / "results.json")["options"]["data"]
    assert found == read_json(folder / "options.json")["data"]
    assert found.keys() == {f"{part} {of}" for part in ("training", "test") for of in ("images", "labels", "classes")}


def test_a_worker_refuses_data_that_changed_while_the_program_ran(done):
    program, data, folder = done
    options = ["--dataset", data, "--output", folder]
    parsed = parse(OPTIONS[program], with_defaults(OPTIONS[program], TINY, *PROGRAMS[program], *options))
    parsed = with_precision(replace(parsed, resume=True), folder)  # as the program gives them to workers
    RUNS[program].of_worker(parsed)
    write_data(data, changed="x_train")
    try:
        with pytest.raises(InputError, match=r"holds a run on other data \(training images changed"):
            RUNS[program].of_worker(parsed)
    finally:
        write_data(data)


def test_saved_sets_and_what_says_how_they_were_made_are_known_by_their_bytes(tmp_path, capsys):
    digits = load_images("digits")
    data = default_preprocessing(digits).apply(digits)

    def write(seed: int) -> Path:
        return Random().distill(data, images_per_class=2, seed=seed).save(tmp_path / "set.safetensors")

    options = ["--width", 4, "--train-steps", 2, "--networks", 1, "--set", write(0), "--output", tmp_path / "run"]

    def evaluate(*more: object) -> int:
        return run_program(DistillationOptions, ["--dataset", "digits", *map(str, [*options, *more])])

    assert evaluate() == 0
    assert evaluate("--resume") == 0
    write(1)
    assert evaluate("--resume") == 2
    assert f"holds a run on other data (file {tmp_path / 'set.safetensors'} changed" in capsys.readouterr().err


@pytest.mark.parametrize("program", [*PROGRAMS, "speed"])
def test_a_second_process_in_the_same_folder_is_refused(tmp_path, capsys, program):
    (tmp_path / "run").mkdir()
    with lock_file(tmp_path / "run" / ".lock", owner="process 7 on this machine"):
        if program == "speed":
            assert run_program(SpeedOptions, ["--study", "attacks", "--output", str(tmp_path / "run")]) == 2
        else:
            assert run(program, "--dataset", "digits", "--output", tmp_path / "run", "--resume") == 2
        assert "run is in use by process 7 on this machine; wait for it" in capsys.readouterr().err
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]

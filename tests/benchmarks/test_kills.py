"""Runs that are killed and resumed: a handful of kills, and what the comparison behind them notices."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.harness.program import run_program
from benchmarks.studies.kills import study
from benchmarks.studies.kills.compare import differences
from benchmarks.studies.kills.options import KillOptions
from distill.files import read_json
from distill.tensor_files import write_tensors

TABLE = """digits, 2 images per class.

        images  updates  seconds  network
-----------------------------------------
frepo       10       20  {seconds}     {accuracy}

frepo - random: +0.7 points
{minutes} minutes, 0.8 GiB of memory
"""


def write_run(
    folder: Path, *, seconds: float = 1.0, accuracy: float = 11.6, pixel: float = 0.0, auc: float = 0.5
) -> Path:
    folder.mkdir()
    results = {"cost": {"seconds": seconds}, "options": {"resume": seconds > 1}, "networks": [{"accuracy": accuracy}]}
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "processes.json").write_text(json.dumps([seconds]))
    table = TABLE.format(seconds=f"{seconds:7.0f}", minutes=f"{seconds / 60:.1f}", accuracy=f"{accuracy:.1f}")
    (folder / "table.txt").write_text(table)
    write_tensors(folder / "set.safetensors", {"images": torch.full((2, 3), pixel)}, {"made_by": {"seconds": seconds}})
    np.savez(folder / "report.npz", scores=np.array([auc]), about=json.dumps({"seconds": seconds}))
    (folder / "accuracy.png").write_bytes(bytes([int(seconds) % 256]))
    return folder


@pytest.fixture
def whole(tmp_path) -> Path:
    return write_run(tmp_path / "whole")


def test_runs_that_differ_in_time_alone_are_the_same(tmp_path, whole):
    assert differences(write_run(tmp_path / "run", seconds=1234.0), whole) == []


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"accuracy": 11.7}, ["results.json", "table.txt"]),
        ({"pixel": 1e-7}, ["set.safetensors"]),
        ({"auc": 0.5 + 1e-9}, ["report.npz"]),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_figure_or_a_pixel_that_differs_is_named(tmp_path, whole, changes, names):
    assert differences(write_run(tmp_path / "run", **changes), whole) == [f"other {name}" for name in names]


def test_files_that_are_missing_or_left_over_are_named(tmp_path, whole):
    shutil.copytree(whole, tmp_path / "run")
    (tmp_path / "run" / "accuracy.png").unlink()
    (tmp_path / "run" / ".lock").touch()
    found = differences(tmp_path / "run", whole)
    assert found == ["only in one: .lock", "only in one: accuracy.png"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_killed_runs_leave_no_process_and_end_as_undisturbed_ones(tmp_path, capsys):
    words = ["--kills", "4", "--jobs", "2", "--programs", "distillation.py", "mia.py"]
    assert run_program(KillOptions, [*words, "--output", str(tmp_path / "kills.json")]) == 0
    kills = read_json(tmp_path / "kills.json")["kills"]
    assert [kill["faults"] for kill in kills] == [[]] * 4
    assert sum(kill["left"] for kill in kills) == 0
    assert {kill["case"]["signal"] for kill in kills} == {"SIGKILL", "SIGTERM"}
    assert "| all |  |  | 4 | 4 | 0 |" in capsys.readouterr().out


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_what_is_left_of_a_group_is_seen():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True)
    assert study.left_of(process.pid) == [process.pid]
    process.communicate()
    assert study.left_of(process.pid) == []
    assert study.left_of(os.getpgid(0)) != []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--kills", "0"], "--kills is 0; "),
        (["--seed", "-1"], "--seed is -1; "),
        (["--jobs", "1", "0"], "--jobs are 1 0; expected different numbers, at least 1"),
        (["--minutes", "nan"], "--minutes is nan; expected more than 0"),
    ],
    ids=" ".join,
)
def test_numbers_that_make_no_sense_are_refused(tmp_path, capsys, words, message):
    assert run_program(KillOptions, [*words, "--output", str(tmp_path / "kills.json")]) == 2
    assert capsys.readouterr().err.startswith(f"error: {message}")
    assert list(tmp_path.iterdir()) == []


def test_figures_that_are_there_are_not_written_over(tmp_path, capsys):
    (tmp_path / "kills.json").write_text("precious")
    assert run_program(KillOptions, ["--output", str(tmp_path / "kills.json")]) == 2
    assert "kills.json is there already; choose another --output, or remove it" in capsys.readouterr().err
    assert (tmp_path / "kills.json").read_text() == "precious"

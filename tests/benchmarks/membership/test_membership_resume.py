"""Runs of the membership-inference benchmark that were stopped or killed and are resumed."""

import os
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies.membership import audits as audits_of_arms
from benchmarks.studies.membership import models
from benchmarks.studies.membership.options import MembershipOptions
from distill import FRePo, SyntheticSet
from distill.files import read_json
from killed import steps_counted, stopped_after
from membership_runs import SMALL, TINY, figures
from programs import with_defaults

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
DEADLINE = 120  # seconds until a subprocess counts as stuck


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        pytest.param(models, "train_network", 4, marks=pytest.mark.slow),
        pytest.param(audits_of_arms, "audit", 5, marks=pytest.mark.slow),
        pytest.param(audits_of_arms, "training_set", 3, marks=pytest.mark.slow),
    ],
)
def test_stopped_run_ends_in_the_figures_of_an_undisturbed_one(
    command, undisturbed, tmp_path, monkeypatch, capsys, module, name, call
):
    calls = []
    function = getattr(module, name)

    def stop_at_last(*given, **options):
        calls.append(name)
        if len(calls) == call:
            raise KeyboardInterrupt
        return function(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, name, stop_at_last)
        assert command("--output", tmp_path, "--seeds", 0, 1) == 130
    assert "--resume resumes the run" in capsys.readouterr().err
    assert command("--output", tmp_path, "--seeds", 0, 1, "--resume") == 0
    assert figures(tmp_path) == figures(undisturbed)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_run_stopped_at_any_file_ends_in_the_figures_of_an_undisturbed_one(command, small, tmp_path, monkeypatch):
    replace, written = os.replace, []

    def run_and_stop_before(last: float, folder: Path) -> int:
        """The exit code of a run that is stopped when `last` files are there and one more is ready."""

        def replace_or_stop(source, target):
            if len(written) == last:
                raise KeyboardInterrupt
            written.append(Path(target).name)
            replace(source, target)

        written.clear()
        with monkeypatch.context() as patch:
            patch.setattr("distill.files.os.replace", replace_or_stop)
            return command("--output", folder, *SMALL)

    assert run_and_stop_before(float("inf"), tmp_path / "whole") == 0
    files = list(written)
    assert files[0] == "options.json"
    for last in sorted({*range(0, len(files), 3), len(files) - 1}):
        folder = tmp_path / str(last)
        assert run_and_stop_before(last, folder) == 130
        assert written == files[:last]
        assert not [path for path in folder.rglob("*") if "partial" in path.name]
        assert command("--output", folder, *SMALL, "--resume") == 0
        assert figures(folder) == figures(small)
        for arm in ("subset", "frepo"):
            assert_same_set(*(path / arm / "members-0" / "synthetic.safetensors" for path in (folder, small)))


def assert_same_set(*paths: Path) -> None:
    """Two sets are equal bit for bit, and made in the same way."""
    one, other = map(SyntheticSet.load, paths)
    for name in ("images", "labels", "class_ids"):
        assert getattr(one, name).equal(getattr(other, name))
    assert one.made_by == other.made_by


@pytest.mark.usefixtures("no_pictures")
def test_run_stopped_within_a_distillation_goes_on_from_its_checkpoint(command, small, tmp_path, monkeypatch):
    with stopped_after(4, FRePo, monkeypatch):
        assert command("--output", tmp_path, *SMALL) == 130
    folder = tmp_path / "frepo" / "members-0"
    assert [path.name for path in folder.rglob("*.safetensors")] == ["checkpoint-frepo-2-seed-0.safetensors"]
    done = steps_counted(FRePo, monkeypatch)
    assert command("--output", tmp_path, *SMALL, "--resume") == 0
    assert done == [4, 5]
    assert not (folder / "checkpoint").exists()
    assert figures(tmp_path) == figures(small)
    assert_same_set(folder / "synthetic.safetensors", small / "frepo" / "members-0" / "synthetic.safetensors")


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
@pytest.mark.usefixtures("no_pictures")
def test_run_that_is_done_trains_nothing_anew_with_any_jobs_and_counts_its_cost(
    command, small, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    leftover = folder / "frepo" / "members-0" / ".all-6-abcdefgh.partial.npz"  # of a process that was killed
    leftover.write_bytes(b"PK")
    for module, name in ((models, "train_network"), (audits_of_arms, "audit")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("done again"))
    monkeypatch.setattr("distill.Distiller.distill", lambda *_, **__: pytest.fail("distilled again"))
    assert command("--output", folder, *SMALL, "--jobs", 2, "--resume") == 0
    assert not leftover.exists()
    without_jobs = [{**figures(path), "options": None} for path in (folder, small)]
    assert without_jobs[0] == without_jobs[1]
    cost = read_json(folder / "results.json")["cost"]
    assert len(cost["processes"]) == 2
    assert cost["seconds"] == pytest.approx(sum(process["seconds"] for process in cost["processes"]))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.slow
def test_jobs_give_the_files_and_figures_of_a_run_without(command, small, tmp_path):
    assert command("--output", tmp_path / "run", *SMALL, "--jobs", 2) == 0
    files = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (tmp_path / "run", small)]
    assert files[0] == files[1]
    results, wanted = (read_json(folder / "results.json") for folder in (tmp_path / "run", small))
    assert list(results["audits"]) == list(wanted["audits"])
    for name, audits in results["audits"].items():
        for one, other in zip(audits, wanted["audits"][name], strict=True):
            assert one["info"]["test_accuracy"] == pytest.approx(other["info"]["test_accuracy"], abs=0.02)
            assert (one["about"]["jobs"], one["about"]["seed"]) == (1, other["about"]["seed"])
    assert results["options"]["jobs"] == 2
    assert results["cost"]["processes"][0]["workers"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_mistake_in_a_job_ends_in_the_line_that_it_ends_in_without_jobs(command, tmp_path, capsys):
    options = ["--arms", "real,subset", "--attacks", "threshold", "--train-learning-rate", "1e30", "--jobs", 2]
    assert command("--output", tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error: members outputs contain NaN or infinite values")
    assert "Traceback" not in error


def as_program(monkeypatch, *arguments: Any) -> int:
    """The exit code of `python benchmarks/mia.py`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["mia.py", *with_defaults(MembershipOptions, TINY, *arguments)])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / "mia.py"), run_name="__main__")
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_program_that_is_stopped_says_how_to_go_on(tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "train_network", stop)
    assert as_program(monkeypatch, "--output", tmp_path, *SMALL) == 130
    assert capsys.readouterr().err.endswith("\nstopped; the same command with --resume resumes the run\n")
    assert not (tmp_path / "results.json").exists()


def test_program_ends_in_the_code_of_a_mistake(tmp_path, monkeypatch, capsys):
    assert as_program(monkeypatch, "--output", tmp_path / "run", "--arms", "frepos") == 2
    assert capsys.readouterr().err.startswith("error: unknown arms frepos")


@pytest.mark.usefixtures("no_pictures")
def test_audit_that_was_stopped_does_not_train_anew(command, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(audits_of_arms, "audit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command("--output", tmp_path, "--arms", "real", "--train-steps", 3) == 130
    monkeypatch.setattr(models, "train_network", None)
    assert command("--output", tmp_path, "--arms", "real", "--train-steps", 3, "--resume") == 0


@pytest.mark.slow
def test_killed_run_ends_in_the_figures_of_an_undisturbed_one(command, tmp_path):
    options = with_defaults(MembershipOptions, TINY, "--arms", "subset,frepo", "--attacks", "threshold")
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, str(BENCHMARKS / "mia.py"), *options, "--output", str(killed)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()  # the first audit is done
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE)
    process.stdout.close()
    assert not (killed / "results.json").exists()
    assert command("--arms", "subset,frepo", "--attacks", "threshold", "--output", killed, "--resume") == 0
    assert command("--arms", "subset,frepo", "--attacks", "threshold", "--output", whole) == 0
    assert figures(killed) == figures(whole)

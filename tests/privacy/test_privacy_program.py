"""`python -m privacy`, and all of the package where torch is missing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from audits import Page, read, records
from privacy import AuditReport
from privacy.__main__ import main

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
class NoTorch:
    asked = []
    def find_spec(self, name, *args):
        if name.split(".")[0] in ("torch", "distill", "continual"):
            self.asked.append(name)
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoTorch())
import privacy
assert "matplotlib" not in sys.modules
import numpy as np
generator = np.random.default_rng(0)
sides = [(generator.normal(size=(20, 3)), np.arange(20) % 3) for _ in range(2)]
records = privacy.AttackRecords(members=sides[0], non_members=sides[1])
records = privacy.AttackRecords.load(records.save(sys.argv[1] + "/records.npz"))
report = privacy.audit(records, attacks=["threshold", "lr", "knn"], jobs=1, progress=True)
report.to_html(sys.argv[1] + "/report.html")
privacy.Summary({"mine": [report]}).to_html(sys.argv[1] + "/summary.html")
privacy.AuditReport.load(report.save(sys.argv[1] + "/report.npz"))
assert not NoTorch.asked and not {"torch", "distill", "continual"} & set(sys.modules)
print(report)
"""


@pytest.mark.slow
def test_all_of_it_works_without_torch_and_distill(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "threshold" in done.stdout
    assert (tmp_path / "report.html").exists()


# -- the program ---------------------------------------------------------------------------------------------------


def test_a_file_is_audited(tmp_path, capsys):
    records().save(tmp_path / "records.npz")
    outputs = {"html": "page.html", "json": "figures.json", "roc": "roc.png", "save": "report.npz"}
    options = [word for name, file in outputs.items() for word in (f"--{name}", str(tmp_path / file))]
    assert main([str(tmp_path / "records.npz"), "--attacks", "threshold", "--by-class", *options]) == 0
    said = capsys.readouterr().out
    assert "class 2: 13 members, 20 non-members" in said
    assert said.endswith(f"save: {tmp_path / 'report.npz'}\n")
    Page(tmp_path / "page.html").assert_self_contained()
    assert read(tmp_path / "figures.json")["info"] == {"records": "records.npz"}
    assert AuditReport.load(tmp_path / "report.npz").result("threshold").members == 40
    assert (tmp_path / "roc.png").exists()


HEAVY = {"torch", "torchvision", "distill", "continual", "matplotlib", "pandas", "tensorflow", "jax", "dask", "PIL"}
HELP = """
import runpy, sys
sys.argv = ["privacy", "--help"]
try:
    runpy.run_module("privacy", run_name="__main__", alter_sys=True)
finally:
    print(*sys.modules, file=sys.stderr)
"""


def test_help_imports_no_heavy_module():
    done = subprocess.run([sys.executable, "-c", HELP], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "--by-correctness" in done.stdout
    imported = set(done.stderr.split())
    assert {"privacy", "privacy.auditing", "numpy"} <= imported
    assert not HEAVY & imported


def test_a_damaged_file_is_one_line(tmp_path, capsys):
    (tmp_path / "records.npz").write_bytes(b"")
    assert main([str(tmp_path / "records.npz")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert "records.npz is damaged" in said


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "error: the following arguments are required: records; see python -m privacy --help"),
        (["a.npz", "--seed", "x"], "error: argument --seed: invalid int value: 'x'; see python -m privacy --help"),
        (["a.npz", "--attacks", "svm"], "error: argument --attacks: invalid choice: 'svm' (choose from "),
        (["a.npz", "--by-class"], "error: cannot read a.npz: No such file"),
        (["a.npz", "--by-clas"], "error: unrecognized arguments: --by-clas; see"),
        (["a.npz", "--shadow"], "error: unrecognized arguments: --shadow; see"),
    ],
)
def test_wrong_options_are_one_line(options, message, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        code = main(options)
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr().err
    assert code == 2
    assert said.startswith(message)
    assert said.count("\n") == 1


@pytest.mark.parametrize("options", [["--attacks", "lr", "threshold", "FILE"], ["FILE", "--attacks", "lr", "--attacks",
                                     "threshold"]])  # fmt: skip
def test_attacks_may_come_before_the_file_and_more_than_once(options, monkeypatch, tmp_path):
    asked = []

    def noted(given, *, attacks, **more):
        asked.append((len(given), attacks))
        raise KeyboardInterrupt

    monkeypatch.setattr("privacy.__main__.audit", noted)
    file = str(records().save(tmp_path / "records.npz"))
    assert main([file if word == "FILE" else word for word in options]) == 130
    assert asked == [(len(records()), ["lr", "threshold"])]


def test_sigterm_is_one_line(monkeypatch, tmp_path, capsys):
    def terminated(*given, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr("privacy.__main__.audit", terminated)
    records().save(tmp_path / "records.npz")
    assert main([str(tmp_path / "records.npz")]) == 143
    assert capsys.readouterr().err == "\nstopped\n"
    assert signal.getsignal(signal.SIGTERM) == before


def test_ctrl_c_is_one_line(monkeypatch, tmp_path, capsys):
    def interrupted(*given, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("privacy.__main__.audit", interrupted)
    records().save(tmp_path / "records.npz")
    assert main([str(tmp_path / "records.npz")]) == 130
    assert capsys.readouterr().err == "\nstopped\n"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--save", "records.npz"], "--save records.npz would overwrite the records; give it another name"),
        (["--html", "a", "--json", "a"], "--json a would overwrite --html; give it another name"),
        (["--roc", "roc.gif", "--save", "kept.npz"], "--roc roc.gif is not a picture; expected a name that ends in "),
        (["--html", "."], "--html . is a folder; expected the name of a file"),
        (["--html", "records.npz/page.html"], "records.npz is a file; expected a folder there"),
        (["--json", "records.npz/a/b.json"], "records.npz is a file; expected a folder there"),
    ],
)
def test_outputs_are_checked_before_the_audit(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    records().save("records.npz")
    before = Path("records.npz").read_bytes()
    assert main(["records.npz", "--attacks", "threshold", *options]) == 2
    assert message in capsys.readouterr().err
    assert Path("records.npz").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["records.npz"]

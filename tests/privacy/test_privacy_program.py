"""`python -m privacy`, and all of the package where torch is missing."""

import subprocess
import sys
from pathlib import Path

import pytest

from audits import Page, read, records
from privacy import (
    AuditReport,
)

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


def test_all_of_it_works_without_torch_and_distill(tmp_path):
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "threshold" in done.stdout
    assert (tmp_path / "report.html").exists()


def test_command_line_audits_a_file(tmp_path):
    records().save(tmp_path / "records.npz")
    outputs = {"html": "page.html", "json": "figures.json", "roc": "roc.png", "save": "report.npz"}
    options = [word for name, file in outputs.items() for word in (f"--{name}", tmp_path / file)]
    command = [sys.executable, "-m", "privacy", tmp_path / "records.npz", "--attacks", "threshold", "--by-class"]
    root = Path(__file__).parents[2]
    done = subprocess.run([*command, *options], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "class 2: 13 members, 20 non-members" in done.stdout
    Page(tmp_path / "page.html").assert_self_contained()
    assert read(tmp_path / "figures.json")["info"] == {"records": "records.npz"}
    assert AuditReport.load(tmp_path / "report.npz").result("threshold").members == 40
    assert (tmp_path / "roc.png").exists()
    (tmp_path / "records.npz").write_bytes(b"")
    done = subprocess.run(command, cwd=root, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert "records.npz is damaged" in done.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--save", "records.npz"], "--save records.npz would overwrite the records; give it another name"),
        (["--html", "a", "--json", "a"], "--json a would overwrite --html; give it another name"),
        (["--roc", "roc.gif", "--save", "kept.npz"], "--roc roc.gif is not a picture; wanted a name that ends in .png"),
        (["--html", "."], "--html . is a folder; wanted the name of a file"),
    ],
)
def test_outputs_are_checked_before_the_audit(tmp_path, monkeypatch, capsys, options, message):
    from privacy.__main__ import main

    monkeypatch.chdir(tmp_path)
    records().save("records.npz")
    before = Path("records.npz").read_bytes()
    assert main(["records.npz", "--attacks", "threshold", *options]) == 2
    assert message in capsys.readouterr().err
    assert Path("records.npz").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["records.npz"]

"""The core alone, as `pip install .` brings it: audits without torch, and what the other packages say there."""

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow
AUDIT = """
import numpy as np
from importlib.util import find_spec
from privacy import AttackRecords, Summary, audit

assert find_spec("torch") is find_spec("torchvision") is find_spec("avalanche") is None
generator = np.random.default_rng(0)
labels = np.arange(100) % 3
members, others = (3 * scale * np.eye(3)[labels] + generator.normal(size=(100, 3)) for scale in (1.5, 0.5))
records = AttackRecords(members=(members, labels), non_members=(others, labels))
records.save("records.npz")
report = audit(records, attacks="all", by_class=True, images=generator.random((100, 6, 6)))
assert report.verdict.leaks
report.to_html("audit.html")
report.plot_roc("roc.pdf")
Summary({"mine": [report]}).to_html("summary.html")
"""


def run(*command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*map(str, command)], cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def core(tmp_path_factory) -> tuple[Path, Path]:
    """The Python of a fresh environment with the core installed, and an empty folder."""
    folder = tmp_path_factory.mktemp("core")
    checkout = folder / "checkout"  # pip leaves its builds in it
    checkout.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    for package in ("privacy", "distill", "continual"):
        shutil.copytree(ROOT / package, checkout / package, ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    python = next(path for path in (folder / "venv").glob("*/python*") if path.stem == "python")
    began = time.monotonic()
    done = run(python, "-m", "pip", "install", "--quiet", "--no-warn-script-location", checkout, folder=folder)
    if done.returncode and ("No matching distribution" in done.stderr or "connection" in done.stderr.lower()):
        pytest.skip(f"pip cannot reach the packages: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    size = sum(path.stat().st_size for path in (folder / "venv").rglob("*") if path.is_file())
    print(f"core: {size / 1e6:.0f} MB, {time.monotonic() - began:.0f} s")
    place = folder / "empty"
    place.mkdir()
    return python, place


def test_the_core_audits_without_torch(core):
    python, folder = core
    done = run(python, "-c", AUDIT, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "Membership-inference audit" in (folder / "audit.html").read_text()
    done = run(python, "-m", "privacy", "records.npz", "--attacks", "lr", "--html", "page.html", folder=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "page.html").exists()


@pytest.mark.parametrize("package", ["distill", "continual"])
def test_what_is_not_installed_names_its_extra_in_one_line(core, package):
    python, folder = core
    done = run(python, "-c", f"import {package}", folder=folder)
    last = done.stderr.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"ImportError: {package} needs ")
    assert last.endswith(f"pip install '.[{package}]'")
    assert "During handling" not in done.stderr


def test_versions_are_those_of_the_package(core):
    python, folder = core
    done = run(python, "-c", "import privacy; print(privacy.__version__)", folder=folder)
    assert done.stdout == "0.1.0\n"

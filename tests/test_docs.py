"""The docs: their programs run as they stand and reach the results beside them, their files exist, the site builds."""

import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from avalanche.benchmarks.classic import ccifar100
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image
from torch.utils.data import Dataset

import benchmarks.harness.program
from benchmarks.harness.command_line import parse
from benchmarks.harness.options import Options
from continual import stream_accuracy
from distill import ImageCodec, Preprocessing, load_images
from distill.networks import NETWORKS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
DATA = Path(os.environ.get("FREPO_DATA", ROOT.parent / "shared" / "data"))
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
NOTEBOOKS = sorted(DOCS.glob("notebooks/*.ipynb"))
every_notebook = pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def programs(path: Path, *, start: str = "", end: str | None = None) -> list[str]:
    """The Python programs of a page, or between two of its headings."""
    text = path.read_text(encoding="utf-8")
    part = text[text.index(start) : None if end is None else text.index(end)]
    return re.findall(r"```python\n(.*?)```", part, re.DOTALL)


@pytest.fixture
def names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict]:
    """The names of a page's programs, which run in an empty folder and leave nothing registered."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    registries = [(registry, dict(registry)) for registry in (NETWORKS, Preprocessing.kinds, ImageCodec.kinds)]
    yield {"__name__": "page"}
    for registry, kept in registries:
        registry.clear()
        registry.update(kept)


# Pages with programs too long for here have tests of their own below.
RUN_WHOLE = [page for page in PAGES if programs(page) and page.name != "replay.md"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Call to deprecated function")
@pytest.mark.parametrize("page", RUN_WHOLE, ids=lambda page: page.name)
def test_programs_of_a_page_run_one_after_the_other(page: Path, names: dict) -> None:
    for program in programs(page):
        exec(compile(program, str(page), "exec"), names)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Call to deprecated function")
def test_replay_page(capsys: pytest.CaptureFixture[str], names: dict) -> None:
    replay, gdumb = programs(DOCS / "replay.md", start="## A complete example", end="## On SplitCIFAR100")
    exec(replay, names)
    assert names["accuracy"] > 0.85
    assert f"{100 * names['accuracy']:.1f} % over all classes" in capsys.readouterr().out
    exec(gdumb, names)
    assert names["accuracy"] > 0.75


@pytest.mark.slow
def test_memory_in_bytes_on_the_replay_page(names: dict) -> None:
    (program,) = programs(DOCS / "replay.md", start="## Memory in bytes", end="## Transforms of replayed images")
    exec(program, names)
    assert 4500 < names["distilled"].nbytes <= 5000
    assert 4500 < names["real"].nbytes <= 5000


class Pictures(Dataset):
    """CIFAR-100 as torchvision gives it."""

    def __init__(self, split: str) -> None:
        data = load_images("cifar100", split=split, data_dir=DATA)
        self.pixels, self.targets = np.asarray(data.images), data.labels.tolist()

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return Image.fromarray(self.pixels[index]), self.targets[index]


SHORTENED = {
    "steps=500": "steps=20",
    "train_steps=400": "train_steps=100",
    "benchmark.train_stream": "benchmark.train_stream[:2]",
    "benchmark.test_stream": "benchmark.test_stream[:2]",
    "progress=True": "progress=False",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Call to deprecated function")
@pytest.mark.skipif(not (DATA / "cifar100.npz").exists(), reason="needs cifar100.npz")
def test_replay_page_on_split_cifar100(monkeypatch: pytest.MonkeyPatch, names: dict) -> None:
    """The first two experiences: 20 steps of distillation, not 500, and 100 updates of GDumb, not 400.

    Chance is 5 % of 20 classes.
    """
    monkeypatch.setattr(ccifar100, "get_cifar100_dataset", lambda root: (Pictures("train"), Pictures("test")))
    for program in programs(DOCS / "replay.md", start="## On SplitCIFAR100", end="## What is kept"):
        for given, short in SHORTENED.items():
            program = program.replace(given, short)
        exec(program, names)
        accuracy = stream_accuracy(names["strategy"], names["benchmark"].test_stream[:2])
        print(f"{accuracy:.3f}")
        assert accuracy > 0.15


@every_page
def test_files_that_a_page_names_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    missing = [link for link in links if link and not (page.parent / link).exists() and not is_generated(link)]
    named = re.findall(r"(?<![\w./-])(?:distill|continual|privacy|benchmarks|tests|examples|docs)/[\w./-]*", text)
    missing += [name for name in named if not (ROOT / name).exists()]
    assert missing == []


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """The benchmarks that a page runs, and what it gives them; lines that leave something out are not among them."""
    text = page.read_text(encoding="utf-8")
    blocks = "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)).replace("\\\n", " ")
    inline = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = [*blocks.splitlines(), *(line.replace("\n", " ") for line in inline)]
    found = [re.search(r"benchmarks/(\w+)\.py (.*)", line) for line in lines if "…" not in line]
    return [(match[1], shlex.split(match[2], comments=True)) for match in found if match]


COMMANDS = [(name, given) for page in PAGES for name, given in commands(page)]


def examples_of_options(page: Path) -> list[list[str]]:
    """What stands in the first column of a page's table of options."""
    cells = re.findall(r"^\| (`--.*?) \|", page.read_text(encoding="utf-8"), re.MULTILINE)
    examples = [example for cell in cells for example in re.findall(r"`(--[^`]+)`", cell)]
    return [example.split() for example in examples if "…" not in example]


COMMANDS += [
    (name, given)
    for page, name in {"class_incremental": "cl_cifar100", "audit": "mia", "distil": "distillation"}.items()
    for given in examples_of_options(DOCS / f"{page}.md")
]


@pytest.mark.parametrize(("name", "given"), COMMANDS, ids=[" ".join([name, *given]) for name, given in COMMANDS])
def test_command_lines_can_be_read(name: str, given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[type[Options]] = []
    monkeypatch.setattr(benchmarks.harness.program, "run_program", read.append)
    monkeypatch.setattr(sys, "path", list(sys.path))
    with pytest.raises(SystemExit):
        runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"), run_name="__main__")
    parse(read[0], given)


def is_generated(link: str) -> bool:
    """Whether the site makes the page from a notebook."""
    return link.startswith("notebooks/") and (DOCS / link).with_suffix(".ipynb").exists()


@every_notebook
def test_notebook_can_be_read_without_running_it(notebook: Path) -> None:
    cells = [cell for cell in nbformat.read(notebook, as_version=4).cells if cell.cell_type == "code"]
    outputs = [output for cell in cells for output in cell.outputs]
    assert notebook.stat().st_size < 300_000
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert any(output.get("name") == "stdout" for output in outputs)
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]


@pytest.mark.slow
@every_notebook
def test_notebook_runs(notebook: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In a process of its own, to the end; what it prints has the lines that are stored, numbers aside."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]))
    stored, run = nbformat.read(notebook, as_version=4), nbformat.read(notebook, as_version=4)
    NotebookClient(run, timeout=900, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    assert [printed(cell) for cell in run.cells] == [printed(cell) for cell in stored.cells]


def printed(cell: NotebookNode) -> str:
    """What a cell printed, numbers left out and spaces made one."""
    text = "".join(output.text for output in cell.get("outputs", []) if output.get("name") == "stdout")
    return re.sub(r"[-\s]+", " ", re.sub(r"[\d.]+", "#", text))


@pytest.mark.parametrize("package", ["distill", "continual", "privacy"])
def test_api_page_has_every_public_name(package: str) -> None:
    listed = re.findall(rf"^::: {package}\.(\w+)$", (DOCS / "api" / f"{package}.md").read_text(), re.MULTILINE)
    assert sorted({*listed, "ATTACKS"}) == sorted({*import_module(package).__all__, "ATTACKS"})


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.slow
def test_site_builds_without_a_warning_and_asks_nothing_of_other_servers(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert not re.findall(r"<(?:script|img|iframe)[^>]*src=[\"']?(?:https?:)?//", html), page
        assert "<blockquote>" not in html, f"a doctest on {page} is not shown as code"
        assert not re.findall(r"<link[^>]*rel=[\"']?(?:stylesheet|preconnect)[^>]*href=[\"']?https?://", html), page

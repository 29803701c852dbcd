"""The programs in examples/ run as they stand, in an empty folder, and reach what their texts promise."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def output_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable:
    monkeypatch.chdir(tmp_path)

    def run(name: str) -> str:
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Call to deprecated function")
def test_replay(output_of: Callable[[str], str]) -> None:
    lines = re.findall(r"(\d+) images kept: ([\d.]+) % over the classes seen", output_of("replay.py"))
    assert [int(kept) for kept, _ in lines] == [20, 40, 60, 80, 100]
    assert float(lines[-1][1]) > 85


@pytest.mark.slow
def test_audit(output_of: Callable[[str], str], tmp_path: Path) -> None:
    output = output_of("audit.py")
    assert "On average: members can be distinguished from non-members" in output
    assert "non-members score as high" in output.splitlines()[-1]
    assert (tmp_path / "audit.html").read_text(encoding="utf-8").count("<img") > 0


@pytest.mark.slow
def test_distil(output_of: Callable[[str], str], tmp_path: Path) -> None:
    accuracies = re.findall(r"^(\w+) +network ([\d.]+)", output_of("distil.py"), re.MULTILINE)
    assert [name for name, _ in accuracies] == ["frepo", "random"]
    assert float(accuracies[0][1]) > float(accuracies[1][1])
    assert {file.name for file in tmp_path.iterdir()} == {
        "frepo.png", "frepo.safetensors", "random.png", "random.safetensors"
    }  # fmt: skip


def test_every_example_is_run() -> None:
    tested = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert {path.stem for path in EXAMPLES.glob("*.py")} <= tested

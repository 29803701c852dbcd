"""What `import distill` gives."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import distill

ROOT = Path(__file__).parents[2]


def test_every_public_name_is_there_and_completes() -> None:
    assert set(distill.__all__) <= set(dir(distill))
    assert all(getattr(distill, name).__name__ == name for name in distill.__all__)
    assert distill.__all__ == sorted(distill.__all__, key=lambda name: (not name.isupper(), name[0].islower(), name))


def test_version_is_that_of_the_project() -> None:
    (version,) = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert distill.__version__ == version


@pytest.mark.parametrize("absent", ["torch", "safetensors"])
def test_without_its_extra_it_says_in_one_line_what_to_install(absent: str) -> None:
    program = f"import sys; sys.modules[{absent!r}] = None; import distill"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1] == (
        f"ImportError: distill needs {absent}, which is not installed: pip install '.[distill]'"
    )

"""What `import continual` needs, and what it says where that is missing."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import continual

WITHOUT = """
import sys
sys.modules[{module!r}] = None  # what an import of a missing module looks like
try:
    import continual
except ImportError as error:
    print(error)
"""


@pytest.mark.parametrize("module", ["avalanche", "torch"])
def test_missing_packages_are_named_with_the_extra_that_installs_them(module):
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(module=module)], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"continual needs {module}, which is not installed: pip install '.[continual]'\n"


def test_version_is_that_of_the_distribution():
    assert continual.__version__ == version("frepo-toolkit")

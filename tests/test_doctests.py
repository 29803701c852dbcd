"""The examples in the docstrings of the packages give what they say."""

import doctest
from importlib import import_module

import pytest
from test_architecture import MODULES

PUBLIC = ("distill", "continual", "privacy")
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
WITH_EXAMPLES = [
    name for name, file in MODULES.items() if name.startswith(PUBLIC) and ">>> " in file.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_of_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some write files
    found = doctest.testmod(import_module(name), optionflags=OPTIONS)
    assert found.attempted
    assert not found.failed

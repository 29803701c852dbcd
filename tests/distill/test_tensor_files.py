"""Safetensors files: as the library writes them, whole or not at all, and nobody's leftovers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from distill import InputError
from distill.files import PARTIAL, remove_partial
from distill.tensor_files import DTYPES, content_of, write_tensors

WRITE = """
import sys, time, torch
from distill import tensor_files
tensor_files.content_of = lambda tensor: time.sleep(60)
tensor_files.write_tensors(sys.argv[1], {"weight": torch.zeros(1000)}, {})
"""


def test_files_are_those_of_the_library(tmp_path):
    """Every type, names that are no ASCII, a scalar, no elements, and a tensor that is not contiguous."""
    tensors = {f"{name} {dtype}": torch.ones(3, dtype=dtype) for name in ("z", "a", "é") for dtype in DTYPES}
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.zeros(0, 3), "turned": torch.arange(6).view(2, 3).T}
    path = write_tensors(tmp_path / "all.safetensors", tensors, {"age": 3})
    expected = {name: tensor.contiguous() for name, tensor in tensors.items()}
    assert path.read_bytes() == save(expected, {"age": "3"})
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in load_file(path).items())


def test_a_type_that_such_files_do_not_have_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"cannot write .*: weight is torch.complex64; expected bool, int or float"):
        write_tensors(tmp_path / "set.safetensors", {"weight": torch.zeros(2, dtype=torch.complex64)}, {})
    assert not list(tmp_path.iterdir())


def test_what_is_being_written_is_removed_by_nobody(tmp_path, monkeypatch):
    """By none of the processes that remove what killed ones have left."""

    def content_while_another_cleans(tensor: torch.Tensor) -> memoryview:
        remove_partial(tmp_path)
        assert [file.match(PARTIAL) for file in tmp_path.iterdir()] == [True]
        return content_of(tensor)

    monkeypatch.setattr("distill.tensor_files.content_of", content_while_another_cleans)
    path = write_tensors(tmp_path / "set.safetensors", {"a": torch.ones(2), "b": torch.ones(3)}, {})
    assert load_file(path)["b"].tolist() == [1, 1, 1]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_what_a_killed_process_has_left_is_removed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", WRITE, str(tmp_path / "set.safetensors")], env=os.environ)
    files: list[Path] = []
    for _ in range(600):
        files = list(tmp_path.iterdir())
        if files:
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert [file.match(PARTIAL) for file in files] == [True]
    remove_partial(tmp_path)
    assert not list(tmp_path.iterdir())

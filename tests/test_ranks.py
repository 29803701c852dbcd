"""Two processes under torchrun against one: the same distilled set, and the same rows and gradients."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from distill import FRePo, SyntheticSet, load_images
from distill.ranks import gathered_rows, is_first_rank, own_rows, start_ranks, world_size

ROOT = Path(__file__).resolve().parent.parent

ROWS = """
import sys, torch, torch.distributed as dist
from distill.ranks import gathered_rows, own_rows, start_ranks
start_ranks("cpu")
for n in (1, 2, 5, 8):
    leaf = torch.arange(3.0 * n).view(n, 3).requires_grad_(True)
    own = own_rows(leaf)
    assert len(own) == -(-n // 2), (n, own)
    result = gathered_rows(own * own, n)
    assert torch.equal(result, leaf * leaf), (n, result)
    weighting = torch.arange(1.0, 3 * n + 1).view(n, 3)
    (result * weighting).sum().backward()
    assert torch.equal(leaf.grad, 2 * leaf.detach() * weighting), (n, leaf.grad)
dist.destroy_process_group()
"""

DISTIL = """
import sys, torch.distributed as dist
from distill import FRePo, load_images
from distill.ranks import is_first_rank, start_ranks
start_ranks("cpu")
options = dict(images_per_class=1, steps=6, batch_size=33, width=4, pool_size=2, max_updates=2, dtype="float64")
synthetic = FRePo(**options).distill(load_images("digits"), checkpoint=sys.argv[2])
if is_first_rank():
    synthetic.save(sys.argv[1])
dist.destroy_process_group()
"""


def torchrun(script: str, *arguments: Path, tmp_path: Path, processes: int = 2) -> None:
    program = tmp_path / "program.py"
    program.write_text(script)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", str(program),
        *map(str, arguments),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]


def test_rows_are_shared_out_and_gathered_with_their_gradients(tmp_path: Path) -> None:
    torchrun(ROWS, tmp_path=tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_processes_together_distil_what_one_does(tmp_path: Path, processes: int) -> None:
    path, checkpoint = tmp_path / "set.safetensors", tmp_path / "checkpoint.safetensors"
    torchrun(DISTIL, path, checkpoint, tmp_path=tmp_path, processes=processes)
    together = SyntheticSet.load(path)
    options = {"images_per_class": 1, "steps": 6, "batch_size": 33, "width": 4, "pool_size": 2, "max_updates": 2}
    alone = FRePo(**options, dtype="float64").distill(load_images("digits"))
    torch.testing.assert_close(together.images, alone.images, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together.labels, alone.labels, rtol=1e-5, atol=1e-5)


def test_one_process_has_all_rows_and_is_the_first_rank(monkeypatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    rows = torch.ones(3, 2)
    assert start_ranks("cpu") == "cpu"
    assert world_size() == 1
    assert is_first_rank()
    assert own_rows(rows) is rows
    assert gathered_rows(rows, 3) is rows

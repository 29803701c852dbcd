"""Two processes under torchrun against one: the same distilled set, and the same rows and gradients."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from distill import FRePo, SyntheticSet, load_images
from distill.runtime.distributed import (
    gathered_rows,
    is_first_rank,
    is_own,
    leave_ranks,
    own_rows,
    said_by_first_rank,
    start_ranks,
    wait_for_ranks,
    world_size,
)  # fmt: skip

ROOT = Path(__file__).resolve().parents[2]

ROWS = """
import torch
from distill.runtime.distributed import gathered_rows, leave_ranks, own_rows, start_ranks
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
leave_ranks()
"""

DISTIL = """
import json, sys
from distill import FRePo, load_images
from distill.runtime.distributed import is_first_rank, leave_ranks, start_ranks
start_ranks("cpu")
synthetic = FRePo(**json.loads(sys.argv[3])).distill(load_images("digits"), images_per_class=1, store=sys.argv[2])
if is_first_rank():
    synthetic.save(sys.argv[1])
leave_ranks()
"""


TORCH_ABORTED = "terminate called without an active exception"


def torchrun(
    program: Path, *arguments: Any, processes: int = 2, succeeds: bool = True
) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", str(program),
        *map(str, arguments),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONFAULTHANDLER": "1"}
    for _ in range(3):  # torch's own threads abort a process now and then, in its last moments
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
        if TORCH_ABORTED not in ended.stderr:
            break
    assert (ended.returncode == 0) == succeeds, ended.stderr[-3000:]
    return ended


def written(folder: Path, script: str) -> Path:
    path = folder / "program.py"
    path.write_text(script)
    return path


SAID = """
import torch.distributed as dist
from distill.runtime.distributed import leave_ranks, said_by_first_rank, start_ranks
start_ranks("cpu")
first = dist.get_rank() == 0
assert said_by_first_rank(first) is True
assert said_by_first_rank(not first) is False
leave_ranks()
"""

# The second rank looks for the set only when the first one has saved it, as it may: it must still wait with the first.
RACE = """
import sys, time
from pathlib import Path
from benchmarks.harness.program import run_program
from benchmarks.studies.distillation import sets
from benchmarks.studies.distillation.options import DistillationOptions
from distill.runtime.distributed import is_first_rank, wait_for_ranks, world_size
exists = Path.exists
def late(path, **options):
    if path.name == "synthetic.safetensors" and not is_first_rank():
        until = time.monotonic() + 10
        while not exists(path) and time.monotonic() < until:
            time.sleep(0.05)
    return exists(path, **options)
Path.exists = late
sys.exit(run_program(DistillationOptions, sys.argv[1:]))
"""


@pytest.mark.slow
def test_all_ranks_go_by_what_the_first_one_says(tmp_path: Path) -> None:
    torchrun(written(tmp_path, SAID))


@pytest.mark.slow
def test_ranks_that_see_a_set_late_make_it_with_the_others(tmp_path: Path) -> None:
    words = ("--dataset", "digits", "--images-per-class", 1, "--method", "random", "--networks", 1, "--width", 4)
    torchrun(written(tmp_path, RACE), *words, "--train-steps", 2, "--seeds", 0, 1, "--output", tmp_path / "run")
    assert len(list((tmp_path / "run").rglob("networks/*.json"))) == 2


@pytest.mark.slow
def test_rows_are_shared_out_and_gathered_with_their_gradients(tmp_path: Path) -> None:
    torchrun(written(tmp_path, ROWS))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "own"), [(2, {}), (3, {"outer_loss": "softmax", "average": 0.9, "pool_updates": 1.5})]
)
def test_processes_together_distil_what_one_does(tmp_path: Path, processes: int, own: dict[str, Any]) -> None:
    path, checkpoint = tmp_path / "set.safetensors", tmp_path / "store"
    options = {"steps": 6, "batch_size": 33, "width": 4, "pool_size": 2, "max_updates": 2, "dtype": "float64", **own}
    torchrun(written(tmp_path, DISTIL), path, checkpoint, json.dumps(options), processes=processes)
    together = SyntheticSet.load(path)
    alone = FRePo(**options).distill(load_images("digits"), images_per_class=1)
    torch.testing.assert_close(together.images, alone.images, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together.labels, alone.labels, rtol=1e-5, atol=1e-5)


def test_one_process_has_all_rows_and_is_the_first_rank(monkeypatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    rows = torch.ones(3, 2)
    start_ranks("cpu")
    assert world_size() == 1
    assert is_first_rank()
    assert all(map(is_own, range(3)))
    assert said_by_first_rank(True)
    assert not said_by_first_rank(False)
    wait_for_ranks()
    leave_ranks()
    assert own_rows(rows) is rows
    assert gathered_rows(rows, 3) is rows


# -- the benchmark ----------------------------------------------------------------------------------------------------

BENCHMARK = ROOT / "benchmarks" / "distillation.py"
RUN = (
    "--dataset", "digits", "--images-per-class", 1, "--method", "frepo", "random", "--frepo-steps", 4, "--networks", 3,
    "--train-steps", 3, "--width", 4,
)  # fmt: skip


def accuracies(folder: Path) -> dict[tuple[str, int], float]:
    results = json.loads((folder / "results.json").read_text())
    return {(record["row"], record["index"]): record["accuracy"] for record in results["networks"]}


@pytest.mark.slow
def test_the_benchmark_under_torchrun_writes_what_one_process_writes(tmp_path: Path) -> None:
    together, alone = tmp_path / "together", tmp_path / "alone"
    printed = torchrun(BENCHMARK, *RUN, "--output", together).stdout
    one = [sys.executable, str(BENCHMARK), *map(str, RUN), "--output", str(alone)]
    subprocess.run(one, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert printed.count("results in") == 1
    assert names(together) == names(alone)
    for row in ("frepo", "random"):
        sets = [SyntheticSet.load(folder / row / "seed-0" / "synthetic.safetensors") for folder in (together, alone)]
        torch.testing.assert_close(sets[0].images, sets[1].images, rtol=1e-2, atol=1e-3)
    assert accuracies(together).keys() == accuracies(alone).keys()
    for key, value in accuracies(together).items():
        assert value == pytest.approx(accuracies(alone)[key], abs=0.05)
    again = torchrun(BENCHMARK, *RUN, "--output", together, "--resume").stdout
    assert accuracies(together).keys() == accuracies(alone).keys()
    assert again.count("results in") == 1


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_what_does_not_go_with_several_processes_is_refused(tmp_path: Path) -> None:
    for extra, message in (
        (("--seconds", 3), "--seconds is not possible under torchrun"),
        (("--jobs", 2), "--jobs is 2, but torchrun started 2 processes"),
    ):
        ended = torchrun(BENCHMARK, *RUN, *extra, "--output", tmp_path / "run", succeeds=False)
        assert message in ended.stderr

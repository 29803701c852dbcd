"""How a benchmark's process is set up: precision that is available, and what it does."""


from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.harness import process
from benchmarks.harness.experiment import with_precision
from benchmarks.harness.process import precision_for, set_up_process
from benchmarks.harness.run_folder import write_record
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions
from distill import InputError


@pytest.fixture(autouse=True)
def as_before(monkeypatch):
    monkeypatch.setattr(process, "keep_freed_memory", lambda: None)  # holds for a whole process
    yield
    set_up_process(device="cpu", precision="float32", shares_out=True)


@pytest.mark.parametrize(
    ("precision", "device", "message"),
    [
        ("tf32", "cpu", "--precision tf32 is for NVIDIA GPUs, but --device is cpu"),
        ("bfloat16", "cuda", "--precision bfloat16 is for CPUs, but --device is cuda"),
    ],
)
def test_a_precision_that_the_device_has_not_is_refused(precision: str, device: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        set_up_process(device=device, precision=precision)


def test_bfloat16_is_refused_where_the_processor_has_none(monkeypatch) -> None:
    monkeypatch.setattr(process, "has_cpu_bfloat16", lambda: False)
    with pytest.raises(InputError, match=r"--precision bfloat16 needs torch 2\.9 or newer"):
        set_up_process(device="cpu", precision="bfloat16")


@pytest.mark.skipif(not process.has_cpu_bfloat16(), reason="a processor without bfloat16")
def test_products_are_as_precise_as_asked_for() -> None:
    left, right = torch.randn(2, 300, 300, generator=torch.Generator().manual_seed(0))
    exact, errors = left.double() @ right.double(), {}
    for precision in ("bfloat16", "float32"):
        set_up_process(device="cpu", precision=precision)
        errors[precision] = float((left @ right - exact).norm() / exact.norm())
    assert errors["float32"] < 1e-6
    assert 1e-4 < errors["bfloat16"] < 1e-2


def test_auto_is_bfloat16_on_a_processor_with_a_matrix_unit_alone(monkeypatch) -> None:
    for unit, device, expected in ((True, "cpu", "bfloat16"), (False, "cpu", "float32"), (True, "cuda", "float32")):
        monkeypatch.setattr(process, "has_matrix_unit", lambda unit=unit: unit)
        assert precision_for(device, "auto") == expected
    assert precision_for("cpu", "float32") == "float32"


def test_auto_is_recorded_as_what_it_was_and_resumed_so(tmp_path: Path, monkeypatch) -> None:
    options = ClassIncrementalOptions(output=tmp_path)
    monkeypatch.setattr(process, "has_matrix_unit", lambda: True)
    assert with_precision(options, tmp_path).precision == "bfloat16"
    write_record(tmp_path, {"precision": "bfloat16"})
    monkeypatch.setattr(process, "has_matrix_unit", lambda: False)  # another machine
    assert with_precision(replace(options, resume=True), tmp_path).precision == "bfloat16"
    assert with_precision(options, tmp_path).precision == "float32"


def test_a_program_that_does_not_share_out_is_refused_under_torchrun(monkeypatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(InputError, match=r"does not support torchrun \(only distillation\.py does\); use --jobs"):
        set_up_process(device="cpu", precision="float32")
    set_up_process(device="cpu", precision="float32", shares_out=True)

"""Results that a resumed run reads instead of making them again."""

import json
import math

import pytest
import torch

from benchmarks.harness.kept import kept, save
from distill import InputError, SyntheticSet
from distill.preprocess import Identity


def never():
    pytest.fail("made again")


def test_what_is_there_is_read_and_not_made_again(tmp_path):
    path = tmp_path / "random" / "step-1.json"
    assert kept(path, lambda: {"accuracy": (0.5, float("inf"))}) == {"accuracy": [0.5, float("inf")]}
    assert kept(path, never) == {"accuracy": [0.5, float("inf")]}
    assert [path.name for path in path.parent.iterdir()] == ["step-1.json"]


def not_json(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_numbers_that_json_does_not_have_come_back_from_a_file_that_is_json(tmp_path):
    path = tmp_path / "network.json"
    made = {"accuracy": math.nan, "bounds": [-math.inf, {"high": math.inf}], "text": "none", "updates": None}
    for make in (lambda: made, never):
        found = kept(path, make)
        assert math.isnan(found.pop("accuracy"))
        assert found == {"bounds": [-math.inf, {"high": math.inf}], "text": "none", "updates": None}
    json.loads(path.read_text(), parse_constant=not_json)


def test_what_saves_itself_is_kept_too(tmp_path):
    path, images = tmp_path / "synthetic.safetensors", torch.arange(16.0).view(1, 1, 4, 4)
    synthetic = SyntheticSet(images, torch.eye(2)[:1], torch.zeros(1, dtype=torch.long), ("a", "b"), Identity(), {})
    for make in (lambda: synthetic, never):
        assert torch.equal(kept(path, make, read=SyntheticSet.load, write=save).images, images)


def test_a_damaged_file_is_named_and_what_cannot_be_made_leaves_none(tmp_path):
    path = tmp_path / "step-1.json"
    path.write_text('{"accuracy": ')
    with pytest.raises(InputError, match=r"step-1\.json is damaged"):
        kept(path, never)
    path.unlink()

    def fails():
        raise InputError("no images")

    with pytest.raises(InputError, match="no images"):
        kept(path, fails)
    assert not list(tmp_path.iterdir())

"""The programs in the docs run as they stand, and reach the figures that the text beside them gives."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from avalanche.benchmarks.classic import ccifar100
from PIL import Image
from torch.utils.data import Dataset

from continual import stream_accuracy
from distill import load_images

ROOT = Path(__file__).parents[1]
DATA = Path(os.environ.get("FREPO_DATA", ROOT.parent / "shared" / "data"))


def programs(path: Path, *, start: str, end: str) -> list[str]:
    """The Python programs between two headings or lines of a page."""
    text = path.read_text()
    part = text[text.index(start) : text.index(end)]
    return re.findall(r"```python\n(.*?)```", part, re.DOTALL)


@pytest.mark.filterwarnings("ignore:Call to deprecated function")
def test_replay_page(capsys: pytest.CaptureFixture[str]) -> None:
    replay, gdumb = programs(ROOT / "docs" / "replay.md", start="## A complete example", end="## What is kept")
    names: dict = {}
    exec(replay, names)
    assert names["accuracy"] > 0.85
    assert f"{100 * names['accuracy']:.1f} % over all classes" in capsys.readouterr().out
    exec(gdumb, names)
    assert names["accuracy"] > 0.75


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
    "steps=500": "steps=50",
    "train_steps=400": "train_steps=100",
    "benchmark.train_stream": "benchmark.train_stream[:2]",
    "benchmark.test_stream": "benchmark.test_stream[:2]",
    "progress=True": "progress=False",
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Call to deprecated function")
@pytest.mark.skipif(not (DATA / "cifar100.npz").exists(), reason="needs cifar100.npz")
def test_readme_on_split_cifar100(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first two experiences, 50 instead of 500 steps of distillation and 100 instead of 400 updates of GDumb.

    Chance is 5 % of 20 classes.
    """
    monkeypatch.setattr(ccifar100, "get_cifar100_dataset", lambda root: (Pictures("train"), Pictures("test")))
    gdumb, replay = programs(ROOT / "README.md", start="In your own Avalanche code", end="## Results")
    names: dict = {}
    torch.manual_seed(0)
    for program in (gdumb, replay):
        for given, short in SHORTENED.items():
            program = program.replace(given, short)
        exec(program, names)
        accuracy = stream_accuracy(names["strategy"], names["benchmark"].test_stream[:2])
        print(f"{accuracy:.3f}")
        assert accuracy > 0.15

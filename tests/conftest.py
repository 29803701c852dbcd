"""Tiny labelled images that every test file can ask for."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest

from distill import LabelledImages

MakeImages = Callable[..., LabelledImages]


@pytest.fixture(scope="session")
def make_images() -> MakeImages:
    """A maker of labelled uint8 images: a pattern for each class, and noise that tells one image from another."""

    def make(
        counts: Sequence[int] = (12, 12, 12),
        *,
        channels: int = 1,
        height: int = 8,
        width: int = 8,
        seed: int = 0,
        noise: float = 30,
    ) -> LabelledImages:
        patterns = np.random.default_rng(99).uniform(50, 205, (len(counts), height, width, channels))
        labels = np.repeat(np.arange(len(counts)), counts)
        generator = np.random.default_rng(seed)
        labels = generator.permutation(labels)  # classes interleaved, so that a position is no class
        drawn = patterns[labels] + generator.normal(0, noise, (len(labels), height, width, channels))
        classes = tuple(f"class {i}" for i in range(len(counts)))
        return LabelledImages(drawn.clip(0, 255).round().astype(np.uint8), labels, classes, "tiny")

    return make


@pytest.fixture(autouse=True, scope="session")
def interrupts_interrupt() -> None:
    """Ctrl-C and hang-ups end processes also where the tests run in the background or under nohup, ignoring them."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if hasattr(signal, "SIGHUP"):
            signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(autouse=True)
def precision_as_before() -> Iterator[None]:
    """A benchmark that runs in a test's process sets the precision of all of it; the next test has the usual one."""
    yield
    torch = sys.modules.get("torch")
    for products in ("conv", "matmul"):
        part = getattr(torch.backends.mkldnn, products, None) if torch else None
        if part is not None and part.fp32_precision == "bf16":
            part.fp32_precision = "ieee"

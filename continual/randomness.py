"""The global random generators, left unchanged."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["randomness_apart"]


@contextmanager
def randomness_apart(seed: int | None = None) -> Iterator[None]:
    """Within this, random draws do not change the global generators of Python, NumPy and PyTorch (CPU).

    - `seed`: of all three within; default: they keep their state.
    """
    states = random.getstate(), np.random.get_state()  # noqa: NPY002 (what users' transforms draw from)
    with torch.random.fork_rng(devices=[]):
        try:
            if seed is not None:
                random.seed(seed)
                np.random.seed(seed)  # noqa: NPY002
                torch.default_generator.manual_seed(seed)
            yield
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])  # noqa: NPY002

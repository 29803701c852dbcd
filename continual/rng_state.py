"""Save and restore the state of the global random generators."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["preserve_rng_state"]


@contextmanager
def preserve_rng_state(seed: int | None = None) -> Iterator[None]:
    """Restore the global generators of Python, NumPy and PyTorch (CPU) when the block ends.

    - `seed`: seeds all three at the start of the block; default: they keep their state.
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

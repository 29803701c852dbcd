"""Random generators for a purpose each, from the seeds in the options."""

import numpy as np
import torch

__all__ = ["generator_for"]


def generator_for(*seeds: int) -> torch.Generator:
    """A CPU generator for a purpose: neighbouring seeds give unrelated streams.

    Zeros at the end count for nothing, as in NumPy's SeedSequence: (s, 5) is (s, 5, 0). Always on the CPU, so that
    every device draws the same numbers.
    """
    state = np.random.SeedSequence([seed % 2**63 for seed in seeds]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) % 2**63)

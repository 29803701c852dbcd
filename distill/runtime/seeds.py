"""Random generators, one for each purpose, from the seeds in the options."""

import numpy as np
import torch

__all__ = ["generator_for"]


def generator_for(*seeds: int) -> torch.Generator:
    """A CPU generator for one purpose; neighbouring seeds give unrelated streams.

    Trailing zeros do not count, as in NumPy's SeedSequence: (s, 5) is (s, 5, 0). Always on the CPU, so that every
    device draws the same numbers.

        >>> float(torch.rand(1, generator=generator_for(0, 3))) == float(torch.rand(1, generator=generator_for(0, 3)))
        True
    """
    state = np.random.SeedSequence([seed % 2**63 for seed in seeds]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) % 2**63)

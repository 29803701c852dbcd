"""Random generators, one for each purpose, from the seeds in the options."""

from enum import IntEnum

import numpy as np
import torch

__all__ = ["Purpose", "generator_for"]


class Purpose(IntEnum):
    """What random numbers from one seed are drawn for: each purpose has a stream of its own.

    The numbers never change: the same seed gives the same results as before.
    """

    START = 0
    """Which real images a set starts from or consists of, and noise; the network of herding."""
    NETWORKS = 1
    """Networks to distil with; of DM, DSA and MTT also batches and augmentations."""
    BATCHES = 2
    """Real images for each step of FRePo."""
    HELD_OUT = 3
    """Which of many held-out images are looked at."""
    EVALUATION = 5
    """Networks that a finished set is judged by; with the number of the network behind it."""
    SHADOWS = 6
    """Networks with random weights in whose features an audit compares sets."""
    NOISE = 7
    """The noise of differential privacy: whoever knows the seed can take it off."""
    TRAINING = 8
    """Training a network on private records; with the purpose of its numbers behind it."""
    EXPERTS = 9
    """The experts of MTT and their training; with the number of the expert behind it."""


def generator_for(*seeds: int) -> torch.Generator:
    """A CPU generator for one purpose; neighbouring seeds give unrelated streams.

    Trailing zeros do not count, as in NumPy's SeedSequence: (s, 5) is (s, 5, 0). Always on the CPU, so that every
    device draws the same numbers.

        >>> float(torch.rand(1, generator=generator_for(0, 3))) == float(torch.rand(1, generator=generator_for(0, 3)))
        True
    """
    state = np.random.SeedSequence([seed % 2**63 for seed in seeds]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) % 2**63)

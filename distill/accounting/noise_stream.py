"""Random numbers of differential privacy: a stream that cannot be continued or guessed without its key."""

import hashlib
import math
import os

import numpy as np
import torch
from scipy.special import ndtri
from torch import Tensor

__all__ = ["NoiseStream", "derived_seed"]

KEY_BYTES, COUNTER_BYTES = 32, 8


class NoiseStream:
    """Uniform and normal numbers in float64, from SHAKE-256 of a key of 256 bits and a counter.

    torch's generator on a CPU keeps 32 bits of a seed, and whoever knows some of its numbers can compute the others;
    noise of differential privacy must allow neither.

    >>> stream = NoiseStream.of_seed(1, 2)
    >>> first, state = stream.normal(3), stream.get_state()
    >>> second = stream.normal(3)
    >>> stream.set_state(state)
    >>> bool((stream.normal(3) == second).all()), bool((first == second).any())
    (True, False)
    """

    def __init__(self, key: bytes) -> None:
        self.key, self.counter = key, 0

    @classmethod
    def of_seed(cls, *seeds: int) -> "NoiseStream":
        """The stream of some seeds: as secret as these are, and as hard to guess."""
        return cls(hashlib.sha256(repr(("noise", *map(int, seeds))).encode()).digest())

    @classmethod
    def secret(cls) -> "NoiseStream":
        """A stream that nobody can repeat: its key comes from the operating system."""
        return cls(os.urandom(KEY_BYTES))

    def uniform(self, *shape: int) -> Tensor:
        """Numbers strictly between 0 and 1."""
        count = math.prod(shape)
        block = hashlib.shake_256(self.key + self.counter.to_bytes(COUNTER_BYTES, "little")).digest(8 * count)
        self.counter += 1
        values = ((np.frombuffer(block, "<u8") >> 11) + 0.5) / 2**53
        return torch.from_numpy(values).reshape(shape)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers."""
        return torch.from_numpy(ndtri(self.uniform(*shape).numpy()))

    def get_state(self) -> Tensor:
        """Key and counter as uint8 `(40,)`: as secret as the records."""
        return torch.tensor(list(self.key + self.counter.to_bytes(COUNTER_BYTES, "little")), dtype=torch.uint8)

    def set_state(self, state: Tensor) -> None:
        """Go back to what `get_state` gave."""
        raw = bytes(state.tolist())
        self.key, self.counter = raw[:KEY_BYTES], int.from_bytes(raw[KEY_BYTES:], "little")


def derived_seed(*seeds: int) -> int:
    """A seed of 62 bits from several; other seeds, or the same in another order, give an unrelated one."""
    return int.from_bytes(hashlib.sha256(repr(("seed", *map(int, seeds))).encode()).digest()[:8], "little") >> 2

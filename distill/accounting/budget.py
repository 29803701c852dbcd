"""The options of everything that spends epsilon: how much, on what terms, and where noise comes from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from distill.accounting.accountant import Release, calibrated_noise
from distill.accounting.noise_stream import NoiseStream
from distill.errors import InputError
from distill.runtime.checks import require_not_negative, require_positive

__all__ = ["Budget"]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A budget of (epsilon, delta) for what is released of private records."""

    epsilon: float = 1.0
    """Privacy budget, all of it counted. With a noise multiplier it decides on a noisy start alone, and the ledger
    tells what everything costs."""
    delta: float = 1e-5
    """Probability with which the guarantee may fail; well below 1 / number of records."""
    noise_multiplier: float | None = None
    """Noise in units of the clip. Default: the least that keeps to epsilon; if given, the ledger tells epsilon."""
    secret_noise: bool = False
    """Draw noise and batches from the operating system's entropy: not reproducible. Otherwise they come from the seed,
    which is then a secret: whoever knows it can take the noise off. Never use one seed for two sets."""
    public_preprocessing: bool = False
    """Confirm that the preprocessing was not fitted on the private records. Otherwise only fixed ones are accepted."""

    def check_budget(self) -> None:
        """Raise `InputError` for a budget or noise that makes no sense."""
        require_positive(self, "epsilon", "delta")
        require_not_negative(self, "noise_multiplier")
        if not self.delta < 1:
            raise InputError(f"delta is {self.delta}; expected less than 1, such as 1e-05")

    def calibrated(self, releases: Callable[[float], Sequence[Release]], epsilon: float) -> float:
        """The noise multiplier with which `releases(noise)` keep to `epsilon` at delta."""
        return calibrated_noise(releases, epsilon=epsilon, delta=self.delta)

    def noise_stream(self, *seeds: int) -> NoiseStream:
        """A stream of noise or of coins, from some seeds or from the operating system."""
        return NoiseStream.secret() if self.secret_noise else NoiseStream.of_seed(*seeds)

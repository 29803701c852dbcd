"""Epsilon of Gaussian releases, and the noise that an epsilon needs; computed by the library dp-accounting."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from types import ModuleType
from typing import Any

from distill.errors import InputError

__all__ = ["Release", "calibrated_noise", "epsilon_of", "require_accountant"]

TOLERANCE = 1e-3  # of a calibrated noise multiplier, relative to it
INTERVAL = 5e-4  # of the discretised privacy loss, rounded up: at epsilon 1, 0.0001 above that of the library's default
LARGEST_EXACT = 50.0  # epsilon above which the Rényi bound is good enough: PLD takes minutes there
STEP, LARGEST = 0.6, 14.0  # of logarithms of noise, where it is searched for
TINY = 1e-12
ORDERS = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 128, 256)  # of the Rényi bound; whole ones are quick
INSTALL = "private distillation needs dp-accounting, which is not installed: pip install '.[dp]'"


@dataclass(frozen=True)
class Release:
    """A sum over records, each clipped to norm c, with Gaussian noise of standard deviation `noise_multiplier * c`.

    Released `count` times, each time of records that an independent coin of probability `sampling_rate` chose (Poisson
    sampling; 1: all records). `what`: what was summed, in words.

    >>> Release("gradients", noise_multiplier=2.4, sampling_rate=0.0341, count=300).count
    300
    """

    what: str
    noise_multiplier: float
    sampling_rate: float = 1.0
    count: int = 1

    def __post_init__(self) -> None:
        if not self.noise_multiplier >= 0 or not 0 < self.sampling_rate <= 1 or self.count < 0:
            raise InputError(
                f"a release has noise {self.noise_multiplier}, sampling rate {self.sampling_rate} and count "
                f"{self.count}; expected noise and count of 0 or more, a rate above 0 and at most 1"
            )


def epsilon_of(releases: Sequence[Release], delta: float, *, accountant: str = "pld") -> float:
    """Epsilon that all `releases` together cost at `delta`; infinite where one of them has no noise.

    - `accountant`: "pld" (privacy loss distributions; above epsilon 50, the Rényi bound) or "rdp" (Rényi).

    Neighbours differ in one record, which adds nothing to any sum in one of them. Raises `InputError` where
    dp-accounting is not installed, or for a delta that is not between 0 and 1.

    >>> round(epsilon_of([Release("sums", noise_multiplier=3.7304)], 1e-5), 2)
    1.0
    """
    if not 0 < delta < 1:
        raise InputError(f"delta is {delta}; expected more than 0 and less than 1")
    costly = tuple(release for release in releases if release.count)
    if any(release.noise_multiplier == 0 for release in costly):
        return float("inf")
    return _epsilon(tuple((one.noise_multiplier, one.sampling_rate, one.count) for one in costly), delta, accountant)


def calibrated_noise(
    releases: Callable[[float], Sequence[Release]], *, epsilon: float, delta: float
) -> float:
    """The least noise multiplier, within 0.1 %, with which `releases(noise)` cost at most `epsilon` at `delta`.

    Raises `InputError` where no noise is enough, because what does not depend on it costs more alone.
    """

    def excess(log_noise: float) -> float:
        """How far above the budget, in logarithms, so that it is nearly a straight line."""
        return math.log(max(epsilon_of(releases(math.exp(log_noise)), delta), TINY) / epsilon)

    high = 0.0
    while excess(high) > 0:
        high += STEP
        if high > LARGEST:
            raise InputError(
                f"no noise keeps epsilon at {epsilon:g} (delta {delta:g}): the other releases cost more alone; raise "
                "epsilon, or give the start a smaller share"
            )
    low = high - STEP
    while low > -LARGEST and excess(low) < 0:
        low, high = low - STEP, low
    if excess(low) < 0:  # as little noise as can be told apart from none
        return math.exp(low)
    from scipy.optimize import brentq  # here, as it takes a tenth of the time that `import distill` does

    found = brentq(excess, low, high, xtol=TOLERANCE / 2)
    while excess(found) > 0:
        found += TOLERANCE / 2
    return math.exp(found)


@lru_cache(maxsize=512)
def _epsilon(releases: tuple[tuple[float, float, int], ...], delta: float, accountant: str) -> float:
    dp, accountants = require_accountant()
    rdp = _composed(accountants["rdp"], dp, releases, delta)
    if accountant == "rdp" or rdp > LARGEST_EXACT:
        return rdp
    return min(rdp, _composed(accountants["pld"], dp, releases, delta))


def _composed(make: Any, dp: ModuleType, releases: Sequence[tuple[float, float, int]], delta: float) -> float:
    accountant = make()
    for noise, rate, count in releases:
        event = dp.GaussianDpEvent(noise)
        accountant.compose(event if rate == 1 else dp.PoissonSampledDpEvent(rate, event), count)
    return float(accountant.get_epsilon(delta))


def require_accountant() -> tuple[ModuleType, dict[str, Any]]:
    """The library and its accountants by name; raises `InputError` that says which extra to install."""
    try:
        import dp_accounting
        from absl import logging
        from dp_accounting import pld, rdp
    except ImportError as error:
        raise InputError(INSTALL) from error
    logging.set_verbosity(logging.ERROR)  # orders of Rényi that are left out make the bound no less valid
    pld_accountant = partial(pld.PLDAccountant, value_discretization_interval=INTERVAL)
    return dp_accounting, {"pld": pld_accountant, "rdp": partial(rdp.RdpAccountant, orders=ORDERS)}

"""The validated arguments of one `distill` call, passed to its components."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from distill.accounting.observed import Observer
from distill.errors import InputError, shown
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import check_device, check_option_types, require_not_negative, require_positive
from distill.runtime.seeds import generator_for
from distill.sets.synthetic import SyntheticSet
from distill.store import Store

__all__ = ["Recorder", "Run", "Snapshots"]

Recorder = Callable[[int, SyntheticSet], None]  # is called with a step and the set as it is then


@dataclass(frozen=True)
class Snapshots:
    """At which steps of a distillation the set so far is asked for, and what is called with it.

    - `steps`: numbers of updates done; 0 is the start. Those that a distillation does not reach are left out.
    - `show`: called with the step, the seconds of distilling until then, and the set. Seconds are those of the start
      and of the steps; what is recorded, saved and shown along the way does not count. A distillation that is resumed
      counts on from its checkpoint, and may show the set at that step again, but not at earlier ones; one that a store
      holds already shows nothing.

    Raises `InputError` where steps are no whole numbers of 0 or more, or `show` is no function.

    >>> from distill import DM, load_images
    >>> shown = Snapshots((1, 2), lambda step, seconds, so_far: print(step, so_far))
    >>> synthetic = DM(steps=2, width=4, depth=1).distill(load_images("digits"), images_per_class=1, snapshots=shown)
    1 SyntheticSet(10 images of 1x8x8, 10 classes, by dm)
    2 SyntheticSet(10 images of 1x8x8, 10 classes, by dm)
    """

    steps: tuple[int, ...]
    show: Callable[[int, float, SyntheticSet], None]

    def __post_init__(self) -> None:
        given = tuple(self.steps) if isinstance(self.steps, Iterable) else (None,)
        if not all(isinstance(step, int) and not isinstance(step, bool) and step >= 0 for step in given):
            raise InputError(f"steps are {shown(self.steps)}; expected whole numbers of 0 or more")
        object.__setattr__(self, "steps", given)
        if not callable(self.show):
            raise InputError(f"show is {shown(self.show)}; expected a function of a step, seconds and a set")


@dataclass(frozen=True, kw_only=True)
class Run:
    """The arguments of one call of `Distiller.distill`, checked; everything but the data and the hyper-parameters.

    Raises `InputError` for values that make no sense and for a device that is not there.

    >>> Run(images_per_class=2).options()
    {'images_per_class': 2, 'seed': 0, 'device': 'cpu'}
    """

    images_per_class: int = 10
    """Images for each class that the data have images of, 1 or more."""
    seed: int = 0
    """Every random choice comes from it, 0 or more; the same seed gives the same set on the same machine."""
    device: str = "cpu"
    """Where the work is done: "cpu", "cuda" or "mps". Sets always come back on the CPU."""
    held_out: PreprocessedImages | None = None
    """Images that are not distilled, to record accuracy on; they never change anything."""
    store: Store | None = None
    """Where checkpoints, and whatever else is expensive to make again, are kept; `None`: nowhere."""
    progress: bool = False
    """Show a progress bar with the time left."""
    on_record: Recorder | None = None
    """Called with the step and the set so far whenever a distiller that learns images records something."""
    snapshots: Snapshots | None = None
    """Steps at which the set so far is shown, with the seconds of distilling until then."""
    on_release: Observer | None = None
    """Called with each noisy sum of a private method's steps, for audits of its guarantee."""

    def __post_init__(self) -> None:
        check_option_types(self)
        require_positive(self, "images_per_class")
        require_not_negative(self, "seed")
        check_device(self.device)
        if self.on_record is not None and not callable(self.on_record):
            raise InputError(f"on_record is {shown(self.on_record)}; expected a function of a step and a set")
        if self.snapshots is not None and not isinstance(self.snapshots, Snapshots):
            raise InputError(f"snapshots is {shown(self.snapshots)}; expected Snapshots(steps, show)")
        if self.on_release is not None and not callable(self.on_release):
            raise InputError(f"on_release is {shown(self.on_release)}; expected a function of an ObservedRelease")

    def generator(self, *purpose: int) -> torch.Generator:
        """A generator of random numbers for a purpose, from the seed; always on the CPU."""
        return generator_for(self.seed, *purpose)

    def options(self) -> dict[str, Any]:
        """The arguments that decide the result, JSON-able."""
        return {"images_per_class": self.images_per_class, "seed": self.seed, "device": self.device}

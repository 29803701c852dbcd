"""Steps of a stream that are distilled before it is measured, side by side with others, and the seconds they took."""

import time
from pathlib import Path

from benchmarks.studies.class_incremental.arms import Arm
from benchmarks.studies.class_incremental.streams import StreamStudy, buffer_of
from distill.store import Content, Store

__all__ = ["Ahead"]


class Ahead:
    """Step number `k` of an arm on a class order, distilled ahead into `store`, where its measurement finds it."""

    def __init__(self, run: StreamStudy, arm: Arm, seed: int, k: int, *, store: Path) -> None:
        self.run, self.arm, self.seed, self.k, self.folder = run, arm, seed, k, store
        self.store, self.name = Store(store), f"ahead-{k + 1}"
        self.made_from = run.made_from(seed=seed, step=k + 1, **run.distiller(arm).options())

    def distil(self) -> None:
        """Distil the classes of the step, unless that is done; its seconds are kept beside the set."""

        def make() -> Content:
            experience = self.run.benchmark(self.seed).train_stream[self.k]
            policy = buffer_of(self.run, self.arm, self.seed, store=self.folder)
            started = time.monotonic()
            policy.post_adapt(None, experience)
            return {}, {"seconds": time.monotonic() - started}

        self.store.get(self.name, self.made_from, make)

    def seconds(self) -> float:
        """What it took; 0 where it was not distilled ahead."""
        entry = self.store.load(self.name, self.made_from)
        return 0.0 if entry is None else float(entry.metadata["seconds"])

    def forget(self) -> None:
        """Remove the seconds, which are in the record of what was measured by now."""
        self.store.remove(self.name)

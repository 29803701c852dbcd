"""Distillation of one delivery of images, task by task, with the results in the store."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from continual.cache import cached, describe_source
from continual.classes_at_once import Part, divides_classes, parts_of
from continual.delivery import Delivery, Key
from continual.items import Items
from distill import Distiller, PreprocessedImages, Preprocessing, SyntheticSet
from distill.accounting.noise_stream import derived_seed
from distill.runtime.seeds import generator_for
from distill.store import Store
from distill.training.quality_order import quality_order

__all__ = ["Distilling", "experience_seed"]


@dataclass(frozen=True)
class Distilling:
    """What distillations of a buffer have in common; see `DistilledBuffer`."""

    preprocessing: Preprocessing
    seed: int
    device: str
    held_out: PreprocessedImages | None
    store: Store | None
    progress: bool
    in_order_of_quality: bool  # of each class, so that the first are the best to keep
    classes_at_once: int | None = None  # see `DistilledBuffer`

    def deliver(
        self, distiller: Distiller, items: Items, asked: Mapping[Key, int], *, classes: tuple[str, ...], index: int,
        delivery: int, keep: bool, transform: Any,
    ) -> Delivery | None:  # fmt: skip
        """Distil `items` to as many images of each group as `asked`; `None` if none are asked for.

        - `index`, `delivery`: of the experience, and how often one of that index has come before; the seed and the
          name in the store follow from them. `keep`: use the store.
        """
        warn_of_fields(distiller, items)
        seed = experience_seed(self.seed, index, delivery)
        stem = f"experience-{index}" + (f"-{delivery + 1}" if delivery else "")
        tasks = torch.unique(items.tasks).tolist()
        done: list[SyntheticSet] = []
        tasks_of: list[int] = []
        origins: list[int | None] = []
        for number, task in enumerate(tasks):
            positions = items.of_task(task)
            wanted = {c: count for (t, c), count in asked.items() if t == task and count}
            if not wanted:
                continue
            name = stem if len(tasks) == 1 else f"{stem}-task-{task}"
            own_seed = seed if not distiller.is_private else derived_seed(self.seed, index, delivery, number)
            data = PreprocessedImages(items.images[positions], items.labels[positions], classes, self.preprocessing)
            parts = parts_of(wanted, self.classes_at_once if divides_classes(distiller) else None)
            if self.store is None or not keep:
                made = self._distil(distiller, data, parts, own_seed, None)
            else:
                made_from = describe_source(
                    index, distiller, data, parts, seed=own_seed, device=self.device,
                    held_out=self._held_out(torch.unique(data.labels)),
                )  # fmt: skip
                distil = partial(self._distil, distiller, data, parts, own_seed)
                made = cached(self.store, name, made_from, data, distil)
            own = [None if i is None else int(positions[i]) for i in origins_of(made, data.labels, parts)]
            if self.in_order_of_quality and not distiller.selects_real_images:
                order = quality_order(made, data, seed=seed)
                made, own = made.subset(order), [own[i] for i in order.tolist()]
            done.append(made)
            tasks_of += [task] * len(made)
            origins += own
        if not done:
            return None
        warn_of_blank_fields(items, origins)
        fields = tuple([followed(column, origin) for origin in origins] for column in items.fields)
        counts = {key: int(((items.tasks == key[0]) & (items.labels == key[1])).sum()) for key in asked}
        return Delivery.of(SyntheticSet.concatenate(done), tasks_of, fields, items.layout, counts, transform)

    def _distil(
        self, distiller: Distiller, data: PreprocessedImages, parts: Sequence[Part], seed: int, store: Store | None
    ) -> SyntheticSet:
        """Distil all classes, those of each part separately."""
        sets = []
        for number, part in enumerate(parts):
            mask = part.of(data.labels)
            # What is kept belongs to the images of its part, so that each part has a store of its own.
            own = store if store is None or len(parts) == 1 else store.within(part.name)
            sets.append(
                distiller.distill(
                    data.subset(mask),
                    images_per_class=part.count,
                    # Sets must not share their noise: a private distiller has a seed for each.
                    seed=derived_seed(seed, number) if distiller.is_private else seed,
                    device=self.device,
                    held_out=self._held_out(torch.unique(data.labels[mask])),
                    store=own,
                    progress=self.progress,
                )
            )
        return SyntheticSet.concatenate(sets)

    def _held_out(self, class_ids: Tensor) -> PreprocessedImages | None:
        if self.held_out is None:
            return None
        mask = torch.isin(self.held_out.labels, class_ids)
        return self.held_out.subset(mask) if mask.any() else None


def experience_seed(seed: int, index: int, delivery: int = 0) -> int:
    """A seed for each experience and each delivery under its index; neighbouring seeds are unrelated."""
    return generator_for(seed, index, delivery).initial_seed() % 2**31


def origins_of(made: SyntheticSet, labels: Tensor, parts: Sequence[Part]) -> list[int | None]:
    """For each image of `made` the position of the image that it started from; `None` where that is unknown."""
    histories = [made.made_by] if len(parts) == 1 else made.made_by.get("parts", [])
    origins: list[int | None] = []
    for part, made_by in zip(parts, histories, strict=False):
        positions = torch.nonzero(part.of(labels)).squeeze(1)
        origins += [int(positions[i]) for i in made_by.get("started_from", [])]
    return origins if len(origins) == len(made) else [None] * len(made)


def warn_of_fields(distiller: Distiller, items: Items) -> None:
    """Warn, before anything is distilled, if fields of the items will be lost."""
    if items.fields and getattr(distiller, "init", "real") == "noise":
        warn_of_blank_fields(items, [None])


def warn_of_blank_fields(items: Items, origins: Sequence[int | None]) -> None:
    """Warn if images start from no single item whose fields could be replayed with them."""
    if items.fields and None in origins:
        warnings.warn(
            f"items have {len(items.fields)} fields besides image, class id and task label, but the distilled images "
            "do not correspond to single items: these fields are set to zero in the buffer; drop them from the stream, "
            'or use a distiller that starts from real images (init="real")',
            stacklevel=2,
        )


def followed(column: Sequence[Any], origin: int | None) -> Any:
    """A field of the item that an image started from; an empty one of its type where there is none."""
    if origin is not None:
        return column[origin]
    return torch.zeros_like(column[0]) if isinstance(column[0], Tensor) else type(column[0])()

"""DistilledBuffer: any Distiller as an Avalanche storage policy."""

import sys
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args

import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training.storage_policy import ExemplarsBuffer
from torch import Tensor

from continual.augmentation import check_augmentation
from continual.checks import check_buffer, check_experience
from continual.distilling import Distilling, numbered
from continual.items import Items, check_form, check_stream, read_items, warn_of_other_reads
from continual.memory import Group, Key, Memory, Plan, Returning
from continual.model_outputs import model_outputs
from continual.online import Collected, has_boundaries, is_last
from continual.transforms import stream_augmentation
from distill import Distiller, Identity, InputError, PreprocessedImages, Preprocessing, Random, SyntheticSet
from distill.runtime.checks import require_whole
from distill.runtime.seeds import generator_for
from distill.store import Store, as_store

__all__ = ["DistilledBuffer"]

Transform = Callable[[Tensor], Tensor] | Literal["stream"] | None


class DistilledBuffer(ExemplarsBuffer):
    """Keeps distilled images of every class of every task seen; each delivery of images is distilled once.

    `post_adapt` distils the data of an experience, unless they were seen before, and adds the images. Data are
    recognised by their content, not by the index of the experience, so that several strategies can share one buffer.
    `buffer` is the Avalanche dataset, `synthetic` the same as one `SyntheticSet`, `buffer_groups` the images of each
    `(task, class)`.

        ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)  # Avalanche wants the same number twice

    - `distiller`: the method. `images_per_class`: images of every class of every task.
    - `seed`: every delivery uses its own seed, derived from this one. `device`: where the distiller computes.
    - `num_classes` or `classes` (their names): of the whole problem; default: the outputs of the strategy's model.
    - `max_size`: at most this many images in all, divided equally among all classes. Default: no limit but
      `images_per_class` of every class of every task.
    - `adaptive`: the other standard protocol: `max_size` images (default: `images_per_class` of each of `num_classes`)
      from the first experience on, divided among the classes seen so far; `images_per_class` is then no limit.
      Default: off, `images_per_class` of every class from the start, as published.
    - `returning`: behaviour when a class reappears in a later experience. "share" (default): old and new images share
      its slots in proportion to the real images they stand for; "replace": new images get all of them; "add": new
      images get `images_per_class` slots in addition.
    - `transform`: of the images in training, a function of one image tensor. "stream" (default): the steps of the
      stream's training transform that its eval transform lacks, so that replayed images are cropped and flipped like
      the current ones; `None`: nothing. `augmentation` is the one in use.
    - `preprocessing`: that of the stream's tensors, so that the images can be displayed; default: none.
    - `held_out`: images that are in no experience; the distiller records accuracy on those of the current classes.
    - `store`: a folder, or a `distill.store.Store`, for the distilled sets, which the next run reads from it; a
      distillation that was stopped resumes from its checkpoint there.
    - `progress`: show the distiller's progress bar.

    Images are read under their eval transforms. Vectors `(d,)` are distilled as images `(1, 1, d)`, where the distiller
    takes them. Fields of an item beside image, class id and task label come back with the image that started from it.
    The sub-experiences of an online stream with task boundaries are collected, and distilled at the last one; until
    then random ones of them are in the buffer. Without boundaries each is distilled separately.

    Raises `InputError` for options that are wrong, alone or together.

        >>> from distill import Random, Standardize, load_images
        >>> from continual import class_incremental
        >>> digits = load_images("digits").subset(range(100))
        >>> images = Standardize.fit(digits).apply(digits)
        >>> policy = DistilledBuffer(Random(), images_per_class=2, num_classes=10)
        >>> policy.post_adapt(None, class_incremental(images, images, steps=5).train_stream[0])
        >>> len(policy.buffer), policy.synthetic.num_classes
        (4, 10)
    """

    def __init__(
        self,
        distiller: Distiller,
        *,
        images_per_class: int = 20,
        seed: int = 0,
        device: str = "cpu",
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
        max_size: int | None = None,
        adaptive: bool = False,
        returning: Returning = "share",
        transform: Transform = "stream",
        held_out: PreprocessedImages | None = None,
        store: str | Path | Store | None = None,
        progress: bool = False,
    ) -> None:
        check_buffer(distiller, images_per_class, seed, device, num_classes, classes, preprocessing, max_size, held_out)
        check_options(num_classes, classes, max_size, adaptive, returning, transform)
        self.distiller, self.images_per_class, self.seed = distiller, images_per_class, seed
        self.classes: tuple[str, ...] | None = None if classes is None else tuple(classes)
        if num_classes is not None and classes is None:
            self.classes = numbered(num_classes)
        whole = None if self.classes is None else images_per_class * len(self.classes)
        self.limit = whole if max_size is None and adaptive else max_size
        super().__init__(self.limit or whole or sys.maxsize)
        self.adaptive, self.returning, self.transform = adaptive, returning, transform
        self.augmentation: Any = None if transform == "stream" else transform
        self.distilling = Distilling(
            Identity() if preprocessing is None else preprocessing,
            seed=seed,
            device=device,
            held_out=held_out,
            store=as_store(store),
            progress=progress,
        )
        self._memory = Memory()
        self._collected: Collected | None = None
        self._fingerprints: set[str] = set()
        self._deliveries: Counter[int] = Counter()  # by index of the experience
        self._read: dict[int, weakref.ref] = {}
        self._unplaced: set[Key] = set()
        self._unsaid = ""  # why the training transform cannot be repeated, until a strategy comes that replays

    def __repr__(self) -> str:
        per_class = f"{self.images_per_class} images of each class"
        if self.adaptive:
            protocol = f"{self.limit} images in all from the start"
        else:
            protocol = per_class if self.limit is None else f"{per_class}, at most {self.limit} in all"
        return (
            f"DistilledBuffer({self.distiller.method}: {protocol}; {len(self.buffer)} now; in training "
            f"{self.augmentation or 'no transform'})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_read": {}}  # weak references cannot be pickled

    @property
    def preprocessing(self) -> Preprocessing:
        """What the stream's tensors went through."""
        return self.distilling.preprocessing

    @property
    def synthetic(self) -> SyntheticSet | None:
        """All distilled images as one set, in the order of `buffer`; `None` before the first experience."""
        sets = [delivery.synthetic for delivery in self._memory.deliveries]
        if not sets:
            return None
        made_by = {"method": self.distiller.method, "parts": [one.made_by for one in sets]}
        return replace(SyntheticSet.concatenate(sets), made_by=made_by)

    @property
    def buffer_groups(self) -> dict[Key, Group]:
        """The images of each `(task label, class id)`, in the order in which they were first seen."""
        positions: dict[Key, list[int]] = {key: [] for key in self._memory.seen}
        for i, key in enumerate(key for delivery in self._memory.deliveries for key in delivery.groups()):
            positions[key].append(i)
        return {
            key: Group(self.buffer.subset(chosen), self._memory.seen[key])
            for key, chosen in positions.items() if chosen
        }  # fmt: skip

    @property
    def buffer_datasets(self) -> list[AvalancheDataset]:
        """The images of each group as an Avalanche dataset."""
        return [group.buffer for group in self.buffer_groups.values()]

    # -- what Avalanche calls ------------------------------------------------------------------------------------

    def post_adapt(self, strategy: Any, experience: Any) -> None:
        """Distil what `experience` holds, or find it in the store, and add it to the buffer.

        `strategy` may be `None` when the number of classes was given. Raises `InputError` when images are no float
        tensors, items are no `(image, class id, ...)`, a class id is out of range, the number of classes cannot be
        told, or an entry of the store was made with other options or data.
        """
        check_experience(experience)
        dataset = experience.dataset
        known = self._read.get(id(dataset))
        self._warn_of_transform(strategy)
        if known is not None and known() is dataset:
            return
        check_stream(dataset)
        items = read_items(dataset)
        fingerprint = items.fingerprint()
        if fingerprint not in self._fingerprints or self._is_another(experience):
            warn_of_other_reads(dataset, items)
            self._resolve_classes(strategy, items)
            self._resolve_transform(dataset, items)
            self._warn_of_transform(strategy)
            if has_boundaries(experience):
                self._collect(experience, items)
            else:
                self._finish_collecting()
                self._take(items, experience.current_experience, self._memory)
            self._fingerprints.add(fingerprint)
        self._read[id(dataset)] = weakref.ref(dataset)

    def update_from_dataset(self, new_data: AvalancheDataset, strategy: Any = None) -> None:
        """Distil `new_data` as if it were the next experience."""
        index = 1 + max(self._deliveries, default=-1)
        self.post_adapt(strategy, SimpleNamespace(dataset=new_data, current_experience=index))

    def resize(self, strategy: Any, new_size: int) -> None:
        """Keep at most `new_size` images, equally many of each class; what is dropped does not come back."""
        require_whole("new_size", new_size, least=1)
        self.limit = self.max_size = new_size
        plan = self._plan({}, self._memory)
        self._warn_of_classes_without_place(plan.quotas)
        self._memory.shrink(plan.quotas, self._generator(self._memory))
        self._rebuild()

    # -- one delivery ----------------------------------------------------------------------------------------------

    def _resolve_classes(self, strategy: Any, items: Items) -> None:
        """Determine the number of classes, before anything is distilled."""
        if self.classes is None:
            if strategy is None:
                raise InputError("the number of classes is unknown; give DistilledBuffer num_classes or classes")
            images = items.images[:2].flatten(1) if items.layout.vectors else items.images[:2]
            self.classes = numbered(model_outputs(strategy.model, images, items.tasks[:2]))
        low, high = int(items.labels.min()), int(items.labels.max())
        if low < 0 or high >= len(self.classes):
            raise InputError(
                f"labels run from {low} to {high}, but there are {len(self.classes)} classes: expected 0 to "
                f"{len(self.classes) - 1}; give num_classes, the total over all experiences"
            )
        if self._memory.deliveries:
            first = self._memory.deliveries[0]
            check_form(items, first.layout, tuple(first.synthetic.images.shape[1:]))

    def _resolve_transform(self, dataset: AvalancheDataset, items: Items) -> None:
        """Find out what is done to the images in training, before anything is distilled."""
        image = items.images[0].flatten() if items.layout.vectors else items.images[0]
        if self.transform == "stream":
            self.augmentation, self._unsaid = stream_augmentation(dataset, image, self.augmentation)
        elif self.transform is not None:
            check_augmentation(self.transform, image)

    def _warn_of_transform(self, strategy: Any) -> None:
        """Warn once that images come back as they are, unless the strategy wants them so."""
        if not self._unsaid or getattr(strategy, "augments_by_itself", None) is True:
            return
        reason, self._unsaid = self._unsaid, ""
        warnings.warn(
            f"the training transform of the stream {reason}: it is not applied to replayed images; give "
            "DistilledBuffer transform=, a function of one image tensor, or transform=None",
            stacklevel=3,
        )

    def _is_another(self, experience: Any) -> bool:
        """Whether data that are known already come as a sub-experience that is not: equal data in two of them."""
        if not has_boundaries(experience):
            return False
        origin = experience.origin_experience.current_experience
        if self._collected is not None and self._collected.origin == origin:
            return experience.current_experience not in (None, *self._collected.counted)
        return origin not in self._deliveries

    def _collect(self, experience: Any, items: Items) -> None:
        """Put a sub-experience of an online stream to those before it; distil all at the last one."""
        origin = experience.origin_experience.current_experience
        if self._collected is not None and self._collected.origin != origin:
            self._finish_collecting()
        index = experience.current_experience
        if self._collected is None:
            collected = Collected(origin, items, (index,), self._memory, self.augmentation)
        else:
            before = self._collected
            collected = replace(before, items=before.items.joined(items), counted=(*before.counted, index))
        if is_last(experience, len(collected.counted)):
            self._take(collected.items, origin, collected.before)
        else:
            self._take(collected.items, origin, collected.before, still_open=collected)

    def _finish_collecting(self) -> None:
        if self._collected is not None:
            collected, own = self._collected, self.augmentation
            try:
                self.augmentation = collected.transform  # not that of the experience that is about to begin
                self._take(collected.items, collected.origin, collected.before)
            finally:
                self.augmentation = own

    def _take(self, items: Items, index: int, before: Memory, *, still_open: Collected | None = None) -> None:
        """Distil `items` and share out the places that `before` leaves.

        `still_open`: what is collected so far; random images instead, which are not written down. Nothing changes
        before all is done, so that it can be stopped and called again.
        """
        memory, for_now = before.copy(), still_open is not None
        keys = list(zip(items.tasks.tolist(), items.labels.tolist(), strict=True))
        new = dict(sorted(Counter(keys).items()))
        plan = self._plan(new, memory)
        self._warn_of_classes_without_place(plan.quotas)
        assert self.classes is not None
        distiller: Distiller = Random() if for_now else self.distiller
        delivery = self.distilling.deliver(
            distiller, items, plan.asked, classes=self.classes, index=index, delivery=self._deliveries[index],
            keep=not for_now, transform=self.augmentation,
        )  # fmt: skip
        memory.add(delivery, new, plan, returning=self.returning, generator=self._generator(memory))
        buffer = memory.dataset()
        self._memory, self._collected, self.buffer = memory, still_open, buffer
        if not for_now:
            self._deliveries[index] += 1
        if self.limit is None and self.max_size != sys.maxsize:  # a class has a place in every task
            self.max_size = max(self.max_size, sum(plan.quotas.values()))

    def _plan(self, new: Mapping[Key, int], memory: Memory) -> Plan:
        per_group = None if self.adaptive else self.images_per_class
        return memory.plan(new, limit=self.limit, per_group=per_group, returning=self.returning)

    def _generator(self, memory: Memory) -> torch.Generator:
        return generator_for(self.seed, sum(self._deliveries.values()), len(memory.deliveries), 1)

    def _rebuild(self) -> None:
        self.buffer = self._memory.dataset()

    def _warn_of_classes_without_place(self, quotas: Mapping[Key, int]) -> None:
        unplaced = {key for key, quota in quotas.items() if quota == 0}
        if unplaced - self._unplaced and self.classes is not None:
            tasks = len({task for task, _ in quotas}) > 1
            names = ", ".join(
                self.classes[c] + (f" (task {task})" if tasks else "") for task, c in sorted(unplaced)
            )  # fmt: skip
            warnings.warn(
                f"max_size is {self.limit}, so that {len(unplaced)} of {len(quotas)} classes have no slot in the "
                f"buffer: {names}",
                stacklevel=2,
            )
        self._unplaced = unplaced


def check_options(
    num_classes: int | None, classes: Sequence[str] | None, max_size: int | None, adaptive: bool, returning: str,
    transform: Any,
) -> None:  # fmt: skip
    """Raise `InputError` for options of a buffer that make no sense, alone or together."""
    if classes is not None and num_classes not in (None, len(classes)):
        raise InputError(f"num_classes is {num_classes}, but {len(classes)} classes are named; give one of the two")
    if num_classes is not None and num_classes < 1:
        raise InputError(f"num_classes is {num_classes}; expected at least 1")
    if max_size is not None and max_size < 1:
        raise InputError(f"max_size is {max_size}; expected at least 1, or None for no limit")
    if adaptive and max_size is None and num_classes is None and classes is None:
        raise InputError("adaptive=True needs a fixed buffer size; give max_size, num_classes or classes")
    if returning not in get_args(Returning):
        raise InputError(f"returning is {returning!r}; expected one of {', '.join(get_args(Returning))}")
    if transform is not None and transform != "stream" and not callable(transform):
        raise InputError(f"transform is {transform!r}; expected 'stream', None or a function of one image tensor")

"""DistilledBuffer: any Distiller as an Avalanche storage policy."""

import sys
import warnings
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from avalanche.benchmarks.utils import AvalancheDataset

from continual.byte_budget import ByteBudget, ImageSize, Room
from continual.checks import check_buffer, check_buffer_options, check_experience, check_no_collecting
from continual.delivery import Delivery, Key
from continual.distilling import Distilling
from continual.encoded_policy import EncodedPolicy
from continual.intake import Intake, Rules
from continual.items import Items, check_stream, read_items, warn_of_other_reads
from continual.memory import Group, Memory, Returning
from continual.online import Collected, has_boundaries, is_last
from continual.replay_transform import Transform
from distill import (
    Distiller,
    ImageCodec,
    Ledger,
    PreprocessedImages,
    Preprocessing,
    Random,
    SyntheticSet,
)
from distill.accounting.ledger import ledger_of
from distill.runtime.checks import require_whole
from distill.runtime.seeds import generator_for
from distill.sets.codecs import LabelCodec
from distill.store import Store, as_store

__all__ = ["DistilledBuffer"]

IMAGES_PER_CLASS = 20  # where neither these nor bytes are given


class DistilledBuffer(EncodedPolicy):
    """Keeps distilled images of every class of every task seen; each delivery of images is distilled once.

    `post_adapt` distils the data of an experience, unless they were seen before, and adds the images. Data are
    recognised by their content, not by the index of the experience, so that several strategies can share one buffer.
    `buffer` is the Avalanche dataset, `synthetic` the same as one `SyntheticSet`, `buffer_groups` the images of each
    `(task, class)`. Images are held encoded, in `nbytes` bytes, and decoded whenever these are asked for.

        ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)  # Avalanche wants the same number twice

    - `distiller`: the method. `images_per_class`: images of every class of every task; default: 20, or with
      `memory_bytes` what fits.
    - `memory_bytes`: at most this many bytes of images, labels and class ids for all `num_classes` together: an equal
      part for every class from the start, or with `adaptive` all of them from the first experience on. How many images
      fit is estimated from real ones; of those distilled, the ones that help least are dropped if they do not fit.
    - `codec`: how images lie in memory, see `codec_of`. "float32" (default): as they are. `labels`: "float32"
      (default), "float16", "uint8", or "hard" for class ids alone.
    - `classes_at_once`: at most so many classes are distilled together; more are distilled in as few parts of about
      equal size as possible, in the order of class ids. Private methods, and those that choose real images, take all
      classes together, as every method does by default. Classes of other tasks, and those of which other numbers of
      images are kept, are always distilled apart.
    - `seed`: every delivery uses its own seed, derived from this one. `device`: where the distiller computes.
    - `num_classes` or `classes` (their names): of the whole problem; default: the outputs of the strategy's model.
    - `max_size`: at most this many images in all, divided equally among all classes. Default: no limit but
      `images_per_class` of every class of every task. With `memory_bytes` both hold.
    - `adaptive`: the other standard protocol: `max_size` images (default: `images_per_class` of each of `num_classes`)
      from the first experience on, divided among the classes seen so far; `images_per_class` is then no limit.
      Default: off, `images_per_class` of every class from the start, as published.
    - `returning`: behaviour when a class reappears in a later experience. "share" (default): old and new images share
      its slots in proportion to the real images they stand for; "replace": new images get all of them; "add": new
      images get `images_per_class` slots in addition.
    - `transform`: of the images in training, a function of one image tensor. "stream" (default): the steps of the
      stream's training transform that its eval transform lacks, so that replayed images are cropped and flipped like
      the current ones; `None`: nothing. `augmentation` is the one in use.
    - `preprocessing`: that of the stream's tensors, so that the images can be displayed, and encoded as pixels;
      default: none.
    - `held_out`: images that are in no experience; the distiller records accuracy on those of the current classes.
    - `store`: a folder, or a `distill.store.Store`, for the distilled sets, which the next run reads from it; a
      distillation that was stopped resumes from its checkpoint there.
    - `progress`: show the distiller's progress bar.

    With a private distiller, such as `PrivateFRePo`, the buffer is private as well, and what is trained on it alone:
    `ledger` says what was spent. It takes no `memory_bytes`, `held_out` images or sub-experiences of online streams.

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
        images_per_class: int | None = None,
        memory_bytes: int | None = None,
        codec: str | ImageCodec = "float32",
        labels: str | LabelCodec = "float32",
        classes_at_once: int | None = None,
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
        if images_per_class is None and memory_bytes is None:
            images_per_class = IMAGES_PER_CLASS
        check_buffer(
            distiller, images_per_class, memory_bytes, classes_at_once, seed, device, num_classes, classes,
            preprocessing, max_size, held_out,
        )  # fmt: skip
        check_buffer_options(
            num_classes, classes, max_size, memory_bytes, adaptive, returning, transform, progress
        )
        self.distiller, self.images_per_class, self.seed = distiller, images_per_class, seed
        self.memory_bytes = memory_bytes
        super().__init__(
            sys.maxsize, codec=codec, labels=labels, num_classes=num_classes, classes=classes,
            preprocessing=preprocessing, transform=transform,
        )  # fmt: skip
        whole = None if self.classes is None or images_per_class is None else images_per_class * len(self.classes)
        self.limit = whole if max_size is None and adaptive else max_size
        self.max_size = self.limit or whole or sys.maxsize
        self.adaptive, self.returning = adaptive, returning
        self.distilling = Distilling(
            self.preprocessing,
            seed=seed,
            device=device,
            held_out=held_out,
            store=as_store(store),
            progress=progress,
            in_order_of_quality=memory_bytes is not None,
            classes_at_once=classes_at_once,
        )
        self._collected: Collected | None = None
        self._fingerprints: set[str] = set()
        self._deliveries: Counter[int] = Counter()  # by index of the experience
        self._read: dict[int, weakref.ref] = {}
        self._unplaced: set[Key] = set()
        self._spent: Ledger | None = None

    def __repr__(self) -> str:
        return (
            f"DistilledBuffer({self.distiller.method}: {self._protocol()}; {len(self._memory)} now, in {self.nbytes} "
            f"bytes; in training {self.augmentation or 'no transform'})"
        )

    def _protocol(self) -> str:
        """How much is kept, in words."""
        parts = []
        if self.memory_bytes is not None:
            parts.append(f"{self.memory_bytes} bytes " + ("from the start" if self.adaptive else "for all classes"))
        if self.adaptive and self.limit is not None:
            parts.append(f"{self.limit} images in all from the start")
        elif not self.adaptive and self.images_per_class is not None:
            parts.append(f"{self.images_per_class} images of each class")
        if self.limit is not None and not self.adaptive:
            parts.append(f"at most {self.limit} in all")
        return ", ".join(parts)

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_read": {}}  # weak references cannot be pickled

    def _decoded(self) -> AvalancheDataset:
        return self._memory.dataset()

    @property
    def transform(self) -> Transform:
        """The option: "stream", `None` or a function."""
        return self._transform.given

    @property
    def augmentation(self) -> Any:
        """The function of one image tensor that is in use in training; `None` for none."""
        return self._transform.current

    @property
    def synthetic(self) -> SyntheticSet | None:
        """All distilled images as one set, in the order of `buffer`; `None` before the first experience."""
        sets = [delivery.synthetic() for delivery in self._memory.deliveries]
        if not sets:
            return None
        made_by = {"method": self.distiller.method, "parts": [one.made_by for one in sets]}
        return replace(SyntheticSet.concatenate(sets), made_by=made_by)

    @property
    def ledger(self) -> Ledger | None:
        """What was spent of a privacy budget on everything seen, also on images that were dropped since.

        Experiences of other classes compose in parallel, of the same class in sequence. `None` where the distiller
        gives no guarantee, and before the first experience.
        """
        return self._spent

    @property
    def buffer_groups(self) -> dict[Key, Group]:
        """The images of each `(task label, class id)`, in the order in which they were first seen."""
        positions: dict[Key, list[int]] = {key: [] for key in self._memory.seen}
        for i, key in enumerate(key for delivery in self._memory.deliveries for key in delivery.groups()):
            positions[key].append(i)
        buffer = self.buffer
        return {
            key: Group(buffer.subset(chosen), self._memory.seen[key])
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
        self._transform.warn(strategy)
        if known is not None and known() is dataset:
            return
        check_stream(dataset)
        items = read_items(dataset)
        fingerprint = items.fingerprint()
        if fingerprint not in self._fingerprints or self._is_another(experience):
            warn_of_other_reads(dataset, items)
            self._check_items(strategy, items)
            self._transform.resolve(dataset, items)
            self._transform.warn(strategy)
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
        plan = self._intake({}, self._memory).plan(None)
        self._warn_of_classes_without_place(plan.quotas)
        self._memory.shrink(plan.quotas, self._generator(self._memory))
        self._in_use = None

    # -- one delivery ----------------------------------------------------------------------------------------------

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
        check_no_collecting(self.distiller)
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
                self._transform.current = collected.transform  # not that of the experience that is about to begin
                self._take(collected.items, collected.origin, collected.before)
            finally:
                self._transform.current = own

    def _take(self, items: Items, index: int, before: Memory, *, still_open: Collected | None = None) -> None:
        """Distil `items` and share out the places that `before` leaves.

        `still_open`: what is collected so far; random images instead, which are not written down. Nothing changes
        before all is done, so that it can be stopped and called again.
        """
        for_now = still_open is not None
        keys = list(zip(items.tasks.tolist(), items.labels.tolist(), strict=True))
        new = dict(sorted(Counter(keys).items()))
        assert self.classes is not None
        distiller: Distiller = Random() if for_now else self.distiller
        intake = self._intake(new, before, self._room(items, new, before, distiller, index))
        plan = intake.first_plan(learned=not distiller.selects_real_images)
        self._warn_of_classes_without_place(plan.quotas)
        delivery = self.distilling.deliver(
            distiller, items, plan.asked, classes=self.classes, index=index, delivery=self._deliveries[index],
            keep=not for_now, transform=self.augmentation,
        )  # fmt: skip
        memory, plan = intake.added(delivery, plan, self.codec, self.labels)
        self._warn_of_classes_without_place(plan.quotas)
        self._memory, self._collected, self._in_use = memory, still_open, None
        if not for_now:
            self._deliveries[index] += 1
            self._spend(delivery)
        if self.limit is None and self.max_size != sys.maxsize:  # a class has a place in every task
            self.max_size = max(self.max_size, sum(plan.quotas.values()))

    def _spend(self, delivery: Delivery | None) -> None:
        """Add what a delivery spent of a privacy budget; it stays spent when its images are dropped."""
        spent = ledger_of(delivery.made_by) if delivery is not None and self.distiller.is_private else None
        if spent is not None:
            self._spent = spent if self._spent is None else self._spent + spent

    def _room(
        self, items: Items, new: Mapping[Key, int], before: Memory, distiller: Distiller, index: int
    ) -> Room | None:
        """What fits in `memory_bytes`, if they are given; also checks that the codec can store the images."""
        sample = self._sample(items, generator_for(self.seed, index, self._deliveries[index], 2))
        if self.memory_bytes is None:
            return None
        assert self.classes is not None
        size = ImageSize.measured(sample, self.codec, self.labels)
        budget = ByteBudget(self.memory_bytes, len(self.classes), self.adaptive)
        budget.check(size, len(new), learned=not distiller.selects_real_images, what=self._stored_as())
        return budget.room(before, new, size)

    def _intake(self, new: Mapping[Key, int], memory: Memory, room: Room | None = None) -> Intake:
        rules = Rules(self.limit, None if self.adaptive else self.images_per_class, self.returning)
        return Intake(memory, new, rules, room, self.images_per_class is not None, self._generator)

    def _generator(self, memory: Memory) -> torch.Generator:
        return generator_for(self.seed, sum(self._deliveries.values()), len(memory.deliveries), 1)

    def _warn_of_classes_without_place(self, quotas: Mapping[Key, int]) -> None:
        unplaced = {key for key, quota in quotas.items() if quota == 0}
        if unplaced - self._unplaced and self.classes is not None:
            tasks = len({task for task, _ in quotas}) > 1
            names = ", ".join(
                self.classes[c] + (f" (task {task})" if tasks else "") for task, c in sorted(unplaced)
            )  # fmt: skip
            given = f"max_size is {self.limit}" if self.limit else f"memory_bytes is {self.memory_bytes}"
            warnings.warn(
                f"{given}, so that {len(unplaced)} of {len(quotas)} classes have no slot in the buffer: {names}",
                stacklevel=2,
            )
        self._unplaced = unplaced

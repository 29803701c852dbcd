"""EncodedBuffer: the real images that one of Avalanche's own policies chooses, as many as fit in so many bytes."""

import math
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from avalanche.benchmarks.utils import AvalancheDataset
from avalanche.training.storage_policy import ExemplarsBuffer

from continual.byte_budget import SPARE, ByteBudget, ImageSize
from continual.checks import check_encoded_buffer, check_experience
from continual.encoded_policy import EncodedPolicy
from continual.items import Items, read_items, warn_of_other_reads
from continual.lending import Chosen, Lender
from continual.replay_transform import Transform
from distill import ImageCodec, InputError, Preprocessing
from distill.runtime.checks import require_whole
from distill.runtime.seeds import generator_for
from distill.sets.codecs import LabelCodec

__all__ = ["EncodedBuffer"]


class EncodedBuffer(EncodedPolicy):
    """Real images that an Avalanche policy chooses, held encoded in at most `memory_bytes` bytes.

    The rival of `DistilledBuffer` at equal bytes. The policy chooses as it always does; its `max_size` is replaced by
    the number of images that fit: where that depends on the images, it is given some more, and then made smaller by its
    own `resize`. Each image is encoded once, after it was chosen, and decoded whenever `buffer` is asked for; `nbytes`
    are the bytes held.

        ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)  # Avalanche wants the same number twice

    - `policy`: a new `ClassBalancedBuffer`, `ReservoirSamplingBuffer`, `ExperienceBalancedBuffer` or
      `ParametricBuffer` (herding), for example. Ask for images here, not there.
    - `memory_bytes`: of images, labels and class ids. A policy that gives every class its part from the start
      (`adaptive_size=False`) fills it as classes come; others fill it from the first experience on.
    - `codec`, `labels`: how images and labels lie in memory, see `DistilledBuffer`. Default: pixels of 8 bits, and
      class ids alone.
    - `num_classes` or `classes` (their names): of the whole problem; default: the outputs of the strategy's model.
    - `preprocessing`: that of the stream's tensors, undone before pixels are encoded; default: none.
    - `transform`: of the images in training, as in `DistilledBuffer`.
    - `seed`: of the images that are encoded to find out how many fit. The policy draws from the global generators.

    Images are read under their eval transforms. Raises `InputError` for options that are wrong, and when not even one
    image of each class fits.

        >>> from avalanche.training.storage_policy import ClassBalancedBuffer
        >>> from distill import Standardize, load_images
        >>> from continual import class_incremental
        >>> digits = load_images("digits").subset(range(100))
        >>> standardize = Standardize.fit(digits)
        >>> images = standardize.apply(digits)
        >>> policy = EncodedBuffer(
        ...     policy=ClassBalancedBuffer(1), memory_bytes=1000, num_classes=10, preprocessing=standardize
        ... )
        >>> policy.post_adapt(None, class_incremental(images, images, steps=5).train_stream[0])
        >>> len(policy.buffer), policy.nbytes
        (15, 979)
    """

    def __init__(
        self,
        *,
        policy: ExemplarsBuffer,
        memory_bytes: int,
        codec: str | ImageCodec = "uint8",
        labels: str | LabelCodec = "hard",
        num_classes: int | None = None,
        classes: Sequence[str] | None = None,
        preprocessing: Preprocessing | None = None,
        transform: Transform = "stream",
        seed: int = 0,
    ) -> None:
        check_encoded_buffer(policy, memory_bytes, num_classes, classes, preprocessing, transform, seed)
        self.policy, self.memory_bytes, self.seed = policy, memory_bytes, seed
        super().__init__(
            sys.maxsize, codec=codec, labels=labels, num_classes=num_classes, classes=classes,
            preprocessing=preprocessing, transform=transform,
        )  # fmt: skip
        self._chosen = Chosen()
        self._updates = 0

    def __repr__(self) -> str:
        return (
            f"EncodedBuffer({type(self.policy).__name__}: {self.memory_bytes} bytes, {self.codec.spec}, labels "
            f"{self.labels.spec}; {len(self._memory)} now, in {self.nbytes} bytes; in training "
            f"{self._transform.current or 'no transform'})"
        )

    def _decoded(self) -> AvalancheDataset:
        held = self._memory.dataset()  # in the order of the policy:
        return held.subset(self._chosen.all().tolist()) if len(self._memory) else held

    @property
    def buffer_datasets(self) -> list[AvalancheDataset]:
        """The images of each group of the policy as an Avalanche dataset."""
        decoded = self._memory.dataset()
        return [decoded.subset(handles.tolist()) for handles in self._chosen.of_each if len(handles)]

    def post_adapt(self, strategy: Any, experience: Any) -> None:
        """Let the policy choose from what it has and the images of `experience`, and encode what is new.

        `strategy` may be `None` when the number of classes was given and the policy needs none. Raises `InputError`
        for images, class ids or experiences that cannot be used, and when not even one image of each class fits.
        """
        check_experience(experience)
        items = read_items(experience.dataset)
        warn_of_other_reads(experience.dataset, items)
        self._check_items(strategy, items)
        assert self.classes is not None
        places = self._places(items)
        self._transform.resolve(experience.dataset, items)
        self._transform.warn(strategy)
        lender = Lender(
            self.policy, self._memory, self._chosen, items, self.classes, self.preprocessing, self._transform.current
        )
        with lender:
            self.policy.max_size = places
            shown = SimpleNamespace(dataset=lender.fresh, current_experience=experience.current_experience)
            self.policy.post_adapt(strategy, shown)
            self._keep_what_fits(lender, strategy)
        self._updates += 1

    def resize(self, strategy: Any, new_size: int) -> None:
        """Keep at most `new_size` images, now and from now on; what is dropped does not come back."""
        require_whole("new_size", new_size, least=1)
        self.max_size = new_size
        if not len(self._memory):
            return
        assert self.classes is not None
        with Lender(self.policy, self._memory, self._chosen, None, self.classes, self.preprocessing, None) as lender:
            self.policy.resize(strategy, new_size)
            self._keep_what_fits(lender, strategy)

    def _places(self, items: Items) -> int:
        """How many images to let the policy choose at first: somewhat more than should fit."""
        assert self.classes is not None
        sample = self._sample(items, generator_for(self.seed, self._updates, 2))
        size = ImageSize.measured(sample, self.codec, self.labels)
        budget = ByteBudget(self.memory_bytes, len(self.classes), adaptive=True)
        budget.check(size, len(torch.unique(items.labels)), learned=False, what=self._stored_as())
        held = self.nbytes / len(self._memory) if len(self._memory) else size.each
        most = (self.memory_bytes - size.overhead) / min(size.each, held)
        return min(self.max_size, int(most) if size.exact else math.ceil(most * SPARE))

    def _allowed(self) -> int:
        """How many bytes the policy may fill by now."""
        total = getattr(self.policy, "total_num_groups", None)
        if total is None:
            return self.memory_bytes
        return self.memory_bytes * min(total, len(getattr(self.policy, "buffer_groups", ()))) // total

    def _keep_what_fits(self, lender: Lender, strategy: Any) -> None:
        """Take over what the policy has chosen, once it has been made small enough."""
        allowed = self._allowed()
        chosen = lender.chosen()
        memory, renumbered = lender.encoded(chosen, self.codec, self.labels)
        while memory.nbytes > allowed:
            # A policy with a fixed number of groups reserves room for those that are still to come.
            count, before = self.policy.max_size, len(chosen)
            if not hasattr(self.policy, "total_num_groups") or self.policy.total_num_groups is None:
                count = min(count, before)
            smaller = min(count - 1, int(count * allowed / memory.nbytes))
            if smaller < 1:
                raise InputError(f"not one image fits in {allowed} bytes, encoded as {self.codec.spec}; give more")
            self.policy.resize(strategy, smaller)
            chosen = lender.chosen()
            if len(chosen) < before:
                memory, renumbered = lender.encoded(chosen, self.codec, self.labels)
        self._memory, self._chosen, self._in_use = memory, renumbered, None

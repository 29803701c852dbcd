"""One delivery on its way into the memory: its plan, and what of it fits."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch

from continual.byte_budget import Room, most_that_fits
from continual.delivery import Delivery, Key
from continual.memory import Memory, Plan, Returning
from distill import ImageCodec, InputError
from distill.sets.codecs import LabelCodec

__all__ = ["Intake", "Rules"]


@dataclass(frozen=True)
class Rules:
    """How places are shared out: `limit` in all, `per_group` of each group, and what a group does that comes back."""

    limit: int | None
    per_group: int | None
    returning: Returning


@dataclass(frozen=True)
class Intake:
    """What `new` real images of each group become in a memory.

    - `before`: the memory without them. `room`: how many bytes there are; `None`: no limit.
    - `images_fixed`: whether the user has said how many images there must be, so that none may be left out.
    - `generator`: makes the generator of random numbers for a memory.
    """

    before: Memory
    new: Mapping[Key, int]
    rules: Rules
    room: Room | None
    images_fixed: bool
    generator: Callable[[Memory], torch.Generator]

    def first_plan(self, *, learned: bool) -> Plan:
        """What to distil, before it is known how many bytes it takes; `learned`: images that are not real ones.

        Raises `InputError` when the images that the user wants cannot fit.
        """
        if self.room is None:
            return self.plan(None)
        if not self.images_fixed:
            return self.plan(self.room.places(learned=learned))
        plan = self.plan(None)
        self.room.check(self._places(plan))
        return plan

    def plan(self, places: int | None) -> Plan:
        """The plan for these images; `places`: of all groups that share the room."""
        limit, limit_of_new = self.rules.limit, None
        if self.room is not None and places is not None:
            if self.room.shared:
                limit = places if limit is None else min(limit, places)
            else:
                limit_of_new = places
        return self.before.plan(
            self.new, limit=limit, per_group=self.rules.per_group, returning=self.rules.returning,
            limit_of_new=limit_of_new,
        )  # fmt: skip

    def added(
        self, delivery: Delivery | None, plan: Plan, codec: ImageCodec, labels: LabelCodec
    ) -> tuple[Memory, Plan]:
        """The memory with a delivery, encoded: as planned, or as much of it as there is room for; and its plan.

        Raises `InputError` when images are left out of those that the user wants.
        """
        # What cannot be taken apart is encoded for each choice of images, so that nothing is encoded twice.
        encoded = delivery.recoded(codec, labels) if delivery is not None and codec.per_image else delivery

        def memory_of(plan: Plan) -> Memory:
            memory = self.before.copy()
            chosen = None if encoded is None else encoded.first(plan.taken)
            chosen = None if chosen is None else chosen.recoded(codec, labels)
            memory.add(chosen, self.new, plan, returning=self.rules.returning, generator=self.generator(memory))
            return memory

        if self.room is None:
            return memory_of(plan), plan
        most = self._places(plan)
        fit = most_that_fits(lambda places: memory_of(self.plan(places)).nbytes, self.room.nbytes, most)
        if fit < most and self.images_fixed:
            raise InputError(self.room.too_many(most, fit))
        final = self.plan(fit)
        return memory_of(final), final

    def _places(self, plan: Plan) -> int:
        """How many places the groups that share the room have in a plan."""
        keys = plan.quotas if self.room is None or self.room.shared else self.new
        return sum(plan.quotas[key] for key in keys)

"""What private distillers that learn images step by step share: the start, the steps' noise, and their state."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from distill.accounting.accountant import Release
from distill.accounting.ledger import Ledger
from distill.accounting.noise_stream import NoiseStream
from distill.accounting.noisy_sums import noisy_outer_sum, poisson_sample
from distill.accounting.observed import ObservedRelease, Terms
from distill.distillers.frepo import cosine_factor
from distill.distillers.initialize import Init
from distill.distillers.private import PrivateDistiller
from distill.distillers.private_start import PrivateInit, public_images, start_images, start_releases
from distill.distillers.run import Run
from distill.distillers.state import Start, StepwiseState
from distill.distillers.stepwise_networks import StepwiseInNetworks
from distill.errors import InputError
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import DTYPES, require_not_negative, require_positive
from distill.runtime.seeds import Purpose
from distill.sets.synthetic import initial_labels
from distill.training.loop import train

__all__ = ["PrivateState", "PrivateStepwise"]


@dataclass(frozen=True, kw_only=True)
class PrivateStepwise(PrivateDistiller, StepwiseInNetworks):
    """Base of private methods: a noisy start, and one noisy sum over a Poisson sample of the records a step."""

    inits: ClassVar[tuple[str, ...]] = get_args(PrivateInit)
    summed: ClassVar[str]
    """What a step sums over records, in words."""
    steps: int = 300
    """Number of updates of the distilled set, each with noise of its own."""
    batch_size: int = 2048
    """Expected number of records in a step: each is drawn by a coin of its own, so that the number varies."""
    clip: float = 1.0
    """Norm to which what a record adds to a sum is clipped; features have norm 1."""
    init: PrivateInit = "clusters"  # type: ignore[assignment]
    """Initial images: "noise"; "class-means", noisy; "clusters", noisy means of parts of each class; or "public"."""
    init_share: float = 0.4
    """Share of epsilon that the start would cost by itself, where it sees records."""
    public: str | None = None
    """File of a saved synthetic set of public images to start from, with init="public"."""
    frequencies: int = 10
    """Cosine frequencies in each direction of noisy means: fewer are smoother, with less noise."""
    noise_std: float = 0.3
    """Standard deviation of the noise of init="noise", and of that on top of class means."""
    width: int = 16
    """Width of the network: channels of its first convolution."""
    chunk_size: int = 5000
    """Number of images above which features are computed in chunks of this size: the same with less memory."""
    learning_rate: float = 5e-2
    """Initial learning rate of Adam for the images; cosine decay to a tenth of it."""

    def __post_init__(self) -> None:
        if isinstance(self.init, str) and self.init in get_args(Init) and self.init not in self.inits:
            raise InputError(
                f"init is {self.init!r}; expected one of {', '.join(self.inits)}: real images, and what they become, "
                "would be released without noise"
            )
        super().__post_init__()
        require_positive(self, "batch_size", "clip", "init_share", "frequencies", "chunk_size")
        require_not_negative(self, "steps")
        if not self.init_share < 1:
            raise InputError(f"init_share is {self.init_share}; expected less than 1, as the steps need the rest")
        if (self.init == "public") != (self.public is not None):
            raise InputError(
                f"init is {self.init!r} and public {self.public!r}; expected a file with init='public', else none"
            )

    def updates(self, images_per_class: int) -> int:
        """How often the distilled set is updated in all."""
        return self.steps

    def with_updates(self, count: int, images_per_class: int) -> "PrivateStepwise":
        """The same distiller with this many steps, and the noise that these need."""
        return self.with_options(steps=count)

    def sampling_rate(self, records: int) -> float:
        """Probability with which a record is in a batch."""
        return min(1.0, self.batch_size / records)

    def start_noise(self) -> float:
        """The noise multiplier with which the start costs its share of epsilon; 0 where it sees no records."""
        if not start_releases(self.init, 1.0):
            return 0.0
        return self.calibrated(lambda noise: start_releases(self.init, noise), self.init_share * self.epsilon)

    def releases(self, records: int, images_per_class: int) -> tuple[Release, ...]:
        """The start, where it sees records, and a gradient for each step."""
        start = start_releases(self.init, self.start_noise())

        def with_steps(noise: float) -> tuple[Release, ...]:
            return *start, Release(self.summed, noise, self.sampling_rate(records), self.steps)

        if self.noise_multiplier is not None or not self.steps:
            return with_steps(self.noise_multiplier or 1.0)
        return with_steps(self.calibrated(with_steps, self.epsilon))

    def start(self, data: PreprocessedImages, run: Run) -> "PrivateState":
        """The state before the first step; the only place beside `step` where records are looked at."""
        ledger = self.ledger(data, run)
        noise = self.stream(run, Purpose.NOISE)
        class_ids = torch.unique(data.labels.cpu()).repeat_interleave(run.images_per_class)
        images = self.private_images(data, class_ids, noise, run.generator(Purpose.START))
        images = images.to(run.device, DTYPES[self.dtype]).requires_grad_(True)
        start = Start(images, class_ids, [], self.through_codec(data, run, class_ids), self.average)
        labels = initial_labels(class_ids, data.num_classes, scale=1.0).to(images.detach())
        coins = self.stream(run, Purpose.BATCHES)
        return self.state(data, run, start, labels, coins=coins, noise=noise, ledger=ledger)

    @abstractmethod
    def state(
        self, data: PreprocessedImages, run: Run, start: Start, labels: Tensor, *, coins: NoiseStream,
        noise: NoiseStream, ledger: Ledger,
    ) -> "PrivateState":  # fmt: skip
        """The state from all that is private in it; `data` is asked for nothing but shapes and numbers of classes."""

    def batch(self, state: "PrivateState", data: PreprocessedImages) -> tuple[Tensor, Tensor]:
        """Images and labels of a Poisson sample of the records, on the device; perhaps of none."""
        chosen = poisson_sample(len(data), self.sampling_rate(len(data)), state.coins)
        return data.images[chosen.to(data.images.device)], data.labels[chosen.to(data.labels.device)]

    def noisy_sum(self, state: "PrivateState", data: PreprocessedImages, terms: Terms) -> Tensor:
        """The release of a step, `(d, k)`: what a Poisson sample of the records adds by `terms`, clipped, with noise.

        `terms` may depend on what is public alone: the set, the networks and the options. After this everything is
        post-processing: no record is looked at again in the step.
        """
        with torch.no_grad():
            factors = terms(*self.batch(state, data))
        summed = noisy_outer_sum(
            *factors, clip=self.clip, noise_multiplier=state.noise_multiplier, noise=state.noise
        )
        if state.run.on_release is not None:
            noise_std = state.noise_multiplier * self.clip
            rate = self.sampling_rate(len(data))
            state.run.on_release(ObservedRelease(summed, terms, self.clip, noise_std, rate))
        return summed

    def expected_batch_size(self, records: int) -> float:
        """What sums are divided by: the size of the batch that was drawn depends on the records."""
        return self.sampling_rate(records) * records

    def private_images(
        self, data: PreprocessedImages, class_ids: Tensor, noise: NoiseStream, directions: torch.Generator
    ) -> Tensor:
        """Where images start: equally many of each class present, however many records it has."""
        if self.public is not None:
            return public_images(self.public, data, class_ids)
        return start_images(
            data,
            class_ids,
            init=self.init,
            noise_multiplier=self.start_noise(),
            noise_std=self.noise_std,
            frequencies=self.frequencies,
            noise=noise,
            directions=directions,
        )

    def made_by_state(self, state: Any) -> dict[str, Any]:
        """With the ledger of the whole distillation, and without the seed."""
        return self.private_made_by(state.run, state.ledger, state.history)


class PrivateState(StepwiseState):
    """Images, moved by Adam; the streams of `coins` and `noise`, and the `ledger` of the distillation.

    `coins` choose batches. Both streams are in checkpoints, so that a distillation that is resumed
    repeats the noise it has drawn, and spends nothing twice. Checkpoints are therefore as secret as the records.
    """

    def __init__(
        self, run: Run, start: Start, labels: Tensor, *, coins: NoiseStream, noise: NoiseStream,
        ledger: Ledger, options: PrivateStepwise,
    ) -> None:  # fmt: skip
        optimizer = torch.optim.Adam([start.images], lr=options.learning_rate)
        super().__init__(run, start, labels, optimizer=optimizer, generator=run.generator(Purpose.BATCHES))
        self.coins, self.noise, self.ledger = coins, noise, ledger
        self.noise_multiplier = ledger.spent[0].releases[-1].noise_multiplier
        self.options = options

    def update(self, loss: Tensor) -> None:
        """One update of the images; `loss` is private, as it is made of the set and of noisy sums alone."""
        train([loss], self.optimizer)
        self.count(loss.item())
        self.set_learning_rate(self.step)

    def set_learning_rate(self, step: int) -> None:
        """Set the schedule as after this many updates."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.options.learning_rate * cosine_factor(self.options.steps)(step)

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: the streams as well."""
        return {**super().tensors(), "coins": self.coins.get_state(), "noise": self.noise.get_state()}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Restore the state from `tensors` and `metadata`."""
        super().restore(tensors, metadata)
        self.coins.set_state(tensors["coins"])
        self.noise.set_state(tensors["noise"])
        self.set_learning_rate(self.step)

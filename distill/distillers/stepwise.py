"""What distillers that learn images step by step share: where they start, and the loop itself."""

import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, TypeVar, get_args

from torch import Tensor

from distill.distillers.base import Distiller
from distill.distillers.checkpoint import Checkpoint
from distill.distillers.history import LossRecorder
from distill.distillers.initialize import Init, initial_images
from distill.distillers.run import Run
from distill.distillers.state import Start, StepwiseState
from distill.distillers.through_codec import LOSSY_SHARE, ThroughCodec
from distill.errors import InputError
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import DTYPES, require_below_one, require_choice, require_not_negative, require_positive
from distill.runtime.distributed import is_first_rank, wait_for_ranks
from distill.runtime.progress import progress_bar
from distill.sets.codecs import codec_of
from distill.sets.codecs.class_ids import run_lengths
from distill.sets.synthetic import SyntheticSet

__all__ = ["StepwiseDistiller"]

S = TypeVar("S", bound="StepwiseDistiller")


@dataclass(frozen=True, kw_only=True)
class StepwiseDistiller(Distiller):
    """A method whose images start from real ones or noise, and are moved step by step."""

    rates: ClassVar[tuple[str, ...]] = ("learning_rate",)  # what to lower when images become NaN
    inits: ClassVar[tuple[str, ...]] = get_args(Init)  # what `init` may be
    init: Init = "real"
    """Initial images: "real" images, random ones; "herded" ones, by the features of an untrained network; "noise"; or
    "real+noise", the sum of random ones and noise."""
    noise_std: float = 1.0
    """Standard deviation of the Gaussian noise in the initial images, in units of the preprocessed images."""
    dtype: Literal["float32", "float64"] = "float32"
    """Floating-point type of all computations."""
    history_points: int = 5
    """Number of steps, first and last included, at which the loss is recorded, and the accuracy on held-out images if
    there are any."""
    average: float = 0.0
    """Decay of an exponential moving average of images and labels, such as 0.99: it is what the set has, and what is
    recorded. In a short run it is about the mean of the last tenth of the steps. 0: none, the set is as the last step
    left it."""
    codec: str | None = None
    """Codec that the images will be stored with, such as "webp:50": they are learned so that they survive it. The set
    has the images before they are encoded; `EncodedSet.encode` with this codec gives what the networks saw."""
    codec_share: float | None = None
    """Share of the updates, the last ones, that are made through the codec. Default: all where the codec is
    differentiable (lowres), else 0.3."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_choice(self, "init", self.inits)
        require_choice(self, "dtype", DTYPES)
        require_positive(self, "codec_share", *self.rates)
        if self.codec_share is not None and self.codec_share > 1:
            raise InputError(f"codec_share is {self.codec_share}; expected at most 1, which is all updates")
        if self.codec is not None:
            codec_of(self.codec)
        require_not_negative(self, "noise_std", "history_points")
        require_below_one(self, "average")

    def check_run(self, run: Run) -> None:
        """Raise `InputError` where the device does not have the float type."""
        if self.dtype == "float64" and run.device.startswith("mps"):
            raise InputError("dtype is 'float64', which Apple's GPUs do not have; use 'float32' or device 'cpu'")

    @abstractmethod
    def updates(self, images_per_class: int) -> int:
        """How often the images are updated in all."""

    @abstractmethod
    def with_updates(self: S, count: int, images_per_class: int) -> S:
        """The same distiller with `updates` as near to `count` as its options allow."""

    def train_networks(self, data: PreprocessedImages, run: Run) -> None:
        """Train what `start` finds in the run's store, where there is such; `data` is as `prepare` gives it."""

    @abstractmethod
    def start(self, data: PreprocessedImages, run: Run) -> Any:
        """The state (`StepwiseState`) before the first step."""

    def first_images(self, data: PreprocessedImages, run: Run) -> Start:
        """Where images start: equally many of each class; with the same seed the same for every method."""
        images, class_ids, started_from = initial_images(data, run, init=self.init, noise_std=self.noise_std)
        images = images.to(run.device, DTYPES[self.dtype]).requires_grad_(True)
        return Start(images, class_ids, started_from, self.through_codec(data, run, class_ids), self.average)

    def through_codec(self, data: PreprocessedImages, run: Run, class_ids: Tensor) -> ThroughCodec | None:
        """The codec that images of these classes are learned through, and from which step on."""
        if self.codec is None:
            return None
        codec = codec_of(self.codec)
        share = (1.0 if codec.differentiable else LOSSY_SHARE) if self.codec_share is None else self.codec_share
        first_step = round((1 - share) * self.updates(run.images_per_class))
        return ThroughCodec(codec, data.preprocessing, tuple(run_lengths(class_ids)), first_step)

    @abstractmethod
    def step(self, state: Any, data: PreprocessedImages) -> None:
        """One update of the images; changes `state`."""

    def prepare(self, data: PreprocessedImages, run: Run) -> PreprocessedImages:
        """`data` where and in the float type that `start` and `step` want it."""
        return data.to(run.device, DTYPES[self.dtype])

    def recorder(self, state: Any) -> LossRecorder:
        """What is recorded along the way."""
        return LossRecorder(state, steps=self.updates(state.run.images_per_class), points=self.history_points)

    def check_images(self, image_shape: tuple[int, int, int], num_classes: int) -> None:
        """Raise `InputError` where the codec does not go with the images."""
        if self.codec is not None:
            codec_of(self.codec).check_shape(image_shape)

    def _distill(self, data: PreprocessedImages, run: Run) -> SyntheticSet:
        data, started = self.prepare(data, run), time.perf_counter()
        state: StepwiseState = self.start(data, run)
        state.seconds = time.perf_counter() - started
        checkpoint = Checkpoint(run, self, data)
        checkpoint.load_into(state)
        wait_for_ranks()  # before the first one writes the file again
        recorder, updates = self.recorder(state), self.updates(run.images_per_class)

        def show_if_due() -> None:
            if recorder.record_if_due() and run.on_record is not None:
                run.on_record(state.step, self.so_far(state, data))
            if run.snapshots is not None and state.step in run.snapshots.steps:
                run.snapshots.show(state.step, state.seconds, self.so_far(state, data))

        shown = run.progress and is_first_rank()
        with progress_bar(shown=shown, total=updates, initial=state.step, desc="distil", unit="step") as bar:
            if self.is_private and is_first_rank():
                checkpoint.save(state)  # before anything is shown: what is begun anew would draw other noise
            show_if_due()
            while state.step < updates:
                started = time.perf_counter()
                self.step(state, data)
                state.seconds += time.perf_counter() - started
                if not state.is_finite():
                    raise InputError(
                        f"the distillation diverged (NaN) at step {state.step} of {updates}; lower "
                        + " or ".join(f"{name} (it is {getattr(self, name):g})" for name in self.rates)
                    )
                show_if_due()
                bar.set_postfix(loss=f"{state.mean_loss:.4f}", refresh=False)
                bar.update()
                if is_first_rank():
                    checkpoint.save_if_due(state)
        if is_first_rank():
            checkpoint.save(state)
        return self.so_far(state, data)

    def so_far(self, state: StepwiseState, data: PreprocessedImages) -> SyntheticSet:
        """The set as it is at this moment, on the CPU; later steps do not change it."""
        images, labels = state.result()
        return SyntheticSet(
            images.detach().float().cpu().clone(),
            labels.detach().float().cpu().clone(),
            state.class_ids.cpu().clone(),
            data.classes,
            data.preprocessing,
            self.made_by_state(state),
        )

    def made_by_state(self, state: Any) -> dict[str, Any]:
        """Where a set in this state comes from, for its `made_by`."""
        return self.made_by(state.run, started_from=state.started_from, history=list(state.history))

"""MTT: networks trained on the distilled images follow the trajectories of experts (Cazenavette et al. 2022)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

from distill.distillers.condensation import Condensation
from distill.distillers.experts import Experts, batches, trajectory_of
from distill.distillers.made_from import made_from
from distill.distillers.run import Run
from distill.distillers.state import Start, StepwiseState
from distill.errors import InputError
from distill.networks import Network
from distill.preprocess import PreprocessedImages
from distill.runtime.checks import require_not_negative, require_positive
from distill.runtime.seeds import Purpose, generator_for
from distill.sets.synthetic import initial_labels
from distill.store import MadeFrom
from distill.training.augmentation import SIAMESE, draw_augmentation

__all__ = ["MTT", "MTTState", "trajectory_distance"]

# What decides the experts, beside the data and the device; others of the same options share them.
OF_EXPERTS = (
    "network", "width", "depth", "norm", "dtype", "augment", "flip", "expert_seed", "expert_learning_rate",
    "expert_batch_size", "epoch_updates",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MTT(Condensation):
    """A student that takes a few steps on the distilled images ends where an expert is after epochs of real images.

    Source: Cazenavette, Wang, Torralba, Efros & Zhu, *Dataset Distillation by Matching Training Trajectories* (CVPR
    2022), and its released code, whose defaults these are, but for `init`, noise there. Experts are trained no longer
    than they are used, there for 50 epochs. The loss is the squared distance of the student from the expert, relative
    to how far the expert has gone. Gradients go through all steps of the student, whose memory grows with their number.
    The set says in `made_by["student_learning_rate"]` the learning rate that was learned with it.

    Experts are the same for all seeds and sizes of sets: a store trains them once. Raises `InputError` where their
    training becomes NaN.

    >>> from distill import load_images
    >>> mtt = MTT(steps=1, experts=1, latest_start=1, matched_epochs=1, epoch_updates=1, width=4, depth=1)
    >>> mtt.distill(load_images("digits"), images_per_class=1)
    SyntheticSet(10 images of 1x8x8, 10 classes, by mtt)
    """

    method: ClassVar[str] = "mtt"
    rates: ClassVar[tuple[str, ...]] = ("learning_rate", "student_learning_rate")
    augment: bool = True
    """Augment the images that experts and students are trained on: one operation of siamese augmentation for a batch,
    its parameters for each image."""
    steps: int = 5000
    """Number of updates of the distilled images; published: 5000."""
    learning_rate: float = 1000.0
    """Learning rate of SGD on the images; constant."""
    student_steps: int = 20
    """Steps of a student on the distilled images; published: 10 to 80."""
    student_batch_size: int | None = None
    """Distilled images in a step of a student. Default: all."""
    student_learning_rate: float = 0.01
    """Learning rate of SGD for the students, at the start: it is learned with the images."""
    rate_learning_rate: float = 1e-5
    """Learning rate of SGD, with the momentum of the images, on the students' learning rate; 0 keeps it as it is."""
    matched_epochs: int = 3
    """Epochs of an expert that the steps of a student should lead as far as; published: 2 or 3."""
    latest_start: int = 25
    """A student starts from an expert after fewer epochs than this, drawn at random; published: 2 to 40."""
    experts: int = 100
    """Number of experts."""
    expert_learning_rate: float = 0.01
    """Learning rate of SGD for the experts; constant."""
    expert_batch_size: int = 256
    """Batch size for training the experts."""
    epoch_updates: int | None = None
    """Updates of an expert that count as an epoch. Default: as many as go through all images once."""
    expert_seed: int = 0
    """Seed of the experts, which are the same whatever the seed of the distillation."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(
            self, "student_steps", "student_batch_size", "matched_epochs", "latest_start", "experts",
            "expert_learning_rate", "expert_batch_size", "epoch_updates",
        )  # fmt: skip
        require_not_negative(self, "steps", "rate_learning_rate", "expert_seed")

    def updates(self, images_per_class: int) -> int:
        """How often the images are updated in all."""
        return self.steps

    def with_updates(self, count: int, images_per_class: int) -> "MTT":
        """The same distiller with this many steps."""
        return self.with_options(steps=count)

    def augmented(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A batch as it is trained on."""
        if not self.augment:
            return images
        channels, height, width = images.shape[1:]
        mirror = self.mirrors((channels, height, width))
        return draw_augmentation(SIAMESE, generator, (height, width), mirror=mirror, count=len(images))(images)

    # -- experts -------------------------------------------------------------------------------------------------------

    def experts_for(self, data: PreprocessedImages, run: Run) -> Experts:
        """The experts on `data`, which is as `prepare` gives it; none is trained before it is needed."""
        asked = {"device": run.device, "epochs": self.latest_start - 1 + self.matched_epochs}
        shared = {"method": "experts", **{name: getattr(self, name) for name in OF_EXPERTS}}
        made = MadeFrom()
        if run.store is not None:
            made = made_from(self, data, asked=asked, device=run.device, shared=shared)
        return Experts(
            self.experts, lambda index: self.trained_expert(data, run, index), store=run.store, made_from=made
        )

    def trained_expert(self, data: PreprocessedImages, run: Run, index: int) -> dict[str, Tensor]:
        """The trajectory of expert number `index`: SGD with cross-entropy on all images."""
        generator = generator_for(self.expert_seed, Purpose.EXPERTS, index)
        network = self.build(data.image_shape, data.num_classes, generator, device=run.device)

        def losses() -> Iterator[Tensor]:
            for chosen in batches(len(data), self.expert_batch_size, generator):
                images, labels = data.images[chosen.to(data.images.device)], data.labels[chosen.to(data.labels.device)]
                yield F.cross_entropy(network(self.augmented(images, generator)), labels)

        trajectory = trajectory_of(
            network,
            losses(),
            epochs=self.latest_start - 1 + self.matched_epochs,
            updates=self.epoch_updates or -(-len(data) // self.expert_batch_size),
            rate=self.expert_learning_rate,
        )
        if not all(bool(values[-1].isfinite().all()) for values in trajectory.values()):
            raise InputError(
                f"training of the experts of mtt diverged (NaN); lower expert_learning_rate (it is "
                f"{self.expert_learning_rate:g})"
            )
        return trajectory

    def train_networks(self, data: PreprocessedImages, run: Run) -> None:
        """Train the experts, so that the run's store has them."""
        self.experts_for(data, run).make_all(progress=run.progress)

    # -- the distillation ----------------------------------------------------------------------------------------------

    def start(self, data: PreprocessedImages, run: Run) -> "MTTState":
        """The state before the first step, experts trained."""
        experts = self.experts_for(data, run)
        experts.make_all(progress=run.progress)
        network = self.build(data.image_shape, data.num_classes, torch.Generator(), device=run.device)
        start = self.first_images(data, run)
        labels = initial_labels(start.class_ids, data.num_classes)
        return MTTState(run, start, labels, experts=experts, network=network.requires_grad_(False), options=self)

    def step(self, state: "MTTState", data: PreprocessedImages) -> None:
        """One update of the images, and of the students' learning rate; changes `state`."""
        expert, epoch = (int(torch.randint(most, (1,), generator=state.generator)) for most in
                         (self.experts, self.latest_start))  # fmt: skip
        first = state.experts.parameters(expert, epoch, state.network)
        target = state.experts.parameters(expert, epoch + self.matched_epochs, state.network)
        loss = trajectory_distance(self.student(state, first), target, first)
        state.update(loss)

    def student(self, state: "MTTState", parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """Parameters after the steps of a student from `parameters`, differentiable in images and learning rate."""
        images, class_ids = state.seen(), state.class_ids.to(state.images.device)
        student = {name: value.requires_grad_(True) for name, value in parameters.items()}
        drawn = batches(len(images), self.student_batch_size or len(images), state.generator)
        for _ in range(self.student_steps):
            chosen = next(drawn).to(images.device)
            batch = self.augmented(images[chosen], state.generator)
            loss = F.cross_entropy(functional_call(state.network, student, (batch,)), class_ids[chosen])
            gradients = torch.autograd.grad(loss, list(student.values()), create_graph=True)
            student = {
                name: value - state.student_rate * gradient
                for (name, value), gradient in zip(student.items(), gradients, strict=True)
            }
        return student

    def made_by_state(self, state: "MTTState") -> dict[str, Any]:
        """Where a set in this state comes from; with the students' learning rate."""
        return {**super().made_by_state(state), "student_learning_rate": state.student_rate.item()}


class MTTState(StepwiseState):
    """Images and `student_rate`, the learning rate of the students, moved by SGD; `network` is what students are."""

    def __init__(
        self, run: Run, start: Start, labels: Tensor, *, experts: Experts, network: Network, options: MTT
    ) -> None:
        self.experts, self.network = experts, network
        self.student_rate = start.images.new_tensor(options.student_learning_rate).requires_grad_(True)
        of_rate: dict[str, Any] = {"params": [self.student_rate], "lr": options.rate_learning_rate}
        optimizer = torch.optim.SGD(
            [{"params": [start.images]}, of_rate], lr=options.learning_rate, momentum=options.momentum
        )
        super().__init__(run, start, labels, optimizer=optimizer, generator=run.generator(Purpose.NETWORKS))

    def update(self, loss: Tensor) -> None:
        """One step of SGD along the gradient of `loss`, which the parameters that a student starts from do not keep."""
        self.optimizer.zero_grad()
        loss.backward(inputs=[self.images, self.student_rate])
        self.optimizer.step()
        self.count(loss.item())

    def is_finite(self) -> bool:
        """Whether images, labels and the learning rate are free of NaN and infinity."""
        return super().is_finite() and bool(self.student_rate.isfinite())

    def tensors(self) -> dict[str, Tensor]:
        """For a checkpoint: the learning rate as well."""
        return {**super().tensors(), "student_rate": self.student_rate}

    def restore(self, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> None:
        """Restore the state from `tensors` and `metadata`."""
        super().restore(tensors, metadata)
        with torch.no_grad():
            self.student_rate.copy_(tensors["student_rate"])


def trajectory_distance(
    student: Mapping[str, Tensor], target: Mapping[str, Tensor], first: Mapping[str, Tensor]
) -> Tensor:
    """`|student - target|^2 / |first - target|^2` over all parameters, by name; 0 where the expert has not moved.

    >>> one, two, three = ({"w": torch.tensor([value])} for value in (1.0, 2.0, 3.0))
    >>> trajectory_distance(two, three, one).item()
    0.25
    """
    moved = sum((first[name].detach() - target[name]).square().sum() for name in target)
    left = sum((student[name] - target[name]).square().sum() for name in target)
    assert isinstance(left, Tensor)
    assert isinstance(moved, Tensor)
    return left / moved.clamp(min=torch.finfo(moved.dtype).tiny)

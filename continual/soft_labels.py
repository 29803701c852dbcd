"""How soft labels travel through Avalanche: a data attribute, and the loss that finds it in the mini-batch.

Targets stay integer class ids, so that metrics, class-balanced policies and `mb_y` work. The soft labels ride beside
them as the data attribute `soft_labels`. A dataset that has it works everywhere a dataset without it does;
`with_soft_labels` brings it into the mini-batch.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from avalanche.benchmarks.utils import (
    AvalancheDataset,
    ConstantSequence,
    DataAttribute,
    TaskAwareSupervisedClassificationDataset,
    TaskLabels,
)
from avalanche.benchmarks.utils.data_loader import MultiDatasetDataLoader
from avalanche.training.plugins import SupervisedPlugin
from torch import Tensor, nn

from distill import InputError
from distill.checks import require_whole
from distill.recipe import TrainingRecipe
from distill.synthetic import initial_labels

__all__ = ["NAME", "SoftLabelLoss", "output_size", "read_all", "soft_label_attribute", "soft_loss", "with_soft_labels"]

NAME = "soft_labels"
LAST = (NAME, "targets_task_labels")


class LabelRows(Sequence[Tensor]):
    """Item `i` is row `positions[i]` of a table of soft labels `(m, C)`.

    Given the table itself, Avalanche would make lists of floats of it, which torch collates column by column.
    """

    def __init__(self, table: Tensor, positions: Sequence[int]) -> None:
        self.table, self.positions = table, positions

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: Any) -> Any:
        return self.table[int(self.positions[index])]


def soft_label_attribute(labels: Tensor) -> DataAttribute:
    """Soft labels `(n, C)` as the data attribute of a dataset of `n` images; not in its mini-batches yet."""
    return DataAttribute(LabelRows(labels, range(len(labels))), NAME)


class SoftLabelDataset(TaskAwareSupervisedClassificationDataset):
    """A dataset whose items are `[image, class id, (other attributes,) soft label (C,), task label]`.

    Concatenated with a dataset that lacks soft labels it loses them, as Avalanche drops what is not common to both.
    """

    _data_attributes: dict[str, DataAttribute]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Avalanche appends new attributes at the end, but takes `mb_task_id` from there.
        attributes = self._data_attributes
        names = sorted(attributes, key=lambda name: LAST.index(name) + 1 if name in LAST else 0)
        self._data_attributes = {name: attributes[name] for name in names}


def with_soft_labels(dataset: AvalancheDataset, num_classes: int) -> SoftLabelDataset:
    """The same dataset with a soft label in every item: its own if it has any, else the initial one of its class.

    Items become `[image, class id, soft label (C,), task label]`; initial labels are those of
    `distill.synthetic.initial_labels`. Nothing is copied; transforms stay.

    Raises `InputError` when the dataset has no targets.
    """
    require_whole("num_classes", num_classes, least=1)
    if isinstance(dataset, SoftLabelDataset) and hasattr(dataset, NAME):
        return dataset
    if not hasattr(dataset, "targets"):
        raise InputError("the dataset has no targets to give it soft labels by; make it with Avalanche's generators")
    if hasattr(dataset, NAME):
        rows = getattr(dataset, NAME).data
    else:
        rows = LabelRows(initial_labels(torch.arange(num_classes), num_classes), dataset.targets)
    attributes = [DataAttribute(rows, NAME, use_in_getitem=True)]
    if not hasattr(dataset, "targets_task_labels"):
        attributes.append(TaskLabels(ConstantSequence(0, len(dataset))))
    if not isinstance(dataset, TaskAwareSupervisedClassificationDataset):
        attributes.append(DataAttribute(dataset.targets.data, "targets"))
    return SoftLabelDataset([dataset], data_attributes=attributes)


def read_all(dataset: AvalancheDataset) -> list[Tensor]:
    """Every field of every item, each field in one tensor of length `n`; random transforms must be off.

    Raises `InputError` when there are no items, or the images are no float tensors of one shape.
    """
    if not len(dataset):
        raise InputError("there are no images to read: the dataset is empty")
    columns: list[Tensor] = []
    for i in range(len(dataset)):
        item = dataset[i]
        image = item[0]
        if not isinstance(image, Tensor) or not image.is_floating_point():
            kind = str(image.dtype) if isinstance(image, Tensor) else type(image).__name__
            raise InputError(
                f"the images of the stream are {kind}; wanted float tensors: give the benchmark an eval transform that "
                "makes them, such as torchvision's ToTensor()"
            )
        fields = [torch.as_tensor(field) for field in item]
        if not columns:
            columns = [torch.empty((len(dataset), *field.shape), dtype=field.dtype) for field in fields]
        if image.shape != columns[0].shape[1:]:
            raise InputError(
                f"image {i} has shape {tuple(image.shape)}, those before it {tuple(columns[0].shape[1:])}; wanted one "
                "shape: let the eval transform resize them"
            )
        for column, field in zip(columns, fields, strict=True):
            column[i] = field
    return columns


def output_size(model: nn.Module) -> int:
    """Number of classes of a model: outputs of its `head`, or of its last linear layer."""
    head = getattr(model, "head", None)
    layers = [head] if isinstance(head, nn.Linear) else [m for m in model.modules() if isinstance(m, nn.Linear)]
    if not layers:
        raise InputError(
            f"{type(model).__name__} has no linear layer to tell the number of classes by; give num_classes"
        )
    return layers[-1].out_features


def soft_loss(loss: Callable[[Tensor, Tensor], Tensor], logits: Tensor, labels: Tensor) -> Tensor:
    """`loss(logits, labels)`, both `(n, C)`; raises `InputError` rather than broadcast other shapes."""
    if logits.shape != labels.shape:
        raise InputError(
            f"the model's output has shape {tuple(logits.shape)}, the soft labels {tuple(labels.shape)}; wanted one "
            "output for each class of the whole problem from the first experience on"
        )
    return loss(logits, labels.to(logits))


class SoftLabelLoss(SupervisedPlugin):
    """Criterion for Avalanche's own strategies: the loss on soft labels, of real and replayed images in one batch.

        Naive(model=model, optimizer=optimizer, criterion=SoftLabelLoss(100), plugins=[ReplayPlugin(...)])

    Give it as `criterion`: Avalanche also registers it as a plugin. It adds the soft labels to what the strategy
    trains on, whatever the loader made of it: the current images get the initial label of their class, replayed ones
    keep the soft labels of the buffer, if it has any. In evaluation the labels are the initial ones.

    - `num_classes`: of the whole problem; the model must have that many outputs throughout.
    - `loss`: of logits and soft labels, both `(n, C)`; default: MSE, the paper's (`TrainingRecipe.criterion`).
    """

    def __init__(self, num_classes: int, *, loss: Callable[[Tensor, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        require_whole("num_classes", num_classes, least=1)
        self.num_classes = num_classes
        self.loss = TrainingRecipe().criterion if loss is None else loss
        self._labels: Tensor | None = None

    def after_train_dataset_adaptation(self, strategy: Any, **kwargs: Any) -> None:
        """Add soft labels to the current experience's images."""
        strategy.adapted_dataset = with_soft_labels(strategy.adapted_dataset, self.num_classes)

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        """Add soft labels to the memory: by now every plugin has had its chance to replace the loader."""
        loader = strategy.dataloader
        if isinstance(loader, MultiDatasetDataLoader):
            loader.datasets = [with_soft_labels(dataset, self.num_classes) for dataset in loader.datasets]

    def before_forward(self, strategy: Any, **kwargs: Any) -> None:
        """Find the soft labels in the mini-batch."""
        if len(strategy.mbatch) < 4:
            raise InputError(
                f"the mini-batch has {len(strategy.mbatch)} tensors and no soft labels; wanted [images, class ids, "
                "soft labels, task labels]: apply continual.with_soft_labels to the datasets of a loader of your own"
            )
        self._labels = strategy.mbatch[-2]

    def before_eval_forward(self, strategy: Any, **kwargs: Any) -> None:
        """Test images have hard labels."""
        self._labels = None

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of logits `(n, C)`; `targets` `(n,)` count in evaluation only."""
        labels = initial_labels(targets, self.num_classes) if self._labels is None else self._labels
        return soft_loss(self.loss, logits, labels)

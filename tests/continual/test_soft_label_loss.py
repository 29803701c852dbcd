"""Soft labels belong to the mini-batch they came in; reduction; the loss that learns in short trainings."""

import pytest
import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.models import IncrementalClassifier, MultiHeadClassifier, MultiTaskModule, SimpleMLP
from avalanche.training import Naive
from avalanche.training.plugins import (
    AGEMPlugin,
    EvaluationPlugin,
    EWCPlugin,
    GEMPlugin,
    MIRPlugin,
    ReplayPlugin,
    RWalkPlugin,
    SupervisedPlugin,
)
from torch import nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from continual import DistilledBuffer, SoftLabelLoss, accuracy_evaluator, class_incremental, stream_accuracy
from continual.loss import RecipeLoss
from distill import Identity, InputError, PreprocessedImages, Random, TrainingRecipe, load_images
from distill.preprocess import default_preprocessing
from distill.sets.synthetic import initial_labels

C = 6


def images(n: int = 60, seed: int = 0) -> PreprocessedImages:
    drawn = torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return PreprocessedImages(drawn, torch.arange(n) % C, tuple("abcdef"), Identity())


class Marked(Random):
    """Random images with soft labels that no class id leads to."""

    def _distill(self, data, run):
        made = super()._distill(data, run)
        object.__setattr__(made, "soft_labels", made.soft_labels + 0.25)
        return made


class Recording(SoftLabelLoss):
    """Remembers targets, labels, and whether they were the current mini-batch's."""

    def __init__(self) -> None:
        super().__init__(C, loss=self.losses)
        self.seen: list[torch.Tensor] = []

    def losses(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        self.seen.append(labels.detach().clone())
        return F.cross_entropy(logits, labels.softmax(1), reduction="none")


def train(criterion: SoftLabelLoss, plugins: list[SupervisedPlugin], *, replay: bool = True) -> None:
    policy = DistilledBuffer(Marked(), images_per_class=2, num_classes=C)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, C))
    own = [ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)] if replay else []
    strategy = Naive(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01), criterion=criterion, train_mb_size=10,
        plugins=[plugins[0], *own, *plugins[1:]], evaluator=EvaluationPlugin(),
    )  # fmt: skip
    strategy.train(class_incremental(images(), images(12), steps=3).train_stream)


PLUGINS = {
    "EWC": lambda: EWCPlugin(ewc_lambda=1.0),
    "AGEM": lambda: AGEMPlugin(patterns_per_experience=10, sample_size=10),
    "GEM": lambda: GEMPlugin(patterns_per_experience=10, memory_strength=0.5),
    "RWalk": lambda: RWalkPlugin(),
    "MIR": lambda: MIRPlugin(batch_size_mem=4, mem_size=12, subsample=8),
}


@pytest.mark.parametrize("name", PLUGINS)
def test_targets_of_a_plugin_get_their_initial_labels(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call: labels of the mini-batch where its own targets come, initial ones for any other targets."""
    criterion, foreign = Recording(), []
    call = SoftLabelLoss.__call__

    def checked(self, logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        own = targets is strategy_batch[0]
        loss = call(self, logits, targets)
        if own:
            assert torch.equal(criterion.seen[-1], strategy_batch[1])
        else:
            foreign.append(targets)
            assert torch.equal(criterion.seen[-1], initial_labels(targets, C))
        return loss

    strategy_batch: list[torch.Tensor] = [torch.empty(0), torch.empty(0)]

    class Spy(SupervisedPlugin):
        def before_training_iteration(self, strategy, **kwargs) -> None:
            strategy_batch[:] = [strategy.mbatch[1], strategy.mbatch[2]]

        def after_training_iteration(self, strategy, **kwargs) -> None:
            strategy_batch[:] = [torch.empty(0), torch.empty(0)]

    monkeypatch.setattr(SoftLabelLoss, "__call__", checked)
    plugin = PLUGINS[name]()
    train(criterion, [Spy(), plugin], replay=name != "MIR")  # which looks for classes that are not in the mini-batch
    if name != "MIR":
        assert any((labels.sum(1) > 1).any() for labels in criterion.seen)  # the buffer's soft labels came as well
    assert bool(foreign) == (name != "RWalk")  # which looks at the current mini-batch itself


def test_reduction_is_that_of_pytorchs_losses() -> None:
    logits, targets = torch.randn(5, C), torch.arange(5)
    each = SoftLabelLoss(C, reduction="none")(logits, targets)
    assert each.shape == (5,)
    assert SoftLabelLoss(C)(logits, targets) == pytest.approx(float(each.mean()))
    criterion = SoftLabelLoss(C, reduction="sum")
    assert criterion(logits, targets) == pytest.approx(float(each.sum()))
    criterion.reduction = "none"  # as MIR does
    assert torch.equal(criterion(logits, targets), each)
    assert float(SoftLabelLoss(C, loss=F.mse_loss, reduction="sum")(logits, targets)) > 0
    with pytest.raises(InputError, match="loss returns one number for all images"):
        SoftLabelLoss(C, loss=F.mse_loss, reduction="none")(logits, targets)
    with pytest.raises(InputError, match="reduction is 'median'; expected one of mean, sum, none"):
        SoftLabelLoss(C, reduction="median")
    with pytest.raises(InputError, match="temperature is 'warm'; expected a number above 0"):
        SoftLabelLoss(C, temperature="warm")
    with pytest.raises(InputError, match="hard_label_scale is 0; expected more than 0"):
        SoftLabelLoss(C, hard_label_scale=0)
    with pytest.raises(InputError, match="loss is 'hinge'; expected one of mse, soft-cross-entropy"):
        SoftLabelLoss(C, loss="hinge")
    with pytest.raises(InputError, match="num_classes is 0"):
        SoftLabelLoss(0)


def test_hand_computed_values() -> None:
    logits, targets = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([1])
    labels = initial_labels(targets, 3)
    for temperature in (0.1, None):
        wanted = -(labels / (temperature or 3**-0.5)).softmax(1) @ logits.log_softmax(1).T
        assert SoftLabelLoss(3, temperature=temperature)(logits, targets) == pytest.approx(float(wanted))
    hard = SoftLabelLoss(3, temperature=0.05, hard_label_scale=1.0)(logits, targets)
    assert hard == pytest.approx(float(F.cross_entropy(logits, targets)), abs=1e-6)
    assert SoftLabelLoss(3, loss="mse")(logits, targets) == pytest.approx(float(0.5 * (logits - labels).square().sum()))


def test_growing_heads_are_trained_on_the_classes_they_have() -> None:
    model = SimpleMLP(input_size=16, hidden_size=8)
    model.classifier = IncrementalClassifier(8, 1)
    policy = DistilledBuffer(Random(), images_per_class=2, num_classes=C)
    strategy = Naive(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01), criterion=SoftLabelLoss(C),
        train_mb_size=10, plugins=[ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)],
        evaluator=EvaluationPlugin(),
    )  # fmt: skip
    benchmark = class_incremental(images(), images(12), steps=3)
    strategy.train(benchmark.train_stream)
    strategy.eval(benchmark.test_stream)
    assert model.classifier.classifier.out_features == C


def digits(epochs: int, loss: str) -> float:
    """Accuracy of replay on digits, five steps of two classes."""
    torch.manual_seed(0)
    raw, raw_test = load_images("digits"), load_images("digits", split="test")
    preprocessing = default_preprocessing(raw)
    benchmark = class_incremental(preprocessing.apply(raw), preprocessing.apply(raw_test), steps=5)
    policy = DistilledBuffer(Random(), images_per_class=10, num_classes=10)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    strategy = Naive(
        model=model, optimizer=torch.optim.Adam(model.parameters(), lr=1e-3), criterion=SoftLabelLoss(10, loss=loss),
        train_mb_size=32, train_epochs=epochs, eval_mb_size=500,
        plugins=[ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)], evaluator=EvaluationPlugin(),
    )  # fmt: skip
    strategy.train(benchmark.train_stream)
    data = preprocessing.apply(raw_test)
    with torch.no_grad():
        return float((model.eval()(data.images).argmax(1) == data.labels).float().mean())


def test_the_default_loss_learns_in_a_short_training() -> None:
    assert SoftLabelLoss(10).loss.__self__.loss == "soft-cross-entropy"
    assert digits(2, "soft-cross-entropy") > 0.7


@pytest.mark.parametrize("loss", ["soft-cross-entropy", "mse"])
def test_masked_units_have_no_part_in_the_target(loss: str) -> None:
    """The loss of a masked head is that of a head with the other units alone."""
    logits = torch.tensor([[0.3, -1000.0, 1.2, -1000.0], [0.5, -1000.0, -0.4, -1000.0]])
    targets = torch.tensor([2, 0])
    seen = torch.tensor([0, 2])
    recipe = TrainingRecipe(loss=loss, temperature=0.5)
    wanted = recipe.criterion(logits[:, seen], initial_labels(targets, 4)[:, seen])
    assert SoftLabelLoss(4, loss=loss, temperature=0.5)(logits, targets) == pytest.approx(float(wanted))
    for given in (targets, initial_labels(targets, 4)):
        assert RecipeLoss(recipe, 4, growing=True)(logits, given) == pytest.approx(float(wanted))
    assert float(SoftLabelLoss(4, loss=loss)(logits, torch.tensor([1, 1]))) > 100  # a class that is masked itself
    assert torch.isfinite(SoftLabelLoss(4, loss=loss)(torch.full((1, 4), -1000.0), targets[:1]))


class OneHead(nn.Module):
    """A masked head for all tasks."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU())
        self.classifier = IncrementalClassifier(64, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x))


class ManyHeads(MultiTaskModule):
    """A masked head for each task."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU())
        self.classifier = MultiHeadClassifier(64, 10)

    def forward(self, x: torch.Tensor, task_labels: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x), task_labels)


@pytest.mark.parametrize("kind", [OneHead, ManyHeads])
def test_masked_heads_learn_as_with_cross_entropy(kind: type[nn.Module]) -> None:
    """The first task has the classes 9 and 1: eight units are masked."""
    images = load_images("digits")
    data = TensorDataset(torch.from_numpy(images.images / 255).float().permute(0, 3, 1, 2), torch.tensor(images.labels))
    data.targets = images.labels.tolist()
    order = [9, 1, 5, 3, 7, 0, 2, 8, 4, 6]
    benchmark = nc_benchmark(data, data, 5, task_labels=kind is ManyHeads, fixed_class_order=order)
    reached = {}
    for criterion in (nn.CrossEntropyLoss(), SoftLabelLoss(10)):
        torch.manual_seed(0)
        model = kind()
        policy = DistilledBuffer(Random(), images_per_class=20, num_classes=10)
        strategy = Naive(
            model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.05), criterion=criterion, train_mb_size=16,
            train_epochs=3, eval_mb_size=500, evaluator=accuracy_evaluator(),
            plugins=[ReplayPlugin(mem_size=policy.max_size, storage_policy=policy)],
        )  # fmt: skip
        strategy.train(benchmark.train_stream[:2])
        reached[criterion] = stream_accuracy(strategy, benchmark.test_stream[:2])
    cross_entropy, soft = reached.values()
    assert soft > cross_entropy - 0.05

"""Models that GDumb can and cannot train anew at every experience; plugins; pickling."""

import copy
import pickle
import warnings

import pytest
import torch
from avalanche.benchmarks import nc_benchmark
from avalanche.models import IncrementalClassifier, MTSimpleMLP, MultiHeadClassifier, MultiTaskModule, SimpleMLP
from avalanche.training import Naive
from avalanche.training.plugins import (
    EvaluationPlugin,
    GDumbPlugin,
    LRSchedulerPlugin,
    ReplayPlugin,
)
from avalanche.training.storage_policy import ClassBalancedBuffer
from torch import nn
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.data import TensorDataset

from continual import DistilledBuffer, GDumb, SoftLabelLoss, accuracy_evaluator, class_incremental, stream_accuracy
from continual.model_outputs import model_outputs
from continual.weight_reset import draw_weights
from distill import Identity, InputError, PreprocessedImages, Random
from distill.runtime.seeds import generator_for
from distill.training.recipe import TrainingRecipe

C = 6
RECIPE = TrainingRecipe(train_steps=60, augment=False, loss="soft-cross-entropy", learning_rate=1e-2, warmup_steps=5)


def images(n: int = 60, seed: int = 0) -> PreprocessedImages:
    """Classes that a linear model tells apart."""
    labels = torch.arange(n) % C
    centres = 2 * torch.randn(C, 1, 4, 4, generator=torch.Generator().manual_seed(99))
    drawn = centres[labels] + torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed))
    return PreprocessedImages(drawn, labels, tuple("abcdef"), Identity())


def benchmark():
    return class_incremental(images(), images(30, seed=1), steps=3)


def buffer(num_classes: int | None = C) -> DistilledBuffer:
    return DistilledBuffer(Random(), images_per_class=4, num_classes=num_classes)


def gdumb(model: nn.Module, policy: DistilledBuffer | ClassBalancedBuffer | None = None, **options) -> GDumb:
    policy = buffer(None) if policy is None else policy
    return GDumb(model=model, storage_policy=policy, **{"recipe": RECIPE, "evaluator": accuracy_evaluator()} | options)


def linear(outputs: int = C) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, outputs))


class Decoding(nn.Module):
    """A classifier with a decoder, whose linear layer comes last; the logits alone are put out."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.classifier, self.decoder = linear(8), nn.Linear(8, C), nn.Linear(8, 64)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.encoder(images))


class Both(Decoding):
    def forward(self, images: torch.Tensor):
        code = self.encoder(images)
        return self.classifier(code), self.decoder(code)


# -- number of classes -----------------------------------------------------------------------------------------------


def test_the_number_of_classes_is_what_the_model_puts_out() -> None:
    strategy = gdumb(Decoding())
    strategy.train(benchmark().train_stream)
    assert strategy.num_classes == C
    assert strategy.storage_policy.synthetic.num_classes == C
    convolutional = nn.Sequential(nn.Conv2d(1, C, 4), nn.Flatten())  # no linear layer at all
    assert model_outputs(convolutional, images().images[:2], torch.zeros(2)) == C


def test_measuring_changes_nothing() -> None:
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(16), nn.Dropout(0.5), nn.Linear(16, C)).train()
    model[1].eval()
    before, generator = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    model_outputs(model, images().images[:2], torch.zeros(2))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), generator)
    assert [part.training for part in model] == [True, False, True, True]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Both, r"Both returns tuple for 1 images; expected \(n, classes\)"),
        (lambda: nn.Conv2d(1, 3, 1), r"Conv2d returns shape \(1, 3, 4, 4\) for 1 images"),
        (lambda: nn.Linear(7, C), r"Linear fails on images of shape \(1, 4, 4\), those of the stream"),
    ],
)
def test_models_that_do_not_tell_are_refused_before_distilling(model, message: str, monkeypatch) -> None:
    monkeypatch.setattr(Random, "distill", lambda *_, **__: pytest.fail("distilled first"))
    with pytest.raises(InputError, match=message):
        gdumb(model()).train(benchmark().train_stream[0])


def test_a_strategy_without_a_model_has_to_be_told() -> None:
    class Strategy:
        model = "resnet"

    with pytest.raises(InputError, match="the number of classes is unknown"):
        buffer(None).post_adapt(Strategy(), benchmark().train_stream[0])


# -- growing heads ---------------------------------------------------------------------------------------------------


def incremental() -> nn.Module:
    model = SimpleMLP(input_size=16, hidden_size=16)
    model.classifier = IncrementalClassifier(16, 1)
    return model


@pytest.mark.parametrize("loss", ["soft-cross-entropy", "mse"])
def test_growing_head_in_gdumb(loss: str) -> None:
    recipe = TrainingRecipe(train_steps=80, augment=False, loss=loss, learning_rate=1e-2, warmup_steps=5)
    strategy = gdumb(incremental(), buffer(), recipe=recipe)
    scenario = benchmark()
    strategy.train(scenario.train_stream)
    assert stream_accuracy(strategy, scenario.test_stream) > 0.7


def test_growing_head_needs_the_number_of_classes_before_anything_else(monkeypatch) -> None:
    monkeypatch.setattr(Random, "distill", lambda *_, **__: pytest.fail("distilled first"))
    with pytest.raises(InputError, match="the head of SimpleMLP grows, so the number of classes cannot be inferred"):
        gdumb(incremental(), buffer(None))
    strategy = Naive(
        model=incremental(), optimizer=torch.optim.SGD(linear().parameters(), lr=0.01), train_mb_size=10,
        plugins=[ReplayPlugin(mem_size=buffer(None).max_size, storage_policy=buffer(None))],
        evaluator=EvaluationPlugin(),
    )  # fmt: skip
    with pytest.raises(InputError, match="the head of SimpleMLP grows, so the number"):
        strategy.train(benchmark().train_stream[0])
    assert gdumb(incremental(), ClassBalancedBuffer(12), num_classes=C).num_classes == C


class HeadPerTask(MultiTaskModule):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.classifier = linear(16), MultiHeadClassifier(16)

    def forward(self, x: torch.Tensor, task_labels: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.body(x).relu(), task_labels)


@pytest.mark.parametrize("model", [HeadPerTask, lambda: MTSimpleMLP(input_size=16, hidden_size=16)])
def test_head_for_each_task_with_class_ids_from_zero(model) -> None:
    train, test = (TensorDataset(data.images, data.labels) for data in (images(), images(60, seed=1)))
    scenario = nc_benchmark(train, test, 3, task_labels=True, class_ids_from_zero_in_each_exp=True, seed=0)
    strategy = gdumb(model(), buffer(2), num_classes=2)
    strategy.train(scenario.train_stream)
    metrics = strategy.eval(scenario.test_stream)
    accuracies = [value for name, value in metrics.items() if name.startswith("Top1_Acc_Stream")]
    assert min(accuracies) > 0.8


# -- fresh weights ---------------------------------------------------------------------------------------------------


def normed() -> nn.Module:
    return nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(16, 8)), nn.ReLU(), nn.Linear(8, C))


@pytest.mark.parametrize("norm", [weight_norm, nn.utils.weight_norm, nn.utils.spectral_norm])
def test_parts_without_reset_are_refused_at_the_start_and_name_the_way_out(norm) -> None:
    """With the older kinds reset_parameters() would set the computed weight, and leave what it is computed from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch calls its older weight norm deprecated
        model = nn.Sequential(nn.Flatten(), norm(nn.Linear(16, C)))
    with pytest.raises(InputError, match=r"has parameters but no reset_parameters.*give GDumb reset="):
        gdumb(model)


def test_reset_by_a_factory() -> None:
    model = normed()
    starts = []
    for seed in (0, 0, 1):
        draw_weights(model, generator_for(seed), reset=normed)
        starts.append(nn.utils.parameters_to_vector(model.parameters()).detach().clone())
    assert torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[0], starts[2])
    strategy = gdumb(model, reset=normed)
    scenario = benchmark()
    strategy.train(scenario.train_stream)
    assert strategy.model is model
    assert stream_accuracy(strategy, scenario.test_stream) > 0.7


def test_attention_is_reset_by_its_own_rule() -> None:
    model = nn.MultiheadAttention(8, 2)
    before = model.in_proj_weight.clone()
    draw_weights(model, generator_for(0))
    assert not torch.equal(model.in_proj_weight, before)


@pytest.mark.parametrize(
    ("reset", "message"),
    [
        (lambda: linear(3), r"reset\(\) returns a model with different parameters"),
        (lambda: "resnet", r"reset\(\) returns a str; expected a new model"),
    ],
)
def test_a_factory_of_something_else_is_refused(reset, message: str) -> None:
    with pytest.raises(InputError, match=message):
        draw_weights(linear(), generator_for(0), reset=reset)


def test_a_model_for_a_factory_is_refused() -> None:
    with pytest.raises(InputError, match="reset is a dict; expected a function that returns a new model"):
        gdumb(linear(), reset={})


def test_a_factory_does_not_go_with_growing_heads() -> None:
    with pytest.raises(InputError, match="reset does not work with a head that grows"):
        gdumb(incremental(), buffer(), reset=incremental)
    model = linear()
    with pytest.raises(InputError, match=r"reset\(\) returns the model itself"):
        draw_weights(model, generator_for(0), reset=lambda: model)


# -- plugins and pickling --------------------------------------------------------------------------------------------


def test_plugins_without_effect_warn_and_those_that_replace_the_data_are_refused() -> None:
    model = linear()
    scheduler = torch.optim.lr_scheduler.StepLR(torch.optim.SGD(model.parameters(), lr=0.1), 1)
    with pytest.warns(UserWarning, match="LRSchedulerPlugin has no effect in GDumb: .* change the recipe"):
        gdumb(model, plugins=[LRSchedulerPlugin(scheduler)])
    for plugin in (ReplayPlugin(), GDumbPlugin()):
        with pytest.raises(InputError, match=f"{type(plugin).__name__} replaces the data that GDumb trains on"):
            gdumb(model, plugins=[plugin])


def test_a_trained_gdumb_is_pickled_and_goes_on() -> None:
    scenario = benchmark()
    strategy = gdumb(linear(), buffer())
    strategy.train(scenario.train_stream[:2])
    again = pickle.loads(pickle.dumps(strategy))
    for one in (strategy, again):
        one.train(scenario.train_stream[2])
    assert all(torch.equal(a, b) for a, b in zip(strategy.model.parameters(), again.model.parameters(), strict=True))
    assert torch.equal(strategy.storage_policy.synthetic.images, again.storage_policy.synthetic.images)
    assert stream_accuracy(again, scenario.test_stream) == stream_accuracy(strategy, scenario.test_stream)


def test_a_strategy_with_our_loss_is_pickled() -> None:
    model = linear()
    strategy = Naive(
        model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.01), criterion=SoftLabelLoss(C),
        train_mb_size=10, evaluator=EvaluationPlugin(),
    )  # fmt: skip
    strategy.train(benchmark().train_stream[0])
    assert pickle.loads(pickle.dumps(strategy))._criterion.num_classes == C

"""GDumb: fresh weights, its training, evaluators and loggers."""

from collections import Counter

import numpy as np
import pytest
import torch
from avalanche.evaluation.metrics import accuracy_metrics, loss_metrics
from avalanche.logging import CSVLogger, InteractiveLogger
from avalanche.training.plugins import EvaluationPlugin, SupervisedPlugin
from avalanche.training.storage_policy import ClassBalancedBuffer
from torch import nn

from continual import DistilledBuffer, GDumb, class_incremental
from continual.gdumb import check_mixing
from continual.weight_reset import draw_weights
from distill import InputError
from distill.networks import build_network
from distill.runtime.seeds import generator_for
from distill.sets.synthetic import initial_labels
from distill.training.evaluation import train_network
from distill.training.recipe import TrainingRecipe
from tiny_streams import C, First, SpyRecipe, images, linear, silent, stream


@pytest.mark.parametrize("scale", [None, 1.0])
def test_gdumb_gives_hard_labels_of_other_policies_initial_soft_labels(scale) -> None:
    spy = SpyRecipe(train_steps=1, augment=False, hard_label_scale=scale)
    targets = []

    class Spy(SupervisedPlugin):
        def before_forward(self, strategy, **kwargs) -> None:
            targets.append(strategy.mb_y)

    policy = ClassBalancedBuffer(12)
    strategy = GDumb(model=linear(), storage_policy=policy, recipe=spy, plugins=[Spy()], evaluator=silent())
    strategy.train(stream(images()), eval_streams=[])
    assert Counter(targets[0].tolist()) == dict.fromkeys(range(C), 2)
    assert torch.equal(spy.labels[0], initial_labels(targets[0], C, scale=scale))


def weights_at_start(seed: int, model: nn.Module) -> list[torch.Tensor]:
    """The weights that each of three experiences starts from."""
    starts = []

    class Spy(SupervisedPlugin):
        def before_training_exp(self, strategy, **kwargs) -> None:
            starts.append(nn.utils.parameters_to_vector(strategy.model.parameters()).detach().clone())

    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    strategy = GDumb(model=model, storage_policy=policy, train_steps=1, seed=seed, plugins=[Spy()], evaluator=silent())
    strategy.train(class_incremental(images(), images(12), steps=3).train_stream)
    return starts


def conv() -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    return build_network("conv", image_shape=(1, 4, 4), num_classes=C, width=2, depth=1, generator=generator)


@pytest.mark.parametrize("model", [linear, conv])
def test_weights_are_fresh_at_every_experience_and_follow_the_seed(model) -> None:
    starts, again, other = weights_at_start(0, model()), weights_at_start(0, model()), weights_at_start(1, model())
    assert all(torch.equal(a, b) for a, b in zip(starts, again, strict=True))
    assert not torch.equal(starts[0], starts[1])
    assert not torch.equal(starts[1], starts[2])
    assert not torch.equal(starts[0], other[0])


def test_fresh_weights_include_running_statistics_and_nested_networks() -> None:
    model = nn.Sequential(conv(), nn.BatchNorm1d(C))
    model[1].running_mean.fill_(7)
    before = model[0].head.weight.clone()
    draw_weights(model, generator_for(0))
    assert not model[1].running_mean.any()
    assert not torch.equal(model[0].head.weight, before)


def test_parameters_that_cannot_be_drawn_are_refused() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))

    with pytest.raises(InputError, match=r"Scale has parameters but no reset_parameters\(\)"):
        draw_weights(nn.Sequential(nn.Linear(2, 2), Scale()), generator_for(0))


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "none", "hard_label_scale": 2.0},
        {"norm": "batch", "average": 0.9, "augmentations": 2, "cutmix": 0.7},
    ],
    ids=str,
)
def test_gdumb_trains_as_train_network_does(options) -> None:
    """The same generator gives the same bits as the evaluation of a synthetic set."""
    recipe = TrainingRecipe(train_steps=5, batch_size=5, width=2, depth=1, **options)
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    strategy = GDumb(model=conv_of(recipe), storage_policy=policy, recipe=recipe, seed=3, evaluator=silent())
    strategy.train(stream(images()))
    assert policy.synthetic is not None
    wanted = train_network(policy.synthetic, recipe=recipe, generator=generator_for(3, 0))
    found = strategy.model.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in wanted.state_dict().items())


def test_average_of_weights_is_what_evaluators_see_after_an_experience() -> None:
    evaluated, last = [], []

    class Spy(SupervisedPlugin):
        def after_training_iteration(self, strategy, **kwargs) -> None:
            last.append(nn.utils.parameters_to_vector(strategy.model.parameters()).detach().clone())

        def before_eval(self, strategy, **kwargs) -> None:
            evaluated.append(nn.utils.parameters_to_vector(strategy.model.parameters()).detach().clone())

    benchmark = class_incremental(images(), images(12), steps=3)
    recipe = TrainingRecipe(train_steps=4, average=0.9, learning_rate=1e-2, warmup_steps=0)
    strategy = GDumb(
        model=linear(), storage_policy=DistilledBuffer(First(), images_per_class=2, num_classes=C), recipe=recipe,
        plugins=[Spy()], evaluator=silent(), eval_every=1,
    )  # fmt: skip
    strategy.train(benchmark.train_stream[0], eval_streams=[benchmark.test_stream])
    average = torch.zeros_like(last[0])
    for t, weights in enumerate(last, 1):
        average.lerp_(weights, 1 - (t - 1) / (t + 8))
    torch.testing.assert_close(evaluated[-1], average)
    assert not torch.equal(evaluated[-1], last[-1])
    strategy.train(benchmark.train_stream[1], eval_streams=[])  # and begins anew
    average = torch.zeros_like(last[0])
    for t, weights in enumerate(last[4:], 1):
        average.lerp_(weights, 1 - (t - 1) / (t + 8))
    torch.testing.assert_close(nn.utils.parameters_to_vector(strategy.model.parameters()).detach(), average)


def conv_of(recipe: TrainingRecipe) -> nn.Module:
    return recipe.build(image_shape=(1, 4, 4), num_classes=C, generator=torch.Generator().manual_seed(9))


def test_nothing_touches_the_global_generators() -> None:
    model = linear()
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    benchmark = class_incremental(images(), images(12), steps=3)
    policy = DistilledBuffer(First(), images_per_class=2, num_classes=C)
    strategy = GDumb(model=model, storage_policy=policy, train_steps=2, evaluator=silent())
    for experience in benchmark.train_stream:
        strategy.train(experience)
        strategy.eval(benchmark.test_stream)
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == numpy_before


def test_networks_share_one_buffer_that_is_distilled_once() -> None:
    distiller = First()
    policy = DistilledBuffer(distiller, images_per_class=2, num_classes=C)
    benchmark = class_incremental(images(), images(12), steps=3)
    strategies = [
        GDumb(model=linear(), storage_policy=policy, train_steps=2, seed=seed, evaluator=silent()) for seed in range(2)
    ]
    for experience in benchmark.train_stream:
        for strategy in strategies:
            strategy.train(experience)
    assert len(distiller.shown) == 3
    assert not torch.equal(strategies[0].model[1].weight, strategies[1].model[1].weight)


def test_evaluator_loggers_and_schedule_work(tmp_path, capsys) -> None:
    benchmark = class_incremental(images(), images(12), steps=3)
    csv = CSVLogger(log_folder=str(tmp_path))
    evaluator = EvaluationPlugin(
        accuracy_metrics(minibatch=True, epoch=True, experience=True, stream=True),
        loss_metrics(minibatch=True, epoch=True, experience=True, stream=True),
        loggers=[InteractiveLogger(), csv],
    )
    strategy = GDumb(
        model=linear(),
        storage_policy=DistilledBuffer(First(), images_per_class=2),
        recipe=TrainingRecipe(batch_size=3, warmup_steps=1),
        train_steps=4,
        evaluator=evaluator,
        eval_every=2,
        peval_mode="iteration",
        progress=True,
    )
    for experience in benchmark.train_stream:
        strategy.train(experience, eval_streams=[benchmark.test_stream])
    results = strategy.eval(benchmark.test_stream)
    csv.close()
    assert 0 <= results["Top1_Acc_Stream/eval_phase/test_stream/Task000"] <= 1
    assert "Top1_Acc_Exp/eval_phase/test_stream/Task000/Exp002" in results
    assert strategy.clock.train_iterations == 12
    assert strategy.optimizer.param_groups[0]["lr"] == pytest.approx(3e-6)  # the schedule has reached its end
    assert "Top1_Acc_Stream" in capsys.readouterr().out
    assert len((tmp_path / "training_results.csv").read_text().splitlines()) > 3
    assert len((tmp_path / "eval_results.csv").read_text().splitlines()) > 3


def test_train_steps_overrides_the_recipe() -> None:
    policy = DistilledBuffer(First(), images_per_class=2)
    recipe = TrainingRecipe(train_steps=5, steps_per_image=0.5)
    strategy = GDumb(model=linear(), storage_policy=policy, recipe=recipe, train_steps=3, evaluator=silent())
    strategy.train(stream(images()))
    assert strategy.clock.train_iterations == 3 + 6


def test_gdumb_errors_say_how_to_fix_it() -> None:
    with pytest.raises(InputError, match="storage_policy is a First; expected an ExemplarsBuffer"):
        GDumb(model=linear(), storage_policy=First())
    with pytest.raises(InputError, match=r"Flatten has no parameters to train"):
        GDumb(model=nn.Flatten(), storage_policy=ClassBalancedBuffer(6))
    with pytest.raises(InputError, match=r"model is a str; expected a torch module"):
        GDumb(model="resnet", storage_policy=ClassBalancedBuffer(6))
    with pytest.raises(InputError, match=r"evaluator is 'loud'; expected an EvaluationPlugin, such as accuracy_eval"):
        GDumb(model=linear(), storage_policy=ClassBalancedBuffer(6), evaluator="loud")
    with pytest.raises(InputError, match=r"a plugin is 5, which has no before_... or after_... method"):
        GDumb(model=linear(), storage_policy=ClassBalancedBuffer(6), plugins=[5])
    strategy = GDumb(model=linear(), storage_policy=ClassBalancedBuffer(0), train_steps=1, evaluator=silent())
    with pytest.raises(InputError, match="ClassBalancedBuffer is empty after experience 0"):
        strategy.train(stream(images()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gdumb_on_a_gpu_draws_the_weights_of_the_cpu() -> None:
    starts = [weights_on(device) for device in ("cpu", "cuda")]
    assert torch.equal(*starts)


def weights_on(device: str) -> torch.Tensor:
    model = linear().to(device)
    draw_weights(model, generator_for(0))
    return nn.utils.parameters_to_vector(model.parameters()).detach().cpu()


@pytest.mark.parametrize(
    ("shape", "tasks", "options", "said"),
    [
        ((4, 1, 8, 8), [0, 0, 1, 1], {"cutmix": 0.5}, "cutmix is 0.5, but the buffer has images of several tasks"),
        ((4, 7), [0] * 4, {"cutmix": 0.5}, r"cutmix is 0.5, but the items of the buffer have shape \(7,\)"),
    ],
    ids=["tasks", "vectors"],
)
def test_what_a_recipe_cannot_mix_is_refused(shape, tasks, options, said) -> None:
    with pytest.raises(InputError, match=said):
        check_mixing(TrainingRecipe(**options), [torch.zeros(shape), torch.tensor(tasks)])
    check_mixing(TrainingRecipe(cutmix=0.5), [torch.zeros(4, 1, 8, 8), torch.zeros(4)])
    check_mixing(TrainingRecipe(), [torch.zeros(4, 1, 8, 8), torch.arange(4)])

"""Moving averages, and what every distiller that learns images step by step must do with an `average`."""

import math

import pytest
import torch

from distill import EncodedSet, InputError, PreprocessedImages, SyntheticSet
from distill.distillers.run import Run
from distill.distillers.stepwise import StepwiseDistiller
from distill.preprocess import default_preprocessing
from distill.training.average import MovingAverage
from distillers import DISTILLERS
from killed import killed_before_step


@pytest.fixture(params=[one for one in DISTILLERS if isinstance(one, StepwiseDistiller)], ids=lambda one: one.method)
def distiller(request) -> StepwiseDistiller:
    return request.param


@pytest.fixture
def data(make_images) -> PreprocessedImages:
    images = make_images()
    return default_preprocessing(images).apply(images)


def assert_same_set(one: SyntheticSet, other: SyntheticSet) -> None:
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)


def averaged(values: list[torch.Tensor], decay: float) -> torch.Tensor:
    """The average of values one after the other, as its definition says."""
    average = torch.zeros_like(values[0])
    for t, value in enumerate(values, 1):
        share = min(decay, (t - 1) / (t + 8))
        average = share * average + (1 - share) * value
    return average


# -- the average itself --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_average_is_that_of_its_definition(decay):
    values = list(torch.randn(30, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))
    tensor = torch.full((4,), 1e6, dtype=torch.float64)  # where it starts does not count
    average = MovingAverage([tensor], decay=decay)
    for value in values:
        tensor.copy_(value)
        average.update()
    torch.testing.assert_close(average.values[0], averaged(values, decay))
    assert torch.equal(tensor, values[-1])
    average.replace_tensors()
    assert torch.equal(tensor, average.values[0])


def test_average_that_warms_up_weighs_updates_by_the_eighth_power_of_their_number():
    # Rising powers t (t + 1) ... (t + 7), the weights of polynomial-decay averaging (Shamir & Zhang 2013).
    tensor = torch.zeros(40, dtype=torch.float64)
    average = MovingAverage([tensor], decay=0.999)
    for t in range(40):
        tensor.copy_(torch.eye(40, dtype=torch.float64)[t])
        average.update()
    powers = torch.tensor([math.prod(range(t, t + 8)) for t in range(1, 41)], dtype=torch.float64)
    torch.testing.assert_close(average.values[0], powers / powers.sum())


def test_average_of_long_runs_is_the_ordinary_exponential_one():
    tensor = torch.zeros(1, dtype=torch.float64)
    average = MovingAverage([tensor], decay=0.9)
    for _ in range(82):  # from here on the decay is in force
        average.update()
    for _ in range(10):
        tensor.fill_(1)
        average.update()
    assert average.values[0].item() == pytest.approx(1 - 0.9**10)


def test_whole_numbers_are_copied():
    count = torch.tensor(3)
    average = MovingAverage([count], decay=0.9)
    count.fill_(7)
    average.update()
    count.fill_(8)
    average.update()
    assert average.values[0].item() == 8


# -- the contract --------------------------------------------------------------------------------------------------


def test_set_is_the_average_of_those_after_each_step(distiller, data):
    decay = 0.15  # in force from the third step on
    updates = distiller.updates(2)
    shown: list[SyntheticSet] = []
    distiller.with_options(history_points=updates + 1, average=0.0).distill(
        data, images_per_class=2, on_record=lambda _, synthetic: shown.append(synthetic)
    )
    assert len(shown) == updates + 1
    synthetic = distiller.with_options(average=decay).distill(data, images_per_class=2)
    for name in ("images", "labels"):
        wanted = averaged([getattr(one, name).double() for one in shown[1:]], decay)
        torch.testing.assert_close(getattr(synthetic, name).double(), wanted, rtol=1e-5, atol=1e-6)
    assert not torch.equal(synthetic.images, shown[-1].images)


def test_average_changes_nothing_that_is_learned(data):
    ends = []
    for one in (DISTILLERS[0], DISTILLERS[0].with_options(average=0.99)):
        state = one.start(data, Run(images_per_class=2))
        for _ in range(3):
            one.step(state, data)
        ends.append((state.images.detach(), state.labels.detach()))
    assert all(torch.equal(plain, averaging) for plain, averaging in zip(*ends, strict=True))


def test_decay_of_next_to_nothing_is_no_average(data):
    sets = [DISTILLERS[0].with_options(average=decay).distill(data, images_per_class=2) for decay in (0.0, 1e-30)]
    assert_same_set(*sets)


def test_without_steps_the_average_is_the_start(data):
    frepo = DISTILLERS[0].with_options(steps=0)
    sets = [frepo.with_options(average=decay).distill(data, images_per_class=2) for decay in (0.0, 0.99)]
    assert_same_set(*sets)


def test_killed_distillation_ends_in_the_same_average(distiller, data, tmp_path, monkeypatch):
    distiller = distiller.with_options(average=0.99)
    seed = {"seed": 5} if distiller.is_private else {}  # where the noise of a private method comes from
    undisturbed = distiller.distill(data, images_per_class=2, **seed)
    killed_before_step(2, monkeypatch, distiller, data, store=tmp_path, **seed)
    resumed = distiller.distill(data, images_per_class=2, store=tmp_path, **seed)
    assert_same_set(resumed, undisturbed)
    assert resumed.made_by == undisturbed.made_by
    assert_same_set(distiller.distill(data, images_per_class=2, store=tmp_path, **seed), undisturbed)  # found whole


@pytest.mark.parametrize("method", ["frepo", "kip"])
def test_accuracy_that_is_recorded_is_that_of_the_average(data, method):
    distiller = next(one for one in DISTILLERS if one.method == method).with_options(average=0.9)
    state = distiller.start(data, Run(images_per_class=2, held_out=data))
    for _ in range(2):
        distiller.step(state, data)
    assert state.average is not None
    of_average = distiller.recorder(state).krr_accuracy(data)
    for value in state.average.values:
        value.neg_()  # every answer turns into its opposite
    state.average.values[0].neg_()
    assert distiller.recorder(state).krr_accuracy(data) < of_average


def test_average_is_recorded_as_it_comes_back_of_the_codec(distiller, data):
    distiller = distiller.with_options(codec="webp:50", codec_share=1, average=0.99)
    state = distiller.start(data, Run(images_per_class=2))
    for _ in range(2):
        distiller.step(state, data)
    decoded = EncodedSet.encode(distiller.so_far(state, data), codec="webp:50").decode()
    assert torch.equal(state.result_seen()[0], decoded.images)
    assert not torch.equal(state.result_seen()[0], state.result()[0])


@pytest.mark.parametrize("decay", [-0.1, 1.0, float("nan")])
def test_decay_out_of_range_is_refused(distiller, decay):
    with pytest.raises(InputError, match=f"^average is {decay}; expected 0 or more, and less than 1$"):
        distiller.with_options(average=decay)

"""MTT: its experts and steps against a plain reading of the paper; experts are trained once; stopped and resumed."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call

from distill import MTT, InputError, PreprocessedImages, Store, SyntheticSet
from distill.distillers.experts import batches
from distill.distillers.mtt import trajectory_distance
from distill.distillers.run import Run
from distill.preprocess import default_preprocessing
from distill.runtime.seeds import Purpose, generator_for
from killed import killed_before_step

TINY = MTT(
    steps=5, learning_rate=20.0, student_steps=3, student_batch_size=4, student_learning_rate=0.05,
    rate_learning_rate=1e-3, experts=2, latest_start=2, matched_epochs=2, expert_batch_size=8, epoch_updates=2,
    expert_learning_rate=0.1, width=4, depth=2, history_points=3,
)  # fmt: skip


@pytest.fixture
def data(make_images) -> PreprocessedImages:
    images = make_images()
    return default_preprocessing(images).apply(images)


def made(distiller: MTT, data, **arguments) -> SyntheticSet:
    return distiller.distill(data, **{"images_per_class": 2, **arguments})


@pytest.fixture
def trained(monkeypatch) -> list[int]:
    """The experts that are trained, by number."""
    found: list[int] = []
    train = MTT.trained_expert

    def counted(self, data, run, index):
        found.append(index)
        return train(self, data, run, index)

    monkeypatch.setattr(MTT, "trained_expert", counted)
    return found


# -- the method once more, plainly -------------------------------------------------------------------------------------


def test_experts_are_sgd_on_all_images_in_epochs_that_see_each_once(data):
    distiller = TINY.with_options(augment=False, epoch_updates=None, dtype="float64")
    run = Run()
    ready = distiller.prepare(data, run)
    found = distiller.trained_expert(ready, run, 1)
    generator = generator_for(0, Purpose.EXPERTS, 1)
    network = distiller.build(data.image_shape, 3, generator)
    parameters = dict(network.named_parameters())
    for epoch in range(4):
        for name, value in parameters.items():
            torch.testing.assert_close(found[name][epoch], value.detach())
        if epoch == 3:
            break
        order = torch.randperm(36, generator=generator)
        for chosen in order.split(8):
            loss = F.cross_entropy(network(ready.images[chosen]), ready.labels[chosen])
            gradients = torch.autograd.grad(loss, list(parameters.values()))
            with torch.no_grad():
                for value, gradient in zip(parameters.values(), gradients, strict=True):
                    value -= 0.1 * gradient
    assert {len(values) for values in found.values()} == {4}  # at the start and after 2 - 1 + 2 epochs


def plain_loss(distiller: MTT, state, images: Tensor, rate: Tensor, generator: torch.Generator) -> Tensor:
    """The paper's Eq. 2 after N steps, drawn as the distiller draws."""
    expert = int(torch.randint(2, (1,), generator=generator))
    epoch = int(torch.randint(2, (1,), generator=generator))
    kept = state.experts.trajectory(expert)
    first = {name: values[epoch] for name, values in kept.items()}
    target = {name: values[epoch + 2] for name, values in kept.items()}
    student = {name: value.clone().requires_grad_(True) for name, value in first.items()}
    order: list[Tensor] = []
    for _ in range(3):
        order = order or list(torch.randperm(6, generator=generator).split(4))
        chosen = order.pop(0)
        loss = F.cross_entropy(functional_call(state.network, student, (images[chosen],)), state.class_ids[chosen])
        gradients = torch.autograd.grad(loss, list(student.values()), create_graph=True)
        student = {name: student[name] - rate * g for name, g in zip(student, gradients, strict=True)}
    flat = [torch.cat([value.flatten() for value in one.values()]) for one in (student, target, first)]
    return (flat[0] - flat[1]).pow(2).sum() / (flat[2] - flat[1]).pow(2).sum()


def test_steps_are_sgd_on_images_and_learning_rate_along_the_gradient_of_the_paper(data):
    distiller = TINY.with_options(augment=False, dtype="float64")
    run = Run(images_per_class=2)
    ready = distiller.prepare(data, run)
    state = distiller.start(ready, run)
    images, rate = state.images.detach().clone(), torch.tensor(0.05, dtype=torch.float64)
    generator, velocity = run.generator(Purpose.NETWORKS), (torch.zeros_like(images), torch.zeros_like(rate))
    for _ in range(3):
        distiller.step(state, ready)
        leaves = images.clone().requires_grad_(True), rate.clone().requires_grad_(True)
        gradients = torch.autograd.grad(plain_loss(distiller, state, *leaves, generator), leaves)
        velocity = tuple(g + 0.5 * v for g, v in zip(gradients, velocity, strict=True))
        images, rate = images - 20.0 * velocity[0], rate - 1e-3 * velocity[1]
    torch.testing.assert_close(state.images.detach(), images, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(state.student_rate.detach(), rate, rtol=1e-8, atol=1e-10)
    assert float(rate) != 0.05


def test_the_gradient_is_the_finite_difference_of_the_loss(data):
    distiller = TINY.with_options(dtype="float64", student_batch_size=None)
    run = Run(images_per_class=2)
    ready = distiller.prepare(data, run)
    state = distiller.start(ready, run)

    def loss() -> Tensor:
        state.generator = run.generator(Purpose.NETWORKS)
        first, target = (state.experts.parameters(0, epoch, state.network) for epoch in (0, 2))
        return trajectory_distance(distiller.student(state, first), target, first)

    to_images, to_rate = torch.autograd.grad(loss(), [state.images, state.student_rate])
    direction = torch.randn(state.images.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for leaf, along, wanted in (
        (state.images, direction, float((to_images * direction).sum())),
        (state.student_rate, torch.ones((), dtype=torch.float64), float(to_rate)),
    ):
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                leaf.add_(sign * 1e-8 * along)  # a larger step would cross kinks of a ReLU, where the loss jumps
            values.append(float(loss().detach()))
            with torch.no_grad():
                leaf.sub_(sign * 1e-8 * along)
        assert (values[0] - values[1]) / 2e-8 == pytest.approx(wanted, rel=1e-4)


def test_the_distance_is_0_at_the_expert_1_where_the_student_stays_and_0_for_an_expert_that_stays():
    first, target = {"w": torch.zeros(2), "b": torch.zeros(1)}, {"w": torch.ones(2), "b": torch.ones(1)}
    assert trajectory_distance(target, target, first).item() == 0
    assert trajectory_distance(first, target, first).item() == 1
    assert trajectory_distance(first, first, first).item() == 0


def test_batches_take_each_position_once_before_any_comes_again():
    drawn = batches(7, 3, torch.Generator().manual_seed(0))
    for _ in range(2):
        assert sorted(torch.cat([next(drawn) for _ in range(3)]).tolist()) == list(range(7))


@pytest.mark.slow
def test_the_loss_falls(data):
    distiller = TINY.with_options(
        steps=60, augment=False, learning_rate=5.0, history_points=4, init="noise", student_batch_size=None
    )
    history = made(distiller, data).made_by["history"]
    assert history[-1]["loss"] < 0.9 * history[1]["loss"]


# -- experts are trained once ------------------------------------------------------------------------------------------


def test_a_store_trains_experts_once_for_all_seeds_sizes_and_steps(data, tmp_path, trained):
    store = Store(tmp_path / "own", shared=Store(tmp_path / "shared"))
    one = made(TINY, data, store=store)
    assert trained == [0, 1]
    made(TINY, data, store=store.within("other"), seed=1, images_per_class=1)
    made(TINY.with_options(student_steps=1, steps=2), data, store=store.within("third"))
    assert trained == [0, 1]
    assert len(list((tmp_path / "shared").iterdir())) == 2
    alone = made(TINY, data)
    assert trained == [0, 1, 0, 1]
    assert torch.equal(one.images, alone.images)


def test_more_experts_are_trained_beside_those_there_are(data, tmp_path, trained):
    store = Store(tmp_path / "own", shared=Store(tmp_path / "shared"))
    made(TINY, data, store=store.within("two"))
    made(TINY.with_options(experts=3), data, store=store.within("three"))
    assert trained == [0, 1, 2]


@pytest.mark.parametrize(
    "change",
    [{"expert_seed": 1}, {"expert_learning_rate": 0.2}, {"expert_batch_size": 9}, {"epoch_updates": 3},
     {"latest_start": 3}, {"augment": False}, {"width": 5}],
    ids=str,
)  # fmt: skip
def test_other_options_have_other_experts(data, tmp_path, trained, change):
    shared = Store(tmp_path / "shared")
    for name, distiller in (("one", TINY), ("other", TINY.with_options(**change))):
        made(distiller, data, store=Store(tmp_path / name, shared=shared))
    assert trained == [0, 1, 0, 1]


def test_a_store_holds_few_experts_in_memory_and_gives_the_same_set(data, tmp_path, monkeypatch, trained):
    whole = made(TINY, data)
    monkeypatch.setattr("distill.distillers.experts.HELD", 0)
    run = Run(images_per_class=2, store=Store(tmp_path))
    state = TINY.start(TINY.prepare(data, run), run)
    held = [len(state.experts._held) for index in (0, 1, 0) if state.experts.trajectory(index)]
    assert held == [1, 1, 1]
    assert torch.equal(made(TINY, data, store=tmp_path).images, whole.images)


def test_train_networks_leaves_the_experts_in_the_store(data, tmp_path, trained):
    run = Run(store=Store(tmp_path))
    TINY.train_networks(TINY.prepare(data, run), run)
    assert trained == [0, 1]
    TINY.start(TINY.prepare(data, run), run)
    assert trained == [0, 1]


def test_seeds_share_experts_and_not_what_they_draw(data):
    one, other = (TINY.start(TINY.prepare(data, run), run) for run in (Run(seed=0), Run(seed=1)))
    for name, values in one.experts.trajectory(0).items():
        assert torch.equal(values, other.experts.trajectory(0)[name])
    assert not torch.equal(one.images, other.images)


# -- options, checkpoints, degenerate cases ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [{"student_steps": 2}, {"student_batch_size": None}, {"student_learning_rate": 0.1}, {"rate_learning_rate": 0.01},
     {"matched_epochs": 1}, {"latest_start": 1}, {"experts": 1}, {"momentum": 0.0}, {"augment": False},
     {"norm": "none"}],
    ids=str,
)  # fmt: skip
def test_option_has_an_effect(data, change):
    assert not torch.equal(made(TINY, data).images, made(TINY.with_options(**change), data).images)


def test_the_set_says_which_learning_rate_was_learned_with_it(data):
    rate = made(TINY, data).made_by["student_learning_rate"]
    assert rate != 0.05
    assert rate == pytest.approx(0.05, abs=0.04)
    fixed = made(TINY.with_options(rate_learning_rate=0.0), data)
    assert fixed.made_by["student_learning_rate"] == pytest.approx(0.05)


@pytest.mark.parametrize("k", [1, 3])
def test_killed_distillation_ends_in_the_same_bits(data, tmp_path, monkeypatch, trained, k):
    killed_before_step(k, monkeypatch, TINY, data, store=tmp_path)
    resumed = made(TINY, data, store=tmp_path)
    assert trained == [0, 1]
    whole = made(TINY, data)
    assert torch.equal(resumed.images, whole.images)
    assert resumed.made_by == whole.made_by


@pytest.mark.parametrize("counts", [(5,), (1,), (1, 9, 0, 2)], ids=str)
def test_few_classes_and_few_images(make_images, counts):
    synthetic = TINY.distill(make_images(counts), images_per_class=1)
    assert synthetic.class_ids.tolist() == [c for c, count in enumerate(counts) if count]


def test_with_updates_changes_the_steps_alone():
    assert TINY.with_updates(7, 10) == TINY.with_options(steps=7)


def test_experts_that_diverge_name_their_learning_rate(data):
    with pytest.raises(InputError, match=r"experts of mtt diverged \(NaN\); lower expert_learning_rate"):
        made(TINY.with_options(expert_learning_rate=1e30), data)


def test_images_that_diverge_name_the_learning_rates(data):
    with pytest.raises(InputError, match=r"diverged \(NaN\) .* lower learning_rate .* or student_learning_rate"):
        made(TINY.with_options(learning_rate=1e38), data)


@pytest.mark.parametrize(
    "name",
    ["student_steps", "student_batch_size", "student_learning_rate", "matched_epochs", "latest_start", "experts",
     "expert_learning_rate", "expert_batch_size", "epoch_updates"],
)  # fmt: skip
def test_what_must_be_positive_is_refused(name):
    with pytest.raises(InputError, match=f"^{name} is 0; expected more than 0$"):
        MTT(**{name: 0})


@pytest.mark.parametrize("name", ["steps", "rate_learning_rate", "expert_seed"])
def test_what_must_not_be_negative_is_refused(name):
    with pytest.raises(InputError, match=f"^{name} is -1; expected 0 or more$"):
        MTT(**{name: -1})

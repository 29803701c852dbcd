"""FRePo's own promises: its options, where it starts, what it records, and that a stopped distillation goes on."""

import math
import warnings

import numpy as np
import pytest
import torch

from distill import Distiller, FRePo, InputError, PreprocessedImages, Random, Standardize, SyntheticSet
from distill.distillers.frepo import label_margin
from distill.distillers.initialize import START_HERDING
from distill.distillers.model_pool import ModelPool, updates_due
from distill.distillers.run import Run
from distill.preprocess import default_preprocessing
from distill.sets.synthetic import initial_labels
from distill.store import Store
from killed import killed_before_step

# Each part of the state that a checkpoint keeps takes part: models renewed, batches and pool batches drawn, BatchNorm.
TINY = FRePo(
    steps=8, batch_size=20, pool_size=2, max_updates=2, pool_batch_size=4, width=4, depth=2,
    learning_rate=1e-2, history_points=3,
)

CHECKPOINT = "checkpoint-frepo-2-seed-0.safetensors"


def made(distiller: Distiller, data, **arguments) -> SyntheticSet:
    """A set of two images per class, unless `arguments` say otherwise."""
    return distiller.distill(data, **{"images_per_class": 2, **arguments})


@pytest.fixture
def data(make_images) -> PreprocessedImages:
    images = make_images()
    return default_preprocessing(images).apply(images)


@pytest.fixture
def held_out(make_images, data) -> PreprocessedImages:
    return data.preprocessing.apply(make_images((9, 9, 9), seed=7))


def assert_same_set(one: SyntheticSet, other: SyntheticSet) -> None:
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
    assert torch.equal(one.class_ids, other.class_ids)
    assert one.made_by == other.made_by


# -- options -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "v3"}, "version is 'v3'; expected one of v1, v2"),
        ({"meta_gradient": "ntk"}, "meta_gradient is 'ntk'; expected one of krr, tbptt, implicit"),
        ({"label_scale": 0.0}, "label_scale is 0.0; expected more than 0"),
        ({"init": "zero"}, r"init is 'zero'; expected one of real, herded, noise, real\+noise"),
        ({"dtype": "float16"}, "dtype is 'float16'; expected one of float32, float64"),
        ({"batch_size": 0}, "batch_size is 0; expected more than 0"),
        ({"pool_size": 0}, "pool_size is 0; expected more than 0"),
        ({"pool_batch_size": -1}, "pool_batch_size is -1; expected more than 0"),
        ({"width": 0}, "width is 0; expected more than 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected more than 0"),
        ({"pool_learning_rate": -1e-3}, "pool_learning_rate is -0.001; expected more than 0"),
        ({"steps": -1}, "steps is -1; expected 0 or more"),
        ({"max_updates": -1}, "max_updates is -1; expected 0 or more"),
        ({"max_updates": 0, "pool_updates": 2.0}, "pool_updates is 2, but max_updates is 0, so .*"),
        ({"regularization": -1e-6}, "regularization is -1e-06; expected more than 0"),
        ({"mean_matching": -0.1}, "mean_matching is -0.1; expected 0 or more"),
        ({"mean_matching": 0.3, "meta_gradient": "tbptt"}, "mean_matching is 0.3, but meta_gradient 'tbptt' sees.*"),
        ({"noise_std": -1.0}, "noise_std is -1.0; expected 0 or more"),
        ({"history_points": -1}, "history_points is -1; expected 0 or more"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_option_that_makes_no_sense_is_refused_with_what_was_given_and_wanted(options, message):
    with pytest.raises(InputError, match=f"^{message}$"):
        FRePo(**options)
    with pytest.raises(InputError, match=f"^{message}$"):
        TINY.with_options(**options)


@pytest.mark.parametrize("name", ["learning_rate", "pool_learning_rate", "regularization", "noise_std"])
def test_nan_is_refused_as_an_option(name):
    with pytest.raises(InputError, match=name):
        FRePo(**{name: float("nan")})


def test_unknown_network_is_refused_by_name(data):
    with pytest.raises(InputError, match="unknown network 'resnet'; known: conv"):
        made(TINY.with_options(network="resnet"), data)


def test_unknown_norm_is_refused_by_name(data):
    with pytest.raises(InputError, match="unknown norm 'weight'; known: none, batch"):
        made(TINY.with_options(norm="weight"), data)


def test_depth_that_pools_images_away_is_refused(data):
    with pytest.raises(InputError, match="images of 8x8 cannot be pooled 4 times"):
        made(TINY.with_options(depth=4), data)


def test_mirror_is_refused_for_one_channel(data):
    with pytest.raises(InputError, match="mirror=True needs RGB images, but these have one channel"):
        made(TINY.with_options(mirror=True), data)


def test_mirror_takes_part_in_the_gradient_of_rgb_images(make_images):
    images = make_images(channels=3)
    plain, mirrored = (made(TINY.with_options(mirror=mirror), images) for mirror in (False, True))
    assert plain.images.shape == mirrored.images.shape == (6, 3, 8, 8)
    assert not torch.equal(plain.images, mirrored.images)


def test_models_redrawn_at_once_need_no_training(data, monkeypatch):
    distiller = TINY.with_options(max_updates=0, pool_batch_size=1000)  # no batch of the pool is drawn
    untrained = made(distiller, data)
    train, steps = ModelPool.train, []

    def train_always(pool, model, images, labels, *, updates=1):
        pool.max_updates = 1
        train(pool, model, images, labels, updates=updates)
        pool.max_updates = 0
        steps.append(updates)

    monkeypatch.setattr(ModelPool, "train", train_always)
    assert torch.equal(made(distiller, data).images, untrained.images)
    assert sum(steps) == TINY.steps


@pytest.mark.parametrize(
    "change",
    [{"version": "v1"}, {"dtype": "float64"}, {"max_updates": 0}, {"pool_batch_size": 1000},
     {"regularization": 1e-2}, {"norm": "instance"}, {"network": "conv-after"}, {"batch_size": 5},
     {"meta_gradient": "tbptt"}, {"label_scale": 0.3}, {"outer_loss": "softmax"}, {"pool_updates": 2.0},
     {"average": 0.9}, {"augment": True}, {"init": "herded"},
     {"mean_matching": 0.3}],
    ids=lambda change: next(iter(change)),
)
def test_option_has_an_effect(data, change):
    assert not torch.equal(made(TINY, data).images, made(TINY.with_options(**change), data).images)


def test_figures_of_a_seed_stay_as_they_are(data, held_out):
    """What options made before there were others that change them: in float64, so that machines agree."""
    synthetic = made(TINY.with_options(dtype="float64"), data, held_out=held_out)
    assert [entry.get("loss") for entry in synthetic.made_by["history"]] == [
        None, pytest.approx(-0.04512384194349971, rel=1e-6), pytest.approx(-0.04365495337679765, rel=1e-6)
    ]  # fmt: skip
    assert synthetic.images.double().sum().item() == pytest.approx(1.0851509545464069, rel=1e-5)
    assert synthetic.labels.double().abs().sum().item() == pytest.approx(13.91949212551117, rel=1e-6)


# -- the pool's schedule -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.3, 1.0, 1.5, 2.0, 16.0])
def test_updates_are_made_as_soon_as_they_are_due(rate):
    due = [updates_due(rate, step) for step in range(60)]
    assert all(sum(due[: k + 1]) == math.floor(rate * (k + 1)) for k in range(60))
    assert max(due) - min(due) <= 1


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize(("rate", "ages"), [(1.0, [1, 2, 3, 4]), (0.5, [0, 1, 1, 2]), (2.5, [2, 5, 7, 10])])
def test_sampled_model_is_trained_as_often_as_its_option_says(data, version, rate, ages):
    frepo = TINY.with_options(pool_updates=rate, pool_size=1, max_updates=100, version=version)
    state = frepo.start(data, Run(images_per_class=2))
    found = []
    for _ in range(4):
        frepo.step(state, data)
        found.append(state.pool.models[0].age)
    assert found == ages


def test_two_updates_are_one_and_another_one(data):
    states = []
    for rate in (1.0, 2.0):
        frepo = TINY.with_options(pool_updates=rate, pool_size=1, max_updates=100, pool_batch_size=1000)
        state = frepo.start(data, Run(images_per_class=2))
        frepo.step(state, data)
        states.append(state)
    one, two = states
    one.pool.models[0].train_step(one.images.detach(), one.labels.detach())
    assert all(torch.equal(one.pool.tensors()[name], tensor) for name, tensor in two.pool.tensors().items())


def test_model_that_is_trained_too_far_is_drawn_anew(data):
    frepo = TINY.with_options(pool_updates=5.0, pool_size=1, max_updates=7)
    state = frepo.start(data, Run(images_per_class=2))
    frepo.step(state, data)
    assert state.pool.models[0].age == 5
    frepo.step(state, data)
    assert state.pool.models[0].age == 0


# -- where it starts -----------------------------------------------------------------------------------------------


def test_without_steps_it_is_random_choice_of_the_same_seed(data):
    for seed in (0, 1):
        distilled = made(TINY.with_options(steps=0), data, seed=seed)
        chosen = made(Random(), data, seed=seed)
        assert torch.equal(distilled.images, chosen.images)
        assert torch.equal(distilled.labels, chosen.labels)
        assert distilled.made_by["started_from"] == chosen.made_by["started_from"]


def test_steps_move_images_and_labels(data):
    start, end = made(TINY.with_options(steps=0), data), made(TINY, data)
    assert not torch.isclose(start.images, end.images).any(dim=(1, 2, 3)).all()
    assert not torch.equal(start.labels, end.labels)
    assert end.made_by["started_from"] == start.made_by["started_from"]


def test_noise_starts_from_no_image(data):
    start = TINY.with_options(steps=0, init="noise", noise_std=0.5).distill(data, images_per_class=12)
    assert start.made_by["started_from"] == []
    assert start.images.std().item() == pytest.approx(0.5, rel=0.1)
    assert start.images.mean().item() == pytest.approx(0, abs=0.05)
    assert torch.equal(start.labels, initial_labels(start.class_ids, 3))


def test_real_and_noise_is_the_sum_of_both(data):
    both, noise = (
        made(TINY.with_options(steps=0, init=init, noise_std=0.5), data) for init in ("real+noise", "noise")
    )
    real = data.images[both.made_by["started_from"]]
    assert torch.allclose(both.images, real + noise.images, atol=1e-6)


def test_labels_that_are_not_learned_stay_exactly_where_they_start(data):
    synthetic = made(TINY.with_options(learn_labels=False), data)
    assert torch.equal(synthetic.labels, initial_labels(synthetic.class_ids, 3))
    assert not torch.equal(synthetic.images, made(TINY.with_options(steps=0), data).images)


def test_herded_start_is_what_herding_chooses_by_an_untrained_network(data, tmp_path):
    assert START_HERDING.steps == 0
    chosen = made(START_HERDING, data, seed=3)
    start = made(TINY.with_options(steps=0, init="herded"), data, seed=3, store=Store(tmp_path))
    assert torch.equal(start.images, chosen.images)
    assert start.made_by["started_from"] == chosen.made_by["started_from"]
    assert not torch.equal(start.images, made(TINY.with_options(steps=0), data, seed=3).images)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-frepo-2-seed-3.safetensors"}  # no network


def test_augmentation_takes_part_in_the_gradient_and_is_drawn_from_the_seed(data):
    plain, augmented, again = (made(TINY.with_options(augment=augment), data) for augment in (False, True, True))
    assert not torch.equal(plain.images, augmented.images)
    assert torch.equal(augmented.images, again.images)
    assert torch.isfinite(augmented.images).all()


@pytest.mark.parametrize("init", ["real", "herded", "noise", "real+noise"])
def test_every_start_can_be_distilled(data, init):
    assert len(made(TINY.with_options(init=init), data)) == 6


# -- history -------------------------------------------------------------------------------------------------------


def test_history_records_loss_and_held_out_accuracy_from_start_to_end(data, held_out):
    history = made(TINY, data, held_out=held_out).made_by["history"]
    assert [entry["step"] for entry in history] == [0, 4, 8]
    assert "loss" not in history[0]
    assert all(np.isfinite(entry["loss"]) for entry in history[1:])
    assert all(0 <= entry["krr_accuracy"] <= 1 for entry in history)
    assert history[-1]["krr_accuracy"] > 0.6  # an easy problem; chance is 1/3


@pytest.mark.parametrize(("points", "steps"), [(0, []), (1, [0, 8]), (2, [0, 8])])
def test_history_has_the_end_whenever_it_has_anything(data, points, steps):
    history = made(TINY.with_options(history_points=points), data).made_by["history"]
    assert [entry["step"] for entry in history] == steps


def test_history_without_held_out_images_has_losses_alone(data):
    history = made(TINY, data).made_by["history"]
    assert [sorted(entry) for entry in history] == [["step"], ["loss", "step"], ["loss", "step"]]


def test_no_history_points_give_no_history(data, held_out):
    assert made(TINY.with_options(history_points=0), data, held_out=held_out).made_by["history"] == []


def test_loss_falls(data):
    history = made(TINY.with_options(steps=60, history_points=7, label_margin=False), data).made_by["history"]
    assert history[-1]["loss"] < history[1]["loss"]


def test_label_margin_is_taken_off_the_loss(data):
    # Labels start with a margin of 1 / sqrt(C / 10), far above 1/C, so that the term is exactly 1/C all along.
    plain, margin = (
        made(TINY.with_options(label_margin=on), data).made_by["history"][-1]["loss"] for on in (False, True)
    )
    assert plain - margin == pytest.approx(1 / 3, abs=1e-5)


def test_label_margin_is_the_gap_of_the_two_largest_at_most_one_over_c():
    labels = torch.tensor([[0.1, 0.3, 0.25, -1.0], [5.0, 0.0, 0.0, 0.0]])
    assert label_margin(labels).item() == pytest.approx((0.05 + 1 / 4) / 2)
    assert label_margin(torch.tensor([[3.0]])).item() == 0  # one class has no margin


# -- divergence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"learning_rate": 1e30}, {"pool_learning_rate": 1e30}], ids=["images", "pool"])
def test_divergence_is_an_input_error_and_no_nan_set(data, options):
    with pytest.raises(InputError, match=r"lower learning_rate .*or pool_learning_rate"):
        made(TINY.with_options(steps=30, **options), data)


# -- checkpoint ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("k", "options"),
    [
        (1, {}),
        (5, {}),
        (7, {}),
        (5, {"version": "v1"}),
        (5, {"learn_labels": False}),
        (5, {"dtype": "float64"}),
        (5, {"pool_batch_size": 1000, "max_updates": 100}),
        (5, {"init": "noise", "norm": "instance"}),
    ],
    ids=str,
)
def test_killed_distillation_ends_in_the_same_bits(data, held_out, tmp_path, monkeypatch, k, options):
    distiller = TINY.with_options(**options)
    store = tmp_path / "a folder"
    undisturbed = made(distiller, data, held_out=held_out)
    killed_before_step(k, monkeypatch, distiller, data, held_out=held_out, store=store)
    assert (store / CHECKPOINT).is_file()
    assert_same_set(made(distiller, data, held_out=held_out, store=store), undisturbed)
    assert list(store.iterdir()) == [store / CHECKPOINT]


@pytest.mark.parametrize("norm", ["batch", "instance"])
def test_killed_distillation_of_cifar_sized_images_ends_in_the_same_bits(make_images, tmp_path, monkeypatch, norm):
    # Wide enough for the vectorized loops whose rounding depends on how a tensor lies in memory.
    images = make_images((20, 20, 20), channels=3, height=32, width=32)
    data = Standardize.fit(images).apply(images)
    distiller = TINY.with_options(width=32, depth=3, norm=norm, mirror=True, pool_batch_size=1000, max_updates=100)
    killed_before_step(5, monkeypatch, distiller, data, store=tmp_path / "c")
    assert_same_set(made(distiller, data, store=tmp_path / "c"), made(distiller, data))


def test_resumed_distillation_does_only_the_steps_that_are_left(data, tmp_path, monkeypatch):
    killed_before_step(5, monkeypatch, TINY, data, store=tmp_path / "c")
    done, step = [], FRePo.step
    monkeypatch.setattr(FRePo, "step", lambda self, state, data: (done.append(state.step), step(self, state, data)))
    made(TINY, data, store=tmp_path / "c")
    assert done == [5, 6, 7]
    made(TINY, data, store=tmp_path / "c")
    assert done == [5, 6, 7]  # a finished one is found whole


def test_resuming_warns_of_nothing(data, tmp_path, monkeypatch):
    killed_before_step(5, monkeypatch, TINY, data, store=tmp_path / "c")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made(TINY, data, store=tmp_path / "c")


@pytest.mark.parametrize("options", [{}, {"augment": True, "init": "herded"}, {"max_updates": 0}], ids=str)
def test_distillation_killed_twice_ends_in_the_same_bits(data, tmp_path, monkeypatch, options):
    distiller = TINY.with_options(**options)
    for k in (3, 6):
        killed_before_step(k, monkeypatch, distiller, data, store=tmp_path / "c")
    assert_same_set(made(distiller, data, store=tmp_path / "c"), made(distiller, data))


def test_checkpoint_is_not_written_at_every_step(data, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr("distill.distillers.checkpoint.Checkpoint.save", lambda _, state: saved.append(state.step))
    made(TINY, data, store=tmp_path / "c")
    assert saved == [TINY.steps]


@pytest.mark.parametrize("change", [{"init": "noise"}, {"learning_rate": 2e-2}, {"steps": 9}], ids=str)
def test_checkpoint_of_other_options_is_refused_and_kept(data, tmp_path, monkeypatch, change):
    killed_before_step(5, monkeypatch, TINY, data, store=tmp_path)
    content = (tmp_path / CHECKPOINT).read_bytes()
    (name, value), = change.items()
    was = rf"{name} was {getattr(TINY, name)!r}, now {value!r}"
    message = rf"{CHECKPOINT} was made with other options or data \({was}\); use those it was made with, remove it, or"
    with pytest.raises(InputError, match=message):
        made(TINY.with_options(**change), data, store=tmp_path)
    assert (tmp_path / CHECKPOINT).read_bytes() == content


@pytest.mark.parametrize("change", [{"seed": 1}, {"images_per_class": 3}], ids=lambda change: next(iter(change)))
def test_distillations_of_other_seeds_and_sizes_share_a_store_and_leave_each_other_alone(
    data, tmp_path, monkeypatch, change
):
    killed_before_step(5, monkeypatch, TINY, data, store=tmp_path)
    content = (tmp_path / CHECKPOINT).read_bytes()
    arguments = {"images_per_class": 2, **change}
    assert_same_set(TINY.distill(data, store=tmp_path, **arguments), TINY.distill(data, **arguments))
    assert (tmp_path / CHECKPOINT).read_bytes() == content


@pytest.mark.parametrize("part", ["images", "labels", "classes", "held-out images"])
def test_checkpoint_of_other_data_is_refused_by_name(data, tmp_path, monkeypatch, part):
    killed_before_step(5, monkeypatch, TINY, data, store=tmp_path / "c")
    images, labels, classes = data.images.clone(), data.labels.clone(), data.classes
    if part == "images":
        images[-1, 0, 0, 0] += 1e-3
    elif part == "labels":
        labels[[0, -1]] = (labels[[0, -1]] + 1) % 3
    elif part == "classes":
        classes = classes[::-1]
    other = PreprocessedImages(images, labels, classes, data.preprocessing)
    held_out = data if part == "held-out images" else None
    with pytest.raises(InputError, match=rf"with other options or data \(other {part}\); use those"):
        made(TINY, other, held_out=held_out, store=tmp_path / "c")


def test_checkpoint_of_another_class_with_the_same_options_is_refused(data, tmp_path, monkeypatch):
    class Mine(FRePo):
        pass

    killed_before_step(5, monkeypatch, TINY, data, store=tmp_path / "c")
    with pytest.raises(InputError, match=r"class was 'FRePo', now '.*Mine'"):
        made(Mine(**TINY.options()), data, store=tmp_path / "c")


@pytest.mark.parametrize("left", [0, 4, 100, -1], ids=lambda left: f"{left} bytes")
def test_damaged_checkpoint_is_an_input_error_that_names_it(data, tmp_path, monkeypatch, left):
    killed_before_step(5, monkeypatch, TINY, data, store=tmp_path)
    checkpoint = tmp_path / CHECKPOINT
    checkpoint.write_bytes(checkpoint.read_bytes()[:left])
    with pytest.raises(InputError, match=f"{checkpoint} is damaged"):
        made(TINY, data, store=tmp_path)


def test_synthetic_set_in_the_place_of_a_checkpoint_is_refused_and_kept(data, tmp_path):
    path = made(Random(), data).save(tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match=f"{path} was made by another version of this toolkit, or is not an entry"):
        made(TINY, data, store=tmp_path)
    with pytest.raises(InputError, match=f"store is the file {path}; expected a folder"):
        made(TINY, data, store=path)
    assert len(SyntheticSet.load(path)) == 6


def test_checkpoint_that_cannot_be_written_is_an_input_error(data, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr("distill.distillers.checkpoint.SECONDS_BETWEEN", 0)
    with pytest.raises(InputError, match=r"cannot write .*file/c/checkpoint"):
        made(TINY, data, store=tmp_path / "file" / "c")


def test_preprocessing_given_is_used_and_not_fitted_anew(make_images):
    images = make_images()
    mine = Standardize(torch.tensor([0.1]), torch.tensor([0.7]))
    synthetic = made(TINY.with_options(steps=0), mine.apply(images))
    assert np.array_equal(synthetic.pixels().numpy(), images.images[synthetic.made_by["started_from"]])

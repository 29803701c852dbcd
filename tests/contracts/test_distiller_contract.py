"""What every distiller in `tests/helpers/distillers.py` must do."""

import json
import random

import numpy as np
import pytest
import torch

from distill import (
    Distiller,
    Identity,
    InputError,
    InputWarning,
    LabelledImages,
    NoisyMeans,
    PreprocessedImages,
    Random,
    Snapshots,
    Standardize,
    SyntheticSet,
    TrainingRecipe,
    evaluate,
    load_images,
)
from distill.distillers.trained_network import TrainsNetwork
from distill.preprocess import default_preprocessing
from distill.runtime.seeds import generator_for
from distillers import DISTILLERS


def made(distiller: Distiller, data, **arguments) -> SyntheticSet:
    """A set of two images per class, unless `arguments` say otherwise."""
    return distiller.distill(data, **{"images_per_class": 2, **arguments})


@pytest.fixture(params=DISTILLERS, ids=lambda distiller: distiller.method)
def distiller(request) -> Distiller:
    return request.param


def of_records(distiller: Distiller) -> None:
    """Skip what is about real images in a set, or accuracy on them, for those that release neither."""
    if distiller.is_private:
        pytest.skip("a private set has no real images, and nothing is recorded of any")


@pytest.fixture
def data(make_images) -> PreprocessedImages:
    images = make_images()
    return default_preprocessing(images).apply(images)


def assert_same_set(one: SyntheticSet, other: SyntheticSet) -> None:
    assert one.images.dtype == other.images.dtype
    assert torch.equal(one.images, other.images)
    assert torch.equal(one.labels, other.labels)
    assert torch.equal(one.class_ids, other.class_ids)


def test_gives_equally_many_images_of_each_class(distiller, data):
    synthetic = distiller.distill(data, images_per_class=4)
    assert torch.bincount(synthetic.class_ids).tolist() == [4, 4, 4]
    assert synthetic.images.shape == (12, 1, 8, 8)


def test_gives_soft_labels_over_all_classes_on_the_cpu_and_without_gradients(distiller, data):
    synthetic = made(distiller, data)
    assert synthetic.labels.shape == (6, 3)
    assert synthetic.class_ids.dtype == torch.int64
    for tensor in (synthetic.images, synthetic.labels):
        assert tensor.dtype == torch.float32
        assert tensor.device.type == "cpu"
        assert not tensor.requires_grad


def test_soft_labels_are_largest_at_the_class_of_the_image(distiller, data):
    synthetic = made(distiller, data)
    assert torch.equal(synthetic.labels.argmax(1), synthetic.class_ids)


def test_carries_classes_and_preprocessing_along(distiller, data):
    synthetic = made(distiller, data)
    assert synthetic.classes == data.classes
    assert synthetic.preprocessing is data.preprocessing


def test_distils_only_classes_that_are_present(distiller, make_images):
    images = make_images((5, 0, 5, 0))
    synthetic = made(distiller, images)
    assert synthetic.class_ids.tolist() == [0, 0, 2, 2]
    assert synthetic.labels.shape == (4, 4)
    assert synthetic.classes == images.classes


def test_same_seed_gives_the_same_bits(distiller, data):
    assert_same_set(made(distiller, data), made(distiller, data))


def test_another_seed_gives_another_set(distiller, data):
    assert not torch.equal(made(distiller, data).images, made(distiller, data, seed=1).images)


def test_result_does_not_depend_on_global_random_state(distiller, data):
    torch.manual_seed(1)
    one = made(distiller, data)
    torch.manual_seed(2)
    assert_same_set(one, made(distiller, data))


def test_shares_no_random_numbers_with_the_evaluation(distiller, make_images, monkeypatch):
    """Networks that judge a set are none of those it was distilled with, also when both have the same seed."""
    drawn: list[set[int]] = [set(), set()]
    places = ("distill.distillers.run.generator_for", "distill.training.evaluation.generator_for")
    for seeds, place in zip(drawn, places, strict=True):

        def recorded(*numbers: int, seeds: set[int] = seeds) -> torch.Generator:
            generator = generator_for(*numbers)
            seeds.add(generator.initial_seed())
            return generator

        monkeypatch.setattr(place, recorded)
    images = make_images()
    synthetic = made(distiller, images, held_out=None if distiller.is_private else images)
    recipe = TrainingRecipe(width=4, depth=2, train_steps=1)
    evaluate(synthetic, images, recipe=recipe, networks=10)
    assert drawn[0]
    assert len(drawn[1]) == 10
    assert not drawn[0] & drawn[1]


def test_leaves_global_random_state_alone(distiller, data):
    torch_before, numpy_before, python_before = torch.get_rng_state(), np.random.get_state(), random.getstate()
    made(distiller, data)
    assert torch.equal(torch.get_rng_state(), torch_before)
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), numpy_before, strict=True))
    assert random.getstate() == python_before


def test_does_not_change_what_it_is_given(distiller, data):
    images, labels = data.images.clone(), data.labels.clone()
    synthetic = made(distiller, data)
    synthetic.images.zero_()
    synthetic.class_ids.zero_()
    assert torch.equal(data.images, images)
    assert torch.equal(data.labels, labels)
    assert not data.images.requires_grad


def test_does_not_change_uint8_images(distiller, make_images):
    images = make_images()
    made(distiller, images)
    assert np.array_equal(images.images, make_images().images)
    assert np.array_equal(images.labels, make_images().labels)


@pytest.mark.parametrize("channels", [1, 3])
def test_uint8_images_are_distilled_as_their_default_preprocessing(distiller, make_images, channels):
    images = make_images(channels=channels)
    preprocessing = distiller.preprocessing_for(images)
    raw = made(distiller, images)
    assert_same_set(raw, made(distiller, preprocessing.apply(images)))
    assert raw.preprocessing.same_as(preprocessing)
    if not distiller.is_private:
        assert preprocessing.same_as(default_preprocessing(images))
        assert preprocessing.kind == {1: "standardize", 3: "zca"}[channels]


def test_double_precision_images_give_the_same_set(distiller, data):
    double = PreprocessedImages(data.images.double(), data.labels, data.classes, data.preprocessing)
    assert_same_set(made(distiller, double), made(distiller, data))


def test_save_and_load_give_the_same_bits(distiller, make_images, tmp_path):
    synthetic = made(distiller, make_images(channels=3))
    loaded = SyntheticSet.load(synthetic.save(tmp_path / "set.safetensors"))
    assert_same_set(loaded, synthetic)
    assert loaded.classes == synthetic.classes
    assert loaded.made_by == synthetic.made_by
    assert torch.equal(loaded.pixels(), synthetic.pixels())


def test_made_by_says_method_and_options_in_json(distiller, data):
    made_by = made(distiller, data).made_by
    assert made_by["method"] == distiller.method
    seed = {} if distiller.is_private else {"seed": 0}  # with it the noise could be taken off
    assert made_by["options"] == {"images_per_class": 2, **seed, "device": "cpu", **distiller.options()}
    assert json.loads(json.dumps(made_by)) == made_by


def test_options_build_the_same_distiller_again(distiller):
    assert type(distiller)(**distiller.options()) == distiller


def test_started_from_names_the_images_it_started_from(distiller, data):
    of_records(distiller)
    synthetic = made(distiller, data)
    started_from = synthetic.made_by["started_from"]
    assert len(set(started_from)) == len(synthetic)
    assert torch.equal(data.labels[started_from], synthetic.class_ids)
    # Chosen images are those very ones; distilled ones, after a few steps, are still nearest to where they started.
    nearest = torch.cdist(synthetic.images.flatten(1), data.images.flatten(1)).argmin(1)
    assert nearest.tolist() == started_from


@pytest.mark.parametrize("raw", [False, True], ids=["preprocessed", "uint8"])
def test_no_images_is_an_input_error(distiller, make_images, data, raw):
    nothing = make_images((0, 0)) if raw else data.subset(torch.zeros(len(data), dtype=torch.bool))
    with pytest.raises(InputError, match="0 images"):
        made(distiller, nothing)


def test_class_with_fewer_images_gets_as_many_as_it_has_with_a_warning(distiller, make_images):
    of_records(distiller)
    wanted = r"images_per_class is 4, but 2 classes .* \('class 1' has 3, 'class 2' has 1\): all their images are used"
    with pytest.warns(InputWarning, match=wanted):
        synthetic = distiller.distill(make_images((5, 3, 1)), images_per_class=4)
    assert torch.bincount(synthetic.class_ids).tolist() == [4, 3, 1]
    assert len(set(synthetic.made_by["started_from"])) == 8


@pytest.mark.parametrize("shade", [0, 7, 255])
def test_constant_images_are_refused_as_that(distiller, make_images, shade):
    images = make_images()
    constant = LabelledImages(np.full_like(images.images, shade), images.labels, images.classes)
    for data in (constant, Identity().apply(constant), Identity().apply(constant, stream=True)):
        with pytest.raises(InputError, match=r"all pixels of all 36 images have the same value, .*; check that the"):
            made(distiller, data)


def test_constant_classes_are_no_constant_images(distiller, make_images):
    images = make_images()
    shades = np.broadcast_to((images.labels * 50)[:, None, None, None], images.images.shape).astype(np.uint8)
    assert len(made(distiller, LabelledImages(shades.copy(), images.labels, images.classes))) == 6


def test_raw_held_out_images_are_preprocessed_as_the_data(distiller, data, make_images):
    of_records(distiller)
    raw = make_images((3, 3, 3), seed=5)
    one, other = (made(distiller, data, held_out=held) for held in (raw, data.preprocessing.apply(raw)))
    assert one.made_by == other.made_by


@pytest.mark.parametrize("count", [0, -1])
def test_images_per_class_below_one_is_an_input_error(distiller, data, count):
    with pytest.raises(InputError, match=rf"images_per_class is {count}; expected more than 0"):
        distiller.distill(data, images_per_class=count)


def test_works_with_one_class(distiller, make_images):
    synthetic = made(distiller, make_images((6,)))
    assert synthetic.class_ids.tolist() == [0, 0]
    assert synthetic.labels.shape == (2, 1)


def test_works_with_a_single_image_in_all(distiller, make_images):
    assert len(distiller.distill(make_images((1,)), images_per_class=1)) == 1


def test_as_many_images_as_there_are_takes_every_one(distiller, make_images):
    of_records(distiller)
    synthetic = distiller.distill(make_images((5, 5)), images_per_class=5)
    assert sorted(synthetic.made_by["started_from"]) == list(range(10))


def test_held_out_images_change_nothing(distiller, data, make_images):
    of_records(distiller)
    held_out = data.preprocessing.apply(make_images((3, 3, 3), seed=5))
    before = held_out.images.clone()
    assert_same_set(made(distiller, data, held_out=held_out), made(distiller, data))
    assert torch.equal(held_out.images, before)


def test_held_out_images_preprocessed_in_another_way_are_refused(distiller, data, make_images):
    held_out = make_images((3, 3, 3), seed=5, noise=90)
    pixels = Identity().apply(make_images())
    whitened = Standardize.fit(held_out).apply(held_out)
    for distilled, given in ((data, whitened), (data, Identity().apply(held_out)), (pixels, whitened)):
        with pytest.raises(InputError, match=r"held_out was not preprocessed like the data; give it raw"):
            made(distiller, distilled, held_out=given)


def test_held_out_images_of_other_classes_are_refused(distiller, data, make_images):
    raw = make_images((3, 3, 3), seed=5)
    turned = LabelledImages(raw.images, raw.labels, raw.classes[::-1])
    with pytest.raises(InputError, match=r"held_out has the classes .*; expected the same names in the same order"):
        made(distiller, data, held_out=turned)
    of_records(distiller)
    made(distiller, data, held_out=LabelledImages(raw.images, raw.labels, ("0", "1", "2")))


def test_checkpoint_changes_nothing_even_when_all_is_done(distiller, data, tmp_path, monkeypatch):
    monkeypatch.setattr("distill.distillers.checkpoint.SECONDS_BETWEEN", 0)
    for _ in range(2):
        assert_same_set(made(distiller, data, store=tmp_path), made(distiller, data))


def test_on_record_shows_the_set_from_start_to_end_and_changes_nothing(distiller, data):
    shown: dict[int, SyntheticSet] = {}
    synthetic = made(distiller, data, on_record=shown.__setitem__)
    assert_same_set(synthetic, made(distiller, data))
    if isinstance(distiller, NoisyMeans | Random | TrainsNetwork):  # nothing on the way
        assert not shown
        return
    assert list(shown) == [entry["step"] for entry in synthetic.made_by["history"]]
    assert_same_set(shown[max(shown)], synthetic)
    if not distiller.is_private:
        assert torch.equal(shown[0].images, data.images[synthetic.made_by["started_from"]])
    assert len({float(one.images.sum()) for one in shown.values()}) == len(shown)  # later steps leave them alone


def test_snapshots_show_the_set_at_the_steps_asked_for_and_change_nothing(distiller, data, tmp_path):
    shown: list[tuple[int, float, SyntheticSet]] = []
    asked = Snapshots((0, 1, 10**6), lambda *given: shown.append(given))
    synthetic = made(distiller, data, snapshots=asked, store=tmp_path)
    assert_same_set(synthetic, made(distiller, data))
    if isinstance(distiller, NoisyMeans | Random | TrainsNetwork):  # nothing on the way
        assert not shown
        return
    assert [step for step, _, _ in shown] == [0, 1]
    assert 0 <= shown[0][1] < shown[1][1]
    assert not torch.equal(shown[0][2].images, shown[1][2].images)
    last = max(entry["step"] for entry in synthetic.made_by["history"])
    again: list[tuple[int, float, SyntheticSet]] = []
    made(distiller, data, snapshots=Snapshots((last,), lambda *given: again.append(given)), store=tmp_path)
    assert_same_set(again[0][2], synthetic)  # from the checkpoint, whose seconds count
    assert again[0][1] >= shown[1][1]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Snapshots(5, print), "steps are 5; expected whole numbers of 0 or more"),  # type: ignore[arg-type]
        (lambda: Snapshots((1, -1), print), r"steps are \(1, -1\); expected whole numbers of 0 or more"),
        (lambda: Snapshots((0.5,), print), r"steps are \(0.5,\); expected whole numbers of 0 or more"),
        (lambda: Snapshots((1,), "print"), "show is 'print'; expected a function of a step, seconds and a set"),
        (lambda: Random().distill(load_images("digits"), snapshots=(1, print)), "snapshots is "),
    ],
)
def test_snapshots_that_make_no_sense_are_refused(make, said):
    with pytest.raises(InputError, match=said):
        make()


def test_progress_changes_nothing_and_leaves_stdout_alone(distiller, data, capsys):
    quiet = made(distiller, data)
    assert capsys.readouterr() == ("", "")
    assert_same_set(made(distiller, data, progress=True), quiet)
    assert capsys.readouterr().out == ""


def test_trains_networks_far_better_than_chance(distiller, make_images):
    images, test = make_images(noise=40), make_images((30, 30, 30), seed=1, noise=40)
    preprocessing = Standardize.fit(images)
    synthetic = distiller.distill(preprocessing.apply(images), images_per_class=4)
    recipe = TrainingRecipe(width=8, train_steps=60, warmup_steps=5, learning_rate=3e-3)
    result = evaluate(synthetic, preprocessing.apply(test), recipe=recipe, networks=1)
    assert result.network[0] > 0.8  # chance is 1/3
    assert result.krr[0] > 0.8

"""How networks are trained and measured: augmentation, schedule, loss, number of steps, accuracies."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill import EncodedSet, InputError, PreprocessedImages, Random, Standardize, TrainingRecipe, evaluate
from distill.runtime.seeds import Purpose, generator_for
from distill.sets.synthetic import initial_labels
from distill.training import augmentation
from distill.training.augmentation import (
    EVALUATION,
    TRANSLATE,
    Draw,
    Operation,
    augment,
    cutout,
    flip,
    jitter,
    rotate,
    translate,
    zoom,
)
from distill.training.evaluation import Evaluation, train_network
from distill.training.recipe import published_steps

ALL = (*EVALUATION, flip)
SHAPES = [(1, 8, 8), (3, 32, 32), (1, 28, 28), (3, 8, 12), (1, 5, 3)]
every_operation = pytest.mark.parametrize("operation", ALL, ids=lambda operation: operation.__name__)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def apply(operation: Operation, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The operation on a batch, its parameters for each image."""
    return operation(Draw(generator, tuple(images.shape[2:]), len(images)))(images)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=seeded(seed))


@pytest.fixture
def drawn(monkeypatch):
    """Makes the operations use these numbers for every image instead of drawing their parameters."""

    def use(*numbers: float) -> None:
        left = list(numbers)
        monkeypatch.setattr(Draw, "uniform", lambda draw, low, high: torch.full((draw.count, 1, 1, 1), left.pop(0)))

    return use


# -- augmentation --------------------------------------------------------------------------------------------------


@every_operation
@given(
    shape=st.sampled_from(SHAPES) | st.tuples(st.sampled_from([1, 3]), st.integers(1, 20), st.integers(1, 20)),
    n=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=25, deadline=None)
def test_operation_keeps_shape_and_type_and_stays_finite(operation, shape, n, seed):
    images = noise(n, *shape, seed=seed)
    before = images.clone()
    result = apply(operation, images, seeded(seed))
    assert result.shape == images.shape
    assert result.dtype == images.dtype
    assert torch.isfinite(result).all()
    assert torch.equal(images, before)
    assert torch.equal(apply(operation, images, seeded(seed)), result)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_augment_keeps_shape_and_type(shape, dtype):
    for seed in range(12):
        result = augment(noise(4, *shape).to(dtype), seeded(seed))
        assert result.shape == (4, *shape)
        assert result.dtype == dtype


@every_operation
def test_parameters_differ_from_image_to_image(operation):
    images = noise(1, 3, 16, 16).expand(20, -1, -1, -1)
    assert len({tuple(image.flatten().tolist()) for image in apply(operation, images, seeded())}) > 1


@every_operation
def test_another_generator_draws_other_parameters(operation):
    images = noise(8, 3, 16, 16)
    assert not torch.equal(apply(operation, images, seeded(0)), apply(operation, images, seeded(1)))


@pytest.mark.parametrize("operation", EVALUATION, ids=lambda operation: operation.__name__)
@pytest.mark.parametrize("constant", [False, True], ids=["noise", "constant"])
def test_operation_is_differentiable_in_images(operation, constant):
    images = (torch.ones(4, 3, 8, 8) if constant else noise(4, 3, 8, 8)).requires_grad_(True)
    (gradient,) = torch.autograd.grad(apply(operation, images, seeded()).square().sum(), images)
    assert torch.isfinite(gradient).all()
    assert (gradient.flatten(1).abs().sum(1) > 0).all()


def test_gradient_of_augment_is_that_of_finite_differences():
    images = noise(2, 3, 6, 6).double().requires_grad_(True)
    for seed in range(6):
        assert torch.autograd.gradcheck(lambda batch, seed=seed: augment(batch, seeded(seed)), images)


def chosen_operations(channels: int, monkeypatch) -> set[str]:
    """The operations that `augment` reaches in many draws."""
    reached: set[str] = set()
    spies = {op.__name__: lambda _, name=op.__name__: reached.add(name) or torch.clone for op in ALL}
    monkeypatch.setattr(augmentation, "EVALUATION", tuple(spies[op.__name__] for op in EVALUATION))
    monkeypatch.setattr(augmentation, "flip", spies["flip"])
    for seed in range(200):
        augment(torch.zeros(1, channels, 8, 8), seeded(seed))
    return reached


def test_augment_mirrors_rgb_images_and_never_those_of_one_channel(monkeypatch):
    without = {"jitter", "zoom", "translate", "rotate", "cutout"}
    assert chosen_operations(1, monkeypatch) == without
    assert chosen_operations(3, monkeypatch) == without | {"flip"}


def test_augment_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    augment(noise(4, 3, 8, 8), seeded())
    assert torch.equal(torch.get_rng_state(), before)


def test_translate_shifts_whole_pixels_and_fills_with_zero(drawn):
    image = torch.arange(1.0, 65).view(1, 1, 8, 8)
    drawn(0.125, -0.25)  # down the rows by 1, against the columns by 2
    expected = torch.zeros(1, 1, 8, 8)
    expected[:, :, :7, 2:] = image[:, :, 1:, :6]
    assert torch.equal(apply(translate, image, seeded()), expected)


def test_each_image_of_a_batch_is_shifted_by_its_own_number_of_pixels():
    images, draw = noise(9, 3, 8, 12).contiguous(memory_format=torch.channels_last), Draw(seeded(1), (8, 12), 9)
    shifts = [draw.uniform(-TRANSLATE, TRANSLATE).flatten() * side for side in (8, 12)]
    expected = torch.zeros_like(images)
    for image, result, *shift in zip(images, expected, *shifts, strict=True):
        down, right = (round(float(pixels)) for pixels in shift)
        for y, x in itertools.product(range(8), range(12)):
            if 0 <= y + down < 8 and 0 <= x + right < 12:
                result[:, y, x] = image[:, y + down, x + right]
    assert torch.equal(apply(translate, images, seeded(1)), expected)


def test_translate_never_goes_beyond_an_eighth_of_the_side():
    moved = apply(translate, torch.ones(500, 1, 16, 16), seeded())
    rows, columns = moved.amax(3).sum((1, 2)), moved.amax(2).sum((1, 2))
    assert (rows.min(), columns.min(), rows.max()) == (14, 14, 16)


@pytest.mark.parametrize(
    ("side", "centre", "hole"), [(8, (4, 1), (slice(3, 5), slice(0, 2))), (28, (10, 27), (slice(7, 14), slice(24, 28)))]
)
def test_cutout_is_a_square_of_a_quarter_of_the_side(drawn, side, centre, hole):
    drawn(*centre)
    expected = torch.ones(1, 2, side, side)
    expected[(slice(None), slice(None), *hole)] = 0
    assert torch.equal(apply(cutout, torch.ones(1, 2, side, side), seeded()), expected)


def test_zoom_out_twice_leaves_half_the_side_and_zero_around(drawn):
    drawn(math.log(2), math.log(2))
    expected = torch.zeros(1, 1, 8, 8)
    expected[:, :, 2:6, 2:6] = 1
    assert torch.allclose(apply(zoom, torch.ones(1, 1, 8, 8), seeded()), expected, atol=1e-6)


def test_zoom_of_height_leaves_width_alone(drawn):
    drawn(0.0, math.log(2))
    expected = torch.zeros(1, 1, 8, 8)
    expected[:, :, 2:6] = 1
    assert torch.allclose(apply(zoom, torch.ones(1, 1, 8, 8), seeded()), expected, atol=1e-6)


@pytest.mark.parametrize(("operation", "parameters"), [(zoom, (0.0, 0.0)), (rotate, (0.0,)), (translate, (0.0, 0.0)),
                                                       (jitter, (0.0, 1.0, 1.0))])
def test_nothing_to_do_gives_the_image_back(drawn, operation, parameters):
    images = noise(2, 3, 6, 10)
    drawn(*parameters)
    assert torch.allclose(apply(operation, images, seeded()), images, atol=1e-5)


def test_quarter_turn_is_that_of_torch(drawn):
    images = noise(2, 3, 8, 8)
    drawn(math.pi / 2)
    turned = apply(rotate, images, seeded())
    assert any(torch.allclose(turned, images.rot90(k, (2, 3)), atol=1e-5) for k in (1, 3))


def test_rotation_keeps_lengths_in_an_oblong_image(drawn):
    # A bar of 9 pixels across the middle of a 21x11 image stays that long when turned upright.
    image = torch.zeros(1, 1, 21, 11)
    image[:, :, 9:12, 1:10] = 1
    drawn(math.pi / 2)
    assert (apply(rotate, image, seeded())[0, 0, :, 5] > 0.5).sum() == 9


def test_jitter_by_hand(drawn):
    image = torch.tensor([[[[0.0, 2.0]], [[4.0, 2.0]]]])  # 2 channels of 1x2
    std = math.sqrt(8 / 3)
    drawn(0.25, 0.5, 2.0)
    # brightness adds 0.25 std; greys are then 2 + .25 std in both pixels, the mean too; colours halve, then double
    assert torch.allclose(apply(jitter, image, seeded()), image + 0.25 * std, atol=1e-6)
    drawn(0.0, 0.0, 1.0)
    assert torch.allclose(apply(jitter, image, seeded()), torch.full_like(image, 2.0))


@pytest.mark.parametrize("shape", [(4, 3, 8, 12), (2, 1, 1, 2), (3, 1, 28, 28)])
def test_jitter_adds_a_part_of_each_images_standard_deviation(drawn, shape):
    images = 5 * noise(*shape) + 3
    drawn(0.25, 1.0, 1.0)
    added = 0.25 * images.flatten(1).std(1).view(-1, 1, 1, 1)
    torch.testing.assert_close(apply(jitter, images, seeded()), images + added, rtol=1e-4, atol=1e-4)


def test_flip_mirrors_left_and_right(drawn):
    images = noise(2, 3, 4, 5)
    drawn(0.4)
    assert torch.equal(apply(flip, images, seeded()), images[..., [4, 3, 2, 1, 0]])
    drawn(0.6)
    assert torch.equal(apply(flip, images, seeded()), images)


def test_several_operations_are_different_ones_one_after_the_other(monkeypatch):
    """Each appends its own number to the images, as a digit."""
    digits = tuple(lambda _, digit=digit: lambda images: 10 * images + digit for digit in range(1, 6))
    monkeypatch.setattr(augmentation, "EVALUATION", digits)
    for several in range(1, 8):
        seen = set()
        for seed in range(40):
            digits_drawn = str(int(augment(torch.zeros(1, 1, 1, 1), seeded(seed), several).item()))
            assert len(digits_drawn) == len(set(digits_drawn)) == min(several, 5)
            seen.add(digits_drawn)
        assert len(seen) > 4  # other operations, or another order


def test_several_operations_are_those_drawn_with_the_same_generator():
    images, generator = noise(4, 3, 8, 8), seeded(2)
    one_by_one, left = images, [*EVALUATION, flip]
    for _ in range(3):
        operation = left.pop(int(torch.randint(len(left), (1,), generator=generator)))
        one_by_one = apply(operation, one_by_one, generator)
    assert torch.equal(TrainingRecipe(augmentations=3).transform(images, seeded(2)), one_by_one)


def test_one_operation_draws_the_numbers_it_always_drew():
    images = noise(2, 3, 8, 8).double()
    found = [TrainingRecipe().transform(images, seeded(seed)).square().sum().item() for seed in range(4)]
    wanted = [291.28675533511404, 176.61092192635135, 389.4612915867185, 347.7530381555766]  # before there were several
    assert found == pytest.approx(wanted, rel=1e-6)


def test_recipe_without_augmentation_gives_the_images_back():
    images = noise(2, 3, 4, 4)
    assert TrainingRecipe(augment=False).transform(images, seeded()) is images
    assert not torch.equal(TrainingRecipe().transform(images, seeded(1)), images)


# -- steps, schedule, loss -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "steps"),
    [(1, 1000), (10, 1000), (99, 1000), (100, 2000), (399, 2000), (400, 5000), (500, 5000), (999, 5000),
     (1000, 10_000), (1999, 10_000), (2000, 40_000), (5000, 40_000)],
)
def test_steps_are_the_published_ones(n, steps):
    assert published_steps(n) == steps
    assert TrainingRecipe().steps_for(n) == steps


def test_steps_grow_with_the_set_when_asked_to():
    assert TrainingRecipe(train_steps=200).steps_for(2000) == 200
    assert TrainingRecipe(train_steps=200, steps_per_image=0.1).steps_for(2000) == 400
    assert TrainingRecipe(steps_per_image=0.5).steps_for(10) == 1005


def rates(recipe: TrainingRecipe, steps: int) -> list[float]:
    """The learning rate of each update, and of the one after the last."""
    optimizer = recipe.optimizer(torch.nn.Linear(1, 1))
    scheduler = recipe.scheduler(optimizer, steps)
    found = []
    for _ in range(steps + 1):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_schedule_warms_up_then_follows_a_cosine_to_its_end():
    found = rates(TrainingRecipe(learning_rate=2.0, warmup_steps=4, final_fraction=0.01), 12)
    assert found[:5] == pytest.approx([0.5, 1.0, 1.5, 2.0, 2.0])
    assert found[6] == pytest.approx(2 * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi / 4))), rel=1e-5)
    assert found[8] == pytest.approx(2 * 0.505, rel=1e-5)  # half way
    assert found[12] == pytest.approx(2 * 0.01, rel=1e-5)
    assert found[4:] == sorted(found[4:], reverse=True)


def test_schedule_without_warm_up_starts_at_the_peak():
    found = rates(TrainingRecipe(learning_rate=1.0, warmup_steps=0, final_fraction=0.1), 10)
    assert (found[0], found[10]) == pytest.approx((1.0, 0.1), rel=1e-5)


def test_short_training_warms_up_for_half_of_it():
    found = rates(TrainingRecipe(learning_rate=1.0, warmup_steps=500), 8)
    assert found[:5] == pytest.approx([0.25, 0.5, 0.75, 1.0, 1.0])
    assert found[8] == pytest.approx(0.01, rel=1e-4)


def test_mse_sums_over_classes_and_averages_over_images():
    logits, labels = torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.tensor([[0.0, 2.0], [3.0, 2.0]])
    assert TrainingRecipe().criterion(logits, labels).item() == pytest.approx(0.5 * (1 + 4) / 2)


def test_soft_cross_entropy_is_against_the_softmax_of_labels_over_the_temperature():
    logits, labels = torch.tensor([[math.log(3), 0.0]]), torch.tensor([[0.5 * math.log(4), 0.0]])
    recipe = TrainingRecipe(loss="soft-cross-entropy", temperature=0.5)  # so the targets are 4/5 and 1/5
    assert recipe.criterion(logits, labels).item() == pytest.approx(-(0.8 * math.log(0.75) + 0.2 * math.log(0.25)))


@pytest.mark.parametrize("labels", ["hard", "uint8", "float16", "float32"])
def test_hard_labels_get_the_scale_that_is_asked_for_whatever_codec_they_came_through(labels, make_images):
    data = make_images((3,) * 20)
    chosen = Random().distill(Standardize.fit(data).apply(data), images_per_class=2)
    stored = EncodedSet.encode(chosen, codec="float32", labels=labels).decode().labels
    wanted = initial_labels(chosen.class_ids, 20, scale=1.0)
    assert not torch.allclose(stored, wanted, atol=0.1)
    torch.testing.assert_close(TrainingRecipe(hard_label_scale=1.0).labels_for(stored), wanted)
    assert TrainingRecipe().labels_for(stored) is stored


def test_labels_that_tell_more_than_a_class_stay_as_they_are():
    recipe = TrainingRecipe(hard_label_scale=2.0)
    soft = initial_labels(torch.arange(5), 5) + 0.2 * torch.rand(5, 5, generator=torch.Generator().manual_seed(0))
    for labels in (soft, torch.zeros(2, 5), torch.ones(3, 1), torch.zeros(0, 5)):
        assert torch.equal(recipe.labels_for(labels), labels)


def test_network_is_trained_on_hard_labels_of_that_scale(make_images):
    data = make_images((4, 4, 4))
    chosen = Random().distill(Standardize.fit(data).apply(data), images_per_class=2)
    short = {"width": 4, "train_steps": 3, "loss": "soft-cross-entropy"}

    def weights(synthetic, **options):
        recipe = TrainingRecipe(**short, **options)
        network = train_network(synthetic, recipe=recipe, generator=torch.Generator().manual_seed(1))
        return torch.cat([weight.flatten() for weight in network.parameters()])

    scaled = replace(chosen, soft_labels=initial_labels(chosen.class_ids, 3, scale=0.1))
    torch.testing.assert_close(weights(chosen, hard_label_scale=0.1), weights(scaled), rtol=0, atol=0)
    assert not torch.allclose(weights(chosen), weights(scaled))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": "hinge"}, "loss is 'hinge'; expected one of mse, soft-cross-entropy"),
        ({"batch_size": 0}, "batch_size is 0; expected more than 0"),
        ({"train_steps": 0}, "train_steps is 0; expected more than 0"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0; expected more than 0"),
        ({"temperature": -1.0}, "temperature is -1.0; expected more than 0"),
        ({"hard_label_scale": 0.0}, "hard_label_scale is 0.0; expected more than 0"),
        ({"augmentations": 0}, "augmentations is 0; expected more than 0"),
        ({"cutmix": 1.5}, "cutmix is 1.5; expected a number from 0 to 1"),
        ({"cutmix": math.nan}, "cutmix is nan; expected a number from 0 to 1"),
        ({"average": 1.0}, "average is 1.0; expected 0 or more, and less than 1"),
        ({"average": math.nan}, "average is nan; expected 0 or more, and less than 1"),
    ],
)
def test_option_that_makes_no_sense_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        TrainingRecipe(**options)


@pytest.mark.parametrize(
    "options",
    [{"width": 0}, {"depth": -1}, {"network": "resnet"}, {"norm": "weight"}, {"warmup_steps": -1},
     {"final_fraction": -1.0}, {"steps_per_image": -1.0}, {"learning_rate": math.nan}],
    ids=lambda options: next(iter(options)),
)
def test_every_other_option_is_checked_too(options):
    with pytest.raises(InputError, match=next(iter(options)).split("_")[0]):
        TrainingRecipe(**options)


# -- evaluation ----------------------------------------------------------------------------------------------------

QUICK = TrainingRecipe(width=8, train_steps=60, warmup_steps=5, learning_rate=3e-3)


@pytest.fixture
def problem(make_images):
    """A synthetic set, and test images preprocessed like it."""
    images = make_images(noise=40)
    preprocessing = Standardize.fit(images)
    synthetic = Random().distill(preprocessing.apply(images), images_per_class=4)
    return synthetic, preprocessing.apply(make_images((40, 40, 40), seed=1, noise=40))


def test_networks_learn_an_easy_problem(problem):
    result = evaluate(*problem, recipe=QUICK, networks=2)
    assert min(result.network) > 0.9
    assert min(result.krr) > 0.9


@pytest.mark.parametrize("options", [{"loss": "soft-cross-entropy"}, {"norm": "instance"}, {"norm": "batch"},
                                     {"network": "conv-after", "norm": "group"}, {"augment": False}], ids=str)
def test_every_recipe_learns_an_easy_problem(problem, options):
    recipe = TrainingRecipe(width=8, depth=2, train_steps=80, warmup_steps=5, learning_rate=3e-3, **options)
    assert evaluate(*problem, recipe=recipe, networks=1).network[0] > 0.8


def test_same_seed_gives_the_same_accuracies(problem):
    hard = PreprocessedImages(
        problem[1].images + 3 * noise(120, 1, 8, 8), problem[1].labels, problem[1].classes, problem[1].preprocessing
    )
    one, again, other = (evaluate(problem[0], hard, recipe=QUICK, networks=2, seed=seed) for seed in (0, 0, 1))
    assert one == again
    assert one != other
    assert one.network[0] != one.network[1]


def test_test_images_of_other_classes_are_refused(problem):
    synthetic, test = problem
    other = replace(test, classes=test.classes[::-1])
    with pytest.raises(InputError, match=r"the synthetic set has the classes .*; expected the same names in the same"):
        evaluate(synthetic, other, recipe=QUICK, networks=1)


def test_first_network_does_not_depend_on_how_many_follow(problem):
    one, two = (evaluate(*problem, recipe=QUICK, networks=networks) for networks in (1, 2))
    assert (one.network, one.krr) == (two.network[:1], two.krr[:1])


def test_evaluation_counts_right_answers_by_hand(problem):
    synthetic, test = problem
    network = train_network(synthetic, recipe=QUICK, generator=generator_for(0, Purpose.EVALUATION))
    with torch.no_grad():
        found = [int(network(image[None]).argmax()) for image in test.images]
    right = sum(answer == label for answer, label in zip(found, test.labels.tolist(), strict=True))
    assert evaluate(*problem, recipe=QUICK, networks=1).network == [right / len(test)]
    assert evaluate(synthetic, test, recipe=QUICK, networks=1).network == pytest.approx([right / len(test)])
    assert not network.training


def test_wrong_labels_are_learned_as_wrong(problem):
    synthetic, test = problem
    shifted = PreprocessedImages(test.images, (test.labels + 1) % 3, test.classes, test.preprocessing)
    assert evaluate(synthetic, shifted, recipe=QUICK, networks=1).network[0] < 0.1


def test_evaluation_leaves_set_and_global_random_state_alone(problem, capsys):
    images, labels, before = problem[0].images.clone(), problem[0].labels.clone(), torch.get_rng_state()
    evaluate(*problem, recipe=QUICK, networks=1, progress=True)
    assert torch.equal(problem[0].images, images)
    assert torch.equal(problem[0].labels, labels)
    assert torch.equal(torch.get_rng_state(), before)
    assert capsys.readouterr().out == ""


def trained(synthetic, **options) -> dict[str, torch.Tensor]:
    recipe = TrainingRecipe(width=4, depth=2, norm="batch", train_steps=12, warmup_steps=2, batch_size=5, **options)
    return train_network(synthetic, recipe=recipe, generator=seeded(4)).state_dict()


def test_average_is_that_of_the_weights_and_statistics_after_each_update(problem, monkeypatch):
    states: list[dict[str, torch.Tensor]] = []
    step = torch.optim.Adam.step
    build = TrainingRecipe.build

    def built(self, **options):
        network = build(self, **options)

        def step_and_keep(optimizer, *given):
            step(optimizer, *given)
            states.append({name: tensor.clone() for name, tensor in network.state_dict().items()})

        monkeypatch.setattr(torch.optim.Adam, "step", step_and_keep)
        return network

    with monkeypatch.context() as patch:
        patch.setattr(TrainingRecipe, "build", built)
        found = trained(problem[0], average=0.4)
    assert len(states) == 12
    counts = {name: found.pop(name) for name in list(found) if not found[name].is_floating_point()}
    assert [count.item() for count in counts.values()] == [12]  # batches that BatchNorm has seen
    for name, tensor in found.items():
        average = states[0][name]
        for t, state in enumerate(states[1:], 2):
            share = min(0.4, (t - 1) / (t + 8))  # in force from the eighth update on
            average = share * average + (1 - share) * state[name]
        torch.testing.assert_close(tensor, average, rtol=1e-4, atol=1e-6)
        assert not torch.equal(tensor, states[-1][name])


def test_decay_of_next_to_nothing_is_no_average(problem):
    plain, nothing, average = (trained(problem[0], average=decay) for decay in (0.0, 1e-30, 0.9))
    assert all(torch.equal(plain[name], tensor) for name, tensor in nothing.items())
    assert not torch.equal(plain["head.weight"], average["head.weight"])


def test_evaluation_prints_mean_and_spread():
    assert str(Evaluation([0.5, 0.7], [0.25, 0.25])) == "network 60.0 ± 14.1 %, KRR 25.0 ± 0.0 % (n = 2)"


# -- CutMix ------------------------------------------------------------------------------------------------------------


def mixed_batch(recipe: TrainingRecipe, seed: int):
    """A batch of six images with their soft labels, mixed; and what the rectangles say that it was mixed of."""
    images = torch.arange(6.0).view(6, 1, 1, 1).expand(6, 1, 8, 8)
    labels = torch.randn(6, 3, generator=seeded(0))
    mixed, targets = recipe.mixed(images, labels, seeded(seed))
    own = mixed == images
    share = own[:, 0].float().mean((1, 2))
    others = torch.where(own, torch.nan, mixed).flatten(1).nanmean(1)
    return labels, targets, share, others


@pytest.mark.parametrize("loss", ["mse", "soft-cross-entropy"])
def test_gradient_on_a_mixed_batch_is_that_of_both_images_by_their_areas(loss):
    recipe = TrainingRecipe(cutmix=1.0, augment=False, loss=loss)
    mixed_images = 0
    for seed in range(5):
        labels, targets, share, others = mixed_batch(recipe, seed)
        logits = torch.randn(6, 3, generator=seeded(1)).requires_grad_(True)
        (found,) = torch.autograd.grad(recipe.losses(logits, targets).sum(), logits)
        for i, other in enumerate(others):
            partner = i if torch.isnan(other) else int(other)  # an image may be its own partner
            area = share[~torch.isnan(others)].mean()  # that of the rectangle is the same for all
            of_partner = recipe.losses(logits, labels[partner].expand(6, 3))[i]
            both = area * recipe.losses(logits, labels)[i] + (1 - area) * of_partner
            (expected,) = torch.autograd.grad(both, logits)
            torch.testing.assert_close(found[i], expected[i], rtol=1e-4, atol=1e-5)
            mixed_images += partner != i
    assert mixed_images > 10


def test_as_many_batches_are_mixed_as_cutmix_says():
    recipe = TrainingRecipe(cutmix=0.25, augment=False)
    images, labels, generator = torch.rand(4, 1, 8, 8, generator=seeded(0)), torch.eye(4), seeded(1)
    mixed = sum(recipe.mixed(images, labels, generator)[1] is not labels for _ in range(400))
    assert 70 <= mixed <= 130
    before = generator.get_state()
    TrainingRecipe(augment=False).mixed(images, labels, generator)
    assert torch.equal(generator.get_state(), before)  # without it nothing is drawn


def test_networks_are_trained_on_mixed_batches(problem):
    assert not torch.equal(trained(problem[0])["head.weight"], trained(problem[0], cutmix=1.0)["head.weight"])

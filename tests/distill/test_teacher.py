"""Real images with a teacher's labels: which probabilities they stand for, and that its training is kept."""

import pytest
import torch

from distill import EncodedSet, HerdingTeacher, InputError, Random, RandomTeacher, TrainingRecipe
from distill.distillers.run import Run
from distill.distillers.teacher import labels_of_teacher
from distill.distillers.trained_network import TrainsNetwork
from distill.preprocess import Standardize

TINY = {"steps": 30, "learning_rate": 1e-2, "batch_size": 20, "width": 4, "depth": 2}
TEACHER = RandomTeacher(**TINY)


@pytest.fixture
def data(make_images):
    """Images of two of four classes."""
    images = make_images((12, 0, 12, 0))
    return Standardize.fit(images).apply(images)


@pytest.mark.parametrize(("softness", "temperature"), [(1.0, 0.1), (4.0, 0.1), (0.5, 1.0)])
def test_labels_stand_for_the_probabilities_of_the_teacher(softness, temperature):
    logits = 5 * torch.randn(20, 6, generator=torch.Generator().manual_seed(0))
    present = torch.tensor([1, 2, 5])
    labels = labels_of_teacher(logits, present, softness=softness, temperature=temperature)
    expected = torch.zeros(20, 6)
    expected[:, present] = (logits[:, present] / softness).softmax(1)
    torch.testing.assert_close((labels / temperature).softmax(1), expected, rtol=1e-4, atol=1e-6)
    assert (labels / temperature).softmax(1)[:, [0, 3, 4]].eq(0).all()
    torch.testing.assert_close(labels[:, present].mean(1), torch.zeros(20), rtol=0, atol=1e-5)
    assert len(torch.unique(labels[:, [0, 3, 4]])) == 1


def test_a_recipe_trains_towards_the_probabilities_of_the_teacher(data):
    synthetic = TEACHER.distill(data, images_per_class=5)
    teacher = TEACHER.trained(data, Run(images_per_class=5))
    with torch.no_grad():
        logits = teacher(synthetic.images)[:, [0, 2]]
    guess = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    expected = -(logits.softmax(1) * guess.log_softmax(1)[:, [0, 2]]).sum(1)
    recipe = TrainingRecipe(loss="soft-cross-entropy")
    torch.testing.assert_close(recipe.losses(guess, synthetic.labels), expected, rtol=1e-4, atol=1e-5)


def test_a_teacher_of_random_images_has_the_images_of_random_choice(data):
    teacher, random = (each.distill(data, images_per_class=5, seed=3) for each in (TEACHER, Random()))
    assert torch.equal(teacher.images, random.images)
    assert teacher.made_by["started_from"] == random.made_by["started_from"]
    assert not torch.allclose(teacher.labels, random.labels)


def test_a_softer_teacher_has_the_same_images_and_labels_nearer_to_each_other(data):
    one, softer = (TEACHER.with_options(softness=softness).distill(data, images_per_class=5) for softness in (1.0, 4.0))
    assert torch.equal(one.images, softer.images)
    torch.testing.assert_close(softer.labels[:, [0, 2]], one.labels[:, [0, 2]] / 4)


def test_a_teacher_is_trained_on_augmented_images(data):
    class Plain(RandomTeacher):
        augments = False

    labels = [each.distill(data, images_per_class=5).labels for each in (TEACHER, Plain(**TINY))]
    assert not torch.allclose(*labels)


def test_a_store_keeps_one_teacher_for_sets_of_any_size_choice_and_softness(tmp_path, data, monkeypatch):
    expected = HerdingTeacher(**TINY, softness=2.0).distill(data, images_per_class=3)
    trained, train = [], TrainsNetwork._train
    monkeypatch.setattr(TrainsNetwork, "_train", lambda self, *given: trained.append(1) or train(self, *given))
    for count in (2, 5):
        TEACHER.distill(data, images_per_class=count, store=tmp_path)
    found = HerdingTeacher(**TINY, softness=2.0).distill(data, images_per_class=3, store=tmp_path)
    assert torch.equal(found.images, expected.images)
    assert torch.equal(found.labels, expected.labels)
    assert trained == [1]
    with pytest.raises(InputError, match=r"network-teacher-seed-0.safetensors .* \(width was 4, now 8\)"):
        TEACHER.with_options(width=8).distill(data, store=tmp_path)


def test_labels_of_a_teacher_keep_their_probabilities_in_8_bits(data):
    synthetic = TEACHER.distill(data, images_per_class=5)
    decoded = EncodedSet.encode(synthetic, codec="uint8", labels="uint8").decode()
    one, other = ((labels / TEACHER.temperature).softmax(1) for labels in (synthetic.labels, decoded.labels))
    assert float((one - other).abs().max()) < 0.02


def test_a_teacher_that_diverges_is_an_input_error(data):
    with pytest.raises(InputError, match=r"network of random-teacher diverged \(NaN\); lower learning_rate \(it is 1e"):
        TEACHER.with_options(learning_rate=1e30).distill(data, images_per_class=2)


@pytest.mark.parametrize("name", ["softness", "temperature"])
def test_options_that_make_no_sense_are_refused(name):
    with pytest.raises(InputError, match=rf"{name} is 0.0; expected more than 0"):
        RandomTeacher(**{name: 0.0})

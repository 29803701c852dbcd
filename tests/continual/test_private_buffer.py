"""A buffer of privately distilled images: what it says was spent, and what it refuses."""

from dataclasses import replace

import pytest
import torch
from avalanche.benchmarks.scenarios.online import split_online_stream

from continual import DistilledBuffer, GDumb
from continual.items import read_items
from distill import NDPDC, Identity, InputError, NoisyMeans, Random
from tiny_streams import CLASSES, C, SpyRecipe, images, labelled_dataset, linear, silent, stream

MEANS = NoisyMeans(noise_multiplier=5.0, frequencies=4)


def of_classes(*class_ids: int, seed: int = 0):
    return images(labels=torch.tensor(class_ids * 4), seed=seed)


def buffer_of(*parts, distiller=MEANS, **options) -> DistilledBuffer:
    policy = DistilledBuffer(distiller, images_per_class=2, classes=CLASSES, preprocessing=Identity(), **options)
    for experience in stream(*parts):
        policy.post_adapt(None, experience)
    return policy


def test_experiences_of_other_classes_compose_in_parallel():
    once = buffer_of(of_classes(0, 1)).ledger
    several = buffer_of(of_classes(0, 1), of_classes(2, 3), of_classes(4, 5)).ledger
    assert len(several.spent) == 3
    assert several.epsilon == once.epsilon


def test_class_that_comes_back_is_paid_for_again():
    once = buffer_of(of_classes(0, 1)).ledger
    again = buffer_of(of_classes(0, 1), of_classes(2, 3), of_classes(1, 4, seed=1), returning="replace").ledger
    assert again.epsilon > 1.3 * once.epsilon
    assert again == sum_of(again)


def sum_of(ledger):
    """The same ledger, read again from what it is written as."""
    return type(ledger).from_json(ledger.as_json())


def test_what_was_dropped_stays_spent():
    policy = buffer_of(of_classes(0, 1), of_classes(2, 3))
    before = policy.ledger
    policy.resize(None, 4)
    assert len(policy.buffer) == 4
    assert policy.ledger == before


def test_ledger_of_the_buffer_is_that_of_its_set():
    policy = buffer_of(of_classes(0, 1), of_classes(2, 3))
    assert policy.synthetic.ledger == policy.ledger


def test_no_two_parts_share_their_noise(monkeypatch):
    """Of experiences, and of classes that are asked for different numbers of images: from the difference of two sums
    with the same noise, it could be taken off."""
    seeds = []

    def recorded(self, run, purpose, original=NoisyMeans.stream):
        seeds.append(run.seed)
        return original(self, run, purpose)

    monkeypatch.setattr(NoisyMeans, "stream", recorded)
    one_for_two_slots = images(labels=torch.tensor([2, 2, 2, 3]))
    buffer_of(of_classes(0, 1), one_for_two_slots)
    assert len(seeds) == len(set(seeds)) == 3


def test_tasks_and_numbers_of_images_share_no_noise_either(monkeypatch):
    seeds = []

    def recorded(self, run, purpose, original=NoisyMeans.stream):
        seeds.append(run.seed)
        return original(self, run, purpose)

    monkeypatch.setattr(NoisyMeans, "stream", recorded)
    given = images(labels=torch.tensor([0, 1] * 8))
    items = replace(read_items(labelled_dataset(given.images, given.labels)), tasks=torch.tensor([0] * 8 + [1] * 8))
    asked = {(0, 0): 2, (0, 1): 1, (1, 0): 2, (1, 1): 1}
    buffer_of().distilling.deliver(
        MEANS, items, asked, classes=CLASSES, index=0, delivery=0, keep=False, transform=None
    )
    assert len(seeds) == len(set(seeds)) == 4


def test_preprocessing_that_is_not_named_is_refused():
    with pytest.raises(InputError, match="noisy-means has to know what the images of the stream went through"):
        DistilledBuffer(MEANS, classes=CLASSES)


def test_buffer_of_real_images_has_no_ledger():
    assert buffer_of(of_classes(0, 1), distiller=Random()).ledger is None
    assert DistilledBuffer(MEANS, classes=CLASSES, preprocessing=Identity()).ledger is None


def test_gdumb_trains_on_the_private_buffer_alone():
    policy = DistilledBuffer(MEANS, preprocessing=Identity(), images_per_class=2, classes=CLASSES)
    recipe = SpyRecipe(network="conv", train_steps=2, width=4, depth=1, augment=False)
    strategy = GDumb(model=linear(), storage_policy=policy, recipe=recipe, evaluator=silent())
    for experience in stream(of_classes(0, 1), of_classes(2, 3)):
        strategy.train(experience)
    assert policy.ledger.epsilon > 0
    assert len(policy.buffer) == 8


def test_bytes_and_collected_experiences_are_refused():
    with pytest.raises(InputError, match=r"memory_bytes was given with noisy-means: .* measured on real ones"):
        DistilledBuffer(MEANS, preprocessing=Identity(), memory_bytes=10_000, num_classes=C)
    policy = DistilledBuffer(NDPDC(width=4), preprocessing=Identity(), images_per_class=2, classes=CLASSES)
    online = split_online_stream(stream(images()), experience_size=20, access_task_boundaries=True)
    with pytest.raises(InputError, match=r"ndpdc cannot distil the sub-experiences .* would hold real images"):
        policy.post_adapt(None, next(iter(online)))

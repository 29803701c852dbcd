"""What a buffer of so many bytes must do, with every codec. Add a codec or a buffer, get its tests free."""

import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import torch
from avalanche.training.storage_policy import ClassBalancedBuffer, ReservoirSamplingBuffer

from continual import DistilledBuffer, EncodedBuffer, class_incremental
from distill import Distiller, Random, Standardize, SyntheticSet
from distill.sets.synthetic import initial_labels
from smooth_images import smooth

C, STEPS, OF_EACH = 6, 3, 60
PREPROCESSING = Standardize(torch.tensor([0.5, 0.4, 0.3]), torch.tensor([0.2, 0.3, 0.4]))


@dataclass(frozen=True, kw_only=True)
class Noisy(Distiller):
    """Images that take more bytes than real ones, as distilled ones do, with soft labels."""

    method = "noisy"

    def _distill(self, data, run) -> SyntheticSet:
        rows = torch.cat([torch.nonzero(data.labels == c).squeeze(1)[: run.images_per_class]
                          for c in torch.unique(data.labels)])  # fmt: skip
        images = data.images[rows] + 0.1 * torch.randn(data.images[rows].shape, generator=run.generator(0))
        labels = initial_labels(data.labels[rows], data.num_classes) + 0.01 * images.mean((1, 2, 3)).unsqueeze(1)
        return SyntheticSet(images, labels, data.labels[rows], data.classes, data.preprocessing, {"method": "noisy"})


def grown(seen: int) -> float:
    """The part of the bytes that classes may fill that have a place each from the start."""
    return seen / C


def at_once(seen: int) -> float:
    return 1.0


def distilled(**options: Any) -> Callable[..., DistilledBuffer]:
    return lambda **given: DistilledBuffer(num_classes=C, preprocessing=PREPROCESSING, **options, **given)


def encoded(policy: Callable) -> Callable[..., EncodedBuffer]:
    return lambda **given: EncodedBuffer(policy=policy(), num_classes=C, preprocessing=PREPROCESSING, **given)


BUFFERS = {
    "learned": (distilled(distiller=Noisy()), grown),
    "learned, adaptive": (distilled(distiller=Noisy(), adaptive=True), at_once),
    "random": (distilled(distiller=Random()), grown),
    "random, adaptive": (distilled(distiller=Random(), adaptive=True), at_once),
    "class-balanced": (encoded(lambda: ClassBalancedBuffer(1)), at_once),
    "class-balanced from the start": (
        encoded(lambda: ClassBalancedBuffer(C, adaptive_size=False, total_num_classes=C)), grown
    ),
    "reservoir": (encoded(lambda: ReservoirSamplingBuffer(1)), at_once),
}  # fmt: skip
# By codec, bytes in which each class has room for 8 images or more, but not for all.
CODECS = {
    "float32": 27_000,
    "float16": 14_000,
    "uint8": 8_000,
    "uint8:scaled": 8_000,
    "webp:50": 1_500,
    "jpeg:75:scaled": 2_500,
    "lowres:2": 2_500,
    "lowres:2+webp:50": 1_000,
    "mosaic:webp:50": 1_000,
}
LABELS = ["hard", "uint8", "float16", "float32"]


@cache
def experiences() -> list:
    data = smooth(OF_EACH * C, num_classes=C, preprocessing=PREPROCESSING)
    return list(class_incremental(data, data, steps=STEPS).train_stream)


@pytest.fixture(params=BUFFERS)
def kind(request):
    return BUFFERS[request.param]


@pytest.mark.parametrize("codec", CODECS)
def test_bytes_stay_within_the_memory_and_are_used(kind, codec):
    make, part = kind
    memory_bytes = CODECS[codec] * C
    policy = make(codec=codec, memory_bytes=memory_bytes, labels="uint8")
    for k, experience in enumerate(experiences()):
        policy.post_adapt(None, experience)
        seen = 2 * (k + 1)
        allowed = part(seen) * memory_bytes
        assert policy.nbytes <= allowed
        counts = Counter(map(int, policy.buffer.targets))
        assert len(counts) == seen
        # A learned image that takes more bytes than a real one leaves room for a part of one of each class.
        if len(policy.buffer) < OF_EACH * seen:
            assert policy.nbytes >= allowed * 0.8 or min(counts.values()) <= 8


@pytest.mark.slow
@pytest.mark.parametrize("labels", LABELS)
def test_every_label_codec(kind, labels):
    make, part = kind
    policy = make(codec="webp:50", memory_bytes=2000 * C, labels=labels)
    for k, experience in enumerate(experiences()):
        policy.post_adapt(None, experience)
        assert policy.nbytes <= part(2 * (k + 1)) * 2000 * C
    assert all(len(soft) == C for soft in policy.buffer.soft_labels)


def test_pickled_buffers_go_on_where_they_were(kind):
    make, _ = kind
    policy = make(codec="webp:50", memory_bytes=1500 * C)
    first, second, _ = experiences()
    policy.post_adapt(None, first)
    held = policy.buffer
    again = pickle.loads(pickle.dumps(policy))
    assert again.nbytes == policy.nbytes
    assert all(torch.equal(one[0], other[0]) for one, other in zip(held.eval(), again.buffer.eval(), strict=True))
    torch.manual_seed(0)
    policy.post_adapt(None, second)
    torch.manual_seed(0)
    again.post_adapt(None, second)
    pairs = zip(policy.buffer.eval(), again.buffer.eval(), strict=True)
    assert all(torch.equal(one[0], other[0]) for one, other in pairs)


def test_smaller_by_images_and_then_by_bytes(kind):
    make, _ = kind
    policy = make(codec="uint8", memory_bytes=8000 * C)
    first, second, _ = experiences()
    policy.post_adapt(None, first)
    policy.resize(None, 6)
    assert policy.max_size == 6
    assert len(policy.buffer) <= 6
    policy.post_adapt(None, second)
    assert 0 < len(policy.buffer) <= 6
    assert policy.nbytes <= 8000 * C

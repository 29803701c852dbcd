"""Buffers of so many bytes: what is kept, what is dropped, and what is refused."""

import gc
import pickle
import re
import tracemalloc
import weakref
from collections import Counter

import pytest
import torch
from avalanche.benchmarks import benchmark_from_datasets
from avalanche.benchmarks.utils import as_classification_dataset
from avalanche.training.storage_policy import (
    ClassBalancedBuffer,
    HerdingSelectionStrategy,
    ParametricBuffer,
    ReservoirSamplingBuffer,
)
from avalanche.training.templates import SupervisedTemplate
from torch import nn

from continual import DistilledBuffer, EncodedBuffer, GDumb, class_incremental
from continual.byte_budget import ByteBudget, ImageSize, most_that_fits
from continual.scenario import labelled_dataset
from distill import FRePo, Identity, InputError, PreprocessedImages, Random, Standardize
from distill.training.quality_order import quality_order
from smooth_images import smooth
from tiny_streams import C, First, images, silent, stream

IMAGE = 4 * 16 + 1  # bytes of a float32 image of 4x4, its class id among others


def fed(policy, *parts: PreprocessedImages):
    for experience in stream(*parts):
        policy.post_adapt(None, experience)
    return policy


def counts(policy) -> list[int]:
    return sorted(Counter(map(int, policy.buffer.targets)).values())


# -- DistilledBuffer ---------------------------------------------------------------------------------------------------


def test_float32_gives_the_images_and_labels_as_they_were_distilled() -> None:
    distiller = First()
    policy = fed(DistilledBuffer(distiller, images_per_class=3, num_classes=C), images())
    asked = distiller.distill(images(), images_per_class=3)
    assert policy.synthetic is not None
    assert torch.equal(policy.synthetic.images, asked.images)
    assert torch.equal(policy.synthetic.labels, asked.labels)
    assert policy.nbytes == pytest.approx(18 * 4 * (16 + C), rel=0.05)


def test_bytes_for_all_images_give_what_no_limit_gives() -> None:
    benchmark = class_incremental(images(), images(12), steps=3)
    free = DistilledBuffer(Random(), images_per_class=4, num_classes=C)
    limited = DistilledBuffer(Random(), images_per_class=4, num_classes=C, memory_bytes=10**6)
    for experience in benchmark.train_stream:
        free.post_adapt(None, experience)
        limited.post_adapt(None, experience)
    assert free.synthetic is not None
    assert limited.synthetic is not None
    assert torch.equal(free.synthetic.images, limited.synthetic.images)
    assert torch.equal(free.synthetic.labels, limited.synthetic.labels)


def test_every_class_has_its_bytes_from_the_start_or_all_share_them() -> None:
    parts = [images(labels=torch.tensor([a, b] * 30), seed=a) for a, b in ((0, 1), (2, 3), (4, 5))]
    memory_bytes = C * (4 * IMAGE + 30)
    fixed = DistilledBuffer(Random(), memory_bytes=memory_bytes, labels="hard", num_classes=C)
    shared = DistilledBuffer(Random(), memory_bytes=memory_bytes, labels="hard", num_classes=C, adaptive=True)
    grown = []
    for part in parts:
        fed(fixed, part)
        fed(shared, part)
        grown.append((counts(fixed), counts(shared)))
    assert [fixed for fixed, _ in grown] == [[4] * 2, [4] * 4, [4] * 6]
    assert [sum(shared) for _, shared in grown] == [26, 26, 26]
    assert all(max(shared) - min(shared) <= 1 for _, shared in grown)


def test_more_groups_than_classes_share_the_bytes() -> None:
    """As with `class_ids_from_zero_in_each_exp`: the same class ids in every task."""
    parts = [images(labels=torch.tensor([0, 1] * 30), seed=k) for k in range(3)]
    tasks = [labelled_dataset(part.images, part.labels, task_label=k) for k, part in enumerate(parts)]
    policy = DistilledBuffer(Random(), memory_bytes=20 * IMAGE, labels="hard", num_classes=2)
    sizes = []
    for experience in benchmark_from_datasets(train=tasks).train_stream:
        policy.post_adapt(None, experience)
        assert policy.nbytes <= 20 * IMAGE
        sizes.append(sorted(Counter(policy.buffer.targets_task_labels).values()))
    assert [len(size) for size in sizes] == [1, 2, 3]
    assert all(max(size) - min(size) <= 2 for size in sizes)


def test_real_images_are_dropped_from_the_end_of_their_order() -> None:
    data = smooth(240, num_classes=2, seed=1)
    few = DistilledBuffer(Random(), memory_bytes=3000, codec="webp:50", labels="hard", num_classes=2)
    many = DistilledBuffer(Random(), memory_bytes=6000, codec="webp:50", labels="hard", num_classes=2)
    for policy in (few, many):
        fed(policy, data)
        assert policy.nbytes > 0.95 * policy.memory_bytes
    assert few.synthetic is not None
    assert many.synthetic is not None
    for c in range(2):
        kept = few.synthetic.images[few.synthetic.class_ids == c]
        assert torch.equal(kept, many.synthetic.images[many.synthetic.class_ids == c][: len(kept)])


def test_learned_images_are_dropped_in_the_order_of_their_quality() -> None:
    data = images(120)
    distiller = First()
    policy = DistilledBuffer(distiller, memory_bytes=C * 10 * (4 * 16 + 4 * C + 2) + 100, num_classes=C)
    fed(policy, data)
    assert set(counts(policy)) == {10}
    made = distiller.distill(data, images_per_class=10)
    best = made.subset(quality_order(made, data, seed=distiller.shown[0]["seed"]))
    policy.resize(None, 3 * C)
    assert policy.synthetic is not None
    for c in range(C):
        kept = policy.synthetic.images[policy.synthetic.class_ids == c]
        assert torch.equal(kept, best.images[best.class_ids == c][:3])


def test_one_distillation_serves_many_codecs(tmp_path) -> None:
    data = smooth(240, num_classes=C)
    results = {}
    for codec in ("float32", "uint8", "mosaic:webp:50"):
        distiller = First()
        policy = DistilledBuffer(distiller, images_per_class=10, codec=codec, num_classes=C, store=tmp_path)
        results[codec] = fed(policy, data).synthetic
        assert bool(distiller.shown) == (codec == "float32")
    assert results["uint8"].made_by["parts"][0]["codec"] == "uint8"
    assert torch.allclose(results["float32"].images, results["uint8"].images, atol=0.51 / 255)
    assert not torch.equal(results["float32"].images, results["uint8"].images)


def test_a_run_that_was_stopped_resumes_in_the_same_images(tmp_path) -> None:
    data = smooth(120, num_classes=C)
    options = {"memory_bytes": 700 * C, "codec": "webp:50", "labels": "uint8", "num_classes": C, "store": tmp_path}
    frepo = FRePo(steps=2, width=4, depth=2, batch_size=20, pool_size=2)
    made = [fed(DistilledBuffer(frepo, **options), data).synthetic for _ in range(2)]
    assert torch.equal(made[0].images, made[1].images)
    assert torch.equal(made[0].labels, made[1].labels)


def test_fields_stay_with_the_image_that_started_from_their_item() -> None:
    """Also when images are put in order."""

    class Rowed(torch.utils.data.Dataset):
        targets = (torch.arange(60) % 2).tolist()

        def __getitem__(self, index: int):
            return data.images[index], self.targets[index], index

        def __len__(self) -> int:
            return len(self.targets)

    data = images(60, labels=torch.arange(60) % 2)
    frepo = FRePo(steps=1, width=4, depth=1, batch_size=20, pool_size=2, learning_rate=1e-9)
    policy = DistilledBuffer(frepo, memory_bytes=2 * 10 * 80, num_classes=2)
    experience = benchmark_from_datasets(train=[as_classification_dataset(Rowed())]).train_stream[0]
    policy.post_adapt(None, experience)
    for image, _, row, *_ in policy.buffer:
        assert torch.allclose(image, data.images[row], atol=1e-4)


# -- EncodedBuffer -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy_of", [
    lambda n: ClassBalancedBuffer(n),
    lambda n: ReservoirSamplingBuffer(n),
    lambda n: ClassBalancedBuffer(n, adaptive_size=False, total_num_classes=C),
])  # fmt: skip
def test_float32_keeps_what_avalanche_keeps(policy_of) -> None:
    parts = [images(labels=torch.tensor([a, b] * 30), seed=a) for a, b in ((0, 1), (2, 3), (4, 5))]
    kept = []
    for policy in (
        policy_of(24),
        EncodedBuffer(policy=policy_of(1), memory_bytes=24 * 64 + 60, codec="float32", num_classes=C),
    ):
        torch.manual_seed(0)
        fed(policy, *parts)
        kept.append(policy.buffer)
    assert [len(buffer) for buffer in kept] == [24, 24]
    assert list(map(int, kept[0].targets)) == list(map(int, kept[1].targets))
    assert all(torch.equal(one[0], other[0]) for one, other in zip(*kept, strict=True))


class Features(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Sequential(nn.Flatten(), nn.Linear(16, 8)), nn.Linear(8, C)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.features(images))


def test_float32_herds_what_avalanche_herds() -> None:
    parts = [images(labels=torch.tensor([a, b] * 30), seed=a) for a, b in ((0, 1), (2, 3), (4, 5))]
    torch.manual_seed(0)
    model = Features()
    strategy = SupervisedTemplate(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    herding = HerdingSelectionStrategy(model, "features")
    stock = ParametricBuffer(24, groupby="class", selection_strategy=herding)
    inner = ParametricBuffer(1, groupby="class", selection_strategy=herding)
    ours = EncodedBuffer(policy=inner, memory_bytes=24 * 64 + 60, codec="float32", num_classes=C)
    for experience in stream(*parts):
        stock.post_adapt(strategy, experience)
        ours.post_adapt(strategy, experience)
    assert len(ours.buffer) == 24
    assert all(torch.equal(one[0], other[0]) for one, other in zip(stock.buffer, ours.buffer, strict=True))


def test_images_are_encoded_once() -> None:
    """Those that stay are the same to the last bit, however often the buffer has changed."""
    parts = [smooth(60, num_classes=2, seed=k) for k in range(4)]
    policy = EncodedBuffer(policy=ReservoirSamplingBuffer(1), memory_bytes=4000, codec="jpeg:50", num_classes=2)
    seen: set[bytes] = set()
    fresh = []
    for part in parts:
        fed(policy, part)
        now = {image.numpy().tobytes() for image, *_ in policy.buffer}
        fresh.append(len(now - seen))
        seen |= now
    assert len(policy.buffer) > 15
    assert sum(fresh[1:]) < 2 * len(policy.buffer)
    assert fresh[-1] < len(policy.buffer)


def test_herding_sees_decoded_images_and_nothing_is_kept_of_them() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, 4))
    strategy = SupervisedTemplate(model=model, optimizer=torch.optim.SGD(model.parameters(), lr=0.1))
    inner = ParametricBuffer(1, groupby="class", selection_strategy=HerdingSelectionStrategy(model, "1"))
    policy = EncodedBuffer(policy=inner, memory_bytes=5000, codec="webp:50", num_classes=2)
    for k in range(3):
        policy.post_adapt(strategy, stream(smooth(60, num_classes=2, seed=k))[0])
    assert policy.nbytes <= 5000
    assert len(inner.buffer) == 0
    assert len(policy.buffer_datasets) == 2
    assert sum(map(len, policy.buffer_datasets)) == len(policy.buffer)


# -- both --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["distilled", "encoded"])
def test_bytes_are_the_memory_that_is_held(kind: str) -> None:
    def made(n: int):
        options = {"codec": "uint8", "labels": "hard", "num_classes": 10, "memory_bytes": 10**8}
        if kind == "distilled":
            policy = DistilledBuffer(Random(), images_per_class=n // 10, **options)
        else:
            policy = EncodedBuffer(policy=ClassBalancedBuffer(1), **options)
        policy.post_adapt(None, stream(smooth(n, num_classes=10, shape=(3, 8, 8)))[0])
        return policy

    made(20)  # what is imported, made once
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        policy = made(10_000)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert len(policy.buffer) == 10_000
    assert held == pytest.approx(policy.nbytes, rel=0.05)
    assert len(pickle.dumps(policy)) == pytest.approx(policy.nbytes, rel=0.05)  # tensors are outside of the trace


def test_nothing_decoded_is_kept() -> None:
    for policy in (
        DistilledBuffer(Random(), images_per_class=3, num_classes=C),
        EncodedBuffer(policy=ClassBalancedBuffer(1), memory_bytes=10_000, codec="float32", num_classes=C),
    ):
        fed(policy, images())
        decoded = policy.buffer
        assert policy.buffer is decoded
        watched = weakref.ref(decoded)
        del decoded
        gc.collect()
        assert watched() is None


def test_gdumb_trains_on_both() -> None:
    data = smooth(120, num_classes=C)
    for policy in (
        DistilledBuffer(Random(), memory_bytes=700 * C, codec="webp:50", num_classes=C),
        EncodedBuffer(policy=ClassBalancedBuffer(1), memory_bytes=700 * C, codec="webp:50"),
    ):
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 256, C))
        strategy = GDumb(model=model, storage_policy=policy, train_steps=2, evaluator=silent())
        for experience in class_incremental(data, data, steps=3).train_stream:
            strategy.train(experience)
        assert len(policy.buffer) > C


def test_what_a_buffer_says_of_itself() -> None:
    policy = DistilledBuffer(Random(), memory_bytes=6000, codec="webp:50", num_classes=C)
    assert repr(policy) == (
        "DistilledBuffer(random: 6000 bytes for all classes; 0 now, in 0 bytes; in training no transform)"
    )
    fed(policy, smooth(60, num_classes=C))
    assert f"; {len(policy.buffer)} now, in {policy.nbytes} bytes; " in repr(policy)
    encoded = EncodedBuffer(policy=ReservoirSamplingBuffer(1), memory_bytes=6000, num_classes=C)
    assert repr(encoded) == (
        "EncodedBuffer(ReservoirSamplingBuffer: 6000 bytes, uint8, labels hard; 0 now, in 0 bytes; in training no "
        "transform)"
    )


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["distilled", "learned", "encoded"])
def test_too_few_bytes_for_one_image_of_each_class(kind: str) -> None:
    distiller = First()
    policy = EncodedBuffer(policy=ClassBalancedBuffer(1), memory_bytes=300, codec="float32", num_classes=C) \
        if kind == "encoded" else \
        DistilledBuffer(Random() if kind == "distilled" else distiller, memory_bytes=300, labels="hard", num_classes=C)
    message = r"memory_bytes is 300 for 6 classes, but an image takes about \d+ bytes as float32 with labels hard; "
    with pytest.raises(InputError, match=message + r"expected at least (\d+), or a codec that takes less") as caught:
        fed(policy, images())
    assert not distiller.shown
    assert len(policy.buffer) == 0
    least = int(str(caught.value).split("at least ")[1].split(",")[0])
    enough = DistilledBuffer(distiller, memory_bytes=least, labels="hard", num_classes=C)
    assert counts(fed(enough, images())) == [1] * C


def test_images_per_class_that_do_not_fit() -> None:
    distiller = First()
    policy = DistilledBuffer(distiller, images_per_class=10, memory_bytes=C * 5 * 70, labels="hard", num_classes=C)
    with pytest.raises(InputError, match=r"60 images of 6 classes do not fit in 2100 bytes, about \d+ do; expected "
                       r"images_per_class of at most 5, none to get what fits, more memory_bytes or another codec"):
        fed(policy, images())
    assert not distiller.shown
    policy = DistilledBuffer(distiller, images_per_class=5, memory_bytes=C * 5 * 70, labels="hard", num_classes=C)
    assert counts(fed(policy, images())) == [5] * C


def test_pixels_that_the_codec_does_not_store() -> None:
    data = smooth(60, num_classes=C, preprocessing=Standardize(torch.full((3,), 0.5), torch.full((3,), 0.25)))
    plain = PreprocessedImages(data.images, data.labels, data.classes, Identity())
    for policy in (
        DistilledBuffer(Random(), images_per_class=2, codec="webp:50", num_classes=C),
        EncodedBuffer(policy=ClassBalancedBuffer(1), memory_bytes=5000, codec="webp:50", num_classes=C),
    ):
        with pytest.raises(InputError, match=r"the pixels of the stream run from -\d\.\d+ to \d\.\d+, but codec "
                           r"webp:50 stores 0 to 1; give preprocessing=, that of the stream's tensors, or a codec"):
            fed(policy, plain)
    for options in ({"codec": "webp:50:scaled"}, {"codec": "webp:50", "preprocessing": data.preprocessing}):
        policy = DistilledBuffer(Random(), images_per_class=2, num_classes=C, **options)
        assert (fed(policy, plain).synthetic.images - data.images[:1]).abs().max() < 4


def test_images_that_the_codec_does_not_take() -> None:
    policy = DistilledBuffer(Random(), images_per_class=2, codec="webp:50", num_classes=C)
    five = smooth(60, num_classes=C, shape=(5, 8, 8))
    with pytest.raises(InputError, match="images have 5 channels"):
        fed(policy, five)


def test_policies_that_encoded_buffer_cannot_use() -> None:
    used = ClassBalancedBuffer(5)
    used.post_adapt(None, stream(images())[0])
    for policy, message in (
        (used, r"policy holds 5 images already; expected a new one"),
        (DistilledBuffer(Random()), r"policy is a DistilledBuffer; expected a policy of Avalanche's own"),
        (5, r"policy is a int; \w+ ExemplarsBuffer: ClassBalancedBuffer\(1\), for example"),
    ):
        with pytest.raises(InputError, match=message):
            EncodedBuffer(policy=policy, memory_bytes=1000)
    with pytest.raises(InputError, match="give EncodedBuffer num_classes or classes"):
        fed(EncodedBuffer(policy=ClassBalancedBuffer(1), memory_bytes=1000), images())


def test_the_most_that_fits() -> None:
    sizes = [0, 3, 3, 10, 12, 40, 41, 42, 90]
    for limit in range(100):
        found = most_that_fits(lambda count: sizes[count], limit, len(sizes) - 1)
        assert found == max(i for i, size in enumerate(sizes) if size <= limit)
    calls: list[int] = []
    most_that_fits(lambda count: calls.append(count) or 100 * count, 123_456, 10_000)
    assert len(calls) < 6


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("exact", [False, True])
def test_memory_that_is_asked_for_is_enough_for_one_image_per_class(learned, exact):
    generator = torch.Generator().manual_seed(0)
    for _ in range(200):
        each, overhead = (100 * torch.rand(2, generator=generator, dtype=torch.float64)).tolist()
        num_classes, new = torch.randint(1, 101, (2,), generator=generator).tolist()
        size = ImageSize(each + 1, overhead, exact)
        with pytest.raises(InputError, match="expected at least") as refused:
            ByteBudget(1, num_classes, adaptive=False).check(size, new, learned=learned, what="bytes")
        enough = int(re.search(r"expected at least (\d+)", str(refused.value))[1])
        ByteBudget(enough, num_classes, adaptive=False).check(size, new, learned=learned, what="bytes")
        fit = [
            ByteBudget(nbytes, num_classes, adaptive=False).images_per_class(size, new, learned=learned)
            for nbytes in (enough - 1, enough)
        ]
        assert fit[0] == 0
        assert fit[1] >= 1

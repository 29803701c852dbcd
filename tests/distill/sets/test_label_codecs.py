"""Labels and class ids as bytes."""

import numpy as np
import pytest
import torch

from distill import InputError
from distill.sets.codecs import LabelCodec, label_codec_of
from distill.sets.codecs.class_ids import decode_class_ids, encode_class_ids
from distill.sets.synthetic import initial_labels

KINDS = ["hard", "uint8", "float16", "float32"]


@pytest.fixture(params=KINDS)
def codec(request) -> LabelCodec:
    return label_codec_of(request.param)


def soft_labels(class_ids: torch.Tensor, num_classes: int, *, seed: int = 0) -> torch.Tensor:
    """Labels as FRePo leaves them: learned in the columns of the classes that are there, alike in all others."""
    labels = initial_labels(class_ids, num_classes)
    present = class_ids.unique()
    drawn = torch.randn(len(class_ids), len(present), generator=torch.Generator().manual_seed(seed))
    labels[:, present] += 0.1 * drawn
    return labels


def test_names_give_the_codec_again(codec):
    assert label_codec_of(codec.spec) == codec
    assert label_codec_of(codec) is codec
    with pytest.raises(InputError, match="labels is 'soft'; expected one of float32, float16, hard, uint8"):
        label_codec_of("soft")


@pytest.mark.parametrize(("count", "num_classes"), [(1, 1), (20, 10), (30, 100), (7, 300), (0, 5)])
def test_round_trip(codec, count, num_classes):
    class_ids = torch.arange(count) % min(10, num_classes) * (num_classes // 10 or 1) % num_classes
    labels = soft_labels(class_ids, num_classes)
    payload = codec.encode(labels, class_ids)
    assert payload == codec.encode(labels.double(), class_ids)
    decoded = codec.decode(payload, class_ids, num_classes)
    assert decoded.dtype == torch.float32
    assert decoded.shape == labels.shape
    if codec.kind == "hard":
        wanted = initial_labels(class_ids, num_classes)
    elif codec.kind == "float16":
        wanted = labels.half().float()
    else:
        wanted = labels
    spread = (labels.amax(1) - labels.amin(1)).max() if count else 0
    tolerance = float(spread) / 255 * 0.51 + 5e-4 if codec.kind == "uint8" else 0
    torch.testing.assert_close(decoded, wanted, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("kind", "bytes_an_image", "more"),
    [("hard", 0, 0), ("uint8", 6 + 10, 4 + 10), ("float16", 200, 0), ("float32", 400, 0)],
)
def test_sizes(kind, bytes_an_image, more):
    class_ids = torch.arange(200) % 10 + 30
    payload = label_codec_of(kind).encode(soft_labels(class_ids, 100), class_ids)
    assert len(payload) == 200 * bytes_an_image + more + 4


def test_subset_is_not_rounded_again(codec):
    class_ids = torch.arange(30) // 3
    labels = soft_labels(class_ids, 20)
    payload = codec.encode(labels, class_ids)
    whole = codec.decode(payload, class_ids, 20)
    for rows in ([0, 1, 2], [29, 3, 3], [-1], [], class_ids == 4):
        rows = torch.as_tensor(rows, dtype=None if len(rows) else torch.int64)
        picked = codec.subset(payload, 30, 20, rows)
        assert torch.equal(codec.decode(picked, class_ids[rows], 20), whole[rows])
    with pytest.raises(InputError, match="indices run from 30 to 30"):
        codec.subset(payload, 30, 20, [30])


def test_8_bits_keep_the_columns_of_a_step_in_its_classes():
    class_ids = torch.arange(20) // 2
    labels = soft_labels(class_ids, 100)
    codec = label_codec_of("uint8")
    of_a_class = codec.subset(codec.encode(labels, class_ids), 20, 100, [0, 1])
    assert torch.allclose(codec.decode(of_a_class, class_ids[:2], 100), labels[:2], atol=0.02)


def test_8_bits_give_other_columns_their_mean():
    class_ids = torch.tensor([0, 1])
    labels = torch.tensor([[1.0, 0.0, 0.25, 0.5, 0.75], [0.0, 1.0, -1.0, -1.0, -1.0]])
    codec = label_codec_of("uint8")
    decoded = codec.decode(codec.encode(labels, class_ids), class_ids, 5)
    assert torch.allclose(decoded, torch.tensor([[1, 0, 0.5, 0.5, 0.5], [0, 1, -1, -1, -1]]), atol=2e-3)


@pytest.mark.parametrize("values", [[3.0, 3.0], [1e-7, 0.0], [6e4, -6e4], [-0.1, -0.1001]])
def test_8_bits_of_odd_values(values):
    labels, class_ids = torch.tensor([values, values]), torch.tensor([0, 1])
    codec = label_codec_of("uint8")
    decoded = codec.decode(codec.encode(labels, class_ids), class_ids, 2)
    spread = max(values) - min(values)
    assert float((decoded - labels).abs().max()) <= 0.51 * spread / 255 + 1e-3 * max(map(abs, values)) + 1e-7


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (torch.zeros(2, 5), r"labels are torch.float32 of shape \(2, 5\); expected floats \(3, classes\)"),
        (torch.zeros(3), "of shape"),
        (torch.zeros(3, 5, dtype=torch.int64), "labels are torch.int64"),
        (torch.full((3, 5), torch.nan), "NaN or infinite"),
    ],
)
def test_what_is_no_labels(codec, labels, message):
    with pytest.raises(InputError, match=message):
        codec.encode(labels, torch.tensor([0, 1, 2]))


@pytest.mark.parametrize("kind", ["uint8", "float16"])
def test_labels_too_large_for_16_bits(kind):
    with pytest.raises(InputError, match="labels reach 100000, too large for 16 bits"):
        label_codec_of(kind).encode(torch.full((1, 2), 1e5), torch.tensor([0]))


def test_damage_of_any_byte_is_found(codec):
    class_ids = torch.tensor([0, 0, 2])
    payload = codec.encode(soft_labels(class_ids, 4), class_ids)
    for place in range(len(payload)):
        damaged = bytearray(payload)
        damaged[place] ^= 1 << place % 8
        with pytest.raises(InputError, match="damaged"):
            codec.decode(bytes(damaged), class_ids, 4)
    for other in (payload[:-1], b"", payload + b"\0"):
        with pytest.raises(InputError, match="damaged"):
            codec.subset(other, 3, 4, [0])
    with pytest.raises(InputError, match="was not encoded as"):
        codec.decode(payload, class_ids, 5)


# -- class ids ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ids", "num_classes", "size"),
    [
        ([], 10, 0),
        ([7] * 500, 10, 3),
        ([0, 1, 0, 1], 10, 4),
        (list(range(256)), 256, 256),
        (list(range(256)), 257, 512),
        ([0, 99_999] * 5, 100_000, 40),
        ([1] * 70_000, 2, 70_000),
        (np.repeat(np.arange(10), 20).tolist(), 100, 30),
    ],
)
def test_class_ids(ids, num_classes, size):
    given = torch.tensor(ids, dtype=torch.int64)
    payload = encode_class_ids(given, num_classes)
    assert len(payload) == size + 5
    assert torch.equal(decode_class_ids(payload, len(ids), num_classes), given)
    with pytest.raises(InputError, match="damaged"):
        decode_class_ids(payload, len(ids) + 1, num_classes)

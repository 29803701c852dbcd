"""What every image codec must do, and sets that it encodes. Add a codec to `CODECS`, get its tests free."""

import gc
import tracemalloc

import numpy as np
import pytest
import torch
from torch.nn import functional

from distill import Identity, InputError, Preprocessing, Standardize, SyntheticSet
from distill.sets.codecs import EncodedSet, ImageCodec, codec_of, coded
from distill.sets.synthetic import initial_labels

# The mean error in pixels that each codec is allowed on smooth images with little noise.
CODECS = {
    "float32": 0.0,
    "float16": 3e-4,
    "uint8": 0.5 / 255,
    "uint8:scaled": 0.5 / 255,
    "webp:90": 0.03,
    "webp:50": 0.05,
    "webp:50:scaled": 0.05,
    "jpeg:75": 0.05,
    "jpeg:75:scaled": 0.05,
    "avif:60": 0.05,
    "avif:60:scaled": 0.05,
    "lowres:2": 0.06,
    "lowres:2+float32": 0.06,
    "lowres:2+webp:75": 0.07,
    "lowres:3+jpeg:90": 0.09,
    "mosaic:webp:75": 0.05,
    "mosaic:jpeg:75": 0.05,
    "mosaic:avif:60": 0.05,
    "lowres:2+mosaic:webp:75": 0.07,
}
NOTHING_DONE = Identity()
SHAPES = [(5, 1, 8, 8), (1, 3, 32, 32), (30, 3, 16, 16), (3, 3, 24, 40), (4, 1, 9, 13)]


@pytest.fixture(params=CODECS)
def codec(request) -> ImageCodec:
    return codec_of(request.param)


def smooth_images(shape: tuple[int, ...], *, seed: int = 0) -> torch.Tensor:
    """Images in [0.1, 0.9] that vary slowly, with little noise: what codecs are made for."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((*shape[:2], 2, 2), generator=generator)
    images = functional.interpolate(coarse, shape[2:], mode="bilinear", align_corners=True)
    return 0.1 + 0.78 * images + 0.02 * torch.rand(shape, generator=generator)


def made(
    images: torch.Tensor, *, num_classes: int = 3, preprocessing: Preprocessing = NOTHING_DONE
) -> SyntheticSet:
    class_ids = torch.arange(len(images)) * num_classes // max(len(images), 1)
    labels = initial_labels(class_ids, num_classes)
    return SyntheticSet(images, labels, class_ids, tuple("abcdefghij"[:num_classes]), preprocessing, {"method": "made"})


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: "x".join(map(str, shape)))
def test_round_trip(codec, shape):
    images = smooth_images(shape)
    decoded = codec.decode(codec.encode(images), shape)
    assert decoded.dtype == torch.float32
    assert decoded.shape == shape
    assert decoded.is_contiguous()
    assert float((decoded - images).abs().mean((1, 2, 3)).max()) <= CODECS[codec.spec]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_goes_in_and_float32_comes_out(codec, dtype):
    images = smooth_images((3, 3, 16, 16)).to(dtype)
    payload = codec.encode(images.requires_grad_())
    assert payload == codec.encode(images.detach().float())
    assert codec.decode(payload, images.shape).dtype == torch.float32


def test_the_same_images_give_the_same_bytes(codec):
    images = smooth_images((7, 3, 16, 16))
    assert codec.encode(images) == codec.encode(images.clone())
    turned = images.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # the same values, another layout
    assert codec.encode(images) == codec.encode(turned)


def test_spec_gives_the_codec_again(codec):
    assert codec_of(codec.spec) == codec
    assert codec_of(codec) is codec
    assert codec.spec in CODECS


def test_no_images(codec):
    empty = torch.zeros(0, 3, 16, 16)
    payload = codec.encode(empty)
    assert len(payload) == 4
    assert codec.decode(payload, empty.shape).shape == empty.shape
    images = smooth_images((3, 3, 16, 16))
    assert codec.subset(codec.encode(images), images.shape, []) == payload
    encoded = EncodedSet.encode(made(images), codec=codec, labels="uint8").subset(torch.zeros(3, dtype=torch.bool))
    assert encoded.decode().images.shape == empty.shape


@pytest.mark.parametrize("chosen", [[2], [4, 0, 4], [0, 1, 2, 3, 4, 5], [-1], [True] * 3 + [False] * 3])
def test_subset(codec, chosen):
    images = smooth_images((6, 3, 16, 16))
    payload = codec.encode(images)
    picked = codec.subset(payload, images.shape, chosen)
    wanted = images[chosen]
    got = codec.decode(picked, wanted.shape)
    if codec.per_image:
        assert torch.equal(got, codec.decode(payload, images.shape)[chosen])
        if "scaled" not in codec.spec:
            assert picked == codec.encode(wanted)
    else:
        assert float((got - wanted).abs().mean()) <= 1.5 * CODECS[codec.spec]


def test_subset_of_a_subset_is_a_subset(codec):
    images = smooth_images((40, 1, 8, 8))
    payload = codec.encode(images)
    first = codec.subset(payload, images.shape, range(0, 40, 2))
    second = codec.subset(first, (20, 1, 8, 8), [3, 19])
    got = codec.decode(second, (2, 1, 8, 8))
    assert float((got - images[[6, 38]]).abs().mean()) <= 2 * CODECS[codec.spec] + 1e-6


def test_images_outside_the_unit_range(codec):
    images = 3 * smooth_images((4, 3, 16, 16)) - 1  # from -0.7 to 1.7
    decoded = codec.decode(codec.encode(images), images.shape)
    if codec.space == "input" or "scaled" in codec.spec or "float" in codec.spec:
        assert float((decoded - images).abs().mean()) <= 3 * CODECS[codec.spec]
    else:
        overshoot = 0.05 if codec.kind == "lowres" else 0
        assert float(decoded.min()) >= -overshoot
        assert float(decoded.max()) <= 1 + overshoot
        assert float((decoded - images.clamp(0, 1)).abs().mean()) <= 2 * CODECS[codec.spec]


@pytest.mark.parametrize("value", [0.0, 0.5, -7.0])
def test_images_of_one_colour(codec, value):
    images = torch.full((3, 3, 16, 16), value)
    decoded = codec.decode(codec.encode(images), images.shape)
    outside = "scaled" in codec.spec or "float" in codec.spec
    assert torch.allclose(decoded, images if outside else images.clamp(0, 1), atol=0.02)


def test_damage_of_any_byte_is_found(codec):
    shape = (2, 1, 8, 8)
    payload = codec.encode(smooth_images(shape))
    generator = np.random.default_rng(0)
    for place in range(len(payload)):
        damaged = bytearray(payload)
        damaged[place] ^= int(generator.integers(1, 256))
        with pytest.raises(InputError, match="damaged"):
            codec.decode(bytes(damaged), shape)
    for length in range(len(payload)):
        with pytest.raises(InputError, match="damaged"):
            codec.decode(payload[:length], shape)
    for wrong in (payload + b"\0", b"\0" + payload, payload * 2):
        with pytest.raises(InputError, match="damaged"):
            codec.subset(wrong, shape, [0])


def test_another_codec_or_shape_is_found(codec):
    shape = (4, 1, 8, 8)
    payload = codec.encode(smooth_images(shape))
    others = [codec_of(spec) for spec in CODECS if spec != codec.spec]
    for other, other_shape in [(codec, (2, 1, 8, 16)), (codec, (4, 1, 16, 4)), *((one, shape) for one in others)]:
        with pytest.raises(InputError, match="was not encoded as"):
            other.decode(payload, other_shape)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "images are torch.uint8; expected floats"),
        (torch.zeros(3, 8, 8), r"images have shape \(3, 8, 8\); expected \(n, channels, height, width\)"),
        (torch.full((1, 1, 8, 8), torch.nan), "NaN or infinite"),
        (torch.full((1, 1, 8, 8), torch.inf), "NaN or infinite"),
        (torch.zeros(2, 1, 0, 8), "a size of images is 0; expected 1 or more"),
        (np.zeros((2, 1, 8, 8)), "images is a ndarray; expected Tensor"),
    ],
)
def test_what_is_no_images_is_refused(codec, images, message):
    with pytest.raises(InputError, match=message):
        codec.encode(images)


@pytest.mark.parametrize("preprocessing", [Identity(), Standardize(torch.full((3,), 0.5), torch.full((3,), 0.25))])
def test_through_is_what_is_decoded(codec, preprocessing):
    images = preprocessing.forward(smooth_images((6, 3, 16, 16))).requires_grad_()
    encoded = EncodedSet.encode(made(images.detach(), num_classes=1, preprocessing=preprocessing), codec=codec)
    through = codec.through(images, preprocessing)
    assert not through.requires_grad
    assert torch.equal(through, encoded.decode().images)
    with_gradient = coded(images, codec, preprocessing)
    assert torch.equal(with_gradient, through)
    weights = torch.linspace(-1, 1, images.numel()).reshape(images.shape)
    (with_gradient * weights).sum().backward()
    assert torch.allclose(images.grad, weights, atol=1e-6) != (codec.differentiable and codec.spec != "float32")


@pytest.mark.parametrize("spec", ["float32", "uint8", "webp:50", "jpeg:75", "lowres:2", "mosaic:webp:75"])
def test_nbytes_is_the_memory_that_is_held(spec):
    codec = codec_of(spec)
    images = smooth_images((2000, 1, 8, 8))
    synthetic = made(images)
    EncodedSet.encode(synthetic.subset(range(20)), codec=codec, labels="uint8")  # what is imported, made once
    gc.collect()
    ours = [tracemalloc.Filter(True, "*/distill/*")]  # other threads of this process allocate meanwhile
    tracemalloc.start()
    try:
        encoded = EncodedSet.encode(synthetic, codec=codec, labels="uint8")
        gc.collect()
        held = sum(block.size for block in tracemalloc.take_snapshot().filter_traces(ours).traces)
    finally:
        tracemalloc.stop()
    assert encoded.nbytes == sum(map(len, (encoded.images, encoded.labels, encoded.class_ids)))
    assert held == pytest.approx(encoded.nbytes, rel=0.05)

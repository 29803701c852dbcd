"""Codecs by their names, and what each does that others do not."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from PIL import Image
from torch.autograd import gradcheck

from distill import Identity, InputError, Preprocessing, Standardize, load_images
from distill.sets.codecs import AVIF, JPEG, Float32, ImageCodec, Lowres, Mosaic, UInt8, WebP, codec_of, coded

RANDOM = np.random.default_rng(0)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


# -- names -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "codec"),
    [
        ("float32", Float32()),
        ("uint8", UInt8()),
        ("uint8:unit", UInt8()),
        ("uint8:scaled", UInt8(range="scaled")),
        ("webp:50", WebP(50)),
        ("webp:50:scaled", WebP(50, range="scaled")),
        ("jpeg:0", JPEG(0)),
        ("avif:50", AVIF(50)),
        ("lowres:2", Lowres(2)),
        ("lowres:2+uint8", Lowres(2, UInt8())),
        ("lowres:4+webp:50:scaled", Lowres(4, WebP(50, range="scaled"))),
        ("mosaic:webp:50", Mosaic(WebP(50))),
        ("lowres:2+mosaic:jpeg:75:scaled", Lowres(2, Mosaic(JPEG(75, range="scaled")))),
        ("lowres:2+lowres:2", Lowres(2, Lowres(2))),
    ],
)
def test_specs(spec, codec):
    assert codec_of(spec) == codec
    assert codec_of(codec.spec) == codec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("webpp:50", "unknown codec 'webpp:50'; known: .*; did you mean 'webp'"),
        ("zip", "unknown codec 'zip'; known: avif, float16, float32, "),
        ("", "unknown codec ''"),
        ("webp", "codec 'webp' was given 0 parameters; expected webp:QUALITY:RANGE"),
        ("webp:50:unit:7", "was given 3 parameters"),
        ("webp:high", "quality of codec 'webp' is 'high'; expected a number"),
        ("webp:101", "quality is 101; expected 0 to 100"),
        ("jpeg:-1", "quality is -1"),
        ("webp:50:wide", "range is 'wide'; expected one of unit, scaled"),
        ("float32:1", "codec 'float32' was given 1 parameters; expected float32"),
        ("lowres", "factor of codec 'lowres' is ''; expected a whole number"),
        ("lowres:1", "factor is 1; expected 2 or more"),
        ("lowres:1.5", "factor of codec 'lowres' is '1.5'"),
        ("lowres:2+gif", "unknown codec 'gif'"),
        ("mosaic", "codec 'mosaic' was given no inner codec"),
        ("mosaic:uint8", 'inner is a UInt8; expected PillowCodec: the codec in a mosaic is codec_of\\("webp:50"\\)'),
        (50, "the codec is a int; expected str"),
    ],
)
def test_unknown_specs(spec, message):
    with pytest.raises(InputError, match=message):
        codec_of(spec)


@pytest.fixture
def registry():
    kinds = dict(ImageCodec.kinds)
    yield
    ImageCodec.kinds.clear()
    ImageCodec.kinds.update(kinds)


@pytest.mark.usefixtures("registry")
def test_a_codec_of_ones_own_is_one_class():
    @dataclass(frozen=True)
    class Bits(ImageCodec):
        kind = "bits"
        threshold: float = 0.5

        def _encode(self, images):
            return np.packbits((images > self.threshold).numpy()).tobytes()

        def _decode(self, body, shape):
            bits = np.unpackbits(np.frombuffer(body, np.uint8), count=int(np.prod(shape)))
            return torch.from_numpy(bits).reshape(shape).float()

    codec = codec_of("bits:0.25")
    assert codec == Bits(0.25)
    assert (codec.spec, Bits().spec, codec.per_image) == ("bits:0.25", "bits", False)
    images = noise(6, 1, 8, 8)
    payload = codec.encode(images)
    assert len(payload) == 6 * 8 + 4
    assert torch.equal(codec.decode(payload, images.shape), (images > 0.25).float())
    half = codec.subset(payload, images.shape, [1, 3, 5])
    assert torch.equal(codec.decode(half, (3, 1, 8, 8)), (images[1::2] > 0.25).float())
    assert codec_of("lowres:2+bits:0.25").inner == codec


# -- numbers -----------------------------------------------------------------------------------------------------------


def test_float32_is_exact_and_float16_rounds_to_the_nearest():
    images = 10 * torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    for spec, wanted in (("float32", images), ("float16", images.half().float())):
        codec = codec_of(spec)
        assert torch.equal(codec.decode(codec.encode(images), images.shape), wanted)


def test_float16_refuses_what_is_too_large():
    with pytest.raises(InputError, match="images reach 70000, too large for 16 bits"):
        codec_of("float16").encode(torch.full((1, 1, 2, 2), 7e4))


@pytest.mark.parametrize("spec", ["uint8", "uint8:scaled"])
def test_pixels_of_8_bits_come_back_as_they_were(spec):
    images = torch.arange(256).reshape(4, 1, 8, 8).float() / 255
    codec = codec_of(spec)
    torch.testing.assert_close(codec.decode(codec.encode(images), images.shape), images, atol=1e-7, rtol=0)


def test_pixels_survive_whitening():
    digits = load_images("digits")
    data = Standardize.fit(digits).apply(digits)
    back = codec_of("uint8").through(data.images[:50], data.preprocessing)
    pixels = data.preprocessing.inverse(back).mul(255).round().to(torch.uint8)
    assert np.array_equal(pixels[:, 0].numpy(), digits.images[:50, :, :, 0])


@pytest.mark.parametrize(
    ("spec", "size"), [("float32", 4 * 192), ("float16", 2 * 192), ("uint8", 192), ("uint8:scaled", 192),
                       ("lowres:2", 48), ("lowres:3+float32", 4 * 27)],
)  # fmt: skip
def test_sizes_of_numbers(spec, size):
    payload = codec_of(spec).encode(noise(10, 3, 8, 8))
    assert len(payload) == 10 * size + 4 + (8 if "scaled" in spec else 0)


def test_scaled_range_loses_half_a_step_at_most():
    images = 5 * torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    codec = codec_of("uint8:scaled")
    error = (codec.decode(codec.encode(images), images.shape) - images).abs().max()
    assert float(error) <= float(images.max() - images.min()) / 255 / 2 * 1.001


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("codec", "format"), [(WebP(60), "WEBP"), (JPEG(60), "JPEG"), (AVIF(60), "AVIF")])
def test_files_are_those_of_pillow(codec, format, channels, tmp_path):
    pixels = RANDOM.integers(0, 256, (2, 9, 14, channels), dtype=np.uint8)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    decoded = codec.decode(codec.encode(images), images.shape)
    for one, back in zip(pixels, decoded, strict=True):
        sampling = "4:0:0" if channels == 1 else "4:4:4"
        aom = {"codec": "aom", "speed": 6, "subsampling": sampling, "advanced": {"tune": "psnr"}}
        options = {"WEBP": {"method": 6}, "JPEG": {}, "AVIF": aom}[format]
        mode = "L" if channels == 1 else "RGB"
        file = tmp_path / "one"
        Image.fromarray(one.squeeze()).save(file, format, quality=60, **options)
        wanted = np.asarray(Image.open(file).convert(mode)).reshape(9, 14, channels)
        assert np.array_equal(back.mul(255).round().to(torch.uint8).permute(1, 2, 0).numpy(), wanted)


def test_webp_leaves_out_27_bytes_of_each_file():
    images = noise(8, 3, 32, 32)
    codec = WebP(50)
    files = [codec.write(pixels) for pixels in codec.to_bytes(images)[1]]
    padding = sum(int.from_bytes(file[16:20], "little") % 2 for file in files)
    assert len(codec.encode(images)) == sum(map(len, files)) - padding - 8 * 27 + 1 + 8 * 2 + 4


def test_avif_leaves_out_the_header_of_each_file():
    images = noise(8, 3, 32, 32)
    codec = AVIF(50)
    files = [codec.write(pixels) for pixels in codec.to_bytes(images)[1]]
    assert len(codec.encode(images)) < sum(map(len, files)) - 8 * 250


def test_mosaic_as_avif_takes_fewer_bytes_than_as_webp_and_loses_less():
    # Smooth in patches, with edges, colours and some texture, as photographs are.
    images = noise(25, 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3)
    images = (0.8 * images + 0.2 * noise(25, 3, 16, 16, seed=1).repeat_interleave(2, 2).repeat_interleave(2, 3))
    size, loss = {}, {}
    for spec in ("mosaic:webp:50", "mosaic:avif:35"):
        codec = codec_of(spec)
        payload = codec.encode(images)
        size[spec], loss[spec] = len(payload), float((codec.decode(payload, images.shape) - images).square().mean())
    assert size["mosaic:avif:35"] < size["mosaic:webp:50"]
    assert loss["mosaic:avif:35"] < loss["mosaic:webp:50"]


def test_avif_without_a_pillow_that_writes_it(monkeypatch):
    monkeypatch.setattr("PIL.features.check", lambda name: False)
    with pytest.raises(InputError, match=r"codec avif needs a Pillow that writes AVIF, .* pillow 11.3 or newer"):
        codec_of("mosaic:avif:50")


@pytest.mark.parametrize("written", [b"", b"RIFF" + bytes(40), b"mdat" + bytes(40), b"\xff\xd8" + bytes(40)])
@pytest.mark.parametrize("codec", [WebP(50), AVIF(50), JPEG(50)], ids=lambda codec: codec.kind)
def test_files_of_another_layout_are_an_input_error(monkeypatch, codec, written):
    def save(self, file, format, **options):
        file.write(written)

    codec.pack(np.zeros((1, 8, 8, 3), np.uint8))  # what AVIF's header is, is known from a file before
    monkeypatch.setattr(Image.Image, "save", save)
    with pytest.raises(InputError, match=rf"^Pillow [\d.]+ writes {codec.kind} files of a layout that .* use another"):
        codec.pack(np.zeros((1, 8, 8, 3), np.uint8))


def test_jpeg_pays_its_header_once():
    codec, images = JPEG(50), noise(50, 3, 16, 16)
    files = [codec.write(pixels) for pixels in codec.to_bytes(images)[1]]
    assert len(codec.encode(images)) < sum(map(len, files)) - 49 * 600


def test_long_files_have_longer_lengths():
    codec, images = JPEG(100), noise(2, 3, 400, 400)
    payload = codec.encode(images)
    assert len(payload) > 2 * (1 << 16)
    assert float((codec.decode(payload, images.shape) - images).abs().mean()) < 0.2


@pytest.mark.parametrize("spec", ["webp:50", "jpeg:50", "lowres:2+webp:50", "mosaic:jpeg:50"])
def test_shapes_that_files_do_not_take(spec):
    codec = codec_of(spec)
    with pytest.raises(InputError, match=r"images have 4 channels; codec .* wants 1 or 3; uint8 takes any"):
        codec.encode(noise(1, 4, 8, 8))
    with pytest.raises(InputError, match="images have sides of"):
        codec.check_shape((3, 150_000, 8))


# -- shrinking ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("height", "width", "factor"), [(32, 32, 2), (9, 14, 2), (7, 12, 3), (4, 8, 4)])
def test_shrinking_gives_what_comes_nearest_when_enlarged(height, width, factor):
    images = noise(2, 3, height, width).double()
    codec = Lowres(factor, Float32())
    small = codec.shrink(images)
    assert small.shape[2:] == codec.small((height, width)) == (-(-height // factor), -(-width // factor))
    bicubic = torch.nn.functional.interpolate(small, (height, width), mode="bicubic", align_corners=False)
    torch.testing.assert_close(codec.enlarge(small, (height, width)), bicubic)
    for other in (torch.zeros_like(small), noise(*small.shape, seed=1).double()):  # what is lost is orthogonal to all
        assert abs(float(((images - bicubic) * codec.enlarge(other, (height, width))).sum())) < 1e-9


@pytest.mark.parametrize("spec", ["lowres:2+float32", "lowres:3+float32"])
def test_shrunk_images_can_be_shrunk_again(spec):
    images = noise(3, 1, 12, 17)
    codec = codec_of(spec)
    once = codec.decode(codec.encode(images), images.shape)
    torch.testing.assert_close(codec.decode(codec.encode(once), images.shape), once, atol=1e-6, rtol=0)


def test_images_too_small_to_be_shrunk():
    with pytest.raises(InputError, match="images of 4x9 cannot be shrunk by 5; expected a smaller factor"):
        codec_of("lowres:5").encode(noise(1, 1, 4, 9))


@pytest.mark.parametrize("spec", ["float32", "lowres:2+float32", "lowres:3+float32"])
@pytest.mark.parametrize("preprocessing", [Identity(), Standardize(torch.full((2,), 0.5), torch.tensor([0.2, 0.3]))])
def test_gradient_is_that_of_finite_differences(spec, preprocessing: Preprocessing):
    images = noise(2, 2, 5, 7).double().requires_grad_()
    # The codec stores float32, so a difference of 0.01 is exact to about 1e-5; the map is linear.
    assert gradcheck(lambda given: coded(given, codec_of(spec), preprocessing), images, eps=1e-2, atol=1e-4)


def test_gradient_passes_straight_through_files_within_the_shrunk_space():
    images = noise(2, 3, 8, 8).requires_grad_()
    weights = noise(2, 3, 8, 8, seed=1)
    gradients = []
    for spec in ("lowres:2+webp:10", "lowres:2+float32"):
        (gradient,) = torch.autograd.grad((coded(images, codec_of(spec), Identity()) * weights).sum(), images)
        gradients.append(gradient)
    torch.testing.assert_close(*gradients)


# -- mosaics -----------------------------------------------------------------------------------------------------------


def test_mosaic_is_smaller_than_its_files():
    images = noise(25, 3, 2, 2).repeat_interleave(16, 2).repeat_interleave(16, 3)
    assert len(codec_of("mosaic:webp:50").encode(images)) < 0.8 * len(codec_of("webp:50").encode(images))


def test_whole_groups_of_a_mosaic_are_not_coded_again():
    codec = codec_of("mosaic:webp:50")
    images = noise(70, 3, 16, 16)
    payload = codec.encode(images, groups=[10, 0, 40, 20])
    decoded = codec.decode(payload, images.shape)
    for rows in (range(10), range(50, 70), range(10, 50), [*range(50, 70), *range(10)]):
        picked = codec.subset(payload, images.shape, list(rows))
        assert torch.equal(codec.decode(picked, (len(rows), 3, 16, 16)), decoded[list(rows)])
    alone = codec.encode(images[:10])
    assert codec.subset(payload, images.shape, range(10)) == alone
    twice = codec.subset(payload, images.shape, [*range(10), *range(10)])
    assert torch.equal(codec.decode(twice, (20, 3, 16, 16)), decoded[:10].repeat(2, 1, 1, 1))


def test_part_of_a_mosaic_is_coded_again_and_the_rest_is_not():
    codec = codec_of("mosaic:webp:90")
    images = noise(40, 3, 16, 16)
    payload = codec.encode(images, groups=[20, 20])
    decoded = codec.decode(payload, images.shape)
    rows = [*range(12), *range(20, 40), 15]
    got = codec.decode(codec.subset(payload, images.shape, rows), (33, 3, 16, 16))
    assert torch.equal(got[12:32], decoded[20:])
    assert float((got - decoded[rows]).abs().mean()) < 0.05
    assert not torch.equal(got[:12], decoded[:12])


def test_small_groups_of_a_mosaic_share_canvases():
    codec = codec_of("mosaic:webp:50")
    images = noise(60, 3, 16, 16)
    many = len(codec.encode(images, groups=[1] * 60))
    assert many < 1.1 * len(codec.encode(images))


@pytest.mark.parametrize("groups", [[3], [3, 3], [6, -1]])
def test_groups_that_do_not_add_up(groups):
    with pytest.raises(InputError, match=r"groups add up to . for 5 images|the size of a group is -1"):
        codec_of("mosaic:webp:50").encode(noise(5, 3, 16, 16), groups=groups)

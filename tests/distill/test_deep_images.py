"""Images of more than 8 bits, of several frames, with EXIF orientation or transparency."""

import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from distill.data import bit_depth
from distill.data.labelled import load_images
from distill.errors import InputWarning
from tiny_sources import arrays, fails, picture, save, two_classes


def test_pages_after_the_first_are_told(tmp_path):
    two_classes(tmp_path)
    first, second = (Image.new("L", (4, 3), shade) for shade in (9, 200))
    first.save(tmp_path / "a" / "9.tif", save_all=True, append_images=[second])
    with pytest.warns(InputWarning, match=r"1 files of .* hold several images or frames \(9.tif, ...\)"):
        assert load_images(tmp_path).images.max() < 200


def deep(folder, values, *, dtype=np.uint16, ending=".png"):
    for name in ("a", "b"):
        for i, value in enumerate(values):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((3, 4), value, dtype)).save(folder / name / f"{i}{ending}")
    return folder


@pytest.mark.parametrize(("dtype", "ending"), [(np.uint16, ".png"), (np.uint16, ".tif"), (np.int32, ".tif")])
@pytest.mark.parametrize("bits", [8, 12, 16])
@pytest.mark.parametrize("resolution", [None, 2])
def test_deep_images_are_scaled_by_what_the_whole_set_holds(tmp_path, dtype, ending, bits, resolution):
    values = [0, 2**bits // 4, 2**bits // 2, 3 * 2**bits // 4, 2**bits - 1]
    deep(tmp_path / "set", values, dtype=dtype, ending=ending)
    shades = []
    message = rf"which fit in {bits} bits: all are scaled alike, {2**bits - 1} to white"
    with pytest.warns(InputWarning, match=message):  # noqa: PT031
        for part in ("train", "test"):
            data = load_images(tmp_path / "set", split=part, resolution=resolution, cache_dir=tmp_path / "cache")
            shades += data.images[:, 0, 0, 0].tolist()
    assert sorted(shades) == sorted([round(255 * value / (2**bits - 1)) for value in values] * 2)


def test_what_was_said_of_decoded_images_is_said_again_where_they_are_found(tmp_path):
    deep(tmp_path / "set", [0, 4000, 77])
    for _ in range(3):
        with pytest.warns(InputWarning, match=r"which fit in 12 bits"):
            load_images(tmp_path / "set", resolution=2, cache_dir=tmp_path / "cache")
    picture(tmp_path / "set" / "a" / "9.png")
    with pytest.warns(InputWarning, match=r"which fit in 12 bits"):
        load_images(tmp_path / "set", resolution=2, cache_dir=tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 1  # what is out of date is replaced


def test_photographs_that_ask_to_be_turned_are_told(tmp_path):
    two_classes(tmp_path, ending=".jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (4, 3), 9).save(tmp_path / "a" / "9.jpg", exif=exif)
    with pytest.warns(InputWarning, match=r"1 files of .* have an EXIF orientation tag \(9.jpg\), which is not"):
        assert load_images(tmp_path).images.shape[1:] == (3, 4, 1)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".webp", ".avif", ".tif"])
@pytest.mark.parametrize("way", [1, 3, 6])
def test_files_of_every_format_that_ask_to_be_turned_are_told(tmp_path, ending, way):
    exif = Image.Exif()
    exif[0x0112] = way
    pixels = np.zeros((16, 16), np.uint8)
    pixels[:8] = 255
    try:
        for i in range(3):
            picture(tmp_path / "a" / f"{i}{ending}", size=(16, 16))
            Image.fromarray(pixels).save(tmp_path / "a" / f"{i}{ending}", exif=exif)
    except (OSError, ValueError, KeyError):
        pytest.skip(f"Pillow writes no {ending} here")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        top = load_images(tmp_path).images[0, :6, :6].mean()
    done = "Pillow applies when it reads" if ending == ".tif" else "is not applied; rotate"
    assert [done in str(warning.message) for warning in caught] == [True] * (way != 1)
    if way == 3:  # upside down
        assert top < 60 if ending == ".tif" else top > 200


def test_orientation_behind_the_pixels_of_a_png_is_told(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for i in range(3):
        file = picture(tmp_path / "a" / f"{i}.png")
        Image.new("L", (4, 3), 9).save(file, exif=exif)
        content = file.read_bytes()
        start = content.index(b"eXIf") - 4
        end = start + 12 + int.from_bytes(content[start : start + 4], "big")
        file.write_bytes(content[:start] + content[end:-12] + content[start:end] + content[-12:])
    with pytest.warns(InputWarning, match=r"3 files of .* have an EXIF orientation tag \(0.png\)"):
        load_images(tmp_path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("damaged", [b"MM\0*\0\0\0", b"garbage", b"II*\0\x08\0\0\0\xff\xff"])
def test_damaged_exif_data_do_not_spoil_an_image(tmp_path, damaged):
    for i in range(3):
        picture(tmp_path / "a" / f"{i}.png")
        Image.new("L", (4, 3), 9).save(tmp_path / "a" / f"{i}.png", exif=b"Exif\0\0" + damaged)
    assert load_images(tmp_path).images.max() == 9


def test_deeper_integers_keep_their_levels(tmp_path):
    deep(tmp_path, [0, 2**20, 2**21 - 1], dtype=np.int32, ending=".tif")
    with pytest.warns(InputWarning, match="21 bits"):
        both = [load_images(tmp_path, split=part).images[:, 0, 0, 0] for part in ("train", "test")]
    assert sorted(np.concatenate(both).tolist()) == [0, 0, 128, 128, 255, 255]


def test_deep_images_below_0_are_refused(tmp_path):
    deep(tmp_path, [-5, 3, 7], dtype=np.int32, ending=".tif")
    fails(tmp_path, "6 grey images of .* more than 8 bits and run from -5 to 7; expected values from 0: shift them")


def png_of_16_bits(path, values):
    """An RGB file of 16 bits per channel, which Pillow reads but cannot write."""
    raw_png(path, b"".join(b"\0" + row.astype(">u2").tobytes() for row in values), values.shape, bits=16, kind=2)


SPOILT = {  # values of deep images, and what is said of them
    "one hot pixel": (np.append(np.arange(0, 4096, 3), 65535), "hold 1367 .* 65535, .* 65535. .* keeps only 18"),
    "starts late": (np.arange(32640, 32896), "hold 256 different values of 32640 to 32895, .* 65535. .* keeps only 2"),
    "24 bits": (np.append(np.arange(500), 2**24 - 1), "hold 501 different values .* 16777215. to 8 bits keeps only 2"),
}


@pytest.mark.parametrize("resolution", [None, 2])
@pytest.mark.parametrize("case", SPOILT)
def test_deep_images_of_which_8_bits_would_leave_little_are_refused(tmp_path, case, resolution):
    values, message = SPOILT[case]
    for i in range(3):
        picture(tmp_path / "set" / "a" / f"{i}.tif")
        pixels = np.resize(values, (40, 40)).astype(np.int32 if values.max() > 65535 else np.uint16)
        Image.fromarray(pixels).save(tmp_path / "set" / "a" / f"{i}.tif")
    message = f"3 grey images of .* {message}; fix outlier pixels .*, shift .*, or save .* with 8 bits"
    fails(tmp_path / "set", message, resolution=resolution, cache_dir=tmp_path / "cache")


def test_levels_left_of_deep_images_are_named(tmp_path):
    for i in range(3):
        picture(tmp_path / "a" / f"{i}.png")
        Image.fromarray(np.arange(4096, dtype=np.uint16).reshape(64, 64)).save(tmp_path / "a" / f"{i}.png")
    with pytest.warns(InputWarning, match=r"4095 to white \(255\), which leaves 256 of 4096 different values; save"):
        load_images(tmp_path)


def test_many_hot_pixels_are_told_by_the_levels_of_the_others(tmp_path):
    for i in range(3):
        values = np.arange(64 * 1024).reshape(256, 256) % 4096
        values.flat[:250] = np.linspace(4096, 65535, 250)
        picture(tmp_path / "a" / f"{i}.png")
        Image.fromarray(values.astype(np.uint16)).save(tmp_path / "a" / f"{i}.png")
    with pytest.warns(InputWarning, match=r"different values \(99% of the pixels in 17 alone\); save them with 8 bits"):
        load_images(tmp_path)


def test_floats_of_which_most_pixels_keep_few_levels_are_told(tmp_path):
    images = np.linspace(0, 0.02, 6 * 10000).reshape(6, 100, 100, 1)
    images.flat[:200] = np.linspace(0, 1, 200)
    path = save(tmp_path, arrays(shape=(100, 100, 1)) | {"x_train": images})
    with pytest.warns(InputWarning, match=r"x_train of .* keeps \d+, and only 6 for 99% of the pixels; spread it over"):
        load_images(path)


def test_values_too_many_to_keep_are_kept_to_fewer_bits(monkeypatch):
    monkeypatch.setattr(bit_depth, "KEPT", 100)
    values = bit_depth.Values()
    for start in range(7, 3007, 30):
        values.add(np.arange(start, start + 30))
    kept, counts = values.all()
    assert kept.tolist() == list(range(0, 3007, 32))
    assert counts.tolist() == [25] + [32] * 92 + [31]
    assert (values.low, values.high, values.shift) == (7, 3006, 5)


def raw_png(path, rows, shape, *, bits, kind, transparent=b""):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", shape[1], shape[0], bits, kind, 0, 0, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    clear = chunk(b"tRNS", transparent) if transparent else b""
    pixels = chunk(b"IDAT", zlib.compress(rows))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + clear + pixels + chunk(b"IEND", b""))


@pytest.mark.parametrize(("most", "refused"), [(4095, True), (65535, False)])
def test_colours_of_16_bits_are_told_or_refused_where_little_would_be_left(tmp_path, most, refused):
    for name in ("a", "b"):
        for i in range(3):
            png_of_16_bits(tmp_path / name / f"{i}.png", np.full((3, 4, 3), most))
    if refused:
        fails(tmp_path, "6 colour images of .* have 16 bits per channel and use 16 of the 256 .*; save them with 8")
        return
    with pytest.warns(InputWarning, match="6 colour images of .* 16 bits per channel; the upper 8 are read"):
        assert load_images(tmp_path).images.min() == 255


def test_one_bright_pixel_does_not_hide_dark_colours_of_16_bits(tmp_path):
    for i in range(3):
        values = np.arange(4096 * 3 // 4).reshape(32, 32, 3)
        values[0, 0, 0] = 65535
        png_of_16_bits(tmp_path / "a" / f"{i}.png", values)
    fails(tmp_path, "3 colour images of .* have 16 bits per channel and use 13 of the 256 .*; save them with 8 bits")


TRANSPARENT = {  # bits, kind of PNG, the value of a dark and of a bright pixel as they lie in the file
    "grey 1": (1, 0, b"\x40", 0, 1),
    "grey 2": (2, 0, b"\x70", 1, 3),
    "grey 4": (4, 0, b"\x3f", 3, 15),
    "grey 8": (8, 0, b"\x03\xff", 3, 255),
    "grey 16": (16, 0, b"\x03\x00\xff\xff", 0x0300, 0xFFFF),
    "colour 8": (8, 2, b"\x03\x03\x03\xff\xff\xff", 3, 255),
    "colour 16": (16, 2, b"\x03\x00" * 3 + b"\xff" * 6, 0x0300, 0xFFFF),
}


@pytest.mark.filterwarnings("ignore::distill.InputWarning")
@pytest.mark.parametrize("case", TRANSPARENT)
def test_the_transparent_value_of_a_png_becomes_white_at_every_depth(tmp_path, case):
    bits, kind, row, dark, bright = TRANSPARENT[case]
    for i, value in enumerate((dark, bright, dark)):
        transparent = struct.pack(">H", value) * (3 if kind == 2 else 1)
        raw_png(tmp_path / "a" / f"{i}.png", b"\0" + row, (1, 2), bits=bits, kind=kind, transparent=transparent)
    parts = [load_images(tmp_path, split=part).images[:, 0, :, 0] for part in ("train", "test")]
    left = sorted(np.concatenate(parts).tolist())
    assert left[1:] == [[255, 255], [255, 255]]
    assert left[0][0] < 128
    assert left[0][1] == 255


def test_a_transparent_value_of_deep_images_does_not_set_their_scale(tmp_path):
    for i in range(3):
        values = np.array([[0, 2047, 4095, 65535]], np.uint16)
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.fromarray(values).save(tmp_path / "a" / f"{i}.png", transparency=65535)
    with pytest.warns(InputWarning, match="hold values of 0 to 4095, which fit in 12 bits"):
        assert load_images(tmp_path).images[0, 0, :, 0].tolist() == [0, 127, 255, 255]


def test_scattered_bright_values_do_not_hide_how_few_levels_the_others_have(tmp_path):
    for i in range(3):
        values = np.arange(150 * 150 * 3).reshape(150, 150, 3) % 4096
        values.flat[:256] = np.arange(256) << 8
        png_of_16_bits(tmp_path / "a" / f"{i}.png", values)
    with pytest.warns(InputWarning, match=r"which leaves 256 of 256 values \(99% of the pixels in 16 alone\)$"):
        load_images(tmp_path)

"""Sets in memory as bytes: everything of a set comes back, parts are taken out, files are read safely."""

import dataclasses

import pytest
import torch
from safetensors.torch import load_file, save_file

from distill import EncodedSet, FRePo, Identity, InputError, SyntheticSet, codec_of
from distill.preprocess import ZCA
from distill.sets.codecs import label_codec_of
from distill.sets.synthetic import initial_labels


@pytest.fixture(scope="module")
def synthetic(make_images) -> SyntheticSet:
    """12 learned images of 3x8x8, whitened, with learned labels; the names of 5 classes."""
    data = make_images((12, 12, 12), channels=3, noise=10)
    data = dataclasses.replace(data, classes=tuple("abcde"))
    frepo = FRePo(steps=3, width=8, batch_size=16, pool_size=1)
    return frepo.distill(ZCA.fit(data).apply(data), images_per_class=4, seed=0)


@pytest.mark.filterwarnings("ignore::distill.InputWarning")
def test_nothing_is_lost_by_default(synthetic):
    decoded = EncodedSet.encode(synthetic).decode()
    for name in ("images", "soft_labels", "class_ids"):
        assert torch.equal(getattr(decoded, name), getattr(synthetic, name))
    assert decoded.classes == synthetic.classes
    assert decoded.preprocessing is synthetic.preprocessing
    assert decoded.made_by == {"method": "frepo", "codec": "float32", "labels": "float32"}


def test_images_are_stored_as_pixels(synthetic):
    encoded = EncodedSet.encode(synthetic, codec="uint8", labels="hard")
    pixels = synthetic.preprocessing.inverse(synthetic.images).clamp(0, 1)
    back = synthetic.preprocessing.inverse(encoded.decode().images)
    assert float((back - pixels).abs().max()) <= 0.5 / 255 + 1e-4
    assert torch.equal(encoded.decode().soft_labels, initial_labels(synthetic.class_ids, 5))
    assert encoded.decode().made_by == {"method": "frepo", "codec": "uint8", "labels": "hard"}


def test_nbytes_counts_every_payload(synthetic):
    encoded = EncodedSet.encode(synthetic, codec="uint8", labels="uint8")
    images, labels, class_ids = 12 * 192 + 4, 4 + 3 + 12 * (6 + 3) + 4, 1 + 3 * 3 + 4
    assert (len(encoded.images), len(encoded.labels), len(encoded.class_ids)) == (images, labels, class_ids)
    assert encoded.nbytes == images + labels + class_ids
    assert len(encoded) == 12
    assert repr(encoded) == f"EncodedSet(12 images of 3x8x8 in {encoded.nbytes} bytes, uint8, labels uint8)"


@pytest.mark.parametrize("labels", ["hard", "uint8", "float16", "float32"])
@pytest.mark.parametrize("codec", ["float16", "webp:75", "lowres:2", "mosaic:webp:75"])
def test_subset_is_that_of_the_decoded_set(synthetic, codec, labels):
    encoded = EncodedSet.encode(synthetic, codec=codec, labels=labels)
    of_a_class = encoded.class_ids_tensor() == 1
    for indices in (of_a_class, [11, 0], [-1], [], slice(4)):
        got, wanted = encoded.subset(indices).decode(), encoded.decode().subset(indices)
        assert torch.equal(got.class_ids, wanted.class_ids)
        assert torch.equal(got.soft_labels, wanted.soft_labels)
        if encoded.codec.per_image:
            torch.testing.assert_close(got.images, wanted.images)
    with pytest.raises(InputError, match="indices run from 12 to 12, but there are 12 images"):
        encoded.subset([12])


def test_classes_of_a_mosaic_are_taken_out_as_they_are(make_images):
    images = torch.rand(30, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    class_ids = torch.arange(30) // 10
    synthetic = SyntheticSet(images, initial_labels(class_ids, 3), class_ids, ("a", "b", "c"), Identity())
    encoded = EncodedSet.encode(synthetic, codec="mosaic:webp:50")
    part = encoded.subset(class_ids == 1)
    assert torch.equal(part.decode().images, encoded.decode().images[10:20])


def test_classes_are_known_without_decoding_images(synthetic, monkeypatch):
    encoded = EncodedSet.encode(synthetic, codec="webp:75")
    monkeypatch.setattr(type(encoded.codec), "_decode", None)
    assert torch.equal(encoded.class_ids_tensor(), synthetic.class_ids)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_sets_of_every_float_type(synthetic, dtype):
    given = dataclasses.replace(
        synthetic, images=synthetic.images.to(dtype), soft_labels=synthetic.soft_labels.to(dtype)
    )
    decoded = EncodedSet.encode(given, codec="webp:75", labels="float16").decode()
    assert decoded.images.dtype == decoded.soft_labels.dtype == torch.float32


def test_shapes_are_checked_before_anything_is_computed(monkeypatch):
    class_ids = torch.tensor([0])
    synthetic = SyntheticSet(torch.zeros(1, 2, 8, 8), initial_labels(class_ids, 1), class_ids, ("a",), Identity())
    monkeypatch.setattr(Identity, "inverse", None)
    with pytest.raises(InputError, match="images have 2 channels"):
        EncodedSet.encode(synthetic, codec="webp:75")
    with pytest.raises(InputError, match="synthetic is a list; expected SyntheticSet"):
        EncodedSet.encode([synthetic])


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["float32", "webp:50:scaled", "lowres:2+mosaic:webp:75"])
@pytest.mark.parametrize("labels", ["hard", "uint8"])
def test_saved_and_loaded(synthetic, tmp_path, codec, labels):
    encoded = EncodedSet.encode(synthetic, codec=codec, labels=labels)
    loaded = EncodedSet.load(encoded.save(tmp_path / "encoded.safetensors"))
    for name in ("images", "labels", "class_ids", "count", "image_shape", "codec", "label_codec", "classes", "method"):
        assert getattr(loaded, name) == getattr(encoded, name), name
    assert loaded.preprocessing.same_as(encoded.preprocessing)
    assert torch.equal(loaded.decode().images, encoded.decode().images)
    empty = encoded.subset([])
    assert len(EncodedSet.load(empty.save(tmp_path / "empty.safetensors")).decode()) == 0


def test_other_and_damaged_files_are_refused(synthetic, tmp_path):
    path = tmp_path / "encoded.safetensors"
    with pytest.raises(InputError, match="no such file"):
        EncodedSet.load(path)
    synthetic.save(path)
    with pytest.raises(InputError, match=r"is no encoded set of format 1; expected a file that EncodedSet\.save wrote"):
        EncodedSet.load(path)
    EncodedSet.encode(synthetic, codec="webp:50").save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"encoded\.safetensors"):
        EncodedSet.load(path)
    path.write_bytes(whole)
    with pytest.raises(InputError, match="is no synthetic set"):
        SyntheticSet.load(path)


@pytest.mark.parametrize("name", ["images", "labels", "class_ids"])
def test_damaged_payloads_are_refused_when_loaded(synthetic, tmp_path, name):
    encoded = EncodedSet.encode(synthetic, codec="webp:50", labels="uint8")
    path = encoded.save(tmp_path / "encoded.safetensors")
    content = path.read_bytes()
    payload = getattr(encoded, name)
    at = content.index(payload) + len(payload) // 2
    path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
    with pytest.raises(InputError, match=r"holds no valid encoded set: the payload of .* is damaged"):
        EncodedSet.load(path)


def test_unknown_codecs_in_files_are_refused(synthetic, tmp_path):
    path = EncodedSet.encode(synthetic).save(tmp_path / "encoded.safetensors")
    tensors = load_file(path)
    for name, value, message in (
        ("codec", '"mine:3"', "unknown codec 'mine:3'"),
        ("label_codec", '"mine"', "labels is 'mine'; expected one of"),
        ("count", "11", "was not encoded as"),
        ("image_shape", "[3, 8]", "expected"),
        ("image_shape", "null", "image_shape is a NoneType"),
    ):
        metadata = {"encoded": "1", "count": "12", "image_shape": "[3, 8, 8]", "codec": '"float32"',
                    "label_codec": '"float32"', "classes": '["a","b","c","d","e"]', "preprocessing": '"zca"',
                    "method": '"frepo"'}  # fmt: skip
        save_file(tensors, path, metadata | {name: value})
        with pytest.raises(InputError, match=message):
            EncodedSet.load(path)


def test_codecs_are_given_as_objects(synthetic):
    encoded = EncodedSet.encode(synthetic, codec=codec_of("jpeg:75"), labels=label_codec_of("float16"))
    assert (encoded.codec.spec, encoded.label_codec.spec) == ("jpeg:75", "float16")

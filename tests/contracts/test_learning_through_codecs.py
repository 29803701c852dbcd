"""What every distiller that learns images must do with a `codec`, that the images will be stored with."""

import pytest
import torch

from distill import EncodedSet, Identity, InputError, PreprocessedImages, codec_of
from distill.distillers.run import Run
from distill.distillers.stepwise import StepwiseDistiller
from distill.preprocess import default_preprocessing
from distill.sets.codecs import ImageCodec
from distillers import DISTILLERS
from killed import killed_before_step

CODECS = ["webp:50", "lowres:2", "mosaic:jpeg:50", "lowres:2+webp:50"]


@pytest.fixture(params=[one for one in DISTILLERS if isinstance(one, StepwiseDistiller)], ids=lambda one: one.method)
def distiller(request) -> StepwiseDistiller:
    return request.param


@pytest.fixture
def data(make_images) -> PreprocessedImages:
    images = make_images(channels=3)
    return default_preprocessing(images).apply(images)


def state_after(distiller: StepwiseDistiller, data: PreprocessedImages, steps: int):
    state = distiller.start(data, Run(images_per_class=2))
    for _ in range(steps):
        distiller.step(state, data)
    return state


@pytest.mark.parametrize("codec", CODECS)
def test_networks_see_what_the_encoded_set_decodes_to(distiller, data, codec):
    distiller = distiller.with_options(codec=codec, codec_share=1)
    state = state_after(distiller, data, 1)
    decoded = EncodedSet.encode(distiller.so_far(state, data), codec=codec).decode()
    assert torch.equal(state.seen(), decoded.images)
    assert not torch.equal(state.seen(), state.images)


@pytest.mark.parametrize("codec", CODECS[:2])
def test_a_codec_changes_the_images_the_same_way_each_time(distiller, data, codec):
    through = distiller.with_options(codec=codec)
    one, same, plain = (each.distill(data, images_per_class=2) for each in (through, through, distiller))
    assert torch.equal(one.images, same.images)
    assert torch.equal(one.labels, same.labels)
    assert not torch.equal(one.images, plain.images)


def test_a_codec_that_loses_nothing_changes_nothing(distiller, data):
    through = distiller.with_options(codec="float32", codec_share=1)
    one, plain = (each.distill(data, images_per_class=2) for each in (through, distiller))
    assert torch.equal(one.images, plain.images)
    assert torch.equal(one.labels, plain.labels)


def test_gradients_go_through_shrinking(distiller, data):
    """Shrinking and enlarging is a projection: a gradient that went through it stays as it is in it."""
    plain = PreprocessedImages(data.images, data.labels, data.classes, Identity())
    gradients: list[torch.Tensor] = []
    for codec in ("lowres:2+float32", "float32"):
        state = distiller.with_options(codec=codec, codec_share=1).start(plain, Run(images_per_class=2))
        state.optimizer.register_step_pre_hook(lambda *_, images=state.images: gradients.append(images.grad.clone()))
        distiller.step(state, plain)
    through, whole = gradients
    smooth = codec_of("lowres:2").smooth
    assert float(through.abs().max()) > 0
    torch.testing.assert_close(smooth(through), through, rtol=0, atol=1e-4 * float(through.abs().max()))
    assert float((smooth(whole) - whole).abs().max()) > 0.1 * float(whole.abs().max())


@pytest.mark.parametrize(("codec", "share", "coded"), [
    ("webp:50", None, 0.3), ("lowres:2", None, 1), ("webp:50", 0.5, 0.5), ("lowres:2", 0.5, 0.5)
])  # fmt: skip
def test_only_the_last_share_of_the_steps_is_coded_and_each_step_encodes_once(
    distiller, data, monkeypatch, codec, share, coded
):
    encoded, encode = [], ImageCodec.encode
    monkeypatch.setattr(ImageCodec, "encode", lambda *given, **options: encoded.append(1) or encode(*given, **options))
    distiller = distiller.with_options(codec=codec, codec_share=share)
    state = distiller.start(data, Run(images_per_class=2))
    updates = distiller.updates(2)
    first_step = round((1 - coded) * updates)
    while state.step < updates:
        assert (state.seen() is state.images) == (state.step < first_step)
        distiller.step(state, data)
        state.seen()
    assert len(encoded) == updates - first_step + 1


@pytest.mark.parametrize("k", [1, 2])
def test_a_killed_distillation_ends_in_the_same_bits(distiller, data, tmp_path, monkeypatch, k):
    distiller = distiller.with_options(codec="webp:50", codec_share=0.5)
    killed_before_step(k, monkeypatch, distiller, data, store=tmp_path)
    resumed, whole = (distiller.distill(data, images_per_class=2, store=store) for store in (tmp_path, None))
    assert torch.equal(resumed.images, whole.images)
    assert torch.equal(resumed.labels, whole.labels)
    with pytest.raises(InputError, match=r"codec was 'webp:50', now 'webp:25'"):
        distiller.with_options(codec="webp:25").distill(data, images_per_class=2, store=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"codec": "webq:50"}, "unknown codec 'webq:50'.* did you mean 'webp'"),
        ({"codec": "webp"}, "webp:QUALITY"),
        ({"codec": codec_of("webp:50")}, "codec is .*expected text"),
        ({"codec": "webp:50", "codec_share": 1.5}, r"codec_share is 1.5; expected at most 1, which is all updates"),
        ({"codec": "webp:50", "codec_share": 0}, r"codec_share is 0; expected more than 0"),
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(distiller, options, message):
    with pytest.raises(InputError, match=message):
        distiller.with_options(**options)


def test_a_codec_that_does_not_take_the_images_is_refused_before_any_work(distiller, data):
    with pytest.raises(InputError, match=r"images of 8x8 cannot be shrunk by 9"):
        distiller.with_options(codec="lowres:9").check_images((3, 8, 8), 3)
    with pytest.raises(InputError, match=r"images have 2 channels; codec webp:50"):
        distiller.with_options(codec="webp:50").distill(
            PreprocessedImages(data.images[:, :2], data.labels, data.classes, Identity())
        )


def test_images_that_became_nan_are_left_for_the_check_that_names_the_step(distiller, data):
    state = state_after(distiller.with_options(codec="webp:50", codec_share=1), data, 1)
    assert state.seen() is not state.images
    with torch.no_grad():
        state.images[0, 0, 0, 0] = torch.nan
    assert state.seen() is state.images


def test_what_is_recorded_on_held_out_images_is_of_what_networks_see(data, monkeypatch):
    distiller = DISTILLERS[0].with_options(codec="lowres:2")
    state = distiller.start(data, Run(images_per_class=2, held_out=data))
    seen = []
    for model in state.pool:
        features = model.network.features
        monkeypatch.setattr(
            model.network, "features", lambda images, features=features: seen.append(images) or features(images)
        )
    distiller.recorder(state).record_if_due()
    assert any(torch.equal(images, state.seen()) for images in seen if images.shape == state.images.shape)
    assert not any(torch.equal(images, state.images) for images in seen if images.shape == state.images.shape)

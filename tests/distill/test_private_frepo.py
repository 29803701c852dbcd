"""What is released of private records: exactness, sensitivity, noise, sampling, and what is refused."""

import itertools
import os

import pytest
import torch
from torch import Tensor

from distill import NDPDC, ZCA, Identity, InputError, LabelledImages, NoisyMeans, PrivateFRePo, Random, Standardize
from distill.accounting import noisy_sums
from distill.accounting.noise_stream import NoiseStream
from distill.accounting.noisy_sums import noisy_group_sums, noisy_outer_sum, poisson_sample
from distill.distillers import private_start, private_stepwise
from distill.distillers.private_frepo import residuals_of
from distill.distillers.run import Run
from distill.runtime.seeds import generator_for
from killed import killed_before_step

QUICK = PrivateFRePo(steps=3, batch_size=20, pool_size=2, max_updates=2, width=4, depth=2, noise_multiplier=1.0)
METHODS = QUICK, NDPDC(steps=3, batch_size=20, width=4, depth=2, noise_multiplier=1.0)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator_for(seed), dtype=torch.float64)


def by_autograd(features: Tensor, class_ids: Tensor, weights: Tensor, *, residuals: str, clip: float) -> Tensor:
    """The sum of clipped gradients by the weights, one record after the other; slow and obvious."""
    total = torch.zeros_like(weights)
    for feature, class_id in zip(features, class_ids, strict=True):
        leaf = weights.clone().requires_grad_(True)
        target = torch.nn.functional.one_hot(class_id, weights.shape[1]).to(feature)
        if residuals == "squared":
            loss = 0.5 * (feature @ leaf - (target - 1 / len(target))).square().sum()
        else:
            loss = -(target * (10 * (feature @ leaf)).log_softmax(0)).sum() / 10
        (gradient,) = torch.autograd.grad(loss, leaf)
        total += gradient * min(1.0, clip / float(gradient.norm()))
    return total


@pytest.mark.parametrize("residuals", ["squared", "softmax"])
@pytest.mark.parametrize("clip", [0.3, 1.0, 100.0])
def test_gradient_is_that_of_autograd_clipped_record_by_record(residuals, clip):
    features, weights = drawn(9, 5), drawn(5, 3, seed=1)
    class_ids = torch.tensor([0, 1, 2] * 3)
    errors = residuals_of(features, class_ids, weights, residuals=residuals)
    found = noisy_outer_sum(features, errors, clip=clip, noise_multiplier=0.0, noise=NoiseStream.of_seed(2))
    torch.testing.assert_close(found, by_autograd(features, class_ids, weights, residuals=residuals, clip=clip))


def without(tensor: Tensor, i: int) -> Tensor:
    return torch.cat([tensor[:i], tensor[i + 1 :]])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_one_record_more_or_less_changes_a_noisy_sum_by_the_clip_at_most(scale):
    left, right, groups = scale * drawn(8, 6), drawn(8, 4, seed=1), torch.arange(8) % 3
    changes = []
    for i in range(8):
        one, other = (
            noisy_group_sums(rows, of, 3, clip=0.5, noise_multiplier=1.0, noise=NoiseStream.of_seed(3))
            for rows, of in ((left, groups), (without(left, i), without(groups, i)))
        )
        changes.append(float((one - other).norm()))
        one, other = (
            noisy_outer_sum(a, b, clip=0.5, noise_multiplier=1.0, noise=NoiseStream.of_seed(3))
            for a, b in ((left, right), (without(left, i), without(right, i)))
        )
        changes.append(float((one - other).norm()))
    assert max(changes) <= 0.5 * (1 + 1e-6)
    assert scale < 1 or max(changes) > 0.49  # the bound is reached


@pytest.fixture
def releases(monkeypatch) -> list[tuple[Tensor, float]]:
    """Every noisy sum of a distillation, without its noise, with its clip."""
    seen: list[tuple[Tensor, float]] = []
    monkeypatch.setattr(noisy_sums, "normal_like", lambda sums, noise: torch.zeros_like(sums))
    for module, name in ((private_stepwise, "noisy_outer_sum"), (private_start, "noisy_group_sums")):
        original = getattr(noisy_sums, name)

        def recorded(*given, original=original, **named):
            seen.append((original(*given, **named), named["clip"]))
            return seen[-1][0]

        monkeypatch.setattr(module, name, recorded)
    return seen


@pytest.mark.parametrize("init", ["class-means", "clusters"])
def test_sensitivity_of_every_release_by_brute_force_over_neighbours(make_images, releases, init):
    """Up to the first release that differs, both runs are one; it differs by the clip at most, whatever record is left
    out. Steps are looked at from a start that sees none."""
    images = make_images((4, 4))
    for distiller in (QUICK.with_options(init=init, steps=0), QUICK.with_options(init="noise", steps=1, batch_size=99)):
        releases.clear()
        data = Identity().apply(images)
        distiller.distill(data, images_per_class=2)
        (whole, clip), *_ = list(releases)
        changes = []
        for i in range(len(data)):
            releases.clear()
            kept = torch.arange(len(data)) != i
            distiller.distill(data.subset(kept), images_per_class=2)
            (other, _), *_ = list(releases)
            changes.append(float((whole - other).norm()))
        assert 0 < max(changes) <= clip * (1 + 1e-5)


def test_second_release_of_the_clusters_has_the_same_bound(make_images, releases, monkeypatch):
    """With the first release held fixed, as the noisy one that was published is."""
    data = Identity().apply(make_images((4, 4)))
    distiller = QUICK.with_options(init="clusters", steps=0)
    distiller.distill(data, images_per_class=2)
    (first, _), (whole, clip) = list(releases)
    recorded = private_start.noisy_group_sums
    for i in range(len(data)):
        releases.clear()
        calls = itertools.count()

        def first_fixed(*given, calls=calls, **named):
            found = recorded(*given, **named)
            return first if next(calls) == 0 else found

        monkeypatch.setattr(private_start, "noisy_group_sums", first_fixed)
        kept = torch.arange(len(data)) != i
        distiller.distill(data.subset(kept), images_per_class=2)
        assert float((whole - releases[1][0]).norm()) <= clip * (1 + 1e-5)


def test_sums_are_exact_enough_for_their_clip():
    """In float32 a large sum swallows small records, and the next one lets them all through."""
    rows = torch.cat([torch.full((1, 1), 10.0)] * 2000 + [torch.full((1, 1), 1e-7)] * 2000)
    one, other = (
        noisy_group_sums(given.double(), torch.zeros(len(given), dtype=torch.long), 1, clip=10.0, noise_multiplier=0.0,
                         noise=NoiseStream.of_seed(0))
        for given in (rows, rows[1:])
    )  # fmt: skip
    assert float((one - other).abs()) <= 10.0 * (1 + 1e-9)
    assert float(one) == pytest.approx(20_000 + 2000 * 1e-7, abs=1e-8)


def test_streams_of_noise_differ_for_seeds_that_torch_cannot_tell_apart():
    low, high = NoiseStream.of_seed(12345), NoiseStream.of_seed(12345 + 77777 * 2**32)
    assert not bool((low.normal(5) == high.normal(5)).any())
    numbers = NoiseStream.of_seed(3).normal(200_000)
    assert float(numbers.mean()) == pytest.approx(0, abs=0.01)
    assert float(numbers.std()) == pytest.approx(1, abs=0.01)
    assert float((numbers.abs() > 3).double().mean()) == pytest.approx(0.0027, abs=0.0006)


def test_noise_has_the_deviation_that_is_accounted_for():
    nothing = torch.zeros(0, 40), torch.zeros(0, 50)
    outer = noisy_outer_sum(*nothing, clip=0.5, noise_multiplier=3.0, noise=NoiseStream.of_seed(0))
    sums = noisy_group_sums(
        nothing[0], torch.zeros(0, dtype=torch.long), 50, clip=0.5, noise_multiplier=3.0, noise=NoiseStream.of_seed(1)
    )
    for noise in (outer, sums):
        assert noise.shape in ((40, 50), (50, 40))
        assert float(noise.std()) == pytest.approx(1.5, rel=0.06)
        assert abs(float(noise.mean())) < 0.15


@pytest.mark.parametrize("distiller", METHODS, ids=lambda distiller: distiller.method)
def test_every_step_draws_noise_of_its_own(make_images, monkeypatch, distiller):
    """As often as the ledger says: no sum is stored and noised again."""
    drawn_noise = []
    original = noisy_sums.normal_like

    def recorded(sums, noise):
        drawn_noise.append(original(sums, noise))
        return drawn_noise[-1]

    monkeypatch.setattr(noisy_sums, "normal_like", recorded)
    synthetic = distiller.distill(make_images(), images_per_class=2)
    assert len(drawn_noise) == sum(one.count for one in synthetic.ledger.spent[0].releases) == 5
    for one, other in itertools.combinations(drawn_noise, 2):
        assert one.shape != other.shape or not torch.equal(one, other)


@pytest.mark.parametrize("distiller", METHODS, ids=lambda distiller: distiller.method)
def test_sums_are_divided_by_the_expected_size_of_a_batch_not_by_that_of_the_one_drawn(
    distiller, make_images, monkeypatch
):
    """With sums that are always the same, other batches lead to the same images."""
    sizes = []

    def same_sum(left, right, **_):
        sizes.append(len(left))
        return drawn(left.shape[1], right.shape[1], seed=len(sizes) % 12).float()

    monkeypatch.setattr(private_stepwise, "noisy_outer_sum", same_sum)
    often = distiller.with_options(steps=12, init="noise", batch_size=9)
    assert often.expected_batch_size(36) == 9.0
    one = often.distill(make_images(), images_per_class=1).images
    coins = NoiseStream.of_seed(1)
    monkeypatch.setattr(private_stepwise, "poisson_sample", lambda count, rate, _: poisson_sample(count, rate, coins))
    other = often.distill(make_images(), images_per_class=1).images
    assert len(set(sizes[:12])) > 3
    assert sizes[:12] != sizes[12:]
    assert torch.equal(one, other)


def test_coins_are_independent():
    chosen = torch.zeros(400, 50)
    coins = NoiseStream.of_seed(0)
    for row in chosen:
        row[poisson_sample(50, 0.3, coins)] = 1
    assert float(chosen.mean()) == pytest.approx(0.3, abs=0.01)
    assert float(chosen.sum(1).var()) == pytest.approx(50 * 0.3 * 0.7, rel=0.25)  # of a fixed size it would be 0
    assert len(poisson_sample(50, 1.0, coins)) == 50


def test_empty_batch_is_noise_alone(make_images):
    rarely = QUICK.with_options(batch_size=1, steps=20, init="noise")
    synthetic = rarely.distill(make_images((2, 1)), images_per_class=1)
    assert bool(torch.isfinite(synthetic.images).all())


@pytest.mark.parametrize("init", ["noise", "class-means", "clusters"])
def test_ledger_keeps_to_the_budget_and_spends_it(make_images, init):
    distiller = QUICK.with_options(init=init, noise_multiplier=None, epsilon=1.5, delta=1e-4)
    ledger = distiller.distill(make_images(), images_per_class=1).ledger
    assert ledger.delta == 1e-4
    assert 1.49 < ledger.epsilon <= 1.5
    assert [one.count for one in ledger.spent[0].releases] == {"noise": [3], "class-means": [1, 3]}.get(init, [1, 1, 3])


def test_noise_given_tells_epsilon(make_images):
    less, more = (QUICK.with_options(noise_multiplier=noise, init="noise") for noise in (5.0, 1.0))
    assert less.distill(make_images()).ledger.epsilon < 0.7 * more.distill(make_images()).ledger.epsilon


def test_set_tells_nothing_that_the_noise_could_be_taken_off_with(make_images):
    synthetic = QUICK.distill(make_images(), images_per_class=1, seed=7654321)
    assert "7654321" not in str(synthetic.made_by)
    assert synthetic.made_by["started_from"] == []
    assert QUICK.with_options(secret_noise=True).distill(make_images(), images_per_class=1).ledger is not None


def test_secret_noise_is_not_that_of_the_seed(make_images):
    secret = QUICK.with_options(secret_noise=True, init="noise", batch_size=99)
    one, other = (secret.distill(make_images(), images_per_class=1, seed=1) for _ in range(2))
    assert not torch.equal(one.images, other.images)


@pytest.mark.parametrize("secret", [False, True])
def test_killed_and_resumed_repeats_the_noise_and_spends_nothing_twice(make_images, tmp_path, monkeypatch, secret):
    """Each start asks the operating system for other secret numbers; what is resumed must keep those it began with."""
    data, distiller = make_images(), QUICK.with_options(secret_noise=secret)
    count = itertools.count()
    monkeypatch.setattr(os, "urandom", lambda length: next(count).to_bytes(length, "big"))
    whole = distiller.distill(data, images_per_class=2)
    for k in (1, 2):
        count = itertools.count()
        killed_before_step(k, monkeypatch, distiller, data, store=tmp_path / str(k))
        resumed = distiller.distill(data, images_per_class=2, store=tmp_path / str(k))
        assert torch.equal(resumed.images, whole.images)
        assert resumed.ledger == whole.ledger


# -- what an attacker sees ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distiller", METHODS, ids=lambda distiller: distiller.method)
def test_what_records_add_to_an_observed_release_comes_to_its_sum(distiller, make_images, monkeypatch):
    """All records, without noise; each adds the norm of the clip at most, and some do."""
    monkeypatch.setattr(noisy_sums, "normal_like", lambda sums, noise: torch.zeros_like(sums))
    data, seen = Identity().apply(make_images()), []

    def see(release):
        added = release.added_by(data.images, data.labels)
        torch.testing.assert_close(added.sum(0), release.summed.double().flatten(), rtol=1e-5, atol=1e-5)
        assert added.norm(dim=1).max() == pytest.approx(release.clip)
        seen.append(release)

    whole = distiller.with_options(batch_size=36, clip=0.3)
    synthetic = whole.distill(data, images_per_class=2, on_release=see)
    steps = synthetic.ledger.spent[0].releases[-1]
    assert len(seen) == steps.count == 3
    assert {(one.noise_std, one.sampling_rate) for one in seen} == {(0.3 * steps.noise_multiplier, 1.0)}
    assert torch.equal(synthetic.images, whole.distill(data, images_per_class=2).images)


def test_releases_are_seen_of_private_steps_alone(make_images):
    with pytest.raises(InputError, match="on_release was given to random, which has no noisy sums; use a priv"):
        Random().distill(make_images(), images_per_class=1, on_release=print)
    with pytest.raises(InputError, match="on_release was given to noisy-means, which has no steps; use private-frepo"):
        NoisyMeans().distill(make_images(), images_per_class=1, on_release=print)
    with pytest.raises(InputError, match="on_release is 3; expected a function of an ObservedRelease"):
        QUICK.distill(make_images(), on_release=3)


# -- refused -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("init", ["real", "herded", "real+noise"])
def test_real_start_is_refused(init):
    with pytest.raises(InputError, match=rf"init is '{init.replace('+', '.')}'; .* real images, .* without noise"):
        PrivateFRePo(init=init)


@pytest.mark.parametrize("fit", [Standardize, ZCA])
def test_preprocessing_that_may_be_fitted_on_the_records_is_refused(make_images, fit):
    data = fit.fit(make_images()).apply(make_images())
    with pytest.raises(InputError, match="may have been fitted on the private records: that would be a release"):
        QUICK.distill(data)
    QUICK.with_options(public_preprocessing=True).distill(data, images_per_class=1)


def test_raw_images_are_preprocessed_alike_whatever_they_are(make_images):
    one, other = (QUICK.distill(make_images(seed=seed), images_per_class=1) for seed in (0, 1))
    assert one.preprocessing.same_as(other.preprocessing)


def test_held_out_records_are_refused(make_images):
    with pytest.raises(InputError, match=r"held_out was given to private-frepo: .* without noise"):
        QUICK.distill(make_images(), held_out=make_images())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": 1.0}, "delta is 1.0; expected less than 1"),
        ({"epsilon": 0.0}, "epsilon is 0.0; expected more than 0"),
        ({"clip": 0.0}, "clip is 0.0; expected more than 0"),
        ({"init_share": 1.0}, "init_share is 1.0; expected less than 1"),
        ({"init": "public"}, "init is 'public' and public None; expected a file"),
        ({"public": "set.safetensors"}, "init is 'clusters' and public 'set.safetensors'; expected a file"),
        ({"residuals": "hinge"}, "residuals is 'hinge'; expected one of squared, softmax"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        PrivateFRePo(**options)


def test_small_classes_are_not_told_of(make_images, recwarn):
    """Their number of images is no business of anybody's."""
    synthetic = QUICK.distill(make_images((9, 1)), images_per_class=3)
    assert not recwarn.list
    assert torch.bincount(synthetic.class_ids).tolist() == [3, 3]


# -- start -------------------------------------------------------------------------------------------------------------


def test_public_images_are_where_it_starts(make_images, tmp_path):
    public = QUICK.distill(make_images(seed=5), images_per_class=3)
    path = public.save(tmp_path / "public.safetensors")
    started = QUICK.with_options(init="public", public=str(path), steps=0)
    synthetic = started.distill(make_images(), images_per_class=2)
    assert torch.equal(synthetic.images, public.images[[0, 1, 3, 4, 6, 7]])
    with pytest.raises(InputError, match="has 3 images of class 0; expected 4"):
        started.distill(make_images(), images_per_class=4)
    with pytest.raises(InputError, match=r"preprocessed by standardize; expected .* by identity"):
        started.distill(Identity().apply(make_images()), images_per_class=2)


def test_start_without_noise_is_the_smoothed_mean_of_each_class(make_images):
    images = make_images((20, 20))
    exact = QUICK.with_options(epsilon=1e6, init_share=0.9, noise_std=0.0)
    start = exact.with_options(init="class-means", steps=0, frequencies=8)
    synthetic = start.distill(Identity().apply(images), images_per_class=1)
    pixels = torch.from_numpy(images.images).permute(0, 3, 1, 2).float() / 255
    norms = pixels.flatten(1).norm(dim=1)
    clipped = pixels * (0.36 * 8 / norms).clamp(max=1)[:, None, None, None]
    for class_id in (0, 1):
        expected = clipped[torch.from_numpy(images.labels) == class_id].mean(0)
        assert (synthetic.images[class_id] - expected).abs().max() < 0.01


def test_state_is_told_only_what_is_released(make_images):
    """Every record replaced by another image after the start: without its gradient, the images stay the same."""
    data = Identity().apply(make_images())
    distiller = QUICK.with_options(init="noise", steps=1)
    run = Run(images_per_class=1)
    images = []
    for pixels in (data.images, data.images.flip(0)):
        state = distiller.start(data, run)
        state.noise_multiplier = 1e9  # a step of Adam is the sign of the noise then
        distiller.step(state, type(data)(pixels, data.labels, data.classes, data.preprocessing))
        images.append(state.images.detach())
    assert torch.equal(*images)


def test_wrong_images_are_told(make_images):
    images = make_images()
    with pytest.raises(InputError, match="all pixels of all 36 images have the same value"):
        QUICK.distill(LabelledImages(images.images * 0, images.labels, images.classes))

"""Broken proofs are caught: by an audit where one can see what is broken, else by a check of the contract.

An audit shows a lower bound on epsilon above the proven one, beside an honest run whose bound is below. The attacker
sees every release of a step and knows all but the coins, as the guarantee allows.
"""

import itertools
import os
import shutil

import numpy as np
import pytest
import torch

from distill import NDPDC, InputError, PrivateFRePo, SyntheticSet
from distill.accounting import noisy_sums
from distill.distillers import private_stepwise
from distill.distillers.initialize import choose_per_class
from distill.distillers.private import PrivateDistiller
from distill.distillers.private_stepwise import PrivateState, PrivateStepwise
from distill.preprocess import default_preprocessing
from killed import killed_before_step
from privacy import epsilon_from_guesses
from release_audit import DELTA, ReleaseAudit

ALL = 10**6  # a batch size that all records are in
SMALL = {"init": "noise", "steps": 2, "batch_size": ALL, "width": 8, "depth": 1, "epsilon": 1.0, "delta": DELTA}
FREPO = PrivateFRePo(pool_size=1, **SMALL)
REPEATS, GUESSES = 60, 30
METHODS = pytest.mark.parametrize("distiller", [FREPO, NDPDC(**SMALL)], ids=lambda distiller: distiller.method)


def bounds(distiller: PrivateStepwise, **suspected) -> tuple[float, float]:
    """The lower bounds on epsilon of an attacker who suspects what `suspected` says, and of one who does not."""
    audits = ReleaseAudit(**suspected), ReleaseAudit()
    distilled(distiller, audits[0], on_release=lambda release: [audit.see(release) for audit in audits])
    return audits[0].bound(), audits[1].bound()


def distilled(distiller: PrivateStepwise, audit: ReleaseAudit, **options) -> SyntheticSet:
    """A set with epsilon 1, or a little less, by its ledger."""
    synthetic = distiller.distill(audit.data, images_per_class=1, **options)
    assert 0.9 < synthetic.ledger.epsilon <= 1
    return synthetic


def everything(count, rate, coins):
    return torch.arange(count)


# -- an audit sees it --------------------------------------------------------------------------------------------------


@METHODS
def test_noise_left_out_is_seen_by_an_audit(distiller, monkeypatch):
    assert max(bounds(distiller, noise_share=0.01)) <= 1
    monkeypatch.setattr(noisy_sums, "normal_like", lambda sums, noise: torch.zeros_like(sums))
    assert bounds(distiller, noise_share=0.01)[0] > 2.5


@METHODS
def test_clip_left_out_is_seen_by_an_audit(distiller, monkeypatch):
    """A record adds about 1; with a clip of 0.05 the noise hides a twentieth of that."""
    tight = distiller.with_options(clip=0.05)
    assert max(bounds(tight, clips=False)) <= 1
    monkeypatch.setattr(noisy_sums, "clip_factors", lambda norms, clip: torch.ones_like(norms))
    assert bounds(tight, clips=False)[0] > 2


def test_all_records_counted_as_a_poisson_sample_are_seen_by_an_audit(monkeypatch):
    sampled = FREPO.with_options(batch_size=5, steps=8, noise_multiplier=1.0)
    assert max(bounds(sampled, samples=False)) <= 1
    monkeypatch.setattr(private_stepwise, "poisson_sample", everything)
    assert bounds(sampled, samples=False)[0] > 1.5


@pytest.mark.parametrize("broken", [False, True])
def test_noise_drawn_anew_over_the_same_sum_is_seen_by_an_audit(broken, monkeypatch, tmp_path):
    """Killed again and again after the only step: a state that is restored without its noise adds other noise to the
    same sum each time, and the attacker averages. Restored with it, the same release is seen again."""
    if broken:
        restore = PrivateState.restore

        def restored(self, tensors, metadata):
            restore(self, {**tensors, "noise": self.noise.get_state()}, metadata)

        monkeypatch.setattr(PrivateState, "restore", restored)
    count = itertools.count()
    monkeypatch.setattr(os, "urandom", lambda length: next(count).to_bytes(length, "big"))
    audit, seen = ReleaseAudit(), set()

    def see(release):
        audit.see(release)
        seen.add(release.summed.numpy().tobytes())

    distiller, killed = FREPO.with_options(secret_noise=True, steps=1), tmp_path / "killed"
    killed_before_step(0, monkeypatch, distiller, audit.data, images_per_class=1, store=killed)
    for i in range(REPEATS if broken else 2):
        distilled(distiller, audit, store=shutil.copytree(killed, tmp_path / str(i)), on_release=see)
    assert (len(seen), audit.bound(noise="gaussian") > 1) == ((REPEATS, True) if broken else (1, False))


@pytest.mark.parametrize("broken", [False, True])
def test_start_from_real_images_is_seen_by_an_audit(broken, monkeypatch):
    """Of an image that is nearest to a canary, almost without distance, the canary was the start. It takes no releases
    for that: the attacker has the published set."""
    if broken:

        def real(self, data, class_ids, noise, directions):
            return data.images[choose_per_class(data.labels, 10, directions)].clone()

        monkeypatch.setattr(PrivateStepwise, "private_images", real)
    audit = ReleaseAudit()
    published = FREPO.with_options(learning_rate=1e-3).distill(audit.data, images_per_class=10).images
    distances = torch.cdist(audit.canaries.images.flatten(1), published.flatten(1)).min(1).values
    nearest = distances.argsort()[:GUESSES].numpy()
    correct = int(audit.planted.planted[nearest].sum())
    bound = epsilon_from_guesses(correct=correct, guesses=GUESSES, canaries=audit.count, delta=DELTA).epsilon
    assert (bound > 1) == broken


# -- a check of the contract sees it -----------------------------------------------------------------------------------


def is_poisson(sizes: list[int], records: int, rate: float) -> bool:
    """Whether batch sizes have the mean and the variance of Poisson samples, within six standard errors or so."""
    mean, variance = records * rate, records * rate * (1 - rate)
    return bool(
        abs(np.mean(sizes) - mean) < 6 * (variance / len(sizes)) ** 0.5
        and 0.4 < np.var(sizes) / variance < 2
    )


def fixed_size(count, rate, coins):
    return coins.uniform(count).argsort()[: round(count * rate)]


@METHODS
@pytest.mark.parametrize("batches", [None, fixed_size, everything])
def test_batches_that_are_no_poisson_samples_are_seen_by_their_sizes(distiller, batches, monkeypatch, make_images):
    """Shuffled batches of a fixed size leave each record with the same chance of being in a step, so that no audit of
    single records tells them from coins; the proof holds for coins alone."""
    if batches is not None:
        monkeypatch.setattr(private_stepwise, "poisson_sample", batches)
    sizes = []
    original = private_stepwise.noisy_outer_sum

    def recorded(left, right, **named):
        sizes.append(len(left))
        return original(left, right, **named)

    monkeypatch.setattr(private_stepwise, "noisy_outer_sum", recorded)
    sampled = distiller.with_options(batch_size=12, steps=40, width=4, noise_multiplier=1.0)
    sampled.distill(make_images(), images_per_class=1)
    assert is_poisson(sizes, 36, 1 / 3) == (batches is None)


@METHODS
def test_preprocessing_fitted_on_the_records_is_refused_also_where_the_method_itself_fits_it(
    distiller, monkeypatch, make_images
):
    """A contract: one mean of all records, without noise, tells of each of them, but too little for an audit."""
    monkeypatch.setattr(PrivateDistiller, "preprocessing_for", lambda self, data: default_preprocessing(data))
    with pytest.raises(InputError, match="may have been fitted on the private records"):
        distiller.distill(make_images(), images_per_class=1)

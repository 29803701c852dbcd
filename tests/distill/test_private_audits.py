"""Honest private distillations, audited twenty times over: the lower bound stays below the proven epsilon."""

import numpy as np
import pytest

from distill import PrivateFRePo
from privacy import epsilon_from_canaries
from release_audit import DELTA, ReleaseAudit

RUNS = 20

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("epsilon", "least"), [(1.0, 0.2), (8.0, 1.7)])
def test_twenty_audited_runs_show_less_than_is_proven_and_together_a_useful_part_of_it(epsilon, least):
    """The attacker sees every release. Together the runs are one mechanism of disjoint records, as private as one."""
    distiller = PrivateFRePo(
        epsilon=epsilon, delta=DELTA, init="noise", steps=4, batch_size=10**6, width=16, depth=1, pool_size=1
    )
    audits = [ReleaseAudit(seed=seed, count=400) for seed in range(RUNS)]
    for audit in audits:
        ledger = distiller.distill(audit.data, images_per_class=1, seed=audit.seed, on_release=audit.see).ledger
        assert 0.99 * epsilon < ledger.epsilon <= epsilon
    scores = np.concatenate([audit.scores.values for audit in audits])
    coins = np.concatenate([audit.planted.planted for audit in audits])
    for noise in ("any", "gaussian"):
        bounds = [audit.bound(noise=noise) for audit in audits]
        together = epsilon_from_canaries(scores, coins, delta=DELTA, noise=noise).epsilon
        print(f"{epsilon:g}, {noise}: mean {np.mean(bounds):.2f}, largest {max(bounds):.2f}, all {together:.2f}")
        assert max(bounds) <= epsilon
        assert least < together <= epsilon

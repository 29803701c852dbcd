"""Where nothing leaks, at most 5 % of audits with reference models report a leak."""

import numpy as np
import pytest

from privacy import (
    RMIA,
    AttackRecords,
    BaVarIA,
    Calibrated,
    LiRA,
    QuantileRegression,
    References,
    audit,
    reference_splits,
)
from referenced import as_logits

SIZE, AUDITS = 100, 150
ATTACKS = [
    LiRA(), LiRA(variance="own"), LiRA(mode="offline"), LiRA(mode="offline", variance="own"), RMIA(), RMIA(count=True),
    RMIA(mode="offline"), RMIA(a=1.0, mode="offline"), Calibrated(), BaVarIA(), BaVarIA(mode="offline"),
]  # fmt: skip
FEW = 20  # audits of the attack that learns, which takes a hundred times as long


def records_without_a_leak(seed: int, models: int, both_sides: bool) -> AttackRecords:
    """Records as hard as they are, with spreads of their own and skewed; references do remember what they saw.

    `both_sides`: half of the references were trained on each record; else on half of the members and no non-member.
    """
    generator = np.random.default_rng(seed)
    trained_on = reference_splits(2 * SIZE, models, seed)
    if not both_sides:
        trained_on[:, SIZE:] = False
    means, spreads = 3 * generator.normal(size=2 * SIZE), 0.5 + generator.exponential(size=2 * SIZE)
    noise = generator.gumbel(size=(models + 1, 2 * SIZE))
    margins = means + spreads * noise
    margins[1:] += 2 * trained_on
    outputs, labels = as_logits(margins), np.zeros(SIZE, int)
    features = np.stack((means, generator.normal(size=2 * SIZE)), axis=1)
    return AttackRecords(
        members=(outputs[0, :SIZE], labels), non_members=(outputs[0, SIZE:], labels),
        features=(features[:SIZE], features[SIZE:]),
        references=References(
            member_outputs=outputs[1:, :SIZE], non_member_outputs=outputs[1:, SIZE:],
            member_in=trained_on[:, :SIZE], non_member_in=trained_on[:, SIZE:],
        ),
    )  # fmt: skip


def most(audits: int) -> float:
    """False alarms that 5 % give in all but one of a thousand tests: three standard deviations above."""
    return 0.05 * audits + 3 * np.sqrt(0.05 * 0.95 * audits)


@pytest.mark.slow
@pytest.mark.parametrize("both_sides", [True, False], ids=["both sides", "members alone"])
@pytest.mark.parametrize("models", [4, 16])
def test_false_alarms_are_within_the_announced_level(models, both_sides):
    alarms = dict.fromkeys(ATTACKS, 0)
    for seed in range(AUDITS):
        records = records_without_a_leak(seed, models, both_sides)
        for attack in ATTACKS:
            if getattr(attack, "mode", "auto") == "auto" or both_sides:
                alarms[attack] += audit(records, attacks=attack, jobs=1).verdict.leaks
    assert max(alarms.values()) <= most(AUDITS), alarms


def records_with_uneven_references(seed: int, share_members: float, share_others: float) -> AttackRecords:
    """Records without a leak; each of 8 references, some surer of everything, drew its own records of both sides."""
    size, models = 1000, 8
    generator = np.random.default_rng(seed)
    share = np.repeat([share_members, share_others], size)
    trained_on = generator.random((models, 2 * size)) < share
    in_all = np.flatnonzero(trained_on.all(0))
    trained_on[generator.integers(models, size=len(in_all)), in_all] = False
    margins = 3 * generator.normal(size=2 * size) + generator.gumbel(size=(models + 1, 2 * size))
    margins[1:] += 2 * trained_on + 2 * generator.normal(size=(models, 1))
    outputs, labels = as_logits(margins), np.zeros(size, int)
    return AttackRecords(
        members=(outputs[0, :size], labels), non_members=(outputs[0, size:], labels),
        references=References(
            member_outputs=outputs[1:, :size], non_member_outputs=outputs[1:, size:],
            member_in=trained_on[:, :size], non_member_in=trained_on[:, size:],
        ),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("shares", [(0.5, 0.0), (0.9, 0.0), (0.7, 0.4)], ids=str)
def test_sides_with_unlike_numbers_of_references_give_no_more_false_alarms(shares):
    audits, attacks = 30, [LiRA(), RMIA(), Calibrated()]
    alarms = dict.fromkeys(attacks, 0)
    for seed in range(audits):
        records = records_with_uneven_references(seed, *shares)
        for attack in attacks:
            alarms[attack] += audit(records, attacks=attack, jobs=1).verdict.leaks
    assert max(alarms.values()) <= most(audits), alarms


@pytest.mark.slow
def test_false_alarms_of_quantile_regression_are_within_the_announced_level():
    alarms = sum(
        audit(records_without_a_leak(seed, 2, True), attacks=QuantileRegression(), jobs=1).verdict.leaks
        for seed in range(FEW)
    )
    assert alarms <= most(FEW)

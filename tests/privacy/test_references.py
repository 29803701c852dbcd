"""References are checked at the door, stay beside their records, and are trained once."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from privacy import AttackRecords, InputError, References, audit, reference_splits, train_references
from privacy.signals import at_most_alike
from referenced import gaussian_records

GOOD = {"member_outputs": np.zeros((4, 3, 2)), "non_member_outputs": np.zeros((4, 5, 2))}
FITTING = {"member_outputs": np.zeros((4, 2, 2)), "non_member_outputs": np.zeros((4, 2, 2))}
POPULATION = (np.zeros((6, 2)), np.zeros((4, 6, 2)), np.zeros(6, int))


# -- what is given -----------------------------------------------------------------------------------------------------


def test_outputs_are_kept_in_single_precision():
    references = References(**GOOD, member_in=np.eye(4, 3), population=POPULATION)
    assert references.member_outputs.dtype == references.population.reference_outputs.dtype == np.float32
    assert references.trained_on.dtype == bool
    assert references.trained_on.shape == (4, 8)
    assert not references.online
    assert References(**GOOD, member_in=np.eye(4, 3), non_member_in=np.eye(4)[:, [0, 1, 2, 3, 0]]).online


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"member_outputs": np.zeros(3)}, r"member_outputs of the references have shape \(3,\); expected"),
        ({"member_outputs": np.zeros((0, 3, 2))}, r"have shape \(0, 3, 2\); expected .*, at least one of each"),
        ({"member_outputs": np.full((4, 3, 2), "a")}, "are <U1; expected numbers"),
        ({"member_outputs": np.full((4, 3, 2), np.nan)}, "NaN, infinite values or values too large for float32 for 12 "
         "of 12 pairs of a reference and a record, the first is reference 0, record 0"),
        ({"member_outputs": np.full((4, 3, 2), 1e39)}, "too large for float32"),
        ({"member_outputs": np.zeros((3, 3, 2))}, "member_outputs of 3 references and non_member_outputs of 4"),
        ({"member_in": np.zeros((4, 5))}, r"float64 of shape \(4, 5\); expected zeros and ones .* \(4, 3\)"),
        ({"member_in": np.full((4, 3), 2)}, "expected zeros and ones"),
        ({"member_in": np.ones((4, 3), bool)}, "3 of 3 members are in the training data of every reference, the first "
         "is record 0; expected at least one reference without each record: see reference_splits"),
        ({"population": POPULATION[:2]}, "population is a tuple; expected"),
        ({"population": (POPULATION[0], POPULATION[1][:2], POPULATION[2])}, r"expected \(p, C\), \(4, p, C\) and"),
        ({"population": (POPULATION[0] * np.nan, *POPULATION[1:])}, "population outputs contain NaN"),
    ],
)  # fmt: skip
def test_references_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        References(**{**GOOD, **changes})


@pytest.mark.parametrize(
    ("references", "message"),
    [
        (References(**GOOD), r"of the references have shape \(4, 3, 2\); expected \(4, 2, 2\), for each"),
        (np.zeros((4, 3, 2)), "references is a ndarray; expected References"),
        (References(member_outputs=[[[0.2, 0.8]] * 2], non_member_outputs=[[[0.4, 0.6]] * 2]),
         r"reference 0: its outputs are declared as logits, but every row lies in \[0, 1\] and sums to 1"),
        (References(**FITTING, population=(*POPULATION[:2], np.full(6, 2))), "population labels run from 2 to 2"),
    ],
)
def test_references_of_other_records_are_refused(references, message):
    side = (np.zeros((2, 2)), [0, 1])
    with pytest.raises(InputError, match=message):
        AttackRecords(members=side, non_members=side, references=references)


# -- beside their records ----------------------------------------------------------------------------------------------


def test_references_follow_their_records_into_subsets():
    records = gaussian_records(6, 5, models=4)
    part = records.subset(members=[4, 1], non_members=[True, False, False, True, False])
    positions = [4, 1, 6, 9]
    assert np.array_equal(part.references.trained_on, records.references.trained_on[:, positions])
    for model in range(4):
        assert np.array_equal(part.references.of_model(model), records.references.of_model(model)[positions])
    assert np.array_equal(part.signals.references, records.signals.references[:, positions])


def test_scores_of_a_subset_are_those_of_its_records():
    """The calibrated loss of a record depends on no other record."""
    records = gaussian_records(30, 20, models=4)
    whole = audit(records, attacks="calibrated", jobs=1).scores["calibrated"]
    part = audit(records.subset(members=range(5)), attacks="calibrated", jobs=1).scores["calibrated"]
    np.testing.assert_array_equal(part.members, whole.members[:5])


def test_save_and_load_give_the_same(tmp_path):
    records = gaussian_records(6, 5, models=4)
    given = records.references
    records = AttackRecords(
        members=(records.members.outputs, records.members.labels),
        non_members=(records.non_members.outputs, records.non_members.labels),
        references=References(
            member_outputs=given.member_outputs, non_member_outputs=given.non_member_outputs, member_in=given.member_in,
            population=POPULATION,
        ),
    )  # fmt: skip
    found = AttackRecords.load(records.save(tmp_path / "records.npz"))
    assert repr(found) == repr(records) == "AttackRecords(6 members, 5 non-members, 2 classes, logits, 4 references)"
    for name, array in records.references.to_arrays().items():
        assert np.array_equal(found.references.to_arrays()[name], array), name
        assert found.references.to_arrays()[name].dtype == array.dtype, name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reference_non_member_outputs": None}, "bad.npz: the references lack non_member_outputs; expected both"),
        ({"reference_member_inside": np.zeros((4, 6))}, "has 'reference_member_inside', which is none of .*reference_"),
        ({"reference_member_outputs": np.zeros((4, 2, 2))}, r"bad.npz: member_in is bool of shape \(4, 6\); expected"),
    ],
)
def test_bad_references_in_files_are_named(tmp_path, changes, message):
    path = gaussian_records(6, 5, models=4).save(tmp_path / "bad.npz")
    arrays = dict(np.load(path)) | changes
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    with pytest.raises(InputError, match=message):
        AttackRecords.load(path)


def test_as_many_references_count_on_both_sides_and_all_where_they_are_alike():
    generator = np.random.default_rng(0)
    is_member = np.arange(900) < 300
    for share in (0.0, 0.4, 0.9):
        trained_on = generator.random((8, 900)) < np.where(is_member, 0.6, share)
        inside, outside = at_most_alike(trained_on, is_member)
        assert not (inside & ~trained_on).any()
        assert not (outside & trained_on).any()
        for mask, kind in ((inside, trained_on), (outside, ~trained_on)):
            members, others = (np.bincount(mask[:, side].sum(0), minlength=9) for side in (is_member, ~is_member))
            assert np.abs(np.cumsum(members / 300 - others / 600)).max() < 1.5 / 300
            assert mask.sum(0).max() <= min(kind[:, is_member].sum(0).max(), kind[:, ~is_member].sum(0).max())
    halves = reference_splits(900, 8, seed=0)
    assert all(map(np.array_equal, at_most_alike(halves, is_member), (halves, ~halves)))


# -- splits and training -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("records", [2, 7, 100])
def test_every_record_is_in_half_of_the_models(records):
    splits = reference_splits(records, 16, seed=3)
    assert splits.shape == (16, records)
    assert (splits.sum(0) == 8).all()
    assert np.isin(splits.sum(1), (records // 2, records - records // 2)).all()
    assert np.array_equal(reference_splits(records, 4, seed=3), splits[:4])


def test_splits_come_from_the_seed():
    assert not np.array_equal(reference_splits(50, 2, seed=0), reference_splits(50, 2, seed=1))
    assert len(np.unique(reference_splits(50, 16, seed=0), axis=0)) == 16


def test_an_odd_number_of_models_is_refused():
    with pytest.raises(InputError, match="models is 3; expected an even number, so that every record is in half"):
        reference_splits(10, 3, seed=0)


PIXELS, LABELS = (array[:120] for array in load_digits(return_X_y=True))
SIDES = {"members": (PIXELS[:60], LABELS[:60]), "non_members": (PIXELS[60:], LABELS[60:])}


def fit(inputs, labels, *, seed):
    """The difference of two classes' means: a linear model."""
    return inputs[labels % 2 == 1].mean(0) - inputs[labels % 2 == 0].mean(0)


def predict(model, inputs):
    return (inputs @ model)[:, None] * [0, 1]


def test_train_references_asks_models_of_each_split_for_all_records():
    splits = reference_splits(120, 4, seed=0)
    found = train_references(fit, predict, **SIDES, splits=splits, jobs=1)
    assert np.array_equal(found.trained_on, splits)
    for model in range(4):
        expected = predict(fit(PIXELS[splits[model]], LABELS[splits[model]], seed=0), PIXELS)
        np.testing.assert_allclose(found.of_model(model), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # two processes start
def test_train_references_side_by_side_gives_the_same():
    splits = reference_splits(120, 4, seed=0)
    one, two = (train_references(fit, predict, **SIDES, splits=splits, jobs=jobs) for jobs in (1, 2))
    assert np.array_equal(one.member_outputs, two.member_outputs)
    assert np.array_equal(one.non_member_outputs, two.non_member_outputs)


def test_train_references_goes_on_where_it_was_stopped(tmp_path, capsys):
    trained = []

    def interrupted(inputs, labels, *, seed):
        if len(trained) == 3:
            raise KeyboardInterrupt
        trained.append(seed)
        return fit(inputs, labels, seed=seed)

    def counted(inputs, labels, *, seed):
        trained.append(seed)
        return fit(inputs, labels, seed=seed)

    options = {**SIDES, "splits": reference_splits(120, 6, seed=0), "jobs": 1, "folder": tmp_path / "references"}
    with pytest.raises(KeyboardInterrupt):
        train_references(interrupted, predict, **options)
    assert len([*(tmp_path / "references").iterdir()]) == 3
    found = train_references(counted, predict, **options, progress=True)
    assert len(trained) == len(set(trained)) == 6
    assert "3/3" in capsys.readouterr().err
    whole = train_references(fit, predict, **{**options, "folder": None})
    assert np.array_equal(found.member_outputs, whole.member_outputs)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"identity": {"epochs": 3}}, "another identity;"),
        ({"members": (PIXELS[:60] + 1, LABELS[:60])}, "another data;"),
        ({"splits": reference_splits(120, 2, seed=1)}, "another split;"),
        ({"seed": 1}, "another seed;"),
    ],
)
def test_references_in_a_folder_that_depend_on_something_else_are_refused(tmp_path, changes, differs):
    options = {**SIDES, "splits": reference_splits(120, 2, seed=0), "jobs": 1, "folder": tmp_path}
    train_references(fit, predict, **options)
    with pytest.raises(InputError, match=rf"reference-000.npz holds the outputs of a reference with {differs}"):
        train_references(fit, predict, **{**options, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members": PIXELS}, r"members is a ndarray; expected \(inputs, labels\)"),
        ({"members": (PIXELS[:60], LABELS[:50])}, r"inputs of shape \(60, 64\) and labels of shape \(50,\)"),
        ({"splits": np.zeros((4, 60))}, r"splits are float64 of shape \(4, 60\); expected booleans of shape .*120\)"),
        ({"splits": np.zeros((4, 120))}, "split 0 has no record"),
        ({"jobs": 0}, "jobs is 0; expected a whole number"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_trained(changes, message):
    with pytest.raises(InputError, match=message):
        train_references(None, None, **{**SIDES, "splits": reference_splits(120, 2, seed=0), **changes})


def test_outputs_that_are_not_one_for_each_record_are_refused():
    splits = reference_splits(120, 2, seed=0)
    with pytest.raises(InputError, match=r"predict gives outputs of shape \(2, 2\) for 120 records; expected \(120, C"):
        train_references(fit, lambda model, inputs: np.zeros((2, 2)), **SIDES, splits=splits, jobs=1)

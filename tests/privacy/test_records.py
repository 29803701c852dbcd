"""What an attacker sees: every wrong input has an answer, losses are right, files are whole or refused."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import log_softmax

from privacy import AttackRecords, InputError
from privacy.confidence import cross_entropy, excess_margins, margins
from privacy.metrics import auc_of
from privacy.records import Side

OUTPUTS = np.random.default_rng(0).normal(size=(6, 3))
LABELS = np.array([0, 1, 2, 0, 1, 2])
GOOD = (OUTPUTS, LABELS)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.exp(log_softmax(logits, axis=1))


def changed(array: np.ndarray, position, value) -> np.ndarray:
    array = array.copy()
    array[position] = value
    return array


def assert_same(one: AttackRecords, other: AttackRecords) -> None:
    assert one.kind == other.kind
    for name in ("members", "non_members"):
        for part, value in vars(getattr(one, name)).items():
            found = getattr(getattr(other, name), part)
            assert np.array_equal(found, value)
            assert found.dtype == value.dtype


# -- what is taken -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, np.int64, bool])
def test_everything_becomes_float64_and_int64(kind):
    records = AttackRecords(members=(OUTPUTS.astype(kind), LABELS.astype(np.uint8)), non_members=[*GOOD, None])
    for side in (records.members, records.non_members):
        assert (side.outputs.dtype, side.labels.dtype, side.losses.dtype) == (np.float64, np.int64, np.float64)
        assert side.outputs.shape == (6, 3)
        assert side.labels.shape == side.losses.shape == (6,)


def test_lists_and_tensors_are_as_good_as_arrays():
    torch = pytest.importorskip("torch")
    wanted = AttackRecords(members=GOOD, non_members=GOOD)
    lists = [OUTPUTS.tolist(), LABELS.tolist()]
    assert_same(AttackRecords(members=lists, non_members=tuple(lists)), wanted)
    tensors = (torch.from_numpy(OUTPUTS), torch.from_numpy(LABELS))
    assert_same(AttackRecords(members=tensors, non_members=tensors), wanted)


def test_batches_are_joined_and_bfloat16_is_read():
    torch = pytest.importorskip("torch")
    wanted = AttackRecords(members=GOOD, non_members=GOOD)
    outputs, labels = torch.from_numpy(OUTPUTS), torch.from_numpy(LABELS)
    for sizes in ([4, 2], [3, 3]):
        batches = [list(outputs.split(sizes)), list(labels.split(sizes))]
        assert_same(AttackRecords(members=batches, non_members=batches), wanted)
    rows = [list(OUTPUTS), LABELS]  # a row a record is no batch
    assert_same(AttackRecords(members=rows, non_members=rows), wanted)
    half = outputs.to(torch.bfloat16)
    found = AttackRecords(members=(half, labels), non_members=([half[:4], half[4:]], labels))
    for side in (found.members, found.non_members):
        assert np.array_equal(side.outputs, half.double().numpy())


def test_losses_of_one_side_alone_are_refused():
    with pytest.raises(InputError, match=r"members have losses and non_members have none, .*two different quan"):
        AttackRecords(members=(*GOOD, np.arange(6)), non_members=GOOD)


def test_what_is_given_is_neither_changed_nor_shared():
    outputs, labels, losses = OUTPUTS.copy(), LABELS.copy(), np.arange(6.0)
    records = AttackRecords(members=(outputs, labels, losses), non_members=(*GOOD, losses))
    for array in (records.members.outputs, records.members.labels, records.members.losses):
        array[:] = 0
    assert np.array_equal(outputs, OUTPUTS)
    assert np.array_equal(labels, LABELS)
    assert np.array_equal(losses, np.arange(6.0))


def test_given_losses_are_kept_and_others_are_the_cross_entropy():
    given, own = (AttackRecords(members=side, non_members=side) for side in ((*GOOD, np.arange(6)), GOOD))
    assert given.members.losses.tolist() == [0, 1, 2, 3, 4, 5]
    assert np.array_equal(own.members.losses, cross_entropy(OUTPUTS, LABELS, "logits"))
    assert (given.losses_given, own.losses_given) == (True, False)


def test_features_are_outputs_and_loss_members_first():
    members, non_members = (OUTPUTS[:2], LABELS[:2], [5, 6]), (OUTPUTS[2:], LABELS[2:], [7, 8, 9, 10])
    records = AttackRecords(members=members, non_members=non_members)
    assert records.num_classes == 3
    assert records.is_member.tolist() == [True] * 2 + [False] * 4
    assert np.array_equal(records.features()[:, :3], OUTPUTS)
    assert records.features()[2:, 3].tolist() == [7, 8, 9, 10]
    assert repr(records) == "AttackRecords(2 members, 4 non-members, 3 classes, logits)"


def test_accuracy_and_correct():
    side = Side(np.eye(3)[[0, 1, 1]], np.array([0, 1, 2]), np.zeros(3))
    assert side.correct.tolist() == [True, True, False]
    assert side.accuracy == pytest.approx(2 / 3)
    assert len(side) == 3


# -- what is refused -----------------------------------------------------------------------------------------------

TOO_FEW_COLUMNS = r"a single class; wanted \(n, C\) with at least 2 classes; of a model with one sigmoid output give"
BAD_SIDES = {
    "not a pair": (OUTPUTS, r"must be \(outputs, labels\) or \(outputs, labels, losses\), was ndarray"),
    "one of three": ((OUTPUTS,), r"must be \(outputs, labels\) or \(outputs, labels, losses\), was tuple"),
    "a dictionary": ({"outputs": OUTPUTS, "labels": LABELS}, ".*, was dict"),
    "nothing": (None, ".*, was NoneType"),
    "fewer labels": ((OUTPUTS, LABELS[:5]), r"labels have shape \(5,\); wanted \(6,\), one for each output row$"),
    "one-hot labels": ((OUTPUTS, np.eye(3)[LABELS]), r"labels have shape \(6, 3\).*; of one-hot .*labels.argmax\(1\)"),
    "column of labels": ((OUTPUTS, LABELS[:, None]), r"labels have shape \(6, 1\); .*; give labels.ravel\(\)"),
    "one label": ((OUTPUTS, 1), r"labels have shape \(\); wanted \(6,\)"),
    "float labels": ((OUTPUTS, LABELS.astype(float)), "labels are float64; wanted integers, the class of each record"),
    "boolean labels": ((OUTPUTS, LABELS > 0), "labels are bool; wanted integers"),
    "high labels": ((OUTPUTS, LABELS + 1), "labels run from 1 to 3, but the outputs have 3 classes: wanted 0 to 2"),
    "negative labels": ((OUTPUTS, LABELS - 1), "labels run from -1 to 1, but the outputs have 3 classes"),
    "NaN": (
        (changed(OUTPUTS, ([2, 4], 1), np.nan), LABELS),
        "outputs hold NaN or infinite values in 2 of 6 records, the first is record 2; leave these out or mend",
    ),
    "infinity": ((changed(OUTPUTS, 3, -np.inf), LABELS), "outputs hold NaN or infinite .* 1 of 6 .* is record 3"),
    "no records": ((np.zeros((0, 3)), np.zeros(0, int)), "are empty; wanted at least one record on each side"),
    "one number a record": ((OUTPUTS[:, 0], LABELS), rf"outputs have shape \(6,\), {TOO_FEW_COLUMNS} .*\[0 \* z, z\]"),
    "one column": ((OUTPUTS[:, :1], LABELS), rf"outputs have shape \(6, 1\), {TOO_FEW_COLUMNS}"),
    "images": ((OUTPUTS[:, None], LABELS), r"outputs have shape \(6, 1, 3\); wanted \(n, C\): a row a record"),
    "one output": ((3.0, LABELS), r"outputs have shape \(\); wanted \(n, C\)"),
    "predicted classes": (
        (LABELS, LABELS), "outputs are whole numbers of shape .*, from 0 to 2: are they predicted classes"
    ),
    "several ones a row": (
        (OUTPUTS, np.ones((6, 3), int)), r"labels have shape \(6, 3\).*multi-label problem: audit each class c by itse"
    ),
    "ragged": (([[1, 2, 3], [1, 2]], [0, 1]), r"outputs cannot be made a NumPy array \(.*inhomogeneous"),
    "objects": (([[None, 1.0]], [0]), "outputs hold objects of different lengths or kinds; wanted one array of num"),
    "text": (([["a", "b"]], [0]), "outputs are <U1; wanted numbers"),
    "complex": ((OUTPUTS * 1j, LABELS), "outputs are complex128; wanted numbers"),
    "losses of another shape": ((*GOOD, np.zeros((6, 1))), r"losses have shape \(6, 1\); wanted \(6,\), one for"),
    "NaN losses": ((*GOOD, changed(np.zeros(6), 5, np.nan)), "losses hold NaN or infinite values .* is record 5"),
    "losses as text": ((*GOOD, list("abcdef")), "losses are <U1; wanted numbers"),
}


@pytest.mark.parametrize("name", ["members", "non_members"])
@pytest.mark.parametrize(("bad", "message"), BAD_SIDES.values(), ids=BAD_SIDES)
def test_bad_sides_are_named(bad, message, name):
    good = (*GOOD, np.zeros(6)) if isinstance(bad, tuple) and len(bad) == 3 else GOOD  # losses on both sides
    sides = {"members": good, "non_members": good, name: bad}
    with pytest.raises(InputError, match=f"^{name} {message}"):
        AttackRecords(**sides)


GOOD_ROWS = softmax(OUTPUTS)
BAD_PROBABILITIES = {
    "logits": (OUTPUTS * 10, r"6 of 6 rows do not lie in \[0, 1\] and sum to 1 \(row 0 sums to .*\); are they log"),
    "negative": (changed(GOOD_ROWS, 2, [1.2, -0.2, 0]), r"1 of 6 rows do not lie .* \(row 2 sums to 1\); are they"),
    "not normalised": (changed(GOOD_ROWS, 4, 0.5), r"1 of 6 rows .* \(row 4 sums to 1.5\)"),
}


@pytest.mark.parametrize(("bad", "message"), BAD_PROBABILITIES.values(), ids=BAD_PROBABILITIES)
def test_probabilities_that_are_none_are_refused(bad, message):
    with pytest.raises(InputError, match=f"^non_members outputs were announced as probabilities, but {message}"):
        AttackRecords(members=(GOOD_ROWS, LABELS), non_members=(bad, LABELS), outputs="probabilities")


def test_one_column_of_probabilities_has_a_hint_of_its_own():
    with pytest.raises(InputError, match=r"single class.* of a model with one sigmoid output .* \[1 - p, p\]"):
        AttackRecords(members=(np.full(6, 0.5), LABELS), non_members=GOOD, outputs="probabilities")


def test_probabilities_in_half_precision_are_taken():
    outputs = softmax(np.random.default_rng(1).normal(size=(200, 100))).astype(np.float16)
    labels = np.arange(200) % 100
    assert len(AttackRecords(members=(outputs, labels), non_members=(outputs, labels), outputs="probabilities").members)


def test_unknown_kind_is_refused():
    with pytest.raises(InputError, match="outputs is 'softmax'; wanted one of logits, probabilities"):
        AttackRecords(members=GOOD, non_members=GOOD, outputs="softmax")


def test_sides_of_two_models_are_refused():
    with pytest.raises(InputError, match="members have outputs for 3 classes, non_members for 2; wanted the same"):
        AttackRecords(members=GOOD, non_members=(OUTPUTS[:, :2], LABELS % 2))


def test_tensors_with_gradients_have_a_hint():
    torch = pytest.importorskip("torch")
    outputs = torch.zeros(6, 3, requires_grad=True)
    wanted = r"^members outputs cannot be made a NumPy array \(.*\); for a PyTorch tensor use .detach\(\).cpu\(\).numpy"
    with pytest.raises(InputError, match=wanted):
        AttackRecords(members=(outputs, LABELS), non_members=GOOD)


def test_a_framework_that_fails_without_a_word_is_named_too():
    class Silent:
        def __array__(self, *args, **kwargs):
            raise RuntimeError

    with pytest.raises(InputError, match="members outputs cannot be made a NumPy array"):
        AttackRecords(members=(Silent(), LABELS), non_members=GOOD)


def test_outputs_whose_loss_overflows_are_refused():
    outputs = np.array([[1.7e308, -1.7e308]])
    with pytest.raises(InputError, match=r"members .*infinite"), np.errstate(over="ignore"):
        AttackRecords(members=(outputs, [1]), non_members=(outputs, [0]))


# -- losses --------------------------------------------------------------------------------------------------------


@given(
    st.integers(0, 2**32),
    st.sampled_from([1e-4, 1.0, 30.0, 1e4, 1e100]),
    st.integers(1, 20),
    st.integers(2, 12),
)
@settings(max_examples=50, deadline=None)
def test_cross_entropy_of_logits_is_that_of_scipy(seed, scale, n, classes):
    generator = np.random.default_rng(seed)
    logits, labels = scale * generator.normal(size=(n, classes)), generator.integers(classes, size=n)
    wanted = -log_softmax(logits, axis=1)[np.arange(n), labels]
    found = cross_entropy(logits, labels, "logits")
    assert np.allclose(found, wanted, rtol=1e-12, atol=1e-14 * scale)
    assert (found >= 0).all()


def test_cross_entropy_is_that_of_torch():
    torch = pytest.importorskip("torch")
    wanted = torch.nn.functional.cross_entropy(torch.from_numpy(OUTPUTS), torch.from_numpy(LABELS), reduction="none")
    assert np.allclose(cross_entropy(OUTPUTS, LABELS, "logits"), wanted, rtol=1e-12)
    assert np.allclose(cross_entropy(GOOD_ROWS, LABELS, "probabilities"), wanted, rtol=1e-12)


def test_probability_of_zero_has_a_large_finite_loss():
    losses = cross_entropy(np.array([[0.0, 1.0], [0.0, 1.0], [1e-200, 1.0]]), np.array([0, 1, 0]), "probabilities")
    assert np.isfinite(losses).all()
    assert losses[1] == 0
    assert losses[0] > losses[2] > 400


@pytest.mark.parametrize("scale", [1e-30, 1e-10, 1.0, 1e3, 1e100, 1e300])
@pytest.mark.parametrize("classes", [2, 5])
def test_confidence_ranks_as_logits_of_any_scale_do(scale, classes):
    generator = np.random.default_rng(classes)
    logits, labels = generator.normal(size=(500, classes)), generator.integers(classes, size=500)
    exact = np.array([
        z[y] - np.log(np.mean(np.exp(1e-3 * np.delete(z, y)))) / 1e-3 if scale < 1 else z[y] - np.delete(z, y).max()
        for z, y in zip(logits, labels, strict=True)
    ])
    found = excess_margins(logits * scale, labels, "logits") / scale
    assert len(np.unique(found)) == 500
    if scale != 1:  # neither a mean nor a maximum
        assert np.corrcoef(found, exact)[0, 1] > 0.999


@pytest.mark.parametrize(("centres", "auc"), [((50, 45), 0.9998), ((36, 33), 0.983)])
def test_very_sure_models_are_told_apart(centres, auc):
    """Two logits, one of them 0: the margin is the other, N(c, 1), and the AUC is Phi(difference / sqrt 2)."""
    generator = np.random.default_rng(0)
    sides = [
        (np.column_stack([centre + generator.normal(size=1000), np.zeros(1000)]), np.zeros(1000, int))
        for centre in centres
    ]
    records = AttackRecords(members=sides[0], non_members=sides[1])
    assert auc_of(*np.split(records.confidence(), 2)) == pytest.approx(auc, abs=0.005)
    assert auc_of(-records.members.losses, -records.non_members.losses) == pytest.approx(auc, abs=0.005)


def test_margin_is_the_logarithm_of_the_odds():
    odds = GOOD_ROWS[np.arange(6), LABELS] / (1 - GOOD_ROWS[np.arange(6), LABELS])
    assert np.allclose(margins(OUTPUTS, LABELS, "logits"), np.log(odds), rtol=1e-12)
    assert np.allclose(margins(GOOD_ROWS, LABELS, "probabilities"), np.log(odds), rtol=1e-12)


def test_probabilities_rounded_to_one_are_still_told_apart_by_the_others_and_noted():
    logits = np.array([[20.0, 0, 1], [30, 0, 1], [25, 0, 1]])
    rounded = softmax(logits).astype(np.float32)
    assert (rounded[:, 0] == 1).all()
    labels = np.zeros(3, int)
    records = AttackRecords(members=(rounded, labels), non_members=(rounded, labels), outputs="probabilities")
    assert np.argsort(records.confidence()[:3]).tolist() == [0, 2, 1]
    (note,) = records.notes
    assert "exactly 1 for 3 of 3 members and 3 of 3 non-members" in note
    assert "give logits" in note


@pytest.mark.parametrize("digits", [1, 2, 3])
def test_probabilities_of_a_few_digits_are_taken_and_noted(digits):
    rows = np.random.default_rng(0).dirichlet(np.ones(10), size=50).round(digits)
    labels = np.arange(50) % 10
    records = AttackRecords(members=(rows, labels), non_members=(rows, labels), outputs="probabilities")
    assert f"the probabilities have {digits} digits after the point" in records.notes[0]
    assert AttackRecords(members=(OUTPUTS, LABELS), non_members=(OUTPUTS, LABELS)).notes == []


# -- parts ---------------------------------------------------------------------------------------------------------


def test_subset_takes_positions_masks_or_everything():
    records = AttackRecords(members=(*GOOD, np.arange(6)), non_members=(*GOOD, np.arange(6)))
    part = records.subset(members=[4, 0], non_members=LABELS == 1)
    assert part.members.losses.tolist() == [4, 0]
    assert np.array_equal(part.members.outputs, OUTPUTS[[4, 0]])
    assert part.non_members.losses.tolist() == [1, 4]
    assert part.non_members.labels.tolist() == [1, 1]
    assert_same(records.subset(), records)


def test_subset_keeps_the_kind_of_outputs():
    records = AttackRecords(members=(GOOD_ROWS, LABELS), non_members=(GOOD_ROWS, LABELS), outputs="probabilities")
    assert records.subset(members=[1]).kind == "probabilities"


@pytest.mark.parametrize("nothing", [[], np.zeros(6, bool)], ids=["positions", "mask"])
def test_subset_of_nothing_is_refused(nothing):
    with pytest.raises(InputError, match="the subset of members picks no record"):
        AttackRecords(members=GOOD, non_members=GOOD).subset(members=nothing)


@pytest.mark.parametrize("wrong", [[6], np.ones(5, bool), [0.5]], ids=["too high", "other length", "floats"])
def test_subset_that_does_not_fit_is_refused(wrong):
    with pytest.raises(InputError, match="members"):
        AttackRecords(members=GOOD, non_members=GOOD).subset(members=wrong)


MASK = np.array([1, 0, 0, 1, 0, 1])


@pytest.mark.parametrize("kind", [bool, np.int64, np.uint8, np.float32, list])
def test_vectors_of_zeros_and_ones_are_masks(kind):
    mask = MASK.tolist() if kind is list else MASK.astype(kind)
    records = AttackRecords(members=(*GOOD, np.arange(6)), non_members=(*GOOD, np.arange(6)))
    assert records.subset(members=mask).members.losses.tolist() == [0, 3, 5]


def test_tensors_and_columns_are_masks_too():
    torch, records = pytest.importorskip("torch"), AttackRecords(members=GOOD, non_members=GOOD)
    for mask in (torch.from_numpy(MASK).to(torch.uint8), torch.from_numpy(MASK) > 0):
        assert len(records.subset(non_members=mask).non_members) == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([3, 3, 1], r"repeats 1 positions, such as 3 \(2 times\); wanted each record at most once$"),
        ([1, 0, 1], "repeats .*; a mask of zeros and ones has 6 values, one for each record, this has 3"),
        ([-1], "has positions from -1 to -1; wanted 0 to 5"),
        ([0.5] * 6, "is float64 of shape .*; wanted a mask of 6 zeros and ones"),
        (np.ones((6, 1), int), r"is int64 of shape \(6, 1\); wanted a mask"),
    ],
)
def test_positions_are_in_range_and_each_once(wrong, message):
    with pytest.raises(InputError, match=f"the subset of members {message}"):
        AttackRecords(members=GOOD, non_members=GOOD).subset(members=wrong)


# -- files ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["records.npz", "records", "folder/records.data"])
@pytest.mark.parametrize("kind", ["logits", "probabilities"])
@pytest.mark.parametrize("given", [True, False], ids=["losses", "no losses"])
def test_save_and_load_give_the_same(tmp_path, name, kind, given):
    outputs = OUTPUTS if kind == "logits" else GOOD_ROWS
    losses = [np.arange(6) / 7] * given
    records = AttackRecords(members=(outputs, LABELS, *losses), non_members=(outputs, LABELS, *losses), outputs=kind)
    path = records.save(tmp_path / name)
    assert path == tmp_path / name
    assert_same(AttackRecords.load(path), records)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_load_takes_files_of_other_programs(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(
        path, members_outputs=OUTPUTS, members_labels=LABELS,
        non_members_outputs=OUTPUTS, non_members_labels=LABELS, non_members_losses=np.arange(6),
        members_losses=np.arange(6),
    )
    sides = (*GOOD, np.arange(6))
    assert_same(AttackRecords.load(str(path)), AttackRecords(members=sides, non_members=sides))


def saved(path, **changes):
    """A good file with some arrays changed, or left out where they are None."""
    arrays = {f"{side}_{part}": value for side in ("members", "non_members")
              for part, value in zip(("outputs", "labels"), GOOD, strict=True)}
    np.savez(path, **{name: value for name, value in (arrays | changes).items() if value is not None})
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"members_labels": None, "non_members_outputs": None}, "lacks members_labels, non_members_outputs; it holds "
         "members_outputs, non_members_labels$"),
        ({"members_labels": LABELS + 9}, ": members labels run from 9 to 11"),
        ({"outputs": np.array("probabilities")}, ": members outputs were announced as probabilities"),
        ({"outputs": np.array("scores")}, ": outputs is 'scores'; wanted one of"),
        ({"members_labels": np.array([*"abcdef"], object)}, "holds an array of Python objects, which is not read"),
        ({"member_losses": np.zeros(6)}, "has 'member_losses' .did you mean 'members_losses'.., which is none of "
         "members_outputs, .*: rename or remove it; it holds"),
        ({"non_members_losses": np.zeros(6)}, ": non_members have losses and members have none, so that two different"),
        ({"paths": np.array([*"abcdef"], object)}, "has 'paths', which is none of members_outputs"),
    ],
    ids=["incomplete", "bad labels", "no probabilities", "unknown kind", "pickled", "misspelt", "one side's losses",
         "an unneeded one that cannot be read"],
)
def test_bad_contents_are_named_with_the_file(tmp_path, changes, message):
    path = saved(tmp_path / "bad.npz", **changes)
    with pytest.raises(InputError, match=rf"bad\.npz ?{message}"):
        AttackRecords.load(path)


def test_a_file_without_arrays_holds_nothing(tmp_path):
    np.savez(tmp_path / "empty.npz")
    with pytest.raises(InputError, match="non_members_labels; it holds nothing"):
        AttackRecords.load(tmp_path / "empty.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*none\.npz: No such file"):
        AttackRecords.load(tmp_path / "none.npz")


def test_a_single_array_is_no_npz(tmp_path):
    np.save(tmp_path / "array.npy", OUTPUTS)
    with pytest.raises(InputError, match=r"array\.npy is not an \.npz file"):
        AttackRecords.load(tmp_path / "array.npy")


@pytest.mark.parametrize("damage", ["cut", "flip", "text", "empty"])
def test_damaged_files_are_refused(tmp_path, damage):
    path = saved(tmp_path / "bad.npz")
    content = path.read_bytes()
    middle = len(content) // 8  # within the first array
    path.write_bytes({
        "cut": content[:middle],
        "flip": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
        "text": b"records",
        "empty": b"",
    }[damage])
    with pytest.raises(InputError, match=r"bad\.npz is damaged or not an \.npz file of plain arrays"):
        AttackRecords.load(path)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
    records = AttackRecords(members=GOOD, non_members=GOOD)
    path = records.save(tmp_path / "records.npz")
    before = path.read_bytes()

    def full(file, **arrays):
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    for name in ("records.npz", "another.npz"):
        with pytest.raises(InputError, match=rf"cannot write .*{name}: No space left on device"):
            records.save(tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == ["records.npz"]
    assert path.read_bytes() == before


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*records\.npz"):
        AttackRecords(members=GOOD, non_members=GOOD).save(tmp_path / "file" / "records.npz")


# -- what looks like something else --------------------------------------------------------------------------------


def test_probabilities_announced_as_logits_are_refused():
    with pytest.raises(InputError, match=r"announced as logits, but every row lies in .*: are they probabilities"):
        AttackRecords(members=(GOOD_ROWS, LABELS), non_members=GOOD)
    labels_alone = np.eye(3)[LABELS]
    assert AttackRecords(members=(labels_alone, LABELS), non_members=(labels_alone, LABELS)).num_classes == 3


def test_cross_entropy_given_in_single_precision_is_computed_again():
    """Above a margin of about 17 it is 0 in float32, so that very sure answers would all be the same."""
    generator = np.random.default_rng(0)
    sides = []
    for centre in (25, 20):
        logits = np.column_stack([centre + generator.normal(size=500), np.zeros(500)]).astype(np.float32)
        losses = np.log(np.exp(logits - logits.max(1, keepdims=True)).sum(1, dtype=np.float32))
        assert (losses == 0).mean() > 0.9
        sides.append((logits, np.zeros(500, int), losses))
    records = AttackRecords(members=sides[0], non_members=sides[1])
    assert auc_of(*np.split(records.confidence(), 2)) > 0.99
    assert "which was computed again in double precision" in records.notes[0]


def test_losses_of_another_kind_that_are_tied_are_noted():
    losses = np.array([0.0, 0, 0, 7, 8, 9])
    records = AttackRecords(members=(*GOOD, losses), non_members=(*GOOD, losses + 1))
    assert records.losses_given
    assert "3 of 6 members and 3 of 6 non-members share one loss" in records.notes[0]


def test_bfloat16_probabilities_are_taken():
    torch = pytest.importorskip("torch")
    rows = torch.softmax(torch.randn(200, 10, generator=torch.Generator().manual_seed(0)), 1).to(torch.bfloat16)
    labels = np.arange(200) % 10
    assert AttackRecords(members=(rows, labels), non_members=(rows, labels), outputs="probabilities").num_classes == 10


def test_masked_values_are_refused():
    masked = np.ma.masked_greater(OUTPUTS, 1)
    assert masked.mask.any()
    with pytest.raises(InputError, match=r"members outputs are a masked array with .* values masked out; leave"):
        AttackRecords(members=(masked, LABELS), non_members=GOOD)

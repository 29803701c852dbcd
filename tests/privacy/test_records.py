"""What an attacker sees: every wrong input has an answer."""

import numpy as np
import pytest

from attacked import GOOD, GOOD_ROWS, LABELS, OUTPUTS, assert_same, changed, softmax
from privacy import AttackRecords, InputError
from privacy.margins import cross_entropy
from privacy.records import RecordArrays

# -- what is taken ---------------------------------------------------------------------------------------------------


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
    side = RecordArrays(np.eye(3)[[0, 1, 1]], np.array([0, 1, 2]), np.zeros(3))
    assert side.correct.tolist() == [True, True, False]
    assert side.accuracy == pytest.approx(2 / 3)
    assert len(side) == 3


# -- what is refused -------------------------------------------------------------------------------------------------


TOO_FEW_COLUMNS = r"a single class; expected \(n, C\) with at least 2 classes; for a model with one sigmoid output give"
BAD_SIDES = {
    "not a pair": (OUTPUTS, r"must be \(outputs, labels\) or \(outputs, labels, losses\), not ndarray"),
    "one of three": ((OUTPUTS,), r"must be \(outputs, labels\) or \(outputs, labels, losses\), not tuple"),
    "a dictionary": ({"outputs": OUTPUTS, "labels": LABELS}, ".*, not dict"),
    "nothing": (None, ".*, not NoneType"),
    "fewer labels": ((OUTPUTS, LABELS[:5]), r"labels have shape \(5,\); expected \(6,\), one per row of outputs$"),
    "one-hot labels": ((OUTPUTS, np.eye(3)[LABELS]), r"labels have shape \(6, 3\).*; for one-hot .*labels.argmax\(1\)"),
    "column of labels": ((OUTPUTS, LABELS[:, None]), r"labels have shape \(6, 1\); .*; give labels.ravel\(\)"),
    "one label": ((OUTPUTS, 1), r"labels have shape \(\); expected \(6,\)"),
    "float labels": ((OUTPUTS, LABELS.astype(float)), "labels are float64; expected integers, the class of each"),
    "boolean labels": ((OUTPUTS, LABELS > 0), "labels are bool; expected integers"),
    "high labels": ((OUTPUTS, LABELS + 1), "labels run from 1 to 3, but the outputs have 3 classes: expected 0 to 2"),
    "negative labels": ((OUTPUTS, LABELS - 1), "labels run from -1 to 1, but the outputs have 3 classes"),
    "NaN": (
        (changed(OUTPUTS, ([2, 4], 1), np.nan), LABELS),
        "outputs contain NaN or infinite values in 2 of 6 records, the first is record 2; leave these out or fix",
    ),
    "infinity": ((changed(OUTPUTS, 3, -np.inf), LABELS), "outputs contain NaN or infinite .* 1 of 6 .* is record 3"),
    "no records": ((np.zeros((0, 3)), np.zeros(0, int)), "are empty; expected at least one member and one"),
    "one number a record": ((OUTPUTS[:, 0], LABELS), rf"outputs have shape \(6,\), {TOO_FEW_COLUMNS} .*\[0 \* z, z\]"),
    "one column": ((OUTPUTS[:, :1], LABELS), rf"outputs have shape \(6, 1\), {TOO_FEW_COLUMNS}"),
    "images": ((OUTPUTS[:, None], LABELS), r"outputs have shape \(6, 1, 3\); expected \(n, C\), a row for each record"),
    "one output": ((3.0, LABELS), r"outputs have shape \(\); expected \(n, C\)"),
    "predicted classes": (
        (LABELS, LABELS), "outputs are integers of shape .*, from 0 to 2, which looks like predicted classes"
    ),
    "several ones per row": (
        (OUTPUTS, np.ones((6, 3), int)), r"labels have shape \(6, 3\).*multi-label problem: use outputs=.multi-label"
    ),
    "ragged": (([[1, 2, 3], [1, 2]], [0, 1]), r"outputs cannot be converted to a NumPy array \(.*inhomogeneous"),
    "objects": (([[None, 1.0]], [0]), "outputs contain objects of different lengths or types; expected one array of"),
    "text": (([["a", "b"]], [0]), "outputs are <U1; expected numbers"),
    "complex": ((OUTPUTS * 1j, LABELS), "outputs are complex128; expected numbers"),
    "losses of another shape": ((*GOOD, np.zeros((6, 1))), r"losses have shape \(6, 1\); expected \(6,\), one for"),
    "NaN losses": ((*GOOD, changed(np.zeros(6), 5, np.nan)), "losses contain NaN or infinite values .* is record 5"),
    "losses as text": ((*GOOD, list("abcdef")), "losses are <U1; expected numbers"),
}


@pytest.mark.parametrize("name", ["members", "non_members"])
@pytest.mark.parametrize(("bad", "message"), BAD_SIDES.values(), ids=BAD_SIDES)
def test_bad_sides_are_named(bad, message, name):
    good = (*GOOD, np.zeros(6)) if isinstance(bad, tuple) and len(bad) == 3 else GOOD  # losses on both sides
    sides = {"members": good, "non_members": good, name: bad}
    with pytest.raises(InputError, match=f"^{name} {message}"):
        AttackRecords(**sides)


BAD_PROBABILITIES = {
    "logits": (OUTPUTS * 10, r"6 of 6 rows do not lie in \[0, 1\] and sum to 1 \(row 0 sums to .*\); are they log"),
    "negative": (changed(GOOD_ROWS, 2, [1.2, -0.2, 0]), r"1 of 6 rows do not lie .* \(row 2 sums to 1\); are they"),
    "not normalised": (changed(GOOD_ROWS, 4, 0.5), r"1 of 6 rows .* \(row 4 sums to 1.5\)"),
}


@pytest.mark.parametrize(("bad", "message"), BAD_PROBABILITIES.values(), ids=BAD_PROBABILITIES)
def test_probabilities_that_are_none_are_refused(bad, message):
    with pytest.raises(InputError, match=f"^non_members outputs are declared as probabilities, but {message}"):
        AttackRecords(members=(GOOD_ROWS, LABELS), non_members=(bad, LABELS), outputs="probabilities")


def test_one_column_of_probabilities_has_a_hint_of_its_own():
    with pytest.raises(InputError, match=r"single class.* for a model with one sigmoid output .* \[1 - p, p\]"):
        AttackRecords(members=(np.full(6, 0.5), LABELS), non_members=GOOD, outputs="probabilities")


def test_probabilities_in_half_precision_are_taken():
    outputs = softmax(np.random.default_rng(1).normal(size=(200, 100))).astype(np.float16)
    labels = np.arange(200) % 100
    assert len(AttackRecords(members=(outputs, labels), non_members=(outputs, labels), outputs="probabilities").members)


def test_unknown_kind_is_refused():
    with pytest.raises(InputError, match="outputs is 'softmax'; expected one of logits, probabilities"):
        AttackRecords(members=GOOD, non_members=GOOD, outputs="softmax")


def test_sides_of_two_models_are_refused():
    with pytest.raises(InputError, match="members have outputs for 3 classes, non_members for 2; expected outputs of"):
        AttackRecords(members=GOOD, non_members=(OUTPUTS[:, :2], LABELS % 2))


def test_tensors_with_gradients_have_a_hint():
    torch = pytest.importorskip("torch")
    outputs = torch.zeros(6, 3, requires_grad=True)
    wanted = r"^members outputs cannot be converted to a NumPy array \(.*\); for a PyTorch tensor use .detach\(\).cpu"
    with pytest.raises(InputError, match=wanted):
        AttackRecords(members=(outputs, LABELS), non_members=GOOD)


def test_a_framework_that_fails_without_a_word_is_named_too():
    class Silent:
        def __array__(self, *args, **kwargs):
            raise RuntimeError

    with pytest.raises(InputError, match="members outputs cannot be converted to a NumPy array"):
        AttackRecords(members=(Silent(), LABELS), non_members=GOOD)


def test_outputs_whose_loss_overflows_are_refused():
    outputs = np.array([[1.7e308, -1.7e308]])
    with pytest.raises(InputError, match=r"members .*infinite"), np.errstate(over="ignore"):
        AttackRecords(members=(outputs, [1]), non_members=(outputs, [0]))


# -- subsets ---------------------------------------------------------------------------------------------------------


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
    with pytest.raises(InputError, match="the subset of members selects no records"):
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
        ([3, 3, 1], r"repeats 1 positions, such as 3 \(2 times\); expected each record at most once$"),
        ([1, 0, 1], "repeats .*; a mask of zeros and ones has 6 values, one for each record, this has 3"),
        ([-1], "has positions from -1 to -1; expected 0 to 5"),
        ([0.5] * 6, "is float64 of shape .*; expected a mask of 6 zeros and ones"),
        (np.ones((6, 1), int), r"is int64 of shape \(6, 1\); expected a mask"),
    ],
)
def test_positions_are_in_range_and_each_once(wrong, message):
    with pytest.raises(InputError, match=f"the subset of members {message}"):
        AttackRecords(members=GOOD, non_members=GOOD).subset(members=wrong)


# -- what looks like something else ----------------------------------------------------------------------------------


def test_probabilities_announced_as_logits_are_refused():
    with pytest.raises(InputError, match=r"declared as logits, but every row lies in .*: are they probabilities"):
        AttackRecords(members=(GOOD_ROWS, LABELS), non_members=GOOD)
    labels_alone = np.eye(3)[LABELS]
    assert AttackRecords(members=(labels_alone, LABELS), non_members=(labels_alone, LABELS)).num_classes == 3


def test_bfloat16_probabilities_are_taken():
    torch = pytest.importorskip("torch")
    rows = torch.softmax(torch.randn(200, 10, generator=torch.Generator().manual_seed(0)), 1).to(torch.bfloat16)
    labels = np.arange(200) % 10
    assert AttackRecords(members=(rows, labels), non_members=(rows, labels), outputs="probabilities").num_classes == 10


def test_masked_values_are_refused():
    masked = np.ma.masked_greater(OUTPUTS, 1)
    assert masked.mask.any()
    with pytest.raises(InputError, match=r"members outputs have \d+ masked values; expected an array without a mask"):
        AttackRecords(members=(masked, LABELS), non_members=GOOD)


def test_the_note_on_losses_stays_with_a_part_and_a_file(tmp_path):
    logits = np.array([[4.0, 0], [0, 3], [1, 0], [0, 2]])
    labels = np.array([0, 1, 1, 0])
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(4), labels]
    whole = AttackRecords(members=(logits, labels, losses), non_members=(logits, labels, losses))
    assert "computed again" in whole.notes[0]
    for part in (whole.subset(members=[0, 2]), AttackRecords.load(whole.save(tmp_path / "records.npz"))):
        assert part.notes == whole.notes
        assert not part.losses_given

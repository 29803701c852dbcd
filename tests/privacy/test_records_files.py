"""Files of records are whole, or refused by name."""

import numpy as np
import pytest

from attacked import GOOD, GOOD_ROWS, LABELS, OUTPUTS, assert_same
from privacy import AttackRecords, InputError


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
        ({"outputs": np.array("probabilities")}, ": members outputs are declared as probabilities"),
        ({"outputs": np.array("scores")}, ": outputs is 'scores'; expected one of"),
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

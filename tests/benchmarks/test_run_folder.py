"""The folder of a run: refused where it holds another run, other data, or a process that works in it."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.run_folder import check_record, check_space, open_folder, space_for
from benchmarks.harness.versions import COMPARED, versions_of
from distill import InputError
from distill.files import read_json, remove_partial, write_atomically, write_json
from distill.runtime.locks import Held, lock_file

OPTIONS = {"steps": 3, "frepo": {"width": 4}, "data": {"training images": "aa", "test labels": "bb", "file x": "cc"}}
HOLDER = """
import sys
from pathlib import Path
from distill.runtime.locks import lock_file
with lock_file(Path(sys.argv[1]), owner="process of the test"):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    """The folder of a run that was started with `OPTIONS`."""
    with open_folder(tmp_path / "run", OPTIONS, resume=False):
        pass
    return tmp_path / "run"


# -- whose folder it is ----------------------------------------------------------------------------------------------


def test_a_run_finds_its_folder_again_and_leaves_nothing_but_its_record(folder):
    with open_folder(folder, OPTIONS, resume=True):
        pass
    assert [path.name for path in folder.iterdir()] == ["options.json"]
    assert read_json(folder / "options.json") == {**OPTIONS, "versions": versions_of(*COMPARED)}


@pytest.mark.parametrize("what", ["training images", "test labels", "file x"])
def test_other_data_are_refused_by_name(folder, what):
    changed = {**OPTIONS, "data": {**OPTIONS["data"], what: "other"}}
    message = rf"holds a run on other data \({what} changed since it was started\); resume with the data"
    with pytest.raises(InputError, match=message), open_folder(folder, changed, resume=True):
        pass
    with pytest.raises(InputError, match=message):
        check_record(folder, changed)
    assert {name: read_json(folder / "options.json")[name] for name in OPTIONS} == OPTIONS


def test_other_options_are_named_before_the_data_that_come_with_them(folder):
    changed = {**OPTIONS, "frepo": {"width": 8}, "data": {"training images": "other"}}
    with pytest.raises(InputError, match=r"other options \(frepo.width was 4, now 8\); resume with those"):
        check_record(folder, changed)


@pytest.mark.parametrize("name", ["output", "resume", "data_dir", "cache_dir", "jobs", "backend", "scheduler"])
def test_options_that_change_no_figure_may_differ(folder, name):
    check_record(folder, {**OPTIONS, name: "other"})


def test_a_run_that_did_not_record_its_data_is_refused(tmp_path):
    old = {name: value for name, value in OPTIONS.items() if name != "data"}
    with open_folder(tmp_path, old, resume=False):
        pass
    with pytest.raises(InputError, match="of an earlier version, which did not record its data"):
        check_record(tmp_path, OPTIONS)


# -- other versions --------------------------------------------------------------------------------------------------


def write_versions(folder: Path, **changes: str) -> None:
    record = read_json(folder / "options.json")
    record["versions"] |= {name.replace("_", "-"): version for name, version in changes.items()}
    write_json(folder / "options.json", record)


@pytest.mark.parametrize("name", ["frepo_toolkit", "torch"])
def test_a_run_of_another_version_is_refused_and_what_to_do_is_said(folder, name):
    write_versions(folder, **{name: "0.0.1"})
    message = rf"of other versions \({name.replace('_', '-')} was 0\.0\.1, now .*; resume with those, choose another"
    with pytest.raises(InputError, match=message), open_folder(folder, OPTIONS, resume=True):
        pass
    record = read_json(folder / "options.json")
    del record["versions"]
    write_json(folder / "options.json", record)  # as the message says
    with pytest.warns(UserWarning, match="names no versions"), open_folder(folder, OPTIONS, resume=True):
        pass


def test_another_numpy_is_a_warning(folder):
    write_versions(folder, numpy="1.0")
    with pytest.warns(UserWarning, match=r"numpy was 1\.0, now .*; the last bits"):
        check_record(folder, OPTIONS)


def test_a_record_that_holds_no_options_is_damaged(folder):
    write_json(folder / "options.json", [1])
    with pytest.raises(InputError, match=r"options\.json is damaged"):
        check_record(folder, OPTIONS)


# -- one process at a time -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_in_use_is_refused_and_left_alone(folder, resume):
    with open_folder(folder, OPTIONS, resume=True):
        before = {path: path.read_bytes() for path in folder.iterdir()}
        message = rf"{folder} is in use by process {os.getpid()} on .*; wait for it, or choose another --output"
        with pytest.raises(InputError, match=message), open_folder(folder, OPTIONS, resume=resume):
            pass
        assert {path: path.read_bytes() for path in folder.iterdir()} == before


def holder(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until it is told to end, or killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.slow
def test_a_lock_keeps_other_processes_out_and_ends_with_its_own_however_that_ends(tmp_path):
    path = tmp_path / ".lock"
    process = holder(path)
    with pytest.raises(Held, match="process of the test"), lock_file(path, owner="me"):
        pass
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert path.exists()  # the file stays, its lock does not
    with lock_file(path, owner="me"):
        assert path.read_text() == "me"
    assert not path.exists()


@pytest.mark.slow
def test_a_lock_that_was_given_back_can_be_taken(tmp_path):
    process = holder(tmp_path / ".lock")
    process.communicate("")
    with lock_file(tmp_path / ".lock", owner="me"):
        assert process.returncode == 0


def test_a_run_killed_at_its_start_leaves_a_folder_that_can_be_used(tmp_path):
    (tmp_path / ".lock").write_text("process 1 on a machine that is gone")
    (tmp_path / ".options-abc.partial.json").write_text("{")
    with open_folder(tmp_path, OPTIONS, resume=False):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["options.json"]


def test_where_files_cannot_be_locked_there_is_a_warning(tmp_path, monkeypatch):
    def no_locks(handle):
        raise OSError(37, "No locks available")

    monkeypatch.setattr("distill.runtime.locks.lock", no_locks)
    with (
        pytest.warns(UserWarning, match=r"cannot be locked \(No locks available\); make sure that no two"),
        open_folder(tmp_path / "run", OPTIONS, resume=False),
    ):
        pass


# -- what is being written -------------------------------------------------------------------------------------------


def test_what_a_live_process_writes_is_never_removed_and_leftovers_are(folder):
    leftover = folder / "part" / ".step-1-abcdefgh.partial.json"

    def write_while_another_cleans(path: Path) -> None:
        path.write_text("half")
        leftover.parent.mkdir()
        leftover.write_text("half of what a killed process wrote")
        remove_partial(folder)
        assert path.read_text() == "half"
        path.write_text("whole")

    write_atomically(folder / "figures.txt", write_while_another_cleans)
    assert (folder / "figures.txt").read_text() == "whole"
    assert not leftover.exists()


def test_a_set_being_written_survives_too(folder):
    def save(path: Path) -> None:
        with path.open("wb") as file:  # as libraries do, by its name
            np.save(file, np.arange(3))
            remove_partial(folder)

    write_atomically(folder / "numbers.npy", save)
    assert np.load(folder / "numbers.npy").tolist() == [0, 1, 2]


# -- what is refused late, and room on the disk ------------------------------------------------------------------------


def test_a_folder_that_was_new_is_left_as_it_was_where_the_preparation_refuses(tmp_path):
    folder = tmp_path / "results" / "run"

    def refuse() -> None:
        (folder / "frepo").mkdir()
        (folder / "frepo" / "steps.json").touch()
        raise InputError("too little time")

    with pytest.raises(InputError, match="too little"), open_folder(folder, OPTIONS, resume=False, prepare=refuse):
        pytest.fail("opened")
    assert list(tmp_path.iterdir()) == []
    folder.mkdir(parents=True)  # a folder that was there stays, empty
    with pytest.raises(InputError, match="too little"), open_folder(folder, OPTIONS, resume=False, prepare=refuse):
        pytest.fail("opened")
    assert list(folder.iterdir()) == []


def test_a_run_that_was_there_keeps_its_files_where_the_preparation_refuses(folder):
    def refuse() -> None:
        raise InputError("damaged")

    (folder / "frepo").mkdir()
    with pytest.raises(InputError), open_folder(folder, OPTIONS, resume=True, prepare=refuse):
        pytest.fail("opened")
    assert sorted(path.name for path in folder.iterdir()) == ["frepo", "options.json"]


def test_room_on_the_disk_is_asked_for_by_the_size_of_the_data(tmp_path, monkeypatch):
    disk = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk._replace(free=1 << 30))
    check_space(tmp_path, space_for(100_000))
    with pytest.raises(InputError, match="has 1024 MiB left, a run may need 2048; make room"):
        check_space(tmp_path, space_for(150_000_000))
    monkeypatch.setattr("shutil.disk_usage", lambda _: disk._replace(free=0, total=0))
    check_space(Path("/proc/run"), space_for(0))

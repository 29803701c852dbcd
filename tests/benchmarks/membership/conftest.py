"""Runs of the membership-inference benchmark that its tests share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies.membership.options import MembershipOptions
from distill import SyntheticSet
from distill.files import write_atomically
from membership_runs import SMALL, TINY
from privacy import AuditReport, Summary
from programs import Command, in_this_process


@pytest.fixture(scope="session")
def command() -> Iterator[Command]:
    """The program in this process: its arguments after `TINY` to its exit code."""
    yield from in_this_process(MembershipOptions, TINY)


@pytest.fixture(scope="session")
def undisturbed(command, tmp_path_factory) -> Path:
    """The folder of a run of three arms on two member sets."""
    folder = tmp_path_factory.mktemp("mia") / "run"
    assert command("--output", folder, "--seeds", 0, 1) == 0
    return folder


def without_pictures(patch: pytest.MonkeyPatch) -> None:
    """Pages and pictures as empty files: they are most of the time that a tiny run takes."""

    def empty(self, path, **_: Any) -> Path:
        return write_atomically(path, lambda file: None)

    pictures = {AuditReport: ["to_html", "plot_roc"], Summary: ["to_html", "plot_auc", "plot_curves"]}
    for owner, names in {**pictures, SyntheticSet: ["plot"]}.items():
        for name in names:
            patch.setattr(owner, name, empty)


@pytest.fixture(scope="session")
def small(command, tmp_path_factory) -> Path:
    """The folder of a run of few files, without pictures."""
    folder = tmp_path_factory.mktemp("small") / "run"
    with pytest.MonkeyPatch.context() as patch:
        without_pictures(patch)
        assert command("--output", folder, *SMALL) == 0
    return folder


@pytest.fixture
def no_pictures(monkeypatch) -> None:
    without_pictures(monkeypatch)

"""The simulations of the audit's intervals: kept as they come, and not mixed with those of other options."""

import pytest

from benchmarks.harness.program import run_program
from benchmarks.studies.membership import coverage
from benchmarks.studies.membership.options import CoverageOptions


@pytest.fixture
def simulated(monkeypatch) -> list[str]:
    """What is simulated from now on; one size of scores, and no leak."""
    done: list[str] = []
    for name in ("simulate_scores", "simulate_audit"):
        monkeypatch.setattr(coverage, name, counted(name, getattr(coverage, name), done))
    monkeypatch.setattr(coverage, "SIZES", ((6, 6),))
    monkeypatch.setattr(coverage, "LEAKS", {"none": (0.0, 0.0)})
    return done


def counted(name, function, done):
    def count(*given):
        done.append(name)
        return function(*given)

    return count


def test_simulations_are_kept_and_more_audits_are_added_to_them(tmp_path, simulated, capsys):
    options = ["--draws", "8", "--sizes", "20", "--jobs", "1", "--output", str(tmp_path)]
    assert run_program(CoverageOptions, [*options, "--audits", "1"]) == 0
    scores = len(coverage.KINDS) * len(coverage.AUCS)
    assert (simulated.count("simulate_scores"), simulated.count("simulate_audit")) == (scores, 1)
    table = (tmp_path / "table.txt").read_text()
    assert run_program(CoverageOptions, [*options, "--audits", "1"]) == 0
    assert len(simulated) == scores + 1
    assert (tmp_path / "table.txt").read_text() == table
    assert run_program(CoverageOptions, [*options, "--audits", "2"]) == 0
    assert (simulated.count("simulate_scores"), simulated.count("simulate_audit")) == (scores, 2)
    capsys.readouterr()
    assert run_program(CoverageOptions, [*options, "--audits", "1", "--draws", "9"]) == 2
    assert "scores.safetensors was made with other options or data (draws was 8, now 9)" in capsys.readouterr().err

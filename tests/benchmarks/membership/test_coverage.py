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


@pytest.mark.slow
def test_simulations_are_kept_and_more_audits_are_added_to_them(tmp_path, simulated, capsys):
    options = ["--draws", "8", "--sizes", "20", "--jobs", "1", "--output", str(tmp_path)]
    assert run_program(CoverageOptions, [*options, "--audits", "1"]) == 0
    scores = len(coverage.KINDS) * len(coverage.AUCS)
    assert (simulated.count("simulate_scores"), simulated.count("simulate_audit")) == (scores, 1)
    table = (tmp_path / "table.txt").read_text()
    assert run_program(CoverageOptions, [*options, "--audits", "1"]) == 2
    assert "already holds a run; add --resume" in capsys.readouterr().err
    options.append("--resume")
    assert run_program(CoverageOptions, [*options, "--audits", "1"]) == 0
    assert len(simulated) == scores + 1
    assert (tmp_path / "table.txt").read_text() == table
    assert run_program(CoverageOptions, [*options, "--audits", "2"]) == 0
    assert (simulated.count("simulate_scores"), simulated.count("simulate_audit")) == (scores, 2)
    assert run_program(CoverageOptions, [*options, "--audits", "1"]) == 0  # the other audit is not counted
    assert (tmp_path / "table.txt").read_text() == table
    capsys.readouterr()
    assert run_program(CoverageOptions, ["--draws", "9", *options[2:], "--audits", "1"]) == 2
    assert "holds a run with other options (draws was 8, now 9)" in capsys.readouterr().err
    assert run_program(CoverageOptions, [*options, "--audits", "1", "--seed", "1"]) == 2
    assert "holds a run with other options (seed was 0, now 1)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--jobs", "0"], "--jobs is 0; expected at least 1, or -1"),
        (["--seed", "-1"], "--seed is -1; "),
        (["--sizes", "-3"], "--sizes are -3; expected different numbers of 6 or more"),
        (["--sizes", "20", "20"], "--sizes are 20 20; expected different numbers"),
        (["--audits", "0", "--noise", "0"], "--audits is 0; "),
        (["--draws", "0"], "--draws is 0; "),
    ],
    ids=" ".join,
)
def test_numbers_that_make_no_sense_are_refused_before_any_work(tmp_path, simulated, capsys, words, message):
    assert run_program(CoverageOptions, [*words, "--output", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not simulated
    assert not (tmp_path / "run").exists()

"""Wrong input to every program: one line that says what is wrong, nothing written, no file touched, no traceback.

`bad_input` has what is given; a program that takes it is stopped where it would begin to write. What the programs say
of options and folders of results is in their own tests as well; wrong types for every function: test_input_contract.
"""

import dataclasses
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bad_input
from benchmarks.harness.command_line import flag as flag_of
from benchmarks.harness.methods import methods_of, option_classes
from benchmarks.harness.program import run_program
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions, StockOptions
from benchmarks.studies.distillation.options import DistillationOptions
from benchmarks.studies.membership.options import MembershipOptions
from benchmarks.studies.speed.options import SpeedOptions
from distill import InputError, SyntheticSet
from privacy import __main__ as privacy_program
from programs import last_of_each

OPTIONS = {"distillation": DistillationOptions, "cl_cifar100": ClassIncrementalOptions, "mia": MembershipOptions,
           "speed": SpeedOptions, "cl_stock_gdumb": StockOptions}  # fmt: skip
DISTILLING = {"distillation": ["--method", "random"], "cl_cifar100": ["--method", "random", "--steps", "1"],
              "cl_stock_gdumb": ["--steps", "1"]}  # fmt: skip
PROGRAMS = {**DISTILLING, "mia": ["--arms", "real", "--jobs", "1"]}
OPENS = ("benchmarks.harness.experiment.open_folder", "benchmarks.studies.speed.study.open_folder",
         "benchmarks.studies.class_incremental.stock_gdumb.class_incremental")
pytestmark = pytest.mark.filterwarnings("always::distill.errors.InputWarning")


class TakenError(Exception):
    """The program would begin now."""


def taken(*_: Any, **__: Any) -> None:
    raise TakenError


@pytest.fixture
def said(monkeypatch, tmp_path, capsys) -> Callable[..., str]:
    """What a program says of its arguments: one line where it refuses them, its warnings where it takes them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FREPO_DATA", str(tmp_path))
    monkeypatch.delenv("FREPO_CACHE", raising=False)
    monkeypatch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)
    for function in OPENS:
        monkeypatch.setattr(function, taken)

    def run(program: str, *arguments: Any) -> str:
        before = contents(tmp_path)
        capsys.readouterr()
        try:
            code = run_program(OPTIONS[program], last_of_each(*arguments))
        except TakenError:
            code = 0
        assert contents(tmp_path) == before
        return judged(code, capsys.readouterr())

    return run


def judged(code: int | None, captured: Any) -> str:
    """The line that a refusal consists of, or the warnings of what is taken."""
    told = [line for line in captured.err.splitlines() if line.startswith("warning: ")]
    if not code:
        return "\n".join(told)
    assert code == 2
    assert "Traceback" not in captured.err
    errors = [line for line in captured.err.splitlines() if "error: " in line]
    assert len(errors) == 1, captured.err
    return errors[0]


def contents(folder: Path) -> dict[Path, bytes | None]:
    """Every file and folder below `folder`."""
    return {path: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def crossed(programs: Any, cases: dict[str, Any]) -> list[tuple[str, str]]:
    return [(program, case) for program in programs for case in cases]


# -- data sets ---------------------------------------------------------------------------------------------------------

DATA = {**bad_input.NPZ, **bad_input.FOLDERS}


@pytest.mark.parametrize(("program", "case"), crossed(PROGRAMS, DATA))
def test_bad_data_is_refused_by_every_program(said, tmp_path, program, case):
    make, message = DATA[case]
    line = said(program, *PROGRAMS[program], "--dataset", make(tmp_path))
    assert re.search(message, line), line


@pytest.mark.parametrize(("program", "case"), crossed(["distillation", "cl_cifar100", "mia"], bad_input.DISTILLED))
def test_data_that_cannot_be_distilled_is_refused_by_every_program(said, tmp_path, program, case):
    make, message = bad_input.DISTILLED[case]
    line = said(program, *PROGRAMS[program], "--dataset", make(tmp_path))
    assert re.search(message, line), line


@pytest.mark.parametrize(("program", "case"), crossed(PROGRAMS, bad_input.TOLD))
def test_what_is_not_taken_as_it_was_given_is_told(said, tmp_path, program, case):
    make, message = bad_input.TOLD[case]
    size = ["--members", "10"] if program == "mia" else ["--images-per-class", "1"]
    lines = said(program, *PROGRAMS[program], *size, "--dataset", make(tmp_path))
    assert re.search(f"^warning: .*{message}", lines), lines


# -- saved sets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", bad_input.OURS)
def test_altered_set_is_refused_by_the_program(said, tmp_path, case):
    make, message = bad_input.OURS[case]
    line = said("distillation", "--dataset", "digits", "--set", make(tmp_path))
    if case == "singular whitening":  # training does without the inverse; looking at images does not
        assert line == ""
        with pytest.raises(InputError, match=message):
            SyntheticSet.load(tmp_path / "s.safetensors").pixels()
        return
    assert re.search(message, line), line


@pytest.mark.parametrize("case", bad_input.OURS_FINE)
def test_set_that_is_as_good_as_before_is_taken(said, tmp_path, case):
    path = bad_input.OURS_FINE[case](tmp_path)
    assert said("distillation", "--dataset", "digits", "--set", path) == ""
    synthetic = SyntheticSet.load(path)
    assert repr(synthetic).startswith("SyntheticSet(10 images of 1x8x8")
    assert (synthetic.images.float() - bad_input.FINE["images"]).abs().max() < 0.01


@pytest.mark.parametrize("case", {**bad_input.THEIRS, **bad_input.PIXELS})
def test_bad_set_of_others_is_refused_by_the_program(said, tmp_path, case):
    make, message = {**bad_input.THEIRS, **bad_input.PIXELS}[case]
    pixels = ["--pixels"] if case in bad_input.PIXELS else []
    line = said("distillation", "--dataset", "digits", "--set", make(tmp_path), "--preprocessing", "identity", *pixels)
    assert re.search(message, line), line


# -- options -----------------------------------------------------------------------------------------------------------

RUN_OPTIONS = {
    "resolution of 0": (["--resolution", "0"], "resolution is 0; expected"),
    "resolution of text": (["--resolution", "big"], "--resolution is 'big'; expected a whole number"),
    "a data folder that is a file": (["--data-dir", __file__, "--dataset", "mnist"], "no mnist on disk"),
    "no data set": (["--dataset", ""], "no data set, folder or file is called ''"),
    "no preset": (["--preset", "fast"], "--preset is 'fast'; expected one of quick, paper"),
    "width of 0": (["--width", "0"], "width (is )?0"),
    "width of text": (["--width", "wide"], "--width is 'wide'; expected a whole number"),
    "device": (["--device", "abacus"], "device is 'abacus', which torch does not know"),
    "device of nothing": (["--device", ""], "device is '', which torch does not know"),
    "precision": (["--precision", "float8"], "--precision is 'float8'; expected one of auto, float32, "),
    "precision of a GPU": (["--precision", "tf32"], "tf32 is for NVIDIA GPUs"),
    "images of 0": (["--images-per-class", "0"], "is 0; expected at least 1"),
    "images of a half": (["--images-per-class", "0.5"], "--images-per-class is '0.5'; expected a whole number"),
    "seeds below 0": (["--seeds", "-1"], "--seeds"),
    "seeds twice": (["--seeds", "1", "1"], "--seeds"),
    "seeds of text": (["--seeds", "one"], "--seeds is 'one'; expected one or more, each a whole number"),
    "no jobs": (["--jobs", "0"], "--jobs is 0; expected at least 1"),
    "no such option": (["--magic"], "unknown option --magic; see --help-all"),
    "a word too many": (["magic"], "unexpected 'magic'; see --help|--method is 'magic'; expected one of frepo"),
}
SPEED_OPTIONS = {
    "no study": (["--study", "magic"], "--study is 'magic'; expected one of target"),
    "no seconds": (["--seconds", "0"], "--seconds is 0.0; expected more than 0"),
    "seconds of NaN": (["--seconds", "nan"], "--seconds is nan"),
    "longest below 0": (["--longest", "-1"], "--longest is -1.0"),
    "longest of text": (["--longest", "long"], "--longest is 'long'; expected a number"),
    "device of speed": (["--device", "abacus"], "device 'abacus' cannot be used"),
}
STOCK_OPTIONS = {
    "rates of 0": (["--rates", "0"], "--rates"),
    "rates of text": (["--rates", "fast"], "--rates is 'fast'; expected one or more, each a number"),
    "steps of 3": (["--steps", "3"], "cannot be split into 3 equal steps"),
    "steps of 0": (["--steps", "0"], "--steps is 0"),
    "seeds of -1": (["--seeds", "-1"], "--seeds"),
    "images of -1": (["--images-per-class", "-1"], "--images-per-class"),
}


@pytest.mark.parametrize(("program", "case"), crossed(["distillation", "cl_cifar100", "mia"], RUN_OPTIONS))
def test_bad_option_of_a_run_is_refused(said, program, case):
    options, message = RUN_OPTIONS[case]
    line = said(program, "--dataset", "digits", *PROGRAMS[program], *options)
    assert re.search(message, line), line


@pytest.mark.parametrize("case", SPEED_OPTIONS)
def test_bad_option_of_the_speed_benchmark_is_refused(said, case):
    options, message = SPEED_OPTIONS[case]
    line = said("speed", *options)
    assert re.search(message, line), line


@pytest.mark.parametrize("case", STOCK_OPTIONS)
def test_bad_option_of_the_comparison_with_avalanche_is_refused(said, monkeypatch, case):
    from continual import class_incremental

    monkeypatch.setattr(OPENS[-1], class_incremental)
    options, message = STOCK_OPTIONS[case]
    line = said("cl_stock_gdumb", "--dataset", "digits", *options)
    assert re.search(message, line), line


@pytest.fixture(scope="module")
def class_flags() -> dict[str, type]:
    """Flags of the options of distillers and training, with the type of the value."""
    found = {}
    for prefix, cls in option_classes().items():
        for one in dataclasses.fields(cls):
            found[flag_of(prefix, one.name)] = one.type
    return found


def refused(said: Callable[..., str], program: str, flag: str, value: str) -> None:
    prefix = flag.split("-")[2]
    method = prefix if prefix == "train" else methods_of(prefix)[0]
    chosen = {
        "mia": ["--arms", "real" if method == "train" else method, "--members", "100", "--jobs", "1"],
        "cl_cifar100": ["--steps", "1", "--method", "random" if method == "train" else method],
        "distillation": ["--method", "random" if method == "train" else method],
    }[program]
    few = [] if "real" in chosen else ["--images-per-class", "2"]
    line = said(program, "--dataset", "digits", *few, *chosen, f"{flag}={value}")
    assert "error: " in line, f"{flag}={value} was taken"


@pytest.mark.slow
def test_text_for_any_option_of_a_class_is_refused(said, class_flags):
    for flag in class_flags:
        refused(said, "cl_cifar100", flag, "magic")


NONSENSE = [-1, math.nan, math.inf, 0.5]


def takes(kind: object, value: float) -> bool:
    """Whether an option of that annotation is a number for which `value` makes no sense."""
    whole, positive = "int" in str(kind), "float" in str(kind)
    return (whole or positive) and not (value == 0.5 and positive)


@pytest.mark.parametrize("value", NONSENSE)
def test_numbers_that_make_no_sense_are_refused_by_every_class_of_options(value):
    for cls in set(option_classes().values()):
        for one in dataclasses.fields(cls):
            if takes(one.type, value):
                with pytest.raises(InputError, match=one.name):
                    cls(**{one.name: value})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "value"),
    [*(("distillation", value) for value in NONSENSE), ("cl_cifar100", math.nan), ("mia", -1)],  # alike, and slow
)
def test_numbers_that_make_no_sense_are_refused_for_any_option_of_a_class(said, class_flags, program, value):
    for flag, kind in class_flags.items():
        if takes(kind, value):
            if program == "mia" and flag == "--train-steps-per-image":
                continue  # no option of that program
            refused(said, program, flag, str(value))


# -- records of attacks ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", bad_input.RECORDS)
def test_bad_records_are_refused(tmp_path, monkeypatch, capsys, case):
    monkeypatch.chdir(tmp_path)
    make, message = bad_input.RECORDS[case]
    path = make(tmp_path)
    before = contents(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        code = privacy_program.main([str(path), "--attacks", "threshold", "--jobs", "1", "--html", "page.html"])
    assert contents(tmp_path) == before
    line = judged(code, capsys.readouterr())
    assert re.search(message, line), line


def test_the_harness_has_enough_to_say():
    """200 inputs and more, over all programs, not counting options made from the classes and types of functions."""
    tables = (bad_input.OURS, bad_input.OURS_FINE, bad_input.THEIRS, bad_input.PIXELS, bad_input.RECORDS)
    given = len(PROGRAMS) * (len(DATA) + len(bad_input.TOLD)) + 3 * len(bad_input.DISTILLED) + sum(map(len, tables))
    assert given + 3 * len(RUN_OPTIONS) + len(SPEED_OPTIONS) + len(STOCK_OPTIONS) >= 300

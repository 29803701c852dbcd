"""Command lines: what the help says and imports, how options are read, and what is said of wrong ones."""

import dataclasses
import os
import re
import subprocess
import sys
from inspect import cleandoc
from pathlib import Path
from textwrap import fill

import pytest

from benchmarks.harness import program
from benchmarks.harness.command_line import UsageError, flag, help_texts, option_value, parse
from benchmarks.harness.methods import METHODS, option_classes
from benchmarks.harness.options import ByChannels, class_options, for_channels
from benchmarks.harness.program import run_program
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions, StockOptions
from benchmarks.studies.distillation.options import DistillationOptions
from benchmarks.studies.kills.options import KillOptions
from benchmarks.studies.membership.options import CoverageOptions, MembershipOptions
from benchmarks.studies.private.options import PrivateOptions
from benchmarks.studies.replay.options import ReplayOptions
from benchmarks.studies.speed.options import SpeedOptions
from benchmarks.studies.speed.study import studies
from distill import FRePo, TrainingRecipe
from distill.data.labelled import DATASETS
from distill.networks.registry import NETWORKS
from privacy import ATTACKS

ROOT = Path(__file__).parents[2]
PROGRAMS = {
    "cl_cifar100": ClassIncrementalOptions,
    "mia": MembershipOptions,
    "distillation": DistillationOptions,
    "speed": SpeedOptions,
    "cl_replay": ReplayOptions,
    "cl_stock_gdumb": StockOptions,
    "mia_coverage": CoverageOptions,
    "kills": KillOptions,
    "private": PrivateOptions,
}
WITH_METHODS = ("cl_cifar100", "mia", "distillation", "private")


def help_of(capsys, name: str, word: str) -> str:
    assert run_program(PROGRAMS[name], [word]) == 0
    return capsys.readouterr().out


# -- help --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROGRAMS)
def test_help_is_a_page(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    page = help_of(capsys, name, "--help")
    assert len(page.splitlines()) < 66
    assert "--output" in page
    assert "--frepo-pool-size" not in page


@pytest.mark.parametrize("name", WITH_METHODS)
def test_all_help_has_every_option(capsys, name):
    text = help_of(capsys, name, "--help-all")
    flags = [flag("", option.name) for option in dataclasses.fields(PROGRAMS[name]) if option.name != "given"]
    for prefix, cls in option_classes().items():
        own = [option.name for option in dataclasses.fields(cls)]
        flags += [flag(prefix, option) for option in own if option not in PROGRAMS[name].left_out]
    assert [each for each in flags if not re.search(rf"{each}\b", text)] == []


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_option_of_a_run_has_a_text_of_its_own(name):
    cls = PROGRAMS[name]
    texts = [help_texts(cls).get(option.name) for option in dataclasses.fields(cls) if option.name != "given"]
    assert all(texts)
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("prefix", option_classes())
def test_every_option_of_a_class_has_a_text_of_its_own(prefix):
    cls = option_classes()[prefix]
    texts = {option.name: help_texts(cls).get(option.name) for option in dataclasses.fields(cls)}
    assert [name for name, text in texts.items() if not text] == []
    assert len(set(texts.values())) == len(texts)


@pytest.mark.parametrize("start", [["benchmarks/{}.py"], ["-m", "benchmarks.{}"]], ids=["file", "module"])
@pytest.mark.parametrize("name", ["cl_cifar100", "mia"])
def test_help_imports_nothing_heavy(start, name):
    command = [sys.executable, "-X", "importtime", *(word.format(name) for word in start), "--help"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if "|" in line}
    assert "tyro" in imported
    assert imported.isdisjoint({"torch", "sklearn", "scipy", "numpy", "avalanche", "distill", "privacy", "matplotlib"})
    assert "usage: " in done.stdout


@pytest.mark.parametrize("name", WITH_METHODS)
def test_help_is_as_wide_as_the_terminal(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "80")
    page = help_of(capsys, name, "--help-all")
    assert max(map(len, page.splitlines())) <= 80
    assert not re.search(r"--\w+- |`", page)
    paragraph = cleandoc(PROGRAMS[name].__doc__).split("\n\n")[1]
    assert fill(" ".join(paragraph.split()), 80, break_on_hyphens=False) in page


def test_defaults_are_shown_by_preset(capsys):
    text = " ".join(help_of(capsys, "cl_cifar100", "--help-all").replace("│", " ").split())
    assert "--networks INT Number of networks trained after every step. (default: 2 (quick), 1 (paper))" in text
    assert re.search(r"--frepo-steps INT .*?\(default: 250 \(quick\), 500000 \(paper\)\)", text)


def test_data_sets_arms_attacks_studies_and_networks_in_the_help_are_all_that_there_are():
    for cls in (ClassIncrementalOptions, MembershipOptions, DistillationOptions, StockOptions, PrivateOptions):
        text = help_texts(cls)["dataset"]
        assert all(name in text for name in DATASETS)
    assert all(name in help_texts(MembershipOptions)["arms"] for name in {*METHODS} - {"random"})
    assert all(name in help_texts(MembershipOptions)["attacks"] for name, each in ATTACKS.items() if not each.needs)
    assert SpeedOptions().study == tuple(studies("cpu"))
    for other in (FRePo, TrainingRecipe):
        assert all(re.search(rf"\b{name}\b", help_texts(other)["network"]) for name in NETWORKS)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_options_are_those_of_the_preset_changed_by_what_was_typed():
    options = parse(ClassIncrementalOptions, [
        "--width", "16", "--frepo-steps", "7", "--frepo-width", "8", "--no-frepo-mirror", "--train-learning-rate=0.5",
        "--seeds", "3", "1", "--method", "frepo", "dm",
    ])  # fmt: skip
    assert (options.seeds, options.method, options.networks) == ((3, 1), ("frepo", "dm"), 2)
    own = class_options(options, channels=3, changes={"dm": {"steps": 5}, "frepo": {"steps": 6, "batch_size": 64}})
    frepo, dm, train = own["frepo"], own["dm"], own["train"]
    assert (frepo["steps"], frepo["width"], frepo["mirror"], frepo["batch_size"]) == (7, 8, False, 64)
    assert (dm["steps"], dm["width"], dm["init"]) == (5, 16, "herded")
    assert (train["width"], train["learning_rate"], train["batch_size"]) == (16, 0.5, 128)


def test_the_preset_says_what_was_not_typed():
    assert parse(DistillationOptions, ["--preset", "paper"]).networks == 5
    assert parse(DistillationOptions, ["--preset", "paper", "--networks", "3"]).networks == 3
    assert parse(DistillationOptions, []).networks == 3


def test_a_preset_differs_between_grey_and_rgb_images():
    for preset in DistillationOptions.presets.values():
        for prefix, values in preset.items():
            grey, rgb = for_channels(values, 1), for_channels(values, 3)
            assert not any(isinstance(value, ByChannels) for value in (*grey.values(), *rgb.values()))
            assert not grey.get("mirror")
            if prefix != "run":
                option_classes()[prefix](**grey), option_classes()[prefix](**rgb)
    mtt = DistillationOptions.presets["quick"]["mtt"]
    assert for_channels(mtt, 1)["learning_rate"] < for_channels(mtt, 3)["learning_rate"]


@pytest.mark.parametrize("name", option_classes())
def test_an_option_typed_as_its_default_is_given(name):
    cls = option_classes()[name]
    option = next(one for one in dataclasses.fields(cls) if isinstance(one.default, int | float | str))
    typed = [flag(name, option.name), str(option.default)]
    if isinstance(option.default, bool):
        typed = [flag(name, option.name) if option.default else flag(name, f"no_{option.name}")]
    assert parse(ClassIncrementalOptions, ["--method", *METHODS, *typed]).given[name] == {option.name: option.default}


@pytest.mark.parametrize(
    ("cls", "name", "text", "value"),
    [
        (FRePo, "mirror", "yes", True), (FRePo, "mirror", "False", False), (FRePo, "pool_size", "3", 3),
        (FRePo, "label_scale", "0.5", 0.5), (FRePo, "label_scale", "None", None), (FRePo, "version", "v1", "v1"),
        (TrainingRecipe, "learning_rate", "1e-3", 1e-3), (FRePo, "noise_std", "-1", -1.0),
    ],
)  # fmt: skip
def test_values_of_sweeps_are_read_as_flags_are(cls, name, text, value):
    assert option_value(cls, name, text, flag="x") == value


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("mirror", "perhaps", "x is 'perhaps'; expected yes or no"),
        ("pool_size", "many", "x is 'many'; expected a whole number"),
        ("version", "v3", "x is 'v3'; expected one of v1, v2"),
    ],
)
def test_values_that_an_option_cannot_be_are_refused(name, text, message):
    with pytest.raises(UsageError, match=message):
        option_value(FRePo, name, text, flag="x")


# -- mistakes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frepo-step", "5"], "error: unknown option --frepo-step; did you mean --frepo-steps?"),
        (["--frepo-step=5"], "error: unknown option --frepo-step; did you mean --frepo-steps?"),
        (["--stpes", "5"], "error: unknown option --stpes; did you mean --steps?"),
        (["--zzzzzzzz"], "error: unknown option --zzzzzzzz; see --help-all"),
        (["quick"], "error: unexpected 'quick'; see --help"),
        (["--steps", "many"], "error: --steps is 'many'; expected a whole number"),
        (["--frepo-learning-rate", "fast"], "error: --frepo-learning-rate is 'fast'; expected a number"),
        (["--method", "frepos"], "error: --method is 'frepos'; expected one of frepo, "),
        (["--seeds"], "error: --seeds has no value; give one or more"),
        (["--steps"], "error: --steps has no value; give one"),
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_wrong_option_ends_in_one_line(capsys, words, message):
    assert run_program(ClassIncrementalOptions, words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_programs_hand_over_what_was_read(monkeypatch):
    taken = []
    monkeypatch.setattr("benchmarks.studies.kills.study.main", taken.append)
    monkeypatch.setattr(program.sys, "argv", ["kills.py", "--kills", "3"])
    assert run_program(KillOptions) == 0
    assert taken == [KillOptions(kills=3, given={"run": {"kills": 3}})]


def in_a_process(code: str, *words: str) -> tuple[int, str, str]:
    """The exit code, the error and the modules of the program that takes `words`, after `code` was run."""
    script = f"""
import sys
{code}
from benchmarks.harness.program import run_program
from benchmarks.studies.class_incremental.options import ClassIncrementalOptions
code = run_program(ClassIncrementalOptions, sys.argv[1:])
print(*sys.modules)
sys.exit(code)
"""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", script, *words], env=environment, capture_output=True, text=True,
                          check=False)
    return done.returncode, done.stderr, done.stdout


HEAVY = {"torch", "distill", "continual", "privacy", "avalanche", "numpy", "scipy", "sklearn", "matplotlib", "pandas"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--stpes", "5"], "error: unknown option --stpes; did you mean --steps?\n"),
        (["--frpo-steps", "5"], "error: unknown option --frpo-steps; did you mean --frepo-...?\n"),
        (["--steps", "5", "--steps", "2"], "error: --steps is given 2 times; give it once\n"),
        (["--method", "frepos"], "error: --method is 'frepos'; "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_misspelt_option_is_refused_at_once_without_torch(words, message):
    code, error, modules = in_a_process("", *words)
    assert (code, error.count("\n")) == (2, 1)
    assert error.startswith(message)
    assert "benchmarks.studies.class_incremental.options" in modules.split()
    assert HEAVY.isdisjoint(modules.split())


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("tyro", r"error: the benchmarks need more packages: pip install --editable '\.\[benchmarks\]'\n"),
        ("torch", r"error: distill needs torch, which is not installed: pip install '\.\[distill\]'\n"),
        pytest.param(
            "avalanche", r"error: continual needs avalanche, which is not installed: pip install '\.\[continual\]'\n",
            marks=pytest.mark.slow,
        ),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_in_one_line(missing, message):
    blocked = f"""
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "{missing}":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""
    code, error, _ = in_a_process(blocked, "--dataset", "digits")
    assert code == 2
    assert re.fullmatch(message, error), error


def test_ctrl_c_while_packages_are_imported_is_one_line():
    interrupting = """
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == "distill":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupting())
"""
    code, error, _ = in_a_process(interrupting, "--dataset", "digits")
    assert (code, error) == (130, "\nstopped; the same command with --resume resumes the run\n")


# -- what would have no effect -----------------------------------------------------------------------------------------

CL, MIA, DISTIL = ClassIncrementalOptions, MembershipOptions, DistillationOptions


@pytest.mark.parametrize(
    ("options", "words", "message"),
    [
        (CL, "--method random --frepo-steps 77", "--frepo-steps was given, but no --method is frepo"),
        (CL, "--dsa-iterations 3", "--dsa-iterations was given, but no --method is dsa"),
        (MIA, "--arms real,subset --frepo-steps 9", "--frepo-steps was given, but no arm is frepo"),
        (DISTIL, "--set x.npz --frepo-steps 9", "--frepo-steps was given, but --set distils nothing"),
        (DISTIL, "--sweep dm-steps 1 2 --frepo-steps 9", "--frepo-steps was given, but no --method is frepo"),
        (DISTIL, "--train-temperature 0.5", "--train-temperature was given, but has no effect where --train-l"),
        (DISTIL, "--frepo-noise-std 3", "--frepo-noise-std was given, but has no effect where --frepo-init is real"),
        (DISTIL, "--no-frepo-learn-labels --frepo-label-margin", "has no effect where --frepo-learn-labels is off"),
        (DISTIL, "--frepo-meta-gradient tbptt --frepo-chunk-size 9", "where --frepo-meta-gradient is tbptt"),
        (CL, "--frepo-pool-batch-size 9", "--frepo-pool-batch-size was given, but has no effect where --frepo-max-up"),
        (CL, "--frepo-pool-learning-rate 1", "where --frepo-max-updates is 0 and --frepo-meta-gradient is krr"),
        (CL, "--steps 5 --steps=2", "--steps is given 2 times; give it once"),
        (CL, "--held-out 5 --held_out 2", "--held-out is given 2 times; give it once"),
        (CL, "--no-frepo-learn-labels --frepo-learn-labels", "-learn-labels and --frepo-learn-labels exclude"),
        (CL, "--frepo-no-learn-labels", "did you mean --no-frepo-learn-labels?"),
        (MIA, "--method frepo", "unknown option --method; did you mean --arms?"),
        (CL, "--arms frepo", "unknown option --arms; did you mean --method?"),
    ],
)
def test_what_was_typed_and_would_be_dropped_is_refused(options, words, message):
    with pytest.raises(UsageError) as refused:
        parse(options, words.split())
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (CL, "--train-temperature 0.5"),  # its preset trains with the cross-entropy
        (CL, "--method all --dsa-iterations 3"),
        (DISTIL, "--sweep frepo-init real real+noise --frepo-noise-std 3"),
        (DISTIL, "--frepo-init noise --frepo-noise-std 3"),
        (CL, "--frepo-max-updates 9 --frepo-pool-batch-size 9"),
        (CL, "--frepo-meta-gradient implicit --frepo-pool-learning-rate 1"),
        (MIA, "--arms subset,frepo --frepo-steps 3 --no-frepo-mirror"),
        (DISTIL, "--set x.npz --train-steps 3"),
    ],
)
def test_what_has_an_effect_is_taken(options, words):
    assert any(parse(options, words.split()).given.values())


@pytest.mark.parametrize("name", ["cl_stock_gdumb", "kills", "mia_coverage"])
def test_help_names_no_other_page_where_there_is_none(capsys, name):
    assert "--help-all" not in help_of(capsys, name, "--help")

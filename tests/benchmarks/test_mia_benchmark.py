"""The membership-inference benchmark as a program: its files, what it trains on, its complaints, and going on."""

import importlib
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from distill import FRePo, SyntheticSet
from distill.files import read_json, write_atomically
from distill.preprocess import default_preprocessing
from distill.sets.synthetic import initial_labels
from distill.training.accuracy import accuracy
from privacy import AttackRecords, AuditReport, Interval, Summary, audit

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
MODULES = {
    "mia": "benchmarks.studies.membership.study",
    "mia_run": "benchmarks.studies.membership.run",
    "mia_audits": "benchmarks.studies.membership.audits",
    "mia_report": "benchmarks.studies.membership.report",
    "options": "benchmarks.harness.options",
    "methods": "benchmarks.harness.methods",
}
OTHER_ARMS = ("herding", "dm", "dsa")
TINY = [
    "--dataset", "digits", "--members", "100", "--images-per-class", "2", "--width", "4", "--jobs", "1",
    "--train-steps", "3", "6", "--train-batch-size", "16", "--attacks", "threshold", "knn",
    "--frepo-steps", "6", "--frepo-pool-size", "2", "--frepo-batch-size", "32", "--herding-steps", "2",
    "--dm-steps", "2", "--dm-batch-size", "8", "--dsa-iterations", "1", "--dsa-outer-loop", "2",
    "--dsa-inner-loop", "1", "--dsa-batch-size", "8",
]  # fmt: skip
SMALL = ["--arms", "subset,frepo", "--attacks", "threshold"]  # a run of few files
DEADLINE = 120  # seconds until a subprocess counts as stuck

Command = Callable[..., int]


@pytest.fixture(scope="module")
def modules() -> dict[str, ModuleType]:
    """The program's files as modules, by name."""
    return {name: importlib.import_module(path) for name, path in MODULES.items()}


@pytest.fixture(scope="module")
def command(modules) -> Command:
    """The program in this process: its arguments after `TINY` to its exit code."""
    patch = pytest.MonkeyPatch()
    patch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)  # holds for a whole process
    run = modules["options"].run_command
    yield lambda *given: run(lambda: modules["mia"].main([*TINY, *map(str, given)]), when_stopped="--resume goes on")
    patch.undo()


@pytest.fixture(scope="module")
def undisturbed(command, tmp_path_factory) -> Path:
    """The folder of a run of three arms on two member sets."""
    folder = tmp_path_factory.mktemp("mia") / "run"
    assert command("--output", folder, "--seeds", 0, 1) == 0
    return folder


@pytest.fixture(scope="module")
def small(command, tmp_path_factory) -> Path:
    """The folder of a run of few files."""
    folder = tmp_path_factory.mktemp("small") / "run"
    assert command("--output", folder, *SMALL) == 0
    return folder


@pytest.fixture
def no_pictures(monkeypatch) -> None:
    """Pages and pictures as empty files: they are most of the time that a tiny run takes."""

    def empty(self, path, **_: Any) -> Path:
        return write_atomically(path, lambda file: None)

    pictures = {AuditReport: ["to_html", "plot_roc"], Summary: ["to_html", "plot_auc", "plot_curves"]}
    for owner, names in {**pictures, SyntheticSet: ["plot"]}.items():
        for name in names:
            monkeypatch.setattr(owner, name, empty)


def figures(folder: Path) -> Any:
    """All results but what the run took."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            left_out = {"seconds", "cost", "output", "resume"}
            return {key: timeless(inner) for key, inner in value.items() if key not in left_out}
        return [timeless(inner) for inner in value] if isinstance(value, list) else value

    return timeless(read_json(folder / "results.json"))


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


# -- what a run leaves behind --------------------------------------------------------------------------------------


def test_run_writes_figures_table_page_plots_sets_and_records(undisturbed):
    results = json.loads((undisturbed / "results.json").read_text(), parse_constant=no_constant)
    assert results["options"]["members"] == 100
    assert list(results["audits"]) == [
        "real", "subset", "subset, initial members", "subset, other members",
        "frepo", "frepo, initial members", "frepo, other members",
    ]  # fmt: skip
    for name in ("table.txt", "report.html", "auc.png", "curves.png", "options.json"):
        assert (undisturbed / name).stat().st_size > 0
    for arm in ("subset", "frepo"):
        for seed in (0, 1):
            folder = undisturbed / arm / f"members-{seed}"
            assert len(SyntheticSet.load(folder / "synthetic.safetensors")) == 20
            assert (folder / "images.png").exists()
            assert len(AttackRecords.load(folder / "records-6.npz").members) == 100
            for part, count in {"all": 100, "initial": 20, "others": 80}.items():
                report = AuditReport.load(folder / f"{part}-6.npz")
                assert (report.about["members"], report.about["non_members"]) == (count, 100)
                assert (folder / f"{part}-6.html").exists()
                assert (folder / f"{part}-6.png").exists()
            assert not (folder / "initial-3.npz").exists()


def test_results_say_what_was_asked_what_it_took_and_every_audit(undisturbed):
    results = read_json(undisturbed / "results.json")
    options = results["options"]
    assert options == read_json(undisturbed / "options.json")
    assert (options["members"], options["train_steps"], options["seeds"]) == (100, [3, 6], [0, 1])
    assert (options["frepo"]["steps"], options["frepo"]["width"], options["train"]["batch_size"]) == (6, 4, 16)
    assert results["cost"]["seconds"] > 0
    assert results["cost"]["peak_memory_mib"] > 10
    assert {"processor", "torch", "numpy"} <= results["cost"]["processes"][0]["machine"].keys()
    assert list(results["differences_from_subset"]) == ["frepo", "frepo, initial members"]
    for intervals in results["differences_from_subset"].values():
        assert list(intervals) == ["threshold", "knn"]
        assert all(interval["low"] <= interval["value"] <= interval["high"] for interval in intervals.values())
    for name, audits in results["audits"].items():
        shown = [(entry["info"]["member_set"], entry["info"]["train_steps"]) for entry in audits]
        assert shown == ([(0, 6), (1, 6)] if "," in name else [(0, 3), (0, 6), (1, 3), (1, 6)])
        assert {entry["info"]["trained_on"] for entry in audits} == {name.split(",")[0]}


def test_every_json_is_one_and_every_picture_can_be_opened(undisturbed):
    for path in undisturbed.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=no_constant)
    for path in undisturbed.rglob("*.png"):
        with Image.open(path) as opened:
            opened.verify()


def test_run_leaves_no_temporary_file_and_no_checkpoint(undisturbed):
    assert not [path for path in undisturbed.rglob("*") if "partial" in path.name or "checkpoint" in path.name]


def test_table_shows_both_member_sets_and_reads_them(undisturbed):
    table = " ".join((undisturbed / "table.txt").read_text().split())
    assert "standard deviation of n repetitions" in table
    assert "20 of 100 members are in the subset" in table
    assert "would be 0.600" in table
    assert "subset, initial members: told from non-members beyond the 95 % interval, widened for" in table
    assert "frepo, initial members, AUC minus that of the random subset" in table
    assert "published" not in table


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_same_seed_gives_the_same_figures(command, undisturbed, tmp_path):
    assert command("--output", tmp_path, "--seeds", 0, 1, "--arms", "real,subset,frepo") == 0
    assert figures(tmp_path) == figures(undisturbed)


def test_every_distiller_that_has_a_name_is_an_arm(modules):
    assert set(modules["mia_run"].ARMS) == {"real", "subset", *modules["methods"].METHODS} - {"random"}
    assert set(modules["mia_run"].ARMS) == {"real", "subset", "frepo", *OTHER_ARMS}  # a new one: add it to those


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("arm", OTHER_ARMS)
def test_every_distiller_is_an_arm(command, tmp_path, arm):
    assert command("--output", tmp_path, "--arms", f"subset,{arm}", "--attacks", "threshold") == 0
    results = figures(tmp_path)
    parts = ["", ", initial members", ", other members"]
    assert list(results["audits"]) == [name + part for name in ("subset", arm) for part in parts]
    assert all(np.isfinite(entry["info"]["test_accuracy"]) for own in results["audits"].values() for entry in own)
    # Herding picks images of its own, so that its initial members are others than the subset's.
    same_start = [] if arm == "herding" else [f"{arm}, initial members"]
    assert list(results["differences_from_subset"]) == [arm, *same_start]


@pytest.mark.usefixtures("no_pictures")
def test_from_noise_no_member_is_an_initial_one(command, tmp_path, capsys):
    assert command("--output", tmp_path, *SMALL, "--frepo-init", "noise") == 0
    results = figures(tmp_path)
    assert list(results["audits"]) == ["subset", "subset, initial members", "subset, other members", "frepo"]
    assert list(results["differences_from_subset"]) == ["frepo"]
    assert "frepo started from noise: no member is an initial one" in capsys.readouterr().out


# -- the protocol --------------------------------------------------------------------------------------------------


def test_members_and_non_members_are_disjoint_and_from_the_training_set(modules, tmp_path):
    mia = modules["mia"]
    run = mia.Run(mia.parse([*TINY, "--output", str(tmp_path), "--seeds", *map(str, range(13))]))
    sets = [run.positions(seed) for seed in range(13)]
    everything = np.concatenate([members for members, _ in sets])
    assert len(np.unique(everything)) == len(everything) == 1300
    for members, others in sets:
        assert not np.intersect1d(members, others).size
        assert max(members.max(), others.max()) < len(run.train)


@pytest.mark.parametrize(
    "arms", [["real", "subset", "frepo"], ["real,subset,frepo"], ["real,subset", "frepo"], ["real,,subset,frepo,real"]]
)
def test_arms_can_be_given_with_commas_and_spaces(modules, arms):
    assert modules["mia"].parse(["--arms", *arms]).arms == ["real", "subset", "frepo"]


def test_presets_and_sizes_are_filled_in(modules):
    parse = modules["mia"].parse
    quick, paper = parse([]), parse(["--preset", "paper"])
    assert (quick.seeds, quick.train_steps, quick.arms) == ([0], [10_000], ["real", "subset", "frepo"])
    assert (paper.seeds, paper.train_steps[0], paper.train_steps[-1]) == ([0, 1, 2, 3, 4], 100, 16_000)
    assert parse(["--train-steps", "6", "3", "6"]).train_steps == [3, 6]
    assert parse(["--dataset", "some/where.npz"]).output == Path("results/mia-where")
    assert modules["mia"].Run(parse(["--dataset", "digits", "--arms", "real"])).size == 1347 // 2


def test_preprocessing_is_fitted_on_the_members_alone(modules, tmp_path):
    mia = modules["mia"]
    run = mia.Run(mia.parse([*TINY, "--output", str(tmp_path)]))
    images = run.member_set(0)
    fitted = default_preprocessing(run.train.subset(run.positions(0)[0]))
    for side in (images.members, images.non_members, images.test):
        assert side.preprocessing.same_as(fitted)
    assert not default_preprocessing(run.train).same_as(fitted)
    assert abs(float(images.members.images.mean())) < 1e-4
    assert abs(float(images.non_members.images.mean())) > 1e-4


@pytest.mark.usefixtures("no_pictures")
def test_models_are_trained_on_the_distilled_images_and_not_on_their_start(command, modules, tmp_path, monkeypatch):
    given = []
    train = modules["mia_audits"].train_network

    def spy(synthetic, **options):
        given.append(synthetic)
        return train(synthetic, **options)

    monkeypatch.setattr(modules["mia_audits"], "train_network", spy)
    assert command("--output", tmp_path, "--train-steps", 3) == 0
    real, subset, frepo = given
    assert (len(real), len(subset), len(frepo)) == (100, 20, 20)
    saved = SyntheticSet.load(tmp_path / "frepo" / "members-0" / "synthetic.safetensors")
    assert frepo.made_by["started_from"] == subset.made_by["started_from"]
    assert frepo.images.equal(saved.images)
    assert not frepo.images.equal(subset.images)


def test_subset_holds_members_and_every_member_set_has_its_own_seed(modules, undisturbed, tmp_path):
    mia = modules["mia"]
    run = mia.Run(mia.parse([*TINY, "--output", str(tmp_path), "--seeds", "0", "1"]))
    for seed in (0, 1):
        members = run.member_set(seed).members
        subset, frepo = (
            SyntheticSet.load(undisturbed / arm / f"members-{seed}" / "synthetic.safetensors")
            for arm in ("subset", "frepo")
        )
        started_from = subset.made_by["started_from"]
        assert subset.images.equal(members.images[started_from])
        assert subset.class_ids.equal(members.labels[started_from])
        assert subset.made_by["options"]["seed"] == frepo.made_by["options"]["seed"] == seed


@pytest.mark.usefixtures("no_pictures")
def test_records_and_accuracy_are_what_the_trained_network_says(command, modules, tmp_path, monkeypatch):
    networks = []
    train = modules["mia_audits"].train_network
    monkeypatch.setattr(
        modules["mia_audits"], "train_network",
        lambda synthetic, **options: networks.append(train(synthetic, **options)) or networks[-1],
    )
    options = ["--train-steps", 40, "--train-warmup-steps", 5]
    assert command("--output", tmp_path / "run", *SMALL, *options) == 0
    mia = modules["mia"]
    run = mia.Run(mia.parse([*TINY, *map(str, options), "--output", str(tmp_path / "other")]))
    images = run.member_set(0)
    logits_of = modules["mia_audits"].logits_of
    for arm, network in zip(("subset", "frepo"), networks, strict=True):
        folder = tmp_path / "run" / arm / "members-0"
        records, report = AttackRecords.load(folder / "records-40.npz"), AuditReport.load(folder / "all-40.npz")
        for side, given in ((records.members, images.members), (records.non_members, images.non_members)):
            logits = logits_of(network, given)
            labels = initial_labels(given.labels, 10)
            assert side.labels.tolist() == given.labels.tolist()
            assert side.outputs == pytest.approx(logits.numpy(), abs=1e-6)
            assert side.losses == pytest.approx(run.recipe.losses(logits, labels).numpy(), abs=1e-6)
        on_test, *on_others = (
            accuracy(logits_of(network, given), given.labels)
            for given in (images.test, images.members, images.non_members)
        )
        assert report.info["test_accuracy"] == on_test
        assert on_test not in on_others


@pytest.mark.parametrize("arm", ["subset", "frepo"])
def test_initial_and_other_members_are_those_that_the_set_names(undisturbed, arm):
    for seed in (0, 1):
        folder = undisturbed / arm / f"members-{seed}"
        initial = np.zeros(100, bool)
        initial[SyntheticSet.load(folder / "synthetic.safetensors").made_by["started_from"]] = True
        # The threshold attack learns nothing, so that a record's score is the same in every audit.
        reports = {part: AuditReport.load(folder / f"{part}-6.npz") for part in ("all", "initial", "others")}
        scores = {part: report.scores["threshold"] for part, report in reports.items()}
        assert np.array_equal(scores["initial"].members, scores["all"].members[initial])
        assert np.array_equal(scores["others"].members, scores["all"].members[~initial])
        assert np.array_equal(scores["initial"].non_members, scores["all"].non_members)


@pytest.mark.usefixtures("no_pictures")
def test_networks_of_a_member_set_start_from_the_same_weights(command, modules, tmp_path, monkeypatch):
    seeds = []
    train = modules["mia_audits"].train_network
    monkeypatch.setattr(
        modules["mia_audits"], "train_network",
        lambda synthetic, **o: seeds.append(o["generator"].initial_seed()) or train(synthetic, **o),
    )
    options = ["--train-steps", 3, "--seeds", 0, 1, "--attacks", "threshold", "--arms", "real,herding"]
    assert command("--output", tmp_path, *options) == 0
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]


# -- going on ------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("train_network", 4),
        pytest.param("audit", 5, marks=pytest.mark.slow),
        pytest.param("training_set", 3, marks=pytest.mark.slow),
    ],
)
def test_stopped_run_ends_in_the_figures_of_an_undisturbed_one(
    command, modules, undisturbed, tmp_path, monkeypatch, capsys, name, call
):
    calls = []
    function = getattr(modules["mia_audits"], name)

    def stop_at_last(*given, **options):
        calls.append(name)
        if len(calls) == call:
            raise KeyboardInterrupt
        return function(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(modules["mia_audits"], name, stop_at_last)
        assert command("--output", tmp_path, "--seeds", 0, 1) == 130
    assert "--resume goes on" in capsys.readouterr().err
    assert command("--output", tmp_path, "--seeds", 0, 1, "--resume") == 0
    assert figures(tmp_path) == figures(undisturbed)


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_run_stopped_at_any_file_ends_in_the_figures_of_an_undisturbed_one(command, small, tmp_path, monkeypatch):
    replace, written = os.replace, []

    def run_and_stop_before(last: float, folder: Path) -> int:
        """The exit code of a run that is stopped when `last` files are there and one more is ready."""

        def replace_or_stop(source, target):
            if len(written) == last:
                raise KeyboardInterrupt
            written.append(Path(target).name)
            replace(source, target)

        written.clear()
        with monkeypatch.context() as patch:
            patch.setattr("distill.files.os.replace", replace_or_stop)
            return command("--output", folder, *SMALL)

    assert run_and_stop_before(float("inf"), tmp_path / "whole") == 0
    files = list(written)
    assert files[0] == "options.json"
    for last in sorted({*range(0, len(files), 3), len(files) - 1}):
        folder = tmp_path / str(last)
        assert run_and_stop_before(last, folder) == 130
        assert written == files[:last]
        assert not [path for path in folder.rglob("*") if "partial" in path.name]
        assert command("--output", folder, *SMALL, "--resume") == 0
        assert figures(folder) == figures(small)
        for arm in ("subset", "frepo"):
            assert_same_set(*(path / arm / "members-0" / "synthetic.safetensors" for path in (folder, small)))


def assert_same_set(*paths: Path) -> None:
    """Two sets are equal bit for bit, and made in the same way."""
    one, other = map(SyntheticSet.load, paths)
    for name in ("images", "labels", "class_ids"):
        assert getattr(one, name).equal(getattr(other, name))
    assert one.made_by == other.made_by


@pytest.mark.usefixtures("no_pictures")
def test_run_stopped_within_a_distillation_goes_on_from_its_checkpoint(command, small, tmp_path, monkeypatch):
    step, done = FRePo.step, []

    def step_or_stop(self, state, data):
        if len(done) == 4:
            raise KeyboardInterrupt
        done.append(state.step)
        step(self, state, data)

    with monkeypatch.context() as patch:
        patch.setattr("distill.distillers.checkpoint.SECONDS_BETWEEN", 0)
        patch.setattr(FRePo, "step", step_or_stop)
        assert command("--output", tmp_path, *SMALL) == 130
    folder = tmp_path / "frepo" / "members-0"
    assert [path.name for path in folder.rglob("*.safetensors")] == ["checkpoint-frepo-2-seed-0.safetensors"]
    done.clear()
    monkeypatch.setattr(FRePo, "step", lambda self, state, data: (done.append(state.step), step(self, state, data)))
    assert command("--output", tmp_path, *SMALL, "--resume") == 0
    assert done == [4, 5]
    assert not (folder / "checkpoint").exists()
    assert figures(tmp_path) == figures(small)
    assert_same_set(folder / "synthetic.safetensors", small / "frepo" / "members-0" / "synthetic.safetensors")


@pytest.mark.usefixtures("no_pictures")
def test_run_that_is_done_trains_nothing_anew_with_any_jobs_and_counts_its_cost(
    command, modules, small, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    shutil.copytree(small, folder)
    leftover = folder / "frepo" / "members-0" / ".all-6-abcdefgh.partial.npz"  # of a process that was killed
    leftover.write_bytes(b"PK")
    for name in ("train_network", "audit"):
        monkeypatch.setattr(modules["mia_audits"], name, lambda *_, **__: pytest.fail("done again"))
    monkeypatch.setattr("distill.Distiller.distill", lambda *_, **__: pytest.fail("distilled again"))
    assert command("--output", folder, *SMALL, "--jobs", 2, "--resume") == 0
    assert not leftover.exists()
    without_jobs = [{**figures(path), "options": None} for path in (folder, small)]
    assert without_jobs[0] == without_jobs[1]
    cost = read_json(folder / "results.json")["cost"]
    assert len(cost["processes"]) == 2
    assert cost["seconds"] == pytest.approx(sum(process["seconds"] for process in cost["processes"]))


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.slow
def test_jobs_give_the_files_and_figures_of_a_run_without(command, small, tmp_path):
    assert command("--output", tmp_path / "run", *SMALL, "--jobs", 2) == 0
    files = [{path.relative_to(folder) for path in folder.rglob("*")} for folder in (tmp_path / "run", small)]
    assert files[0] == files[1]
    results, wanted = (read_json(folder / "results.json") for folder in (tmp_path / "run", small))
    assert list(results["audits"]) == list(wanted["audits"])
    for name, audits in results["audits"].items():
        for one, other in zip(audits, wanted["audits"][name], strict=True):
            assert one["info"]["test_accuracy"] == pytest.approx(other["info"]["test_accuracy"], abs=0.02)
            assert (one["about"]["jobs"], one["about"]["seed"]) == (1, other["about"]["seed"])
    assert results["options"]["jobs"] == 2
    assert results["cost"]["processes"][0]["workers"]


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_mistake_in_a_job_ends_in_the_line_that_it_ends_in_without_jobs(command, tmp_path, capsys):
    options = ["--arms", "real,subset", "--attacks", "threshold", "--train-learning-rate", "1e30", "--jobs", 2]
    assert command("--output", tmp_path, *options) == 2
    error = capsys.readouterr().err
    assert error.splitlines()[-1].startswith("error: members outputs hold NaN or infinite values")
    assert "Traceback" not in error


def as_program(monkeypatch, *arguments: Any) -> int:
    """The exit code of `python benchmarks/mia.py`, run in this process."""
    monkeypatch.setattr(sys, "argv", ["mia.py", *TINY, *map(str, arguments)])
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("benchmarks.harness.process.keep_freed_memory", lambda: None)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / "mia.py"), run_name="__main__")
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_program_that_is_stopped_says_how_to_go_on(modules, tmp_path, monkeypatch, capsys):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(modules["mia_audits"], "train_network", stop)
    assert as_program(monkeypatch, "--output", tmp_path, *SMALL) == 130
    assert capsys.readouterr().err.endswith("\nstopped; the same command with --resume resumes the run\n")
    assert not (tmp_path / "results.json").exists()


def test_program_ends_in_the_code_of_a_mistake(modules, tmp_path, monkeypatch, capsys):
    assert as_program(monkeypatch, "--output", tmp_path / "run", "--arms", "frepos") == 2
    assert capsys.readouterr().err.startswith("error: unknown arms frepos")


@pytest.mark.usefixtures("no_pictures")
def test_audit_that_was_stopped_does_not_train_anew(command, modules, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(modules["mia_audits"], "audit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        assert command("--output", tmp_path, "--arms", "real", "--train-steps", 3) == 130
    monkeypatch.setattr(modules["mia_audits"], "train_network", None)
    assert command("--output", tmp_path, "--arms", "real", "--train-steps", 3, "--resume") == 0


@pytest.mark.slow
def test_killed_run_ends_in_the_figures_of_an_undisturbed_one(command, tmp_path):
    options = [*TINY, "--arms", "subset,frepo", "--attacks", "threshold"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, str(BENCHMARKS / "mia.py"), *options, "--output", str(killed)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()  # the first audit is done
    process.send_signal(signal.SIGKILL)
    process.wait(DEADLINE)
    process.stdout.close()
    assert not (killed / "results.json").exists()
    assert command("--arms", "subset,frepo", "--attacks", "threshold", "--output", killed, "--resume") == 0
    assert command("--arms", "subset,frepo", "--attacks", "threshold", "--output", whole) == 0
    assert figures(killed) == figures(whole)


# -- complaints ----------------------------------------------------------------------------------------------------

REFUSED = {
    "unknown arm": (["--arms", "frepos"], "unknown arms frepos; wanted some of real, subset, frepo"),
    "no arm": (["--arms", ","], "--arms names none"),
    "unknown data set": (["--dataset", "fmnits"], "did you mean"),
    "a class that a member set lacks": (["--members", "8"], "has no image of class"),
    "more members than half": (["--members", "900"], "--members 900 and as many non-members are more than the 1347"),
    "too few members": (["--members", "5"], "wanted 6 to 673"),
    "no members": (["--members", "0"], "--members is 0; wanted at least 1"),
    "member set that is not there": (["--seeds", "13"], "13 disjoint sets of 100, 0 to 12"),
    "negative seed": (["--seeds", "-1"], "--seeds are [-1]"),
    "seed twice": (["--seeds", "0", "0"], "--seeds are [0, 0]"),
    "no steps": (["--train-steps", "0"], "--train-steps are [0]; wanted at least 1"),
    "no jobs": (["--jobs", "0"], "--jobs is 0; wanted at least 1"),
    "unknown backend": (["--backend", "abacus"], "--backend abacus cannot be had; wanted loky, dask, ray"),
    "no device": (["--device", "tpu"], "device 'tpu' cannot be used here"),
    "bad option of a distiller": (["--frepo-learning-rate", "0"], "learning_rate is 0.0; wanted more than 0"),
    "bad option of the recipe": (["--train-learning-rate", "-1"], "learning_rate is -1.0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_ends_in_one_line_and_nothing_is_written(command, tmp_path, capsys, case):
    options, message = REFUSED[case]
    assert command("--output", tmp_path / "run", *options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_data_of_a_single_class_is_refused_before_any_work(command, tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    labels = np.zeros(40, np.int64)
    np.savez(tmp_path / "one.npz", x_train=images, y_train=labels, x_test=images, y_test=labels)
    assert command("--dataset", tmp_path / "one.npz", "--members", 20, "--output", tmp_path / "run") == 2
    assert "has a single class; wanted at least 2" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_engine_that_is_not_installed_is_refused_before_any_work(command, modules, tmp_path, capsys):
    try:
        modules["mia_run"].check_official()
    except ValueError:
        assert command("--output", tmp_path / "run", "--engine", "tf-privacy") == 2
        assert "the engine tf-privacy cannot run here" in capsys.readouterr().err
        assert not (tmp_path / "run").exists()
    else:
        pytest.skip("it is installed here")


def test_run_that_is_there_is_not_written_over(command, undisturbed, capsys):
    before = (undisturbed / "results.json").read_bytes()
    assert command("--output", undisturbed, "--seeds", 0, 1) == 2
    assert "add --resume" in capsys.readouterr().err
    assert command("--output", undisturbed, "--resume") == 2
    assert "seeds was [0, 1], now [0]" in capsys.readouterr().err
    assert (undisturbed / "results.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--frepo-steps", 7], "frepo.steps was 6, now 7"),
        (["--attacks", "knn"], "attacks was ['threshold'], now ['knn']"),
        (["--arms", "subset"], "arms was ['subset', 'frepo'], now ['subset']"),
        (["--train-steps", 6], "train_steps was [3, 6], now [6]"),
        (["--members", 101], "members was 100, now 101"),
        (["--train-batch-size", 8], "train.batch_size was 16, now 8"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_going_on_with_other_options_is_refused(command, small, capsys, options, message):
    before = {path: path.read_bytes() for path in small.rglob("*") if path.is_file()}
    assert command("--output", small, *SMALL, "--resume", *options) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    assert {path: path.read_bytes() for path in small.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("where", ["file", "file/run"])
def test_output_that_cannot_be_written_ends_in_one_line(command, tmp_path, capsys, where):
    (tmp_path / "file").write_text("precious")  # also root cannot make a folder of a file, or below one
    assert command("--output", tmp_path / where) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: cannot write ")
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_output_full_of_other_files_is_refused_and_left_alone(command, tmp_path, capsys, resume):
    (tmp_path / "thesis.tex").write_text("precious")
    assert command("--output", tmp_path, *resume) == 2
    assert "is not empty and holds no run of this program" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_training_that_diverges_ends_in_an_error_and_leaves_no_records(command, tmp_path, capsys):
    assert command("--output", tmp_path, "--arms", "real", "--train-learning-rate", "1e30") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: members outputs hold NaN or infinite values")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["options.json"]


@pytest.mark.usefixtures("no_pictures")
def test_damaged_report_is_named(command, tmp_path, capsys):
    assert command("--output", tmp_path, "--arms", "subset", "--attacks", "threshold") == 0
    damaged = tmp_path / "subset" / "members-0" / "all-6.npz"
    damaged.write_bytes(b"nothing")
    assert command("--output", tmp_path, "--arms", "subset", "--attacks", "threshold", "--resume") == 2
    assert str(damaged) in capsys.readouterr().err


# -- the reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.2, -0.1, "lower for rf"), (0.1, 0.2, "higher for rf"), (-0.1, 0.1, "the two are not told apart")],
)
def test_difference_is_read_by_its_interval(modules, low, high, verdict):
    (text,) = modules["mia_report"].told_apart({"frepo": {"rf": Interval((low + high) / 2, low, high)}})
    assert verdict in text


@pytest.mark.parametrize(
    ("dataset", "members", "per_class", "shown"),
    [
        ("fmnist", 10_000, 50, True),
        ("fmnist", 5000, 50, False),
        ("mnist", 10_000, 10, False),
        ("digits", 10_000, 50, False),
    ],
)
def test_published_figures_are_shown_for_their_sizes_only(modules, dataset, members, per_class, shown):
    options = {"dataset": dataset, "members": members, "images_per_class": per_class, "arms": ["real", "frepo"]}
    text = modules["mia_report"].published(options)
    assert ("87.6" in text) == shown
    assert "81.1" not in text  # the subset was not asked for


def test_all_arms_of_the_paper_that_were_asked_for_are_shown(modules):
    options = {"dataset": "mnist", "members": 10_000, "images_per_class": 50}
    text = modules["mia_report"].published(options | {"arms": ["real", "subset", "frepo", "herding", "dm", "dsa"]})
    rows = [line.split() for line in text.splitlines()[2:]]
    shown = [row[0] for row in rows if row[0] in ("real", "subset", "frepo", *OTHER_ARMS)]
    assert shown == ["real", "subset", "frepo", "dm", "dsa"]
    assert ["frepo", "98.5", "0.52", "0.51", "0.53", "0.52", "0.51"] in rows  # Zhou et al. 2022, tables 4 and 6
    assert modules["mia_report"].published(options | {"arms": ["herding"]}) == ""


def crafted(shift: float, *, training_images: int, records: int = 200) -> AuditReport:
    """A report of the threshold attack on members whose losses are lower than the non-members' by `shift`."""
    generator = np.random.default_rng(0)
    outputs, labels, losses = np.zeros((records, 2)), np.arange(records) % 2, generator.normal(10, 1, (2, records))
    sides = {"members": (outputs, labels, losses[0] - shift), "non_members": (outputs, labels, losses[1])}
    info = {"training_images": training_images, "train_steps": 1, "member_set": 0, "test_accuracy": 0.5}
    return audit(AttackRecords(**sides), attacks="threshold", info=info)


def test_differences_to_both_sides_are_told_apart(modules):
    below, above, around = Interval(-0.2, -0.3, -0.1), Interval(0.2, 0.1, 0.3), Interval(0.0, -0.1, 0.1)
    intervals = {"threshold": below, "lr": around, "mlp": above, "rf": below}
    (text,) = modules["mia_report"].told_apart({"frepo": intervals})
    assert text.startswith("frepo, AUC minus that of the random subset")
    assert "threshold -0.200 [-0.300, -0.100], lr +0.000 [-0.100, +0.100], mlp +0.200" in text
    assert text.endswith("widened for 4 comparisons, it is lower for threshold, rf and higher for mlp.")


def test_crafted_reports_are_told_apart_by_the_side_they_are_on(modules, monkeypatch, tmp_path):
    report = modules["mia_report"]
    summary = Summary({
        "subset": [crafted(0.0, training_images=20)],
        "subset, initial members": [crafted(3.0, training_images=20)],
        "frepo": [crafted(0.0, training_images=20)],
        "frepo, initial members": [crafted(0.3, training_images=20)],
    })
    monkeypatch.setattr(report, "initial_members", lambda folder, arm, seeds: [[1, 2]])
    differences = report.arm_differences(summary, {"arms": ["subset", "frepo"], "seeds": [0]}, tmp_path)
    over_all, initial = report.told_apart(differences)
    assert over_all.endswith("neither lower nor higher for any attack: the two are not told apart.")
    assert initial.endswith("Beyond the interval, widened for 2 comparisons, it is lower for threshold.")
    assert "threshold 0.9" in report.above_guessing(summary, "subset, initial members", comparisons=10)
    assert report.above_guessing(summary, "frepo", comparisons=10).endswith("by no attack.")
    monkeypatch.setattr(report, "initial_members", lambda folder, arm, seeds: [[len(arm)]])  # other images each
    assert list(report.arm_differences(summary, {"arms": ["subset", "frepo"], "seeds": [0]}, tmp_path)) == ["frepo"]


def test_ceiling_is_said_of_few_training_images_alone(modules):
    options = {"members": 10_000, "frepo": {"init": "real"}}
    real, subset = crafted(1.0, training_images=10_000), crafted(0.0, training_images=500)
    (text,) = modules["mia_report"].reading({"real": [real], "subset": [subset], "frepo": [subset]}, options)
    assert text.startswith("Ceiling: 500 of 10000 members")
    assert "would be 0.525" in text
    assert modules["mia_report"].reading({"real": [real]}, options) == []


def test_no_ceiling_is_said_where_no_member_is_an_initial_one(modules):
    options = {"members": 10_000, "frepo": {"init": "noise"}}
    real, frepo = crafted(1.0, training_images=10_000), crafted(0.0, training_images=500)
    (text,) = modules["mia_report"].reading({"real": [real], "frepo": [frepo]}, options)
    assert text == "frepo started from noise: no member is an initial one."


def test_more_images_than_a_class_has_are_as_many_as_there_are_with_a_warning(modules, tmp_path):
    arguments = modules["mia"].parse([
        "--dataset", "digits", "--members", "100", "--images-per-class", "70", "--output", str(tmp_path),
    ])
    with pytest.warns(UserWarning, match="--images-per-class is 70, but 10 classes of member set 0 have fewer"):
        modules["mia_run"].Run(arguments)

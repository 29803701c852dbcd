"""The membership-inference benchmark as a program: its files, and what it trains on."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.harness.command_line import parse
from benchmarks.harness.methods import METHODS
from benchmarks.harness.versions import COMPARED, versions_of
from benchmarks.studies.membership import models
from benchmarks.studies.membership.options import ARMS, MembershipOptions
from benchmarks.studies.membership.study import Membership
from distill import SyntheticSet
from distill.files import read_json
from distill.preprocess import Standardize, default_preprocessing
from distill.sets.synthetic import initial_labels
from distill.training.accuracy import accuracy
from membership_runs import OTHER_ARMS, PRIVATE_ARMS, SMALL, TINY, figures, no_constant
from privacy import AttackRecords, AuditReport
from programs import with_defaults

# -- what a run leaves behind ------------------------------------------------------------------------------------------


def run_with(*arguments: object) -> Membership:
    """The run of the program with these arguments after those of `TINY`."""
    return Membership(parse(MembershipOptions, with_defaults(MembershipOptions, TINY, *arguments)))


@pytest.mark.slow
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


@pytest.mark.slow
def test_results_say_what_was_asked_what_it_took_and_every_audit(undisturbed):
    results = read_json(undisturbed / "results.json")
    options = results["options"]
    assert {**options, "versions": versions_of(*COMPARED)} == read_json(undisturbed / "options.json")
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


@pytest.mark.slow
def test_every_json_is_one_and_every_picture_can_be_opened(undisturbed):
    for path in undisturbed.rglob("*.json"):
        json.loads(path.read_text(), parse_constant=no_constant)
    for path in undisturbed.rglob("*.png"):
        with Image.open(path) as opened:
            opened.verify()


@pytest.mark.slow
def test_run_leaves_no_temporary_file_and_no_checkpoint(undisturbed):
    assert not [path for path in undisturbed.rglob("*") if "partial" in path.name or "checkpoint" in path.name]


@pytest.mark.slow
def test_table_shows_both_member_sets_and_reads_them(undisturbed):
    table = " ".join((undisturbed / "table.txt").read_text().split())
    assert "standard deviation of n repetitions" in table
    assert "20 of 100 members are in the subset" in table
    assert "would be 0.600" in table
    assert "subset, initial members: distinguished from non-members beyond the 95 % interval, widened for" in table
    assert "frepo, initial members, AUC minus that of the random subset" in table
    assert "published" not in table


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_same_seed_gives_the_same_figures(command, undisturbed, tmp_path):
    assert command("--output", tmp_path, "--seeds", 0, 1, "--arms", "real,subset,frepo") == 0
    assert figures(tmp_path) == figures(undisturbed)


def test_every_distiller_that_has_a_name_is_an_arm():
    assert set(ARMS) == {"real", "subset", *METHODS} - {"random"}
    assert set(ARMS) == {"real", "subset", "frepo", *OTHER_ARMS}  # a new one: add it to those


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("arm", [
    pytest.param(arm, marks=pytest.mark.slow if arm != "herding" else ()) for arm in OTHER_ARMS
])
def test_every_distiller_is_an_arm(command, tmp_path, arm):
    assert command("--output", tmp_path, "--arms", f"subset,{arm}", "--attacks", "threshold") == 0
    results = figures(tmp_path)
    parts = ["", ", initial members", ", other members"]
    of_arm = [""] if arm in PRIVATE_ARMS else parts  # which start from no member
    assert list(results["audits"]) == [*("subset" + part for part in parts), *(arm + part for part in of_arm)]
    assert all(np.isfinite(entry["info"]["test_accuracy"]) for own in results["audits"].values() for entry in own)
    # Herding picks images of its own, so that its initial members are others than the subset's.
    same_start = [] if arm.startswith("herding") or arm in PRIVATE_ARMS else [f"{arm}, initial members"]
    assert list(results["differences_from_subset"]) == [arm, *same_start]


@pytest.mark.slow
@pytest.mark.usefixtures("no_pictures")
def test_private_arms_have_a_budget_each_and_see_nothing_that_was_fitted_on_members(command, tmp_path):
    options = ["--arms", "private-frepo", "--epsilon", 2, 8, "--attacks", "threshold", "--canaries", 12,
               "--private-delta", 1e-4]  # fmt: skip
    assert command("--output", tmp_path, *options) == 0
    results = figures(tmp_path)
    assert results["options"]["arms"] == list(results["audits"]) == ["private-frepo-2", "private-frepo-8"]
    for epsilon, case in zip((2, 8), results["worst_case"], strict=True):
        assert 0.95 * epsilon < case["proven_epsilon"] <= epsilon
        assert case["canaries"]["epsilon"]["epsilon"] <= epsilon
        assert case["canaries"]["epsilon"]["delta"] == 1e-4
        synthetic = SyntheticSet.load(tmp_path / f"private-frepo-{epsilon}" / "members-0" / "synthetic.safetensors")
        assert synthetic.preprocessing.same_as(Standardize(torch.full((1,), 0.5), torch.full((1,), 0.5)))


@pytest.mark.usefixtures("no_pictures")
def test_from_noise_no_member_is_an_initial_one(command, tmp_path, capsys):
    assert command("--output", tmp_path, *SMALL, "--frepo-init", "noise") == 0
    results = figures(tmp_path)
    assert list(results["audits"]) == ["subset", "subset, initial members", "subset, other members", "frepo"]
    assert list(results["differences_from_subset"]) == ["frepo"]
    assert "frepo started from noise: no member is an initial one" in capsys.readouterr().out


# -- the protocol ------------------------------------------------------------------------------------------------------


def test_members_and_non_members_are_disjoint_and_from_the_training_set(tmp_path):
    run = run_with("--output", tmp_path, "--seeds", *range(13))
    sets = [run.positions(seed) for seed in range(13)]
    everything = np.concatenate([members for members, _ in sets])
    assert len(np.unique(everything)) == len(everything) == 1300
    for members, others in sets:
        assert not np.intersect1d(members, others).size
        assert max(members.max(), others.max()) < len(run.train)


@pytest.mark.parametrize(
    "arms", [["real", "subset", "frepo"], ["real,subset,frepo"], ["real,subset", "frepo"], ["real,,subset,frepo,real"]]
)
def test_arms_can_be_given_with_commas_and_spaces(arms):
    run = run_with("--arms", *arms)
    assert run.options.arms == ("real", "subset", "frepo")


def test_presets_and_sizes_are_filled_in(tmp_path):
    quick, paper = parse(MembershipOptions, []), parse(MembershipOptions, ["--preset", "paper"])
    assert (quick.seeds, quick.train_steps, quick.arms) == ((0,), (10_000,), ("real", "subset", "frepo"))
    assert (paper.seeds, paper.train_steps[0], paper.train_steps[-1]) == ((0, 1, 2, 3, 4), 100, 16_000)
    assert parse(MembershipOptions, ["--preset", "paper", "--seeds", "7"]).seeds == (7,)
    options = ["--dataset", "digits", "--arms", "real", "--train-steps", "6", "3", "6"]
    run = Membership(parse(MembershipOptions, options))
    assert (run.size, run.options.train_steps, run.folder) == (1347 // 2, (3, 6), Path("results/mia-digits"))


def test_preprocessing_is_fitted_on_the_members_alone(tmp_path):
    run = run_with("--output", tmp_path)
    images = run.member_set(0)
    fitted = default_preprocessing(run.train.subset(run.positions(0)[0]))
    for side in (images.members, images.non_members, images.test):
        assert side.preprocessing.same_as(fitted)
    assert not default_preprocessing(run.train).same_as(fitted)
    assert abs(float(images.members.images.mean())) < 1e-4
    assert abs(float(images.non_members.images.mean())) > 1e-4


@pytest.mark.usefixtures("no_pictures")
def test_models_are_trained_on_the_distilled_images_and_not_on_their_start(command, tmp_path, monkeypatch):
    given = []
    train = models.train_network

    def spy(synthetic, **options):
        given.append(synthetic)
        return train(synthetic, **options)

    monkeypatch.setattr(models, "train_network", spy)
    assert command("--output", tmp_path, "--train-steps", 3) == 0
    real, subset, frepo = given
    assert (len(real), len(subset), len(frepo)) == (100, 20, 20)
    saved = SyntheticSet.load(tmp_path / "frepo" / "members-0" / "synthetic.safetensors")
    assert frepo.made_by["started_from"] == subset.made_by["started_from"]
    assert frepo.images.equal(saved.images)
    assert not frepo.images.equal(subset.images)


@pytest.mark.slow
def test_subset_holds_members_and_every_member_set_has_its_own_seed(undisturbed, tmp_path):
    run = run_with("--output", tmp_path, "--seeds", "0", "1")
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
def test_records_and_accuracy_are_what_the_trained_network_says(command, tmp_path, monkeypatch):
    networks = []
    train = models.train_network
    monkeypatch.setattr(
        models, "train_network",
        lambda synthetic, **options: networks.append(train(synthetic, **options)) or networks[-1],
    )
    options = ["--train-steps", 40, "--train-warmup-steps", 5]
    assert command("--output", tmp_path / "run", *SMALL, *options) == 0
    run = run_with(*options, "--output", tmp_path / "other")
    images = run.member_set(0)
    logits_of = models.logits_of
    for arm, network in zip(("subset", "frepo"), networks, strict=True):
        folder = tmp_path / "run" / arm / "members-0"
        records, report = AttackRecords.load(folder / "records-40.npz"), AuditReport.load(folder / "all-40.npz")
        for side, given in ((records.members, images.members), (records.non_members, images.non_members)):
            logits = logits_of(network, given.images)
            labels = initial_labels(given.labels, 10)
            assert side.labels.tolist() == given.labels.tolist()
            assert side.outputs == pytest.approx(logits.numpy(), abs=1e-6)
            assert side.losses == pytest.approx(run.recipe.losses(logits, labels).numpy(), abs=1e-6)
        on_test, *on_others = (
            accuracy(logits_of(network, given.images), given.labels)
            for given in (images.test, images.members, images.non_members)
        )
        assert report.info["test_accuracy"] == on_test
        assert on_test not in on_others


@pytest.mark.slow
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
def test_networks_of_a_member_set_start_from_the_same_weights(command, tmp_path, monkeypatch):
    seeds = []
    train = models.train_network
    monkeypatch.setattr(
        models, "train_network",
        lambda synthetic, **o: seeds.append(o["generator"].initial_seed()) or train(synthetic, **o),
    )
    options = ["--train-steps", 3, "--seeds", 0, 1, "--attacks", "threshold", "--arms", "real,herding"]
    assert command("--output", tmp_path, *options) == 0
    assert seeds[0] == seeds[1] != seeds[2] == seeds[3]

"""References, canaries and the audit of sets in the membership-inference benchmark."""

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.harness.command_line import parse
from benchmarks.studies.membership.options import MembershipOptions
from benchmarks.studies.membership.references import agreement, answers_of, splits
from benchmarks.studies.membership.study import Membership
from benchmarks.studies.membership.worst_case import WorstCase, public_positions
from benchmarks.studies.membership.worst_case_report import worst_case_words
from distill import SyntheticSet
from distill.training.evaluation import network_features
from membership_runs import TINY, figures
from privacy import AttackRecords, AuditReport, SetReport, audit, reference_splits
from programs import with_defaults

WORST = ["--arms", "real", "frepo", "--references", "2", "--canaries", "12", "--audit-set", "--shadow-networks", "1",
         "--train-steps", "6", "--attacks", "threshold", "lira", "rmia"]  # fmt: skip


@pytest.fixture(scope="module")
def worst(command, tmp_path_factory) -> Path:
    """The folder of a run with all of it."""
    folder = tmp_path_factory.mktemp("worst") / "run"
    assert command("--output", folder, *WORST) == 0
    return folder


def run_in(folder: Path) -> Membership:
    return Membership(parse(MembershipOptions, with_defaults(MembershipOptions, TINY, *WORST, "--output", folder)))


def test_table_begins_with_the_worst_case_and_says_what_is_not_excluded(worst):
    table = (worst / "table.txt").read_text()
    assert table.index("worst case:") < table.index("members differ on average")
    assert "network, with references" in table
    assert "set: members it started from" in table
    assert "epsilon at least (delta 1e-05)" in table
    words = " ".join(table.split())
    assert "Tried: threshold on the networks trained on each arm; attacks with 2 references (threshold, lira, " in words
    assert "use more, such as --canaries 400" in words
    assert "Not excluded: attacks that were not" in words
    page = (worst / "report.html").read_text()
    assert "attacks with 2 references" in page
    assert "12 mislabelled canaries" in page


def test_every_part_is_in_the_folder_and_in_the_results(worst):
    entries = json.loads((worst / "results.json").read_text())["worst_case"]
    assert [(entry["arm"], sorted(entry)) for entry in entries] == [
        ("real", ["arm", "canaries", "member_set", "proven_epsilon", "references"]),
        ("frepo", ["arm", "canaries", "member_set", "proven_epsilon", "references", "set"]),
    ]
    report = AuditReport.load(worst / "frepo" / "members-0" / "references.npz")
    assert set(report.scores) == {"threshold", "lira", "rmia"}
    assert -1 <= report.info["agreement"] <= 1
    own = SetReport.load(worst / "frepo" / "members-0" / "set.npz")
    assert own.about["members"] == own.about["non_members"] == 100
    assert "members that started the set" in own.slices


def test_planted_canaries_alone_are_trained_on_with_the_members(worst):
    run = run_in(worst)
    images = run.member_set(0)
    assert len(images.training) == 100 + images.canaries.planted.sum()
    assert images.training.labels[100:].tolist() == images.canaries.labels[images.canaries.planted].tolist()
    used = set(np.concatenate(run.positions(0)).tolist())
    assert not used & set(run.spare(0)[images.canaries.sources].tolist())
    assert (run.train.labels[run.spare(0)[images.canaries.sources]] != images.canaries.labels).all()


def test_public_images_are_no_records_and_no_sources_of_canaries(worst):
    run = run_in(worst)
    images = run.member_set(0)
    public = public_positions(run, images)
    assert len(public) == len(run.train) - 200 - 12
    sources = run.spare(0)[images.canaries.sources]
    assert not {*public.tolist()} & {*sources.tolist(), *np.concatenate(run.positions(0)).tolist()}


def test_agreement_of_set_and_network_is_about_records_without_canaries(worst):
    images = run_in(worst).member_set(0)
    outputs = np.random.default_rng(0).normal(size=(212, 10))
    other = np.concatenate([outputs[:200], -outputs[200:]])  # the last 12 are answers to canaries
    assert agreement(images, outputs, outputs) == agreement(images, outputs, other) == pytest.approx(1)


def test_references_are_made_of_halves_without_canaries_and_answer_for_everything(worst):
    run = run_in(worst)
    images = run.member_set(0)
    assert (splits(run, images) == reference_splits(200, 2, 0)).all()
    for arm in ("real", "frepo"):
        answers = answers_of(run, arm, 0)
        assert answers.target.shape == (212, 10)
        assert answers.references.shape == (2, 212, 10)
        assert not answers.trained_on[:, 200:].any()
    reference = SyntheticSet.load(worst / "frepo" / "members-0" / "references" / "reference-1.safetensors")
    half = images.records.subset(splits(run, images)[1])
    assert max(reference.made_by["started_from"]) < len(half)


def test_answers_of_real_are_those_of_the_network_that_is_audited(worst):
    run = run_in(worst)
    records = AttackRecords.load(worst / "real" / "members-0" / "records-6.npz")
    assert (answers_of(run, "real", 0).target[:200] == records.outputs).all()


def test_answers_of_a_set_are_its_ridge_regression_in_random_features(worst):
    from benchmarks.studies.membership.references import SURE, random_network

    run = run_in(worst)
    images = run.member_set(0)
    own = SyntheticSet.load(worst / "frepo" / "members-0" / "synthetic.safetensors")
    network = random_network(run, 0)
    given, of_set = (network_features(network, each).double() for each in (images.everything.images, own.images))
    kernel = of_set @ of_set.T
    ridge = 1e-6 * kernel.diagonal().mean()
    weights = np.linalg.solve(kernel.numpy() + ridge.numpy() * np.eye(len(kernel)), own.labels.double().numpy())
    plain = (given @ of_set.T).numpy() @ weights
    answers = answers_of(run, "frepo", 0).target
    scale = (answers * plain).sum() / (plain * plain).sum()
    assert 0 < scale < 100 * SURE
    np.testing.assert_allclose(answers, scale * plain, rtol=1e-2, atol=1e-2 * np.abs(answers).max())


@pytest.mark.slow
def test_resumed_run_makes_no_reference_again_and_ends_in_the_same_figures(command, worst, monkeypatch):
    before = figures(worst)
    references = "benchmarks.studies.membership.references"
    for name in ("trained_network", "audit"):
        monkeypatch.setattr(f"{references}.{name}", lambda *_, **__: pytest.fail("done again"))
    monkeypatch.setattr("distill.Distiller.distill", lambda *_, **__: pytest.fail("distilled again"))
    assert command("--output", worst, *WORST, "--resume") == 0
    assert figures(worst) == before


@pytest.mark.parametrize(
    ("exposed", "said"), [(100, "threshold finds 102 of 2000 at 2 false positives"), (0, "paid for: none.")]
)
def test_words_name_the_exposed_few_and_nobody_where_nothing_leaks(exposed, said):
    """100 of 2000 members lie beyond all non-members: the interval at 0.1 % (2 of 2000) alone could not say so."""
    rng = np.random.default_rng(1)
    members, others = rng.normal(size=2000), rng.normal(size=2000)
    members[:exposed] -= 10
    report = audit(AttackRecords(members=(members,), non_members=(others,), outputs="losses"), attacks=["threshold"])
    words = worst_case_words(
        [WorstCase("frepo", 0, references=report)], {"references": 2, "canaries": 0, "audit_set": False}, ["threshold"]
    )
    assert said in " ".join(words)
